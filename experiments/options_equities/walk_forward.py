"""The flat agent, options and the baselines over folds that walk through time.

Each fold learns on five years, has a year to choose the best baseline on, and is judged on the next
year; the years of judgement follow each other, and their returns are put together. Every account
begins anew with each fold. The last weights are judged, so that nothing of an agent is chosen.
Results are appended to `walk_forward.jsonl`; what is there is not repeated.

    python -m experiments.options_equities.walk_forward             # run what is missing
    python -m experiments.options_equities.walk_forward --table     # the tables of README.md
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import open_dict

from evaluation import metrics
from evaluation.backtest import backtest, backtest_many
from evaluation.baselines import baseline_runs, on_simplex
from evaluation.bootstrap import BootstrapConfig, Interval, combined_interval, seed_interval
from evaluation.ledger import Ledger
from experiments.options_equities.compare import lead, ratio_returns
from experiments.options_vs_flat.journal import Journal, Row, chosen, seeds_of, study_parser
from experiments.options_vs_flat.statistics import markdown
from markets.splits import Rows
from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.preparation import Prepared, learner_env, prepare
from training.runtime import limit_torch_threads
from training.tasks.data import DataTask

RESULTS = Path(__file__).with_name("walk_forward.jsonl")
AGENTS: Final = {"options and rules": "options_equities", "flat agent": "default_agent"}
"""Experiments of `conf/experiment`, by the agent's name here."""
STEPS, SEEDS, FOLDS = 300_000, 5, 5
CLOCK = 252.0
"""Bars of a year."""
CHOSEN = "the best on validation"
"""Of the baselines, fold by fold."""


def configuration(agent: str, fold: int, steps: int) -> TrainConfig:
    """A training on a fold; four stocks, for the fifth was not listed in most of them."""
    words = [
        f"experiment={AGENTS[agent]}",
        "split=walk_forward",
        f"fold={fold}",
        f"schedule.total_steps={steps}",
        "data.symbols=[AAPL,GOOG,IBM,MSFT]",
        "tracking=journal",
        "threads=1",
    ]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=words)
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


@lru_cache(maxsize=2)
def prepared(agent: str, fold: int) -> Prepared:
    """The market of a fold with what an agent knows of it, which its seeds share."""
    return prepare(configuration(agent, fold, 1))


def agent_row(agent: str, fold: int, seed: int, steps: int) -> dict[str, Any]:
    """Train once, and trade the year after.

    Returns:
        `returns` of every bar of the fold's test span after costs, and `turnover` a year.
    """
    config = configuration(agent, fold, steps)
    task = DataTask(config, prepared(agent, fold))
    model = build_learner(config, task, seed)
    model.learn(steps)
    rows = task.prepared.split.test
    ledger = backtest(policy_of(model), task.market, learner_env(config), rows, seed=seed)
    return told(ledger, task.prepared)


def told(ledger: Ledger, market: Prepared) -> dict[str, Any]:
    """What is kept of a ledger."""
    ends = market.bars.ts_event[list(ledger_rows(market.split.test))]
    days = ends.astype("datetime64[ns]").astype("datetime64[D]")
    return {
        "first": str(days[0]),
        "last": str(days[1]),
        "turnover": float(ledger.turnover[1:].mean() * CLOCK),
        "returns": [float(f"{value:.9g}") for value in ledger.returns],
    }


def ledger_rows(rows: Rows) -> tuple[int, int]:
    """First and last row of a span."""
    return rows.start, rows.stop - 1


def baseline_rows(fold: int) -> dict[str, dict[str, Any]]:
    """Every baseline but the random one on a fold's test span, and its growth on validation."""
    config, market = configuration("flat agent", fold, 1), prepared("flat agent", fold)
    rules = baseline_runs(market.market, config.evaluation.baselines, turnover=0.0, seed=0)[:-1]
    trading = on_simplex(learner_env(config))
    spans = (market.split.test, market.split.validation)
    test, earlier = (backtest_many(rules, market.market, trading, span) for span in spans)
    return {
        rule.name: {
            **told(now[0], market),
            "validation": float(metrics.annualised_log_growth(before[0].returns, CLOCK)),
        }
        for rule, now, before in zip(rules, test, earlier, strict=True)
    }


def series(rows: Sequence[Row], name: str, folds: Sequence[int]) -> NDArray[np.float64]:
    """Returns (K, T) of an agent or a baseline by seed, the folds' one after the other.

    Seeds that lack a fold are left out.
    """
    found = chosen(rows, name=name)
    by = {(int(row["seed"]), int(row["fold"])): row["returns"] for row in found}
    seeds = sorted({seed for seed, _ in by})
    whole = [s for s in seeds if all((s, fold) in by for fold in folds)]
    return np.array([np.concatenate([by[s, fold] for fold in folds]) for s in whole])


