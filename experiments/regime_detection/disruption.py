"""The claim "disruption 15 % -> 3.8 %": beliefs as weights against hard arg-max routing.

    python -m experiments.regime_detection.disruption

One expert for each regime holds that regime's growth-optimal weight; the holdings are the experts'
mixed by weights w_t. Hard routing puts all weight on the most believed regime; blended routing
takes the belief. Either may be slowed down: w_t = w_{t-1} + rate (route_t - w_{t-1}), and hard
routing may wait until a regime was the most believed for some bars in a row. Every line is net of
costs on the same paths, with the same fitted detector.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.decision_value import Worlds, decide
from evaluation.regime_scores import align, aligned
from experiments.regime_detection.worlds import DAILY, MARKETS, simulate
from markets.synthetic.base import Information, World
from markets.synthetic.gbm_oracles import kelly_weights
from markets.synthetic.regime_gbm import RegimeGBM
from regimes.base import Observations
from regimes.belief import disruption
from regimes.detector import Detector
from regimes.hmm import GaussianHMMConfig

Array = NDArray[np.float64]

TRAIN, TEST, SEEDS, FIRST_SEED = 2500, 2500, 20, 30_000
RATES = (1.0, 0.5, 0.22, 0.15, 0.1, 0.07, 0.05, 0.02)
DWELLS = (1, 2, 3, 5, 7, 10, 20)
COST_BPS = 5.0
RESULTS = Path(__file__).parent / "disruption.json"


@dataclass(frozen=True)
class Mixed:
    """Experts' holdings mixed by the weights that it is given for beliefs."""

    expert_KA: Array
    information: Information = "belief"

    def target(self, world: World, holding_NA: Array) -> Array:
        """Weighted mean of the experts' holdings, (N, A)."""
        del holding_NA
        if world.belief_NK is None:
            raise ValueError("world: expected weights in the place of beliefs, found none")
        return np.asarray(world.belief_NK @ self.expert_KA)


def waited(belief_TK: Array, dwell: int) -> Array:
    """Hard routing (T, K) that follows once a regime led for `dwell` bars in a row."""
    leader_T = belief_TK.argmax(axis=1)
    chosen_T, current, run = leader_T.copy(), leader_T[0], 0
    for bar, leader in enumerate(leader_T):
        run = run + 1 if bar and leader == leader_T[bar - 1] else 1
        if run >= dwell:
            current = leader
        chosen_T[bar] = current
    return np.asarray(np.eye(belief_TK.shape[1])[chosen_T])


def slowed(route_TK: Array, rate: float) -> Array:
    """Weights (T, K) that move a share `rate` of the way at each bar."""
    weight_TK = route_TK.copy()
    for bar in range(1, len(weight_TK)):
        weight_TK[bar] = weight_TK[bar - 1] + rate * (route_TK[bar] - weight_TK[bar - 1])
    return weight_TK


def routes(belief_TK: Array) -> dict[str, Array]:
    """Weights of every way of routing."""
    found = {f"hard, dwell {dwell}": waited(belief_TK, dwell) for dwell in DWELLS}
    found |= {f"blended, rate {rate:g}": slowed(belief_TK, rate) for rate in RATES}
    return found


def measured(market: RegimeGBM, worlds: Worlds, weight_TK: Array) -> dict[str, float]:
    """Disruption, turnover, growth and use of one way of routing on one path."""
    expert_KA = kelly_weights(market.law, market.limit)
    decisions = decide(market, worlds, weight_TK[None], Mixed(expert_KA))
    _, moved = disruption(weight_TK)
    step_T = np.diff(weight_TK, axis=0)
    holdings_T = 0.5 * np.abs(step_T @ expert_KA).sum(axis=1) / market.limit
    use_K = weight_TK.mean(axis=0)
    logs_K = np.log(np.maximum(use_K, 1e-12))
    return {
        "mean": moved.mean,
        "p99": moved.p99,
        "max": moved.maximum,
        "holdings_mean": float(holdings_T.mean()),
        "holdings_p99": float(np.quantile(holdings_T, 0.99)),
        "turnover": float(0.5 * decisions.turnover_NT.mean()),
        "growth": float(decisions.mean[0]),
        "usage_entropy": float(-(use_K * logs_K).sum() / np.log(len(use_K))),
    }


def one_path(market: RegimeGBM, seed: int) -> dict[str, dict[str, float]]:
    """All ways of routing with one fitted detector on one path."""
    sample = simulate(market, "gaussian", 1, TRAIN + TEST + 1, seed=seed)
    seen = Observations.of(sample.y_NTD[0])
    config = GaussianHMMConfig(num_regimes=market.num_regimes)
    detector = Detector(config, seed=seed).fit(seen.rows(0, TRAIN))
    belief_TK = detector.filter(seen)
    truth_T = sample.worlds.regime_NT[0]
    belief_TK = aligned(belief_TK, align(belief_TK[:TRAIN], truth_T[:TRAIN], market.num_regimes))
    return {
        name: measured(market, sample.worlds.since(TRAIN), weight_TK[TRAIN:])
        for name, weight_TK in routes(belief_TK).items()
    }


def summary(paths: list[dict[str, dict[str, float]]]) -> dict[str, Mapping[str, object]]:
    """Means over paths, and growth less that of hard routing with its 95 % interval."""
    found: dict[str, Mapping[str, object]] = {}
    rows_BN = np.random.default_rng(0).integers(0, len(paths), (4000, len(paths)))
    hard = np.array([path["hard, dwell 1"]["growth"] for path in paths])
    for name in paths[0]:
        row: dict[str, object] = {
            key: float(np.mean([path[name][key] for path in paths])) for key in paths[0][name]
        }
        lead = np.array([path[name]["growth"] for path in paths]) - hard
        ends = np.quantile(lead[rows_BN].mean(axis=1), [0.025, 0.975])
        row["lead"] = [float(lead.mean()), *ends.tolist()]
        found[name] = row
    return found


def main() -> None:
    """Measure and write `disruption.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    default = MARKETS["regime_gbm"]
    assert isinstance(default, RegimeGBM)
    markets = {"daily": replace(DAILY, cost_bps=COST_BPS), "regime_gbm": default}
    found = {}
    for name, market in markets.items():
        seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
        found[name] = summary([one_path(market, seed) for seed in seeds])
        for route, row in found[name].items():
            print(name, route, row, flush=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
