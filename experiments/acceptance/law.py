"""What policies of one market earn on the same episodes: the law of the simulated updates.

The market is Gârleanu-Pedersen's with three frozen regimes. A champion stands for a trained
agent: in each regime it earns 5 % less than the optimum, as its pull towards the signals is off in
a random direction. Candidates are off in other directions: those that do no harm by as much, those
of a bad update by so much that they earn 10 % less than the champion.

Every policy plays the same episodes. Scores are divided by the champion's mean gain in the regime,
and each policy's mean over the whole pool is moved to what it shall truly be (1, or 0.9), so that
draws from the pool have a known mean and the real policies' law of paired differences.

Dimensions: P policies (the champion first), R regimes, E episodes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from envs.synthetic import Problem
from evaluation.optimality import OptimalityConfig, measure
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.quadratic import QuadraticPolicy

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

CACHE = Path("runs/acceptance/pool.npz")
"""Written on first use, which takes two minutes."""
EPISODES, LENGTH = 3072, 256
POLICIES = 12
"""The champion and eleven candidates of either kind."""
SHORT, BAD = 0.05, 1.0 - 0.95 * 0.9
"""Shares of the optimum that the champion and its equals, and bad candidates, do not earn."""
TRIED = 0.2
"""Size of the error, of the mean pull, that its cost is measured at."""


@dataclass(frozen=True)
class Pool:
    """Scores by policy, regime and episode, as shares of the champion's mean gain.

    Attributes:
        equal_PRE: Policies of mean 1: champion and harmless candidates.
        bad_PRE: Policies of mean 0.9; the first is the champion's direction, further off.
    """

    equal_PRE: Array
    bad_PRE: Array

    @property
    def deviation(self) -> Array:
        """Mean standard deviation of paired differences between the equal policies."""
        return _mean([_paired(a, b) for a, b in _pairs(self.equal_PRE)])

    @property
    def bad_deviation(self) -> Array:
        """The same between equal and bad policies."""
        return _mean([_paired(a, b) for a in self.equal_PRE for b in self.bad_PRE])

    @property
    def unpaired(self) -> Array:
        """Standard deviation of the difference between episodes that are not the same."""
        return _mean(list(np.sqrt(2.0) * self.equal_PRE.std(axis=2)))

    @property
    def skewness(self) -> Array:
        """Mean skewness of paired differences between equal and bad policies."""
        return _mean([_moment(b - a, 3) for a in self.equal_PRE for b in self.bad_PRE])

    @property
    def kurtosis(self) -> Array:
        """Mean kurtosis of the same, 3 for the normal law."""
        return _mean([_moment(b - a, 4) for a in self.equal_PRE for b in self.bad_PRE])


def pools() -> dict[str, Pool]:
    """Pools of expected and of realised rewards, measured once and then read from `CACHE`."""
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        measured = _measured()
        np.savez_compressed(CACHE, allow_pickle=False, **measured)
    with np.load(CACHE) as stored:
        return {
            kind: Pool(*(stored[f"{kind}_{name}"].astype(float) for name in ("equal", "bad")))
            for kind in ("expected", "realised")
        }


def _measured() -> dict[str, Array]:
    problem = Problem(world=_world())
    oracle = problem.world.oracle("known")
    assert isinstance(oracle, QuadraticPolicy)
    best_KRE, rows = _scores(oracle, problem, None)
    rng = np.random.default_rng(0)
    found: dict[str, list[Array]] = {"equal": [], "bad": []}
    for _ in track(range(POLICIES), description="policies"):
        error_KAS = rng.normal(size=oracle.pull_KAS.shape)
        error_KAS *= np.abs(oracle.pull_KAS).mean(axis=(1, 2), keepdims=True)
        tried_KRE, _ = _scores(_off(oracle, error_KAS, np.full(3, TRIED)), problem, rows)
        cost_R = 1.0 - tried_KRE[0].mean(axis=1) / best_KRE[0].mean(axis=1)
        for name, share in (("equal", SHORT), ("bad", BAD)):
            # The cost of an error is quadratic in its size.
            size_R = TRIED * np.sqrt(share / cost_R)
            found[name].append(_scores(_off(oracle, error_KAS, size_R), problem, rows)[0])
    true = {"equal": 1.0, "bad": 0.9}
    unit_KR = found["equal"][0].mean(axis=2)
    return {
        f"{kind}_{name}": _centred(np.array(policies)[:, row] / unit_KR[row, :, None], true[name])
        for name, policies in found.items()
        for row, kind in enumerate(("expected", "realised"))
    }


def _world() -> GarleanuPedersen:
    return GarleanuPedersen(
        loadings=((0.20, 0.0), (-0.15, 0.20), (0.05, -0.20)),
        reversion=(0.05, 0.20),
        covariance=1.0,
        cost=10.0,
        risk_aversion=1.0,
        discount=0.99,
        transition=1.0,
        regime="known",
    )


def _off(oracle: QuadraticPolicy, error_KAS: Array, size_K: Array) -> QuadraticPolicy:
    pull_KAS = oracle.pull_KAS + size_K[:, None, None] * error_KAS
    return replace(oracle, pull_KAS=pull_KAS, value=None, solution=None)


def _scores(
    policy: QuadraticPolicy, problem: Problem, rows: list[Rows] | None
) -> tuple[Array, list[Rows]]:
    """Expected and realised scores (2, R, E), and which episodes belong to each regime."""
    scores = measure(policy, problem, OptimalityConfig(episodes=EPISODES, length=LENGTH))
    assert scores.expected is not None
    if rows is None:
        mine = [np.flatnonzero(scores.share_EK[:, k] > 0.5).astype(np.int64) for k in range(3)]
        rows = [each[: min(map(len, mine))] for each in mine]
    both = (scores.expected.discounted_E, scores.realised.discounted_E)
    return np.array([[values_E[row] for row in rows] for values_E in both]), rows


def _centred(scores_PRE: Array, mean: float) -> Array:
    moved_PRE = scores_PRE - scores_PRE.mean(axis=2, keepdims=True) + mean
    return np.asarray(moved_PRE, dtype=np.float32)


def _mean(figures: list[Array]) -> Array:
    return np.asarray(np.mean(figures, axis=0))


def _pairs(policies_PRE: Array) -> list[tuple[Array, Array]]:
    return [(a, b) for i, a in enumerate(policies_PRE) for b in policies_PRE[:i]]


def _paired(a_RE: Array, b_RE: Array) -> Array:
    return np.asarray((a_RE - b_RE).std(axis=1))


def _moment(gap_RE: Array, order: int) -> Array:
    centred_RE = gap_RE - gap_RE.mean(axis=1, keepdims=True)
    return np.asarray((centred_RE**order).mean(axis=1) / centred_RE.std(axis=1) ** order)
