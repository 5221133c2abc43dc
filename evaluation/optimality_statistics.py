r"""Intervals of values over episodes and seeds, and the optimality ratio with its interval.

Episodes are independent histories of one synthetic market, and every policy plays the same ones.
A redrawn history is therefore a set of episodes drawn with replacement that is common to all
policies: what moves all of them alike cancels, from the ratio's numerator and denominator too.
Seeds (training runs) are redrawn beside the episodes, with the spread widened to that of Student's
t (`bootstrap.redraw_seeds`): with few seeds a plain bootstrap is far too narrow.

Dimensions: K seeds, E episodes, B resamples, M markets (tasks).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import stats

from evaluation.bootstrap import BootstrapConfig, Interval, percentile_ends, redraw_seeds

__all__ = [
    "iqm",
    "iqm_interval",
    "mean_interval",
    "optimality_ratio",
    "redrawn_means",
    "undefined_because",
]

UNDEFINED = Interval(float("nan"), float("nan"), float("nan"))
"""What a ratio without a denominator is."""
_BATCH_VALUES = 4_000_000
"""Largest number of redrawn episodes held at once (32 MB)."""


def mean_interval(values_KE: Float[np.ndarray, "K E"], config: BootstrapConfig) -> Interval:
    """Interval of the mean over seeds and episodes; over episodes alone where there is one seed.

    Args:
        values_KE: one value for each seed and episode; for a paired difference, the differences.
        config: level, resamples and seed (episodes are independent: the block length is 1).

    Returns:
        Mean and percentile interval.
    """
    redrawn_B = _over_seeds(redrawn_means(values_KE, config), config)
    ends = percentile_ends(redrawn_B, config.level)
    return Interval(float(np.mean(values_KE)), *ends, config.level)


def optimality_ratio(
    agent_KE: Float[np.ndarray, "K E"],
    nothing_E: Float[np.ndarray, "E"],
    oracle_E: Float[np.ndarray, "E"],
    config: BootstrapConfig,
) -> Interval:
    r"""Share of what can be earned that the agent earns, with its interval.

    .. math:: S = \frac{\bar J - \bar J_0}{\bar J^* - \bar J_0}

    of means over episodes (and over seeds, for the agent). The ratio is computed anew on each set
    of redrawn episodes and seeds.

    Args:
        agent_KE: values of the agent's seeds.
        nothing_E: values of doing nothing on the same episodes, J0.
        oracle_E: values of the optimum on the same episodes, J*.
        config: level, resamples and seed.

    Returns:
        S: 1 for the optimum, 0 for doing nothing, negative for worse than that; nan with an
        interval of nan where it is undefined (see `undefined_because`).

    Raises:
        ValueError: other numbers of episodes, none of them, or values that are not finite.
    """
    _check(agent_KE, nothing_E, oracle_E)
    if undefined_because(nothing_E, oracle_E, config):
        return UNDEFINED
    # One call, so that all of them are redrawn with the same episodes.
    redrawn = redrawn_means(np.vstack([agent_KE, nothing_E, oracle_E]), config)
    ratio_KB = (redrawn[:-2] - redrawn[-2]) / (redrawn[-1] - redrawn[-2])
    reachable = float(np.mean(oracle_E) - np.mean(nothing_E))
    estimate = float(np.mean(agent_KE) - np.mean(nothing_E)) / reachable
    ends = percentile_ends(_over_seeds(ratio_KB, config), config.level)
    return Interval(estimate, *ends, config.level)


def undefined_because(
    nothing_E: Float[np.ndarray, "E"], oracle_E: Float[np.ndarray, "E"], config: BootstrapConfig
) -> str:
    """Why the optimality ratio has no meaning on these episodes; empty where it has one.

    The denominator must be positive in every set of redrawn episodes, not only on average: a ratio
    whose denominator may be zero has no interval.

    Args:
        nothing_E: values of doing nothing.
        oracle_E: values of the optimum on the same episodes.
        config: resamples and seed.
    """
    gain_E = oracle_E - nothing_E
    if float(redrawn_means(gain_E[None], config).min()) > 0.0:
        return ""
    error = float(np.std(gain_E)) / np.sqrt(len(gain_E))
    return (
        f"the optimum earns {np.mean(gain_E):.3g} a bar more than doing nothing on "
        f"{len(gain_E):,} episodes, with a standard error of {error:.2g}: too close to zero to "
        "measure anything by; play more or longer episodes, or lower the costs"
    )


def iqm(scores: Float[np.ndarray, "*shape"]) -> float:
    """Interquartile mean: the mean of the middle half of all scores.

    Source: Agarwal et al. (2021), "Deep RL at the edge of the statistical precipice",
    arXiv:2108.13264, section 4.3. As there, a quarter of the scores, rounded down, is left out at
    either end: below four scores it is the mean.

    Args:
        scores: of any shape; seeds, and tasks if there are several.
    """
    return float(stats.trim_mean(np.ravel(scores), 0.25))


def iqm_interval(scores_MK: Float[np.ndarray, "M K"], config: BootstrapConfig) -> Interval:
    """Interquartile mean over tasks and seeds with its stratified bootstrap interval.

    Seeds are redrawn with replacement within each task, as in arXiv:2108.13264, section 4.2. It is
    a plain percentile bootstrap, honest for about ten seeds and more; for fewer see
    `optimality_ratio`.

    Args:
        scores_MK: one score for each task and seed, (1, K) for one task.
        config: level, resamples and seed.

    Raises:
        ValueError: no score.
    """
    if scores_MK.size == 0:
        raise ValueError(f"scores_MK: expected at least one score, found shape {scores_MK.shape}")
    rng = np.random.default_rng(config.seed)
    tasks, seeds = scores_MK.shape
    chosen_BMK = rng.integers(0, seeds, size=(config.resamples, tasks, seeds))
    redrawn_BMK = scores_MK[np.arange(tasks)[:, None], chosen_BMK]
    flat = redrawn_BMK.reshape(config.resamples, tasks * seeds)
    redrawn_B = np.asarray(stats.trim_mean(flat, 0.25, axis=1), dtype=np.float64)
    return Interval(iqm(scores_MK), *percentile_ends(redrawn_B, config.level), config.level)


def redrawn_means(
    values_RE: Float[np.ndarray, "R E"], config: BootstrapConfig
) -> Float[np.ndarray, "R B"]:
    """Mean of each row over redrawn episodes, which are common to all rows.

    The same configuration and number of episodes always give the same episodes.

    Args:
        values_RE: rows of values, one for each episode.
        config: resamples and seed.
    """
    parts = [
        np.mean(np.take(values_RE, chosen_BE, axis=1), axis=2)
        for chosen_BE in _redrawn_episodes(values_RE.shape, config)
    ]
    return np.concatenate(parts, axis=1)


def _redrawn_episodes(
    shape: tuple[int, ...], config: BootstrapConfig
) -> Iterator[Int[np.ndarray, "B E"]]:
    rows, episodes = shape
    step = max(1, _BATCH_VALUES // max(1, rows * episodes))
    rng = np.random.default_rng([config.seed, episodes])
    for start in range(0, config.resamples, step):
        batch = min(step, config.resamples - start)
        yield rng.integers(0, episodes, size=(batch, episodes))


def _over_seeds(
    figures_KB: Float[np.ndarray, "K B"], config: BootstrapConfig
) -> NDArray[np.float64]:
    # Another stream than the episodes': seeds and episodes are redrawn independently.
    rng = np.random.default_rng([config.seed, 0, len(figures_KB)])
    chosen_KB = rng.integers(0, len(figures_KB), size=figures_KB.shape)
    return redraw_seeds(figures_KB, chosen_KB, config.level)


def _check(
    agent_KE: NDArray[np.float64], nothing_E: NDArray[np.float64], oracle_E: NDArray[np.float64]
) -> None:
    if agent_KE.size == 0:
        raise ValueError(f"agent_KE: expected seeds and episodes, found shape {agent_KE.shape}")
    expected = agent_KE.shape[1]
    for name, values in (("agent_KE", agent_KE), ("nothing_E", nothing_E), ("oracle_E", oracle_E)):
        if values.shape[-1] != expected:
            raise ValueError(f"{name}: expected {expected} episodes, found {values.shape[-1]}")
        if not np.isfinite(values).all():
            faulty = int(np.argwhere(~np.isfinite(values))[0][-1])
            raise ValueError(f"{name}: expected finite values, found one that is not in {faulty}")
