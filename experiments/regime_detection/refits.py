"""Do regimes keep their names over refits? Rolling windows, with and without a warm start.

    python -m experiments.regime_detection.refits

Every 125 bars a detector is fitted anew to the last 1,500. Agreement is the share of the window's
bars whose most likely regime is the same under the old and the new model: as the fits number them
(raw), and after Hungarian matching (matched).
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.regime_detection.detectors import configs
from experiments.regime_detection.worlds import DAILY, simulate
from markets.sources import catalog
from markets.sources.config import load_dataset
from regimes.base import DetectorConfig, Observations, RegimeError
from regimes.detector import fit_model
from regimes.inputs import observations_of
from regimes.matching import match

Array = NDArray[np.float64]

WINDOW, STEP, BARS, SEEDS, FIRST_SEED = 1500, 125, 5000, 3, 40_000
RESULTS = Path(__file__).parent / "refits.json"


def agreements(
    seen: Observations, config: DetectorConfig, *, warm: bool, seed: int
) -> list[tuple[float, float]]:
    """Raw and matched agreement of each refit with the model before it."""
    found: list[tuple[float, float]] = []
    old = fit_model(config, seen.rows(0, WINDOW), seed=seed)
    for number, stop in enumerate(range(WINDOW + STEP, len(seen) + 1, STEP), start=1):
        rows = seen.rows(stop - WINDOW, stop)
        start = old if warm else None
        try:
            new = fit_model(config, rows, warm=start, seed=seed if warm else seed + number)
        except RegimeError:
            found.append((0.0, 0.0))
            continue
        between = match(old.filter(rows), new.filter(rows))
        found.append((between.raw, between.agreement))
        old = new
    return found


def histories(seeds: int) -> Mapping[str, list[Observations]]:
    """The daily market with three regimes, and the NASDAQ Composite."""
    paths = [
        simulate(DAILY, "gaussian", 1, BARS, seed=FIRST_SEED + seed).y_NTD[0]
        for seed in range(seeds)
    ]
    nasdaq = load_dataset(catalog.config_of("nasdaq")).bars
    return {"daily": [Observations.of(y) for y in paths], "nasdaq": [observations_of(nasdaq)]}


def main() -> None:
    """Measure and write `refits.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for history, paths in histories(options.seeds).items():
        found[history] = {}
        for name, config in configs(DAILY).items():
            for warm in (True, False):
                started = time.process_time()
                pairs = [
                    pair
                    for seed, seen in enumerate(paths)
                    for pair in agreements(seen, config, warm=warm, seed=seed)
                ]
                raw, matched = np.array(pairs).T
                found[history][f"{name}, {'warm' if warm else 'random'} start"] = {
                    "raw": float(raw.mean()),
                    "matched": float(matched.mean()),
                    "matched_lowest_tenth": float(np.quantile(matched, 0.1)),
                    "refused": float((matched < 0.8).mean()),
                    "refits": len(pairs),
                    "seconds_a_refit": (time.process_time() - started) / len(pairs),
                }
                print(history, name, warm, list(found[history].values())[-1], flush=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
