"""Streams of real regimes under every remedy, and what their last agents earn on later bars.

Every arm goes through the same phases with the same seeds, without the acceptance gate. A line of
`results.jsonl` holds the score matrix of one stream and the daily returns of its last agent where
nobody has learned; what is there is not repeated.

    python -m experiments.real_regimes.run                       # run what is missing
    python -m experiments.real_regimes.run --worker 0/2          # every other stream of it
    python -m experiments.real_regimes.run --series stocks --arm EWC --seeds 10
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import OmegaConf, open_dict

from agents.rules import BuyAndHold, Cash, Rule
from evaluation.backtest import backtest
from evaluation.ledger import Ledger
from experiments.options_vs_flat.journal import Journal, seeds_of, study_parser
from experiments.real_regimes.arms import ARMS, RULES, STEPS, Arm, continual, words
from experiments.real_regimes.streams import SERIES, Unseen, unseen
from training.agents import build_learner, policy_of
from training.callbacks import Watch
from training.config import TrainConfig
from training.continual.data_phases import DataRegime
from training.continual.job import open_stream
from training.continual.phases import Phase, Plan, open_plan
from training.continual.stream import SCORES
from training.preparation import Prepared, prepare
from training.runtime import limit_torch_threads
from training.signals import StopRequest
from training.tasks.data import DataTask

RESULTS = Path(__file__).with_name("results.jsonl")
SEEDS, FEWER = 5, 3
"""Of the arms of the core, and of the others."""
UNIT = 1e-5
"""Of the daily returns as they are kept: whole numbers of a tenth of a basis point."""
CLOCK = 252.0
"""Bars of a year."""


def configuration(series: str, arm: Arm, steps: int) -> TrainConfig:
    """What an arm's words come to on a stream."""
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=words(series, arm, steps))
    with open_dict(cfg):
        cfg.pop("resume")
    container: Any = OmegaConf.to_container(cfg, resolve=True)
    return TrainConfig.from_container(container | {"continual": continual(series, arm)})


@cache
def prepared(series: str) -> Prepared:
    """A stream's market, which all arms share."""
    return prepare(configuration(series, ARMS["fine-tuning"], STEPS))


@cache
def bars_ahead(series: str) -> dict[str, Unseen]:
    """What a stream's last agents are judged on, which all arms share."""
    config = configuration(series, ARMS["fine-tuning"], STEPS)
    return unseen(config, prepared(series), series)


def learned_bars(plan: Plan, task: DataTask) -> list[DataRegime]:
    """The regimes of a stream, judged on the bars that were learned from instead of held out."""
    return [
        DataRegime(
            each.name,
            task.market,
            task.trading,
            [replace(stretch, held=stretch.learned) for stretch in each.stretches],
        )
        for each in plan.regimes
        if isinstance(each, DataRegime)
    ]


def short(scores: Sequence[float]) -> list[float]:
    """Scores as they are kept."""
    return [float(f"{score:.6g}") for score in scores]


def told(ledger: Ledger) -> dict[str, Any]:
    """What is kept of an account."""
    return {
        "returns": np.round(ledger.returns / UNIT).astype(int).tolist(),
        "turnover": round(float(ledger.turnover[1:].mean()) * CLOCK, 2),
        "held": round(float(ledger.weights[1:].sum(axis=1).mean()), 4),
    }


