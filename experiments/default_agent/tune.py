"""Choice of the default agent's hyper-parameters, on data and seeds that are reported nowhere.

Only bars before 2010 are read: two splits of the default stocks whose last spans end before the
test span of the default job begins, and seeds from 100 on. Each candidate changes the starting
point (the default configuration with `START`) in one respect or a few; each is judged by its log
growth a year less that of equal weight rebalanced at every bar, both after costs. Results are
appended to `tuning.jsonl`; what is there is not repeated, so the study can be stopped and gone on
with.

    python -m experiments.default_agent.tune             # run what is missing (about half an hour)
    python -m experiments.default_agent.tune --table     # the table of README.md
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from agents.policy import Policy
from agents.rules import EqualWeight
from envs.config import FeeConfig, LogReturnReward
from evaluation import metrics
from evaluation.backtest import backtest
from evaluation.baselines import on_simplex
from evaluation.ledger import Ledger
from training.agents import build_learner, policy_of
from training.callbacks import Watch
from training.config import TrainConfig
from training.learning import checkpoints, choose, learn
from training.preparation import Prepared, learner_env
from training.runtime import limit_torch_threads
from training.signals import StopRequest
from training.tasks.data import DataTask

RESULTS = Path(__file__).with_name("tuning.jsonl")
SEEDS = (100, 101, 102)
SPLITS = {
    "2006-2007": ("2003-12-31", "2004-01-01,2005-12-31", "2006-01-01,2007-12-31"),
    "2008-2009": ("2005-12-31", "2006-01-01,2007-12-31", "2008-01-01,2009-12-31"),
}
FEW_FEATURES = (
    "features.features=[log_return,{name: momentum,parameters: {horizon: 21}},"
    "{name: momentum,parameters: {horizon: 63}},"
    "{name: realised_volatility,parameters: {window: 63}},high_distance]"
)
START = (
    "schedule.total_steps=600000",
    "schedule.checkpoint_steps=60000",
    "agent.ppo.learning_rate=5e-4",
)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "start": (),
    "steps 200k": ("schedule.total_steps=200000", "schedule.checkpoint_steps=20000"),
    "steps 1.5M": ("schedule.total_steps=1500000", "schedule.checkpoint_steps=150000"),
    "actor rate 1e-4": ("agent.ppo.learning_rate=1e-4",),
    "actor rate 1e-3": ("agent.ppo.learning_rate=1e-3",),
    "discount 0.9": ("agent.ppo.discount=0.9",),
    "discount 0.5": ("agent.ppo.discount=0.5",),
    "noise -1.5": ("agent.policy.log_std_init=-1.5",),
    "window 1": ("agent.policy.encoder.window=1", "env.observation.window=1"),
    "window 30": ("agent.policy.encoder.window=30", "env.observation.window=30"),
    "small network": (
        "agent.policy.encoder.channels=8",
        "agent.policy.encoder.hidden=16",
        "agent.policy.encoder.embedding=16",
        "agent.policy.hidden=[32]",
    ),
    "few features": (FEW_FEATURES,),
    "mean-variance 3": ("env.reward.kind=mean_variance", "+env.reward.risk_aversion=3.0"),
    "fees 10 bps in training": ("env.fee.bps=10",),
    "minibatch 8192": ("agent.ppo.minibatch=8192",),
    "epochs 2": ("agent.ppo.epochs=2",),
    "epochs 10": ("agent.ppo.epochs=10",),
}


def configuration(candidate: str, split: str) -> TrainConfig:
    """The starting point with a candidate's changes, on one of the tuning splits."""
    until, validation, test = SPLITS[split]
    changes = [
        f"split.train=['2000-03-01','{until}']",
        "split.validation=[" + ",".join(f"'{d}'" for d in validation.split(",")) + "]",
        "split.test=[" + ",".join(f"'{d}'" for d in test.split(",")) + "]",
        "data.end=2009-12-31",
        "data.symbols=[AAPL,GOOG,IBM,MSFT]",
        "tracking=journal",
        *START,
        *CANDIDATES[candidate],
    ]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=changes)
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def growth(ledger: Ledger) -> float:
    """Log growth a year."""
    clock = ledger.metadata.periods_per_year
    return float(metrics.annualised_log_growth(ledger.returns, clock))


def judged(policy: Policy, config: TrainConfig, prepared: Prepared) -> dict[str, float]:
    """Figures of a policy on the last span of a tuning split, at the default costs."""
    env = replace(learner_env(config), fee=FeeConfig(), reward=LogReturnReward())
    ledger = backtest(policy, prepared.market, env, prepared.split.test)
    rule = EqualWeight(prepared.market.tradable_TA)
    rival = backtest(rule, prepared.market, on_simplex(env), prepared.split.test)
    clock = ledger.metadata.periods_per_year
    return {
        "growth": growth(ledger),
        "lead": growth(ledger) - growth(rival),
        "sharpe": float(metrics.sharpe(ledger.returns, clock)),
        "turnover": float(ledger.turnover.mean() * clock),
    }


def run(candidate: str, split: str, seed: int) -> dict[str, object]:
    """Train once; judge the last and the best checkpoint."""
    config = configuration(candidate, split)
    task = DataTask(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watch = Watch(lambda *_: None, lambda *_: None, StopRequest(), lambda _: None)
        learn(config, task, seed, folder, watch)
        store = checkpoints(config, folder)
        model = build_learner(config, task, seed)
        figures = {}
        for select, path in (("last", store.latest()), ("best", store.best())):
            assert path is not None
            choose(path, model)
            figures[select] = judged(policy_of(model), config, task.prepared)
    return {"candidate": candidate, "split": split, "seed": seed, **figures}


def missing() -> Iterator[tuple[str, str, int]]:
    """What has not been run yet."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    done = {(r["candidate"], r["split"], r["seed"]) for r in map(json.loads, lines)}
    for seed in SEEDS:
        for candidate in CANDIDATES:
            for split in SPLITS:
                if (candidate, split, seed) not in done:
                    yield candidate, split, seed


def table() -> str:
    """Mean lead over equal weight, in percentage points of log growth a year, by candidate."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in map(json.loads, RESULTS.read_text().splitlines()):
        for select in ("last", "best"):
            rows[record["candidate"]][f"{select} {record['split']}"].append(
                100.0 * record[select]["lead"]
            )
            rows[record["candidate"]][f"{select} all"].append(100.0 * record[select]["lead"])
            rows[record["candidate"]][f"{select} turnover"].append(record[select]["turnover"])
    columns = [f"{s} {c}" for s in ("last", "best") for c in (*SPLITS, "all", "turnover")]
    lines = ["| candidate | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures in rows.items():
        cells = []
        for column in columns:
            values = figures[column]
            spread = statistics.stdev(values) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            cells.append(f"{statistics.mean(values):+.1f} ± {spread:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="only print the table")
    options = parser.parse_args()
    if not options.table:
        limit_torch_threads()
        for candidate, split, seed in missing():
            record = run(candidate, split, seed)
            with RESULTS.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(candidate, split, seed, record["last"], record["best"], flush=True)
    print(table())


if __name__ == "__main__":
    main()
