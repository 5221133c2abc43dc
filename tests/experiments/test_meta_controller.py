"""What is counted of a controller's moves, and what is said of the claim."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.optimality import OptimalityConfig
from experiments.meta_controller.figure import plot
from experiments.meta_controller.settings import CAPS, CLAIM, REFERENCES, ROUTED
from experiments.meta_controller.tables import table, verdict
from experiments.meta_controller.watching import Moved, switch_rate, unit_of
from experiments.options_vs_flat.training import configuration, judged
from experiments.options_vs_flat.variants import option_learner, permuted, playing, routed
from training.agents import build_learner
from training.tasks.market import MarketTask

SHORT = OptimalityConfig(episodes=8, length=40, seed=3)


@pytest.fixture(scope="module")
def played() -> Any:
    """An untrained agent whose options differ, and its market."""
    changes = ("agent.policy.output_gain=0.1", "market.world.transition=0.9")
    config = configuration("gp", "blended", 1, changes)
    task = MarketTask(config)
    return option_learner(build_learner(config, task, 0)), task


def test_the_true_switch_rate() -> None:
    world = configuration("gp", "blended", 1).market.world  # type: ignore[union-attr]
    assert switch_rate(world) == pytest.approx(0.005)


def test_holdings_move_only_when_weights_do(played: Any) -> None:
    model, task = played
    hard = Moved(routed(model), unit_of(task.problem))
    found = judged(hard, task, SHORT)
    moved = np.concatenate([part.numpy() for part in hard._moved])
    caused = np.concatenate([part.numpy() for part in hard._caused])
    assert set(np.unique(moved)) == {0.0, 1.0}
    assert not caused[moved == 0.0].any()
    assert caused[moved == 1.0].min() > 0.0
    # An action of 1 trades a stationary deviation, of which the limit holds eight.
    assert found["holdings_max"] <= 1.0 / 8.0 + 1e-6
    assert found["information"] == pytest.approx(1.0, abs=1e-4)
    assert found["disruption_max"] == 1.0


def test_a_full_turn_of_the_options_is_the_agent_itself(played: Any) -> None:
    model, task = played
    itself = judged(playing(model, model.policy.network), task, SHORT)["share"]
    turned = permuted(model)
    assert [policy.shift for policy in turned] == [1, 2]
    assert all(judged(policy, task, SHORT)["share"] != itself for policy in turned)
    turned[0].shift = 3
    assert judged(turned[0], task, SHORT)["share"] == pytest.approx(itself, abs=1e-9)


def made(shares: dict[str, float], churn: float = 0.01, largest: float = 0.22) -> Any:
    return [
        {
            "market": "gp", "setting": name, "steps": 5, "seed": seed,
            "share": share + 0.001 * seed, "churn": churn, "disruption_p99": 0.1,
            "disruption_max": 1.0 if "hard" in name or ROUTED in name else largest,
            "holdings_mean": 1e-4, "holdings_p99": 1e-3, "usage": [0.5, 0.5, 0.0],
            "information": 0.9,
        }
        for name, share in shares.items()
        for seed in range(4)
    ]  # fmt: skip


def test_the_verdict_follows_the_numbers() -> None:
    better = dict.fromkeys(REFERENCES, 0.90) | {CLAIM: 0.91}
    assert f"{CLAIM}: reached." in verdict(made(better), "gp")
    assert "not reached. max disruption 0.230" in verdict(made(better, largest=0.23), "gp")
    assert "(below 5%): missed" in verdict(made(better, churn=0.06), "gp")
    worse = verdict(made(better | {REFERENCES[0]: 0.95}), "gp")
    assert "not reached" in worse
    assert f"less {REFERENCES[0]} -0.040 [-0.040, -0.040]: worse" in worse
    assert verdict(made(better), "gp belief").endswith("not run.")
    assert "not run: not run" in verdict(made({CLAIM: 0.9}), "gp")


def test_table_and_figure_of_made_rows(tmp_path: Path) -> None:
    names = [f"blended {cap:g}" for cap in CAPS] + list(REFERENCES)
    rows = made(dict.fromkeys(names, 0.9))
    text = table(rows, "gp").splitlines()
    assert len(text) == 2 + len(names)
    assert "| 2.00 | 0.0100 | 0.100 | 0.63 | 0.90 |" in text[2]  # 1 % a bar of a true 0.5 %
    plot(rows, 5, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 10_000