def best_on_validation(rows: Sequence[Row], fold: int) -> str:
    """Name of the baseline with the largest growth on a fold's validation span."""
    rules = [row for row in chosen(rows, fold=fold) if "validation" in row]
    return str(max(rules, key=lambda row: float(row["validation"]))["name"])


def baselines_of(rows: Sequence[Row], folds: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Returns (1, T) of each baseline, and of the one that is chosen on validation."""
    names = list(dict.fromkeys(str(row["name"]) for row in rows if "validation" in row))
    found = {name: series(rows, name, folds) for name in names}
    picked = [series(rows, best_on_validation(rows, fold), [fold]) for fold in folds]
    return found | {CHOSEN: np.concatenate(picked, axis=1)}


def growth(returns_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log growth a year along the last axis."""
    return metrics.annualised_log_growth(returns_NT, CLOCK)


def points(interval: Interval) -> str:
    """A figure a year with its interval, in percentage points."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.estimate:+.1f} [{low:+.1f}, {high:+.1f}]"


def differences(
    agents: Mapping[str, NDArray[np.float64]], baselines: Mapping[str, NDArray[np.float64]]
) -> str:
    """Growth of the agents less that of the baselines and of each other, with intervals."""
    config, body = BootstrapConfig(), []
    for name, agent_KT in agents.items():
        for other, other_LT in baselines.items():
            both = combined_interval(agent_KT, growth, config, other_LT)
            seeds = seed_interval(growth(agent_KT) - growth(other_LT).mean(), config.level)
            body.append([name, other, points(both), points(seeds)])
    (first, one_KT), (second, two_KT) = agents.items()
    found = lead(ratio_returns(one_KT, two_KT), CLOCK, config)
    ends = (points(found[kind]) for kind in ("over seeds and histories", "over seeds"))
    body.append([first, second, *ends])
    return markdown(("", "less", "over seeds and histories", "over seeds"), body)


def tables(rows: Sequence[Row]) -> str:
    """Growth by fold, and the differences over all of them."""
    folds = sorted({int(row["fold"]) for row in rows})
    agents = {name: series(rows, name, folds) for name in AGENTS}
    baselines = baselines_of(rows, folds)
    spans = [f"{r['first']} to {r['last']}" for f in folds for r in chosen(rows, fold=f)[:1]]
    edges = np.cumsum([0, *(len(chosen(rows, fold=fold)[0]["returns"]) for fold in folds)])
    body = []
    for name, returns_KT in (agents | baselines).items():
        parts = [growth(returns_KT[:, a:b]).mean() for a, b in itertools.pairwise(edges)]
        cells = [f"{100 * part:+.1f}" for part in (*parts, growth(returns_KT).mean())]
        volatility = metrics.annualised_volatility(returns_KT, CLOCK).mean()
        turnover = [float(row["turnover"]) for row in chosen(rows, name=name)]
        traded = f"{np.mean(turnover):.1f}" if turnover else ""
        body.append([name, *cells, f"{100 * volatility:.1f}", traded])
    heads = ("", *spans, "all", "volatility", "turnover a year")
    picked = ", ".join(f"{fold}: {best_on_validation(rows, fold)}" for fold in folds)
    count = ", ".join(f"{name}: {len(each)} seeds" for name, each in agents.items())
    return "\n\n".join(
        [markdown(heads, body), f"{count}. {CHOSEN}, by fold: {picked}.",
         differences(agents, baselines)]
    )  # fmt: skip


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = study_parser(__doc__, steps=STEPS, seeds=SEEDS)
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"0 .. FOLDS - 1 ({FOLDS})")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    if given.table:
        print(tables(journal.rows()))
        return
    limit_torch_threads(1)
    for fold in range(given.folds):
        if not any("validation" in row for row in chosen(journal.rows(), fold=fold)):
            for name, row in baseline_rows(fold).items():
                journal.add({"name": name, "fold": fold, "seed": 0, **row})
    keys = [
        {"name": agent, "fold": fold, "seed": seed, "steps": given.steps}
        for fold in range(given.folds)
        for agent in AGENTS
        for seed in seeds_of(given)
    ]
    for key in journal.missing(keys, given.worker):
        row = agent_row(key["name"], key["fold"], key["seed"], key["steps"])
        journal.add({**key, **row})
        print(*key.values(), f"{growth(np.array(row['returns'])):+.3f}", flush=True)


if __name__ == "__main__":
    main()
