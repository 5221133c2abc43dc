"""What the study of transfer compares, and how it counts."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.optimality import OptimalityConfig
from experiments.options_vs_flat.variants import option_learner
from experiments.transfer import run, tune
from experiments.transfer.figure import plot
from experiments.transfer.tables import counted, ratio, steps_to, table, verdict
from experiments.transfer.training import (
    PERFECT,
    STILL,
    Alternating,
    adopt,
    changes_of,
    curve,
    learned_options,
)
from experiments.transfer.worlds import MIXTURES, THIRD, config_of
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from training.agents import build_learner
from training.sb3.vec_env import SimulatorVecEnv
from training.tasks.market import MarketTask

SMALL = ("agent.ppo.steps=8", "agent.ppo.minibatch=64", "schedule.num_envs=8")
SHORT = OptimalityConfig(episodes=4, length=8, seed=3)


def world(name: str) -> GarleanuPedersen:
    market = config_of(name, "gp", 1).market
    assert market is not None
    assert isinstance(market.world, GarleanuPedersen)
    return market.world


@pytest.mark.parametrize("name", THIRD)
def test_the_best_policy_of_the_third_market_is_a_mixture_of_the_firsts(name: str) -> None:
    pull_KAS = np.tensordot(np.array(MIXTURES[name]), world("A").riccati.pull_KAS, axes=1)
    np.testing.assert_allclose(world(name).riccati.pull_KAS, pull_KAS, atol=1e-5)
    np.testing.assert_allclose(
        world(name).riccati.curvature_KAA, world("A").riccati.curvature_KAA, rtol=1e-9
    )


def test_markets_are_seen_and_traded_alike() -> None:
    tasks = [MarketTask(config_of(name, "gp belief", 1)) for name in MIXTURES]
    assert len({task.problem.stream().feature_names for task in tasks}) == 1
    # Units, limit and money too: a market in units of its own shows other holdings for the same.
    assert len({task.problem.trading().action for task in tasks}) == 1
    assert len({task.problem.initial_cash for task in tasks}) == 1
    assert len({task.problem.world.discount for task in tasks}) == 1


@pytest.mark.parametrize("third", THIRD)
def test_the_perfect_gate_is_told_the_mixture(third: str) -> None:
    config = config_of(third, "gp", 1, changes_of(PERFECT, third))
    fallback = option_learner(
        build_learner(config, MarketTask(config), 0)
    ).policy.network.controller.fallback
    found = fallback(torch.eye(3)).numpy()
    np.testing.assert_allclose(found, np.array(MIXTURES[third]), atol=1e-6)


def test_options_are_learned_on_both_markets_and_only_once(tmp_path: Path) -> None:
    first = learned_options("gp", 64, 0, tmp_path, SMALL)
    again = learned_options("gp", 64, 0, tmp_path, SMALL)
    both = learned_options("gp", 128, 0, tmp_path, SMALL)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], both[name]) for name in first)


def test_markets_take_turns_and_go_on_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [MarketTask(config_of(name, "gp", 256, SMALL)) for name in ("A", "B")]
    model = option_learner(build_learner(tasks[0].config, tasks[0], 0))
    second = SimulatorVecEnv(tasks[1].simulator(1))
    second.seed(1)
    calls: list[tuple[bool, str]] = []
    for name in ("advance", "reset"):
        plain = getattr(SimulatorVecEnv, name)

        def noted(self: Any, *given: Any, _plain: Any = plain, _name: str = name) -> Any:
            calls.append((self is second, _name))
            return _plain(self, *given)

        monkeypatch.setattr(SimulatorVecEnv, name, noted)
    model.learn(256, callback=Alternating([model.vec_env, second]))
    steps = [other for other, name in calls if name == "advance"]
    assert steps == [False] * 8 + [True] * 8 + [False] * 8 + [True] * 8
    assert [other for other, name in calls if name == "reset"] == [False, True]


def test_frozen_options_do_not_learn_and_all_else_does() -> None:
    config = config_of("far", "gp", 128, (*changes_of("new gate", "far"), *SMALL))
    model = option_learner(build_learner(config, MarketTask(config), 0))
    donor = option_learner(build_learner(config, MarketTask(config), 1)).policy.net.state_dict()
    adopt(model, donor, frozen=True)
    before = copy.deepcopy(model.policy.net.state_dict())
    model.learn(128)
    after = model.policy.net.state_dict()
    kept = {name for name in after if torch.equal(before[name], after[name])}
    assert {name for name in after if name.startswith("options.bank.")} == kept
    assert all(torch.equal(after[name], donor[name]) for name in kept)


@pytest.mark.parametrize("remembers", ["model", "donor"])
def test_experts_that_see_a_recurrent_unit_are_not_carried_over(remembers: str) -> None:
    learners = {}
    for name in ("model", "donor"):
        units = ("agent.policy.recurrent=4",) if name == remembers else ()
        config = config_of("far", "gp", 128, (*SMALL, *units))
        learners[name] = build_learner(config, MarketTask(config), 0)
    weights = learners["donor"].policy.net.state_dict()
    with pytest.raises(ValueError, match=r"recurrent: expected 0, .*found a recurrent unit"):
        adopt(option_learner(learners["model"]), weights, frozen=True)


def test_a_curve_begins_before_the_training_and_ends_after_it() -> None:
    found = curve("from scratch", "near", "gp", 192, 0,
                  options=None, paths=SHORT, every=2, changes=SMALL)  # fmt: skip
    assert found["at"] == [0, 128, 192]
    assert len(set(found["shares"])) == 3
    still = curve(STILL, "near", "gp", 192, 0, options=None, paths=SHORT, every=2, changes=SMALL)
    assert still["at"] == [0]


def row(seed: int, shares: list[float], arm: str = "new gate") -> dict[str, Any]:
    at = [100 * place for place in range(len(shares))]
    return {"market": "gp", "third": "near", "arm": arm, "steps": 300, "seed": seed,
            "at": at, "shares": shares}  # fmt: skip


def test_steps_are_counted_between_judgements() -> None:
    assert steps_to(row(0, [0.0, 0.4, 0.9])) == pytest.approx(180.0)
    assert steps_to(row(0, [0.85, 0.1])) == 0.0
    assert math.isinf(steps_to(row(0, [0.0, 0.7])))
    assert counted([row(3, [0.0, 0.7, 0.7]), row(1, [0.0, 0.8])]) == {
        1: (pytest.approx(100.0), False), 3: (200.0, True),
    }  # fmt: skip


def test_ratio_by_hand() -> None:
    left = {0: (100.0, False), 1: (200.0, False), 7: (1.0, False)}
    right = {0: (400.0, False), 1: (200.0, False)}
    found, pairs = ratio(left, right, least=50.0)
    assert pairs == 2
    assert found.estimate == pytest.approx(0.5)  # of 1/4 and 1
    floored, _ = ratio({0: (0.0, False)}, {0: (100.0, False)}, least=50.0)
    assert floored.estimate == pytest.approx(0.5)


def test_both_arms_are_tuned_on_the_same_list_and_on_no_reported_seed() -> None:
    assert min(tune.SEEDS) >= 100 > run.SEEDS
    assert {run.CHOSEN[arm] for arm in tune.ARMS} <= tune.CANDIDATES.keys()
    fast, slow = list(tune.CANDIDATES)[:2]
    rows = [
        {**row(seed, [0.0, end], "new gate"), "candidate": name}
        for name, end in ((fast, 1.0), (slow, 0.5))
        for seed in tune.SEEDS
    ]
    for each in rows:
        each["at"] = [0, 4_096]
    assert tune.score(rows[: len(tune.SEEDS)]) == pytest.approx(0.8 * 4_096)
    assert tune.score(rows[len(tune.SEEDS) :]) == pytest.approx(tune.STEPS)
    assert tune.best(rows, "new gate") == fast
    assert tune.best([*rows[1:]], "new gate") == slow  # one that lacks a seed is not chosen


def test_the_verdict_follows_the_numbers(tmp_path: Path) -> None:
    slow = [row(seed, [0.0, 0.2, 0.5, 0.9 + 0.01 * seed], "from scratch") for seed in range(3)]
    fast = [row(seed, [0.0, 0.9 + 0.01 * seed, 0.9, 0.9]) for seed in range(3)]
    never = [row(seed, [0.0, 0.1, 0.2, 0.3]) for seed in range(3)]
    assert "at most 0.5 reached, by the whole interval" in verdict([*slow, *fast])
    assert "never came to 0.8 with 3 of 3 seeds" in verdict([*slow, *never])
    late = [{**each, "arm": "from scratch"} for each in never]
    assert "3 of 3 from scratch never did" in verdict([*late, *fast])
    assert "not reached" in verdict([*slow, *({**each, "arm": "new gate"} for each in slow)])
    assert verdict(slow) == "Not run."
    text = table([*slow, *fast]).splitlines()
    assert text[2].startswith("| from scratch | 3 | 0.000")
    assert "0 of 3" in text[3]
    plot([*slow, *fast], 300, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
