"""Choice of the option agent's hyper-parameters, on data and seeds that are reported nowhere.

As `experiments.default_agent.tune`: bars before 2010, two splits, seeds from 100 on, each candidate
changes the experiment's configuration in one respect or a few, and is judged by its log growth a
year less that of equal weight rebalanced at every bar. Results are appended to `tuning.jsonl`; what
is there is not repeated.

    python -m experiments.options_equities.tune             # run what is missing
    python -m experiments.options_equities.tune --table     # the table of README.md
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from experiments.default_agent.tune import SPLITS, judged
from training.agents import build_learner, policy_of
from training.callbacks import Watch
from training.config import TrainConfig
from training.learning import checkpoints, choose, learn
from training.preparation import Prepared, prepare
from training.runtime import limit_torch_threads
from training.signals import StopRequest
from training.tasks.data import DataTask

RESULTS = Path(__file__).with_name("tuning.jsonl")
SEEDS = (100, 101)
LEARNED = ("{kind: learned}",) * 3
EQUAL, INVERSE = "{kind: rule,name: equal_weight}", "{kind: rule,name: inverse_volatility}"
MOMENTUM = "{kind: rule,name: momentum,window: 252}"
CASH = "{kind: rule,name: cash}"


def options(*each: str) -> tuple[str, ...]:
    """The override that makes these the agent's options."""
    return (f"agent.options=[{','.join(each)}]",)


START = options(*LEARNED, EQUAL, INVERSE, MOMENTUM)
CANDIDATES: dict[str, tuple[str, ...]] = {
    "start": (),
    "learned only": options(*LEARNED),
    "with cash": options(*LEARNED, EQUAL, INVERSE, CASH),
    "noise -1.5": ("agent.policy.log_std_init=-1.5",),
    "window 1": ("agent.policy.encoder.window=1",),
}


def configuration(candidate: str, split: str) -> TrainConfig:
    """The starting point with a candidate's changes, on one of the tuning splits."""
    until, validation, test = SPLITS[split]
    changes = [
        "experiment=options_equities",
        f"split.train=['2000-03-01','{until}']",
        "split.validation=[" + ",".join(f"'{d}'" for d in validation.split(",")) + "]",
        "split.test=[" + ",".join(f"'{d}'" for d in test.split(",")) + "]",
        "data.end=2009-12-31",
        "data.symbols=[AAPL,GOOG,IBM,MSFT]",
        "tracking=journal",
        "threads=1",
        *START,
        *CANDIDATES[candidate],
    ]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=changes)
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


@cache
def prepared(split: str, window: int) -> Prepared:
    """The market of a tuning split, which candidates of the same window share."""
    config = configuration("window 1" if window == 1 else "start", split)
    return prepare(config)


def run(candidate: str, split: str, seed: int) -> dict[str, object]:
    """Train once; judge the last and the best checkpoint."""
    config, started = configuration(candidate, split), time.process_time()
    task = DataTask(config, prepared(split, config.agent.policy.encoder.window))
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
    used = round(time.process_time() - started, 1)
    return {"candidate": candidate, "split": split, "seed": seed, "cpu_s": used, **figures}


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
            figures = rows[record["candidate"]]
            lead = 100.0 * record[select]["lead"]
            figures[f"{select} {record['split']}"].append(lead)
            figures[f"{select} all"].append(lead)
            figures[f"{select} turnover"].append(record[select]["turnover"])
    columns = [f"{s} {c}" for s in ("last", "best") for c in (*SPLITS, "all", "turnover")]
    lines = ["| candidate | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, found in rows.items():
        cells = []
        for column in columns:
            values = found[column]
            spread = statistics.stdev(values) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            cells.append(f"{statistics.mean(values):+.1f} ± {spread:.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="only print the table")
    if not parser.parse_args().table:
        limit_torch_threads(1)
        for candidate, split, seed in missing():
            record = run(candidate, split, seed)
            with RESULTS.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)
    print(table())


if __name__ == "__main__":
    main()
