"""Which test of non-inferiority keeps its level, and what it costs in power.

Each method judges the same simulated paired differences: at the margin itself (every rejection is a
false acceptance: the size) and without any loss (every rejection is right: the power).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.acceptance_statistics import Redrawing, p_values

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Array]
Tests = dict[str, Array]

RESAMPLES = 20_000
MARGIN = 0.5
"""Of one standard deviation of the paired differences."""


def _skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Lognormal, skewness 1.75 at sigma 0.5: rare large gains."""
    mean, deviation = np.exp(0.125), np.sqrt((np.exp(0.25) - 1.0) * np.exp(0.25))
    return np.asarray((rng.lognormal(0.0, 0.5, size=shape) - mean) / deviation)


def _sparse(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """The policies differ in one episode of five only."""
    differs = rng.random(shape) < 0.2
    return np.asarray(np.where(differs, rng.normal(size=shape), 0.0) / np.sqrt(0.2))


LAWS: dict[str, Law] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "Student's t, 4 degrees": lambda rng, shape: rng.standard_t(4, size=shape) / np.sqrt(2.0),
    "lognormal, rare gains": _skewed,
    "lognormal, rare losses": lambda rng, shape: -_skewed(rng, shape),
    "differs in 1 of 5": _sparse,
}
"""Laws of the paired differences, all of mean 0 and deviation 1."""


def rates(
    law: Law, episodes: int, level: float, repetitions: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Size at the margin and power without a loss, by method."""
    rng = np.random.default_rng([seed, episodes])
    noise_HE = law(rng, (repetitions, episodes))
    at_margin, harmless = tests(noise_HE - MARGIN, seed), tests(noise_HE, seed)
    return {
        name: (float(np.mean(at_margin[name] <= level)), float(np.mean(harmless[name] <= level)))
        for name in at_margin
    }


def tests(differences_HE: Array, seed: int) -> Tests:
    """p-values of H0: mean <= -MARGIN by every method; a constant sample has p-value 1."""
    moving_HE = differences_HE[np.ptp(differences_HE, axis=1) > 0.0]
    margins_H = np.full(len(moving_HE), MARGIN)
    found = {
        "the gate's": p_values(moving_HE, margins_H, Redrawing(resamples=RESAMPLES, seed=seed)),
        "Student's t": _student(moving_HE),
        **_by_mean(moving_HE, seed),
    }
    missing = len(differences_HE) - len(moving_HE)
    return {name: np.concatenate([p_H, np.ones(missing)]) for name, p_H in found.items()}


def _student(differences_HE: Array) -> Array:
    result = stats.ttest_1samp(differences_HE, -MARGIN, axis=1, alternative="greater")
    return np.asarray(result.pvalue)


def _by_mean(differences_HE: Array, seed: int) -> Tests:
    """Studentised, percentile and BCa (Efron 1987, JASA 82) bootstraps, on the same resamples."""
    episodes = differences_HE.shape[1]
    rng = np.random.default_rng([seed, 1, episodes])
    count_BE = rng.multinomial(episodes, np.full(episodes, 1.0 / episodes), size=RESAMPLES)
    below_H, at_H, below_mean_H, above_H = np.zeros((4, len(differences_HE)))
    mean_H, error_H = differences_HE.mean(axis=1), differences_HE.std(axis=1)
    observed_H = (mean_H + MARGIN) / error_H
    for part in np.array_split(count_BE, 20):
        redrawn_BH = part @ differences_HE.T / episodes
        below_H += np.count_nonzero(redrawn_BH <= -MARGIN, axis=0)
        below_mean_H += np.count_nonzero(redrawn_BH < mean_H, axis=0)
        at_H += np.count_nonzero(redrawn_BH == mean_H, axis=0)
        variance_BH = part @ (differences_HE.T**2) / episodes - redrawn_BH**2
        constant_BH = variance_BH <= 1e-12 * error_H**2
        spread_BH = np.where(constant_BH, np.finfo(float).tiny, np.sqrt(np.abs(variance_BH)))
        above_H += np.count_nonzero(redrawn_BH - mean_H >= observed_H * spread_BH, axis=0)
    share_H = (below_H + 1.0) / (RESAMPLES + 2.0)
    bias_H = stats.norm.ppf((below_mean_H + 0.5 * at_H + 0.5) / (RESAMPLES + 1.0))
    centred_HE = differences_HE - mean_H[:, None]
    cubes_H, squares_H = (centred_HE**3).sum(axis=1), (centred_HE**2).sum(axis=1)
    acceleration_H = cubes_H / (6.0 * squares_H**1.5)
    shifted_H = stats.norm.ppf(share_H) - bias_H
    bca_H = stats.norm.cdf(shifted_H / (1.0 + acceleration_H * shifted_H) - bias_H)
    return {
        "studentised": (above_H + 1.0) / (RESAMPLES + 1.0),
        "BCa": np.asarray(bca_H),
        "percentile": np.asarray(share_H),
    }
