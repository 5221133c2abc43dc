"""All detectors on three markets with hidden regimes, Gaussian and Student-t noise, 20 seeds.

    python -m experiments.regime_detection.run                     # resumes; about an hour
    python -m experiments.regime_detection.run --seeds 2 --markets regime_gbm
    python -m experiments.regime_detection.run --tables            # only the tables

Each path has a training span, on which a detector is fitted and its labels are aligned with the
true ones, and a test span of the same length, on which it is frozen and scored. One line of
`results.jsonl` is one path; lines that are there are not computed again.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.decision_value import decide
from evaluation.regime_scores import align, aligned, reliability, score_regimes, skill
from experiments.regime_detection.detectors import configs, oracle_filter
from experiments.regime_detection.tables import write_tables
from experiments.regime_detection.worlds import MARKETS, NOISES, Noise, Sample, simulate
from regimes.base import Observations, RegimeError
from regimes.config import REGRESSIONS
from regimes.detector import Detector

Array = NDArray[np.float64]

TRAIN = 2500
"""Bars of the training span."""
TEST = 2500
"""Bars of the test span."""
FIRST_SEED = 20_000
"""Seed of the first path; others were used to choose settings."""
RESULTS = Path(__file__).parent / "results.jsonl"


def beliefs_of(
    sample: Sample, noise: Noise, seed: int
) -> Iterator[tuple[str, Array | str, Mapping[str, float]]]:
    """Each detector's beliefs (T, C) over the whole path, or why there are none, and its cost."""
    oracle = oracle_filter(sample.market, noise)
    seen = Observations.of(sample.y_NTD[0], sample.x_NTM[0])
    truth = np.eye(sample.market.num_regimes)
    frequency_K = truth[sample.worlds.regime_NT[0, :TRAIN]].mean(axis=0)
    yield "known", truth[sample.worlds.regime_NT[0]], {}
    yield "oracle", oracle.filter(seen), {}
    yield "constant", np.tile(frequency_K, (len(seen), 1)), {}
    for name, config in configs(sample.market).items():
        read = seen if config.kind in REGRESSIONS else Observations.of(sample.y_NTD[0])
        started = time.process_time()
        try:
            detector = Detector(config, seed=seed).fit(read.rows(0, TRAIN))
        except RegimeError as error:
            yield name, str(error), {}
            continue
        yield name, detector.filter(read), {"fit_s": time.process_time() - started}


def score_path(name: str, noise: Noise, seed: int) -> dict[str, object]:
    """Everything that is measured on one path."""
    sample = simulate(MARKETS[name], noise, 1, TRAIN + TEST + 1, seed=seed)
    regime_T = sample.worlds.regime_NT[0]
    test = slice(TRAIN, TRAIN + TEST)
    found: dict[str, dict[str, object]] = {}
    values: dict[str, float] = {}
    for detector, belief, cost in beliefs_of(sample, noise, seed):
        if isinstance(belief, str):
            found[detector] = {"failed": belief}
            continue
        map_CK = align(belief[:TRAIN], regime_T[:TRAIN], sample.market.num_regimes)
        belief_TK = aligned(belief, map_CK)
        scores = score_regimes(belief_TK[test], regime_T[test])
        table = reliability(belief_TK[test], regime_T[test])
        values[detector] = _value(sample, belief_TK)
        found[detector] = {
            **scores.figures(),
            "value": values[detector],
            "reliability": [table.believed_B.tolist(), table.happened_B.tolist()],
            "reliability_count": table.count_B.tolist(),
            **cost,
        }
    constant, oracle = (float(str(found[d]["log_score"])) for d in ("constant", "oracle"))
    for row in found.values():
        if "log_score" in row:
            row["skill"] = skill(float(str(row["log_score"])), constant, oracle)
    return {"market": name, "noise": noise, "seed": seed, "detectors": found}


def compact(value: object) -> object:
    """The same with six digits of every float; what is not finite becomes a text, as JSON asks."""
    if isinstance(value, dict):
        return {key: compact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [compact(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def _value(sample: Sample, belief_TK: Array) -> float:
    """Mean expected reward of the exact policy on the test span, from no holdings."""
    return float(decide(sample.market, sample.worlds.since(TRAIN), belief_TK[None, TRAIN:]).mean[0])


def main() -> None:
    """Measure what is missing, then write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="paths of each market and noise (20)")
    parser.add_argument("--markets", nargs="*", default=list(MARKETS), choices=list(MARKETS))
    parser.add_argument("--noises", nargs="*", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args()
    done = set()
    if options.results.exists():
        lines = map(json.loads, options.results.read_text().splitlines())
        done = {(line["market"], line["noise"], line["seed"]) for line in lines}
    wanted = [
        (name, noise, FIRST_SEED + seed)
        for seed in range(options.seeds)
        for name in options.markets
        for noise in options.noises
    ]
    for name, noise, seed in [] if options.tables else wanted:
        if (name, noise, seed) in done:
            continue
        started = time.monotonic()
        line = json.dumps(compact(score_path(name, noise, seed)))
        with options.results.open("a") as file:
            file.write(line + "\n")
        print(f"{name} {noise} {seed}: {time.monotonic() - started:.0f} s", flush=True)
    write_tables(options.results)


if __name__ == "__main__":
    main()
