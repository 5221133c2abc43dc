"""How much history does a detector need? Decision value over the length of the training span.

    python -m experiments.regime_detection.lengths

The detector of each market that fits its law, with noise of its own kind, is fitted on 1,250 to
20,000 bars and scored on the next 2,500; the share is of the policy fed with the oracle filter.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.decision_value import decide
from evaluation.regime_scores import align, aligned
from experiments.regime_detection.detectors import oracle_filter
from experiments.regime_detection.worlds import MARKETS, NOISES, Noise, simulate
from regimes.base import DetectorConfig, Observations
from regimes.config import REGRESSIONS
from regimes.detector import Detector
from regimes.hmm import GaussianHMMConfig, StudentHMMConfig, SwitchingRegressionConfig

Array = NDArray[np.float64]

LENGTHS = (1250, 2500, 5000, 10_000, 20_000)
TEST, SEEDS, FIRST_SEED, RESAMPLES = 2500, 20, 50_000, 4000
RESULTS = Path(__file__).parent / "lengths.json"


def config_of(market: str, noise: Noise) -> DetectorConfig:
    """The detector whose law is the market's."""
    regimes = MARKETS[market].num_regimes
    if market != "regime_gbm":
        plain = SwitchingRegressionConfig(num_regimes=regimes)
        return plain if noise == "gaussian" else replace(plain, noise="student")
    form = GaussianHMMConfig if noise == "gaussian" else StudentHMMConfig
    return form(num_regimes=regimes)


def measured(market: str, noise: Noise, length: int, seeds: int) -> dict[str, float]:
    """Share of the oracle filter's value after one length of training, with its interval."""
    world = MARKETS[market]
    sample = simulate(world, noise, seeds, length + TEST + 1, seed=FIRST_SEED + length)
    config, oracle = config_of(market, noise), oracle_filter(world, noise)
    beliefs, exact = [], []
    for path in range(seeds):
        seen = Observations.of(sample.y_NTD[path], sample.x_NTM[path])
        exact.append(oracle.filter(seen)[length:])
        if config.kind not in REGRESSIONS:
            seen = Observations.of(sample.y_NTD[path])
        belief_TC = Detector(config, seed=path).fit(seen.rows(0, length)).filter(seen)
        truth_T = sample.worlds.regime_NT[path, :length]
        map_CK = align(belief_TC[:length], truth_T, world.num_regimes)
        beliefs.append(aligned(belief_TC, map_CK)[length:])
    late = sample.worlds.since(length)
    earned, best = (decide(world, late, np.stack(b)).mean for b in (beliefs, exact))
    rows_BN = np.random.default_rng(0).integers(0, seeds, (RESAMPLES, seeds))
    redrawn_B = earned[rows_BN].sum(axis=1) / best[rows_BN].sum(axis=1)
    low, high = np.quantile(redrawn_B, [0.025, 0.975])
    return {"share": float(earned.sum() / best.sum()), "low": float(low), "high": float(high)}


def main() -> None:
    """Measure and write `lengths.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="paths of each line (20)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for market in MARKETS:
        for noise in NOISES:
            for length in LENGTHS:
                row = measured(market, noise, length, options.seeds)
                found[f"{market}, {noise}, {length}"] = row
                print(f"{market} {noise} {length}: {row}", flush=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
