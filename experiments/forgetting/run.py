"""Streams of regimes under every remedy: what is learned, what is kept, what comes back.

Every arm goes through the same phases with the same seeds, without the acceptance gate. A line of
`results.jsonl` holds the score matrix and the curves of one stream; what is there is not repeated.

    python -m experiments.forgetting.run                       # run what is missing
    python -m experiments.forgetting.run --worker 0/2          # every other stream of it
    python -m experiments.forgetting.run --problem "gp known" --seeds 10
"""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict

from experiments.forgetting.arms import (
    ARMS,
    CORE,
    GATED,
    PROBLEMS,
    SEEDS,
    STEPS,
    Arm,
    continual,
    wanted,
    words,
)
from experiments.options_vs_flat.journal import Journal, seeds_of, study_parser
from training.callbacks import Watch
from training.config import TrainConfig
from training.continual.job import open_stream
from training.continual.phases import Phase, open_plan
from training.continual.stream import SCORES
from training.continual.updates import read_decisions
from training.runtime import limit_torch_threads
from training.signals import StopRequest
from training.tasks.choice import open_task

RESULTS = Path(__file__).with_name("results.jsonl")


def configuration(problem: str, arm: Arm, steps: int) -> TrainConfig:
    """What an arm's words come to on a problem."""
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=words(problem, arm, steps))
    with open_dict(cfg):
        cfg.pop("resume")
    container: Any = OmegaConf.to_container(cfg, resolve=True)
    return TrainConfig.from_container(container | {"continual": continual(problem, arm)})


def run(problem: str, arm: Arm, steps: int, seed: int) -> dict[str, Any]:
    """Go through a stream once.

    Args:
        problem: name.
        arm: what learns.
        steps: of a phase.
        seed: of the stream.
    """
    config = configuration(problem, arm, steps)
    assert config.continual is not None
    task = open_task(config)
    plan = open_plan(config, config.continual)
    # A phase ends with a whole rollout.
    rollout = config.agent.ppo.steps * config.schedule.num_envs
    length = math.ceil(steps / rollout) * rollout
    curve: dict[int, list[float]] = {}
    spent = time.process_time()

    @contextmanager
    def follow(phase: Phase, done: int) -> Iterator[Watch]:
        del done

        def log(values: Mapping[str, float], step: int) -> None:
            scores = [value for name, value in values.items() if name.startswith("curve/")]
            if scores:
                curve[phase.number * length + step] = [round(score, 5) for score in scores]

        yield Watch(log, lambda *_: None, StopRequest(), lambda _: None)

    with tempfile.TemporaryDirectory() as folder:
        stream = open_stream(config, plan, task, seed, Path(folder))
        stream.run(follow)
        folders = [stream.phase_folder(phase) for phase in stream.plan.phases]
        scores = [json.loads((each / SCORES).read_text()) for each in folders]
        decisions = [[d.accepted for d in read_decisions(each)] for each in folders]
    judged = {"accepted": decisions} if problem in GATED else {}
    return {
        "order": [each["regime"] for each in scores],
        "phase_steps": [each["steps"] for each in scores],
        "before": scores[0]["before"],
        "ratio": np.round([each["ratio"] for each in scores], 5).tolist(),
        "floats": [each["stored_floats"] for each in scores],
        "curve": [[step, *found] for step, found in sorted(curve.items())],
        "cpu_seconds": round(time.process_time() - spent, 1),
        **judged,
    }


def main() -> None:
    """Run what is missing."""
    parser = study_parser(__doc__, steps=0, seeds=SEEDS, tables=False)
    parser.add_argument("--problem", choices=PROBLEMS, action="append", help="only this one")
    parser.add_argument("--arm", choices=ARMS, action="append", help="only this one")
    parser.add_argument("--core", action="store_true", help="only the arms that decide")
    given = parser.parse_args()
    journal = Journal(given.output or RESULTS)
    limit_torch_threads()
    keys = [
        {"problem": problem, "arm": arm, "steps": given.steps or STEPS[problem], "seed": seed}
        for seed in seeds_of(given)
        for problem in given.problem or PROBLEMS
        for arm in given.arm or (CORE.get(problem, ()) if given.core else ARMS)
        if given.seed or seed < wanted(problem, arm)
    ]
    for key in journal.missing(keys, given.worker):
        found = run(key["problem"], ARMS[key["arm"]], key["steps"], key["seed"])
        journal.add({**key, **found})
        final = " ".join(f"{score:.3f}" for score in found["ratio"][-1])
        print(f"{key['problem']:10s} {key['arm']:36s} seed {key['seed']:3d}  {final}", flush=True)


if __name__ == "__main__":
    main()
