"""Judgement of an adaptation: its agents on the held-out new bars and on the first run's test span.

    runs/adapt-NAME-time/evaluation/        held-out new bars: ledgers, figures, report
                         evaluation-test/   the same on the first run's test span
                         evaluation/before_after.json   growth of old and new agents on both

The gate has looked at the held-out new bars, and the test span lies before the bars that were
learned from: the one tells what was gained, the other what was lost; neither is a forecast.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agents.policy import Policy
from evaluation import metrics
from evaluation.backtest import backtest
from markets.atomic import write_whole
from markets.splits import Rows
from training.agents import policy_of
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.commands.output import columns
from training.config import TrainConfig
from training.continual.adapt_champion import champion_of
from training.continual.adapt_request import DECISION, lineage
from training.continual.adapt_setting import (
    Setting,
    join,
    learner,
    parts_of,
    plan_parts,
    prepare_joined,
    regimes_of,
)
from training.preparation import Prepared
from training.sb3.snapshot import check_fits
from training.tasks.data import DataTask

TABLE = "before_after.json"
"""File with the growth of old and new agents."""
_INTO = "evaluation"

Apply = Callable[[Policy], Policy]


@dataclass(frozen=True)
class Span:
    """Bars that are judged on."""

    name: str
    """In words."""
    note: str
    """What it can tell."""
    into: str
    """Folder of the judgement."""
    rows: Rows
    """Of all bars."""


@dataclass(frozen=True)
class Pair:
    """A seed's agents."""

    old: Policy
    """Which it went on from."""
    left: Policy
    """The accepted one, or the old one."""
    accepted: bool
    """Which of them."""


def evaluate_result(folder: Path, into: str = _INTO, apply: Apply = lambda policy: policy) -> str:
    """Judge what an adaptation has left, beside baselines and beside the agents before it.

    Args:
        folder: of the result.
        into: folder of the judgement on the new bars.
        apply: changes how policies act.

    Returns:
        The verdict, and what to open.

    Raises:
        ConfigError: an adaptation that is not over, or a run before it that is gone.
        CheckpointError: a checkpoint is missing or damaged.
        ManifestError: bars that are not those that were learned from.
    """
    setting = open_result(folder)
    pairs = _pairs(folder, setting, apply)
    prepared, lines, figures = setting.task.prepared, list[str](), list[dict[str, object]]()
    for span in _spans(setting, into):
        split = replace(prepared.split, test=span.rows)
        task = DataTask(setting.config, replace(prepared, split=split))
        agents = {seed: pair.left for seed, pair in pairs.items()}
        result = task.judge(agents, folder, span.into)
        lines += [f"\n{_dated(span, prepared)}", result.verdict]
        lines.append(f"report  {folder / span.into / 'report.html'}")
        figures += _figures(span, pairs, task)
    write_whole(folder / into / TABLE, json.dumps(figures, indent=1) + "\n")
    return "\n".join([_table(figures), *lines])


def open_result(folder: Path) -> Setting:
    """What a result was made of, with the agents that it has left as champions.

    Raises:
        ConfigError, CheckpointError, ManifestError: as `evaluate_result`.
    """
    line = lineage(folder)
    config = TrainConfig.from_yaml(folder / "config.yaml")
    origin = TrainConfig.from_yaml(line.first / "config.yaml")
    seeds = range(config.seed, config.seed + config.seeds)
    champions = {seed: champion_of(folder, config, seed) for seed in seeds}
    joined = join(line, origin)
    task = DataTask(config, prepare_joined(line.first, origin, joined.data, champions))
    return Setting(config, task, plan_parts(origin, task, parts_of(line, joined)), champions)


def _spans(setting: Setting, into: str) -> list[Span]:
    held = regimes_of(setting.plan)[-1].stretches[-1].held
    test = setting.task.prepared.split.test
    return [
        Span("new bars, held out", "the gate has looked at them", into, held),
        Span(
            "test span of the first run",
            "older than the bars that were learned from: what was lost, no forecast",
            into.replace(_INTO, f"{_INTO}-test", 1),
            test,
        ),
    ]


def _pairs(folder: Path, setting: Setting, apply: Apply) -> dict[int, Pair]:
    """Old and new agents by seed."""
    record = json.loads((folder / DECISION).read_text(encoding="utf-8"))
    before, pairs = setting.plan.phases[-2], {}
    for seed, champion in setting.champions.items():
        store = CheckpointStore(folder / f"seed-{seed}" / f"phase-{before.number:02d}" / "accepted")
        path = store.latest()
        if path is None:
            raise CheckpointError(f"{store.folder}: expected the agent before, found none")
        pairs[seed] = Pair(
            apply(_policy(setting, seed, load(path))),
            apply(_policy(setting, seed, champion.snapshot)),
            seed in record["accepted"],
        )
    return pairs


def _policy(setting: Setting, seed: int, snapshot: Snapshot) -> Policy:
    model = learner(setting, seed)
    check_fits(model, snapshot)
    model.policy.net.load_state_dict(dict(snapshot.weights))
    return policy_of(model)


def _figures(span: Span, pairs: Mapping[int, Pair], task: DataTask) -> list[dict[str, object]]:
    """Growth of each seed's agents on a span."""

    def growth(policy: Policy) -> float:
        ledger = backtest(policy, task.prepared.market, task.trading, span.rows, seed=0)
        return float(metrics.log_returns(ledger.returns).mean()) * task.prepared.bars.bars_per_year

    return [
        {
            "span": span.name,
            "seed": seed,
            "accepted": pair.accepted,
            "before": growth(pair.old),
            "after": growth(pair.left),
        }
        for seed, pair in pairs.items()
    ]


def _table(figures: list[dict[str, object]]) -> str:
    """Before and after, as people read it."""
    rows = [("LOG GROWTH A YEAR", "SEED", "BEFORE", "AFTER", "")]
    rows += [
        (
            str(each["span"]),
            str(each["seed"]),
            f"{each['before']:+.4f}",
            f"{each['after']:+.4f}",
            "accepted" if each["accepted"] else "rejected: the old agent",
        )
        for each in figures
    ]
    return columns(rows)


def _dated(span: Span, prepared: Prepared) -> str:
    ts_event_T = prepared.bars.ts_event.astype("datetime64[ns]")
    first, last = ts_event_T[[span.rows.start, span.rows.stop - 1]].astype("datetime64[D]")
    dates = f"{np.datetime_as_string(first)} to {np.datetime_as_string(last)}"
    return f"{span.name}, {dates} ({span.note})"