def run(series: str, arm: Arm, steps: int, seed: int) -> dict[str, Any]:
    """Go through a stream once, and trade on where it ends.

    Args:
        series: name of the stream.
        arm: what learns.
        steps: of a phase.
        seed: of the stream.
    """
    config = configuration(series, arm, steps)
    assert config.continual is not None
    task = DataTask(config, prepared(series))
    plan = open_plan(config, config.continual, task)
    started = time.process_time()

    @contextmanager
    def follow(phase: Phase, done: int) -> Iterator[Watch]:
        del phase, done
        yield Watch(lambda *_: None, lambda *_: None, StopRequest(), lambda _: None)

    with tempfile.TemporaryDirectory() as folder:
        stream = open_stream(config, plan, task, seed, Path(folder))
        stream.run(follow)
        paths = [stream.phase_folder(phase) / SCORES for phase in stream.plan.phases]
        scores = [json.loads(path.read_text()) for path in paths]
        kept = [stream.accepted(phase) for phase in stream.plan.phases]
    model = build_learner(config, task, seed)
    known, episodes = learned_bars(plan, task), config.evaluation.optimality.episodes
    fitted = []
    for snapshot in kept:
        model.policy.net.load_state_dict(dict(snapshot.weights))
        policy = policy_of(model, features_TC=task.features)
        fitted.append([each.judge(policy, seed=0, episodes=episodes).ratio for each in known])
    return {
        "regimes": scores[0]["regimes"],
        "order": [each["regime"] for each in scores],
        "phase_steps": [each["steps"] for each in scores],
        "before": short(scores[0]["before"]),
        "ratio": [short(each["ratio"]) for each in scores],
        "fitted": [short(each) for each in fitted],
        "floats": [each["stored_floats"] for each in scores],
        **{
            name: told(
                backtest(
                    policy_of(model, features_TC=ahead.market.features_TC),
                    ahead.market,
                    task.trading,
                    ahead.rows,
                    seed=seed,
                )
            )
            for name, ahead in bars_ahead(series).items()
        },
        "cpu_seconds": round(time.process_time() - started, 1),
    }


class _AlwaysShort(Rule):
    """Minus equal weights of what trades, restored on each bar."""

    def act(self, observation_NO: NDArray[np.float32 | np.float64]) -> NDArray[np.float64]:
        """Target weights (N, A)."""
        tradable_NA = self._tradable_TA[observation_NO[:, 0].astype(np.int64)].astype(np.float64)
        return np.asarray(-tradable_NA / np.maximum(tradable_NA.sum(axis=1, keepdims=True), 1.0))


def rule(name: str, tradable_TA: NDArray[np.bool_]) -> Rule:
    """A reference that does not learn."""
    kinds: Mapping[str, type[Rule]] = {
        "buy and hold": BuyAndHold,
        "do nothing": Cash,
        "always short": _AlwaysShort,
    }
    return kinds[name](tradable_TA)


def reference(series: str, name: str) -> dict[str, Any]:
    """What a rule earns in every regime, and on later bars."""
    config = configuration(series, ARMS["fine-tuning"], STEPS)
    assert config.continual is not None
    task = DataTask(config, prepared(series))
    plan: Plan = open_plan(config, config.continual, task)
    episodes, tradable_TA = config.evaluation.optimality.episodes, task.market.tradable_TA
    policy = rule(name, tradable_TA)
    found = [each.judge(policy, seed=0, episodes=episodes).ratio for each in plan.regimes]
    return {
        "regimes": [each.name for each in plan.regimes],
        "final": short(found),
        "episodes": [each.independent for each in plan.regimes if isinstance(each, DataRegime)],
        **{
            where: told(
                backtest(
                    rule(name, ahead.market.tradable_TA), ahead.market, task.trading, ahead.rows
                )
            )
            for where, ahead in bars_ahead(series).items()
        },
    }


def main() -> None:
    """Run what is missing."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS, tables=False)
    parser.add_argument("--series", choices=SERIES, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    limit_torch_threads(1)
    for series in given.series or SERIES:
        for name in RULES:
            if not journal.has({"series": series, "arm": name}):
                journal.add({"series": series, "arm": name, **reference(series, name)})
    keys = [
        {"series": series, "arm": arm, "steps": given.steps, "seed": seed}
        for seed in seeds_of(given)
        for series in given.series or SERIES
        for arm in given.arm or ARMS
        if ARMS[arm].core or seed < FEWER or given.seed
    ]
    for key in journal.missing(keys, given.worker):
        found = run(key["series"], ARMS[key["arm"]], key["steps"], key["seed"])
        journal.add({**key, **found})
        final = " ".join(f"{1e4 * score:+.1f}" for score in found["ratio"][-1])
        print(f"{key['series']:8s} {key['arm']:34s} seed {key['seed']:3d}  {final}", flush=True)


if __name__ == "__main__":
    main()
