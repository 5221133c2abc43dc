r"""Non-inferiority of a candidate on paired episodes: p-values, lower bounds, and Holm's levels.

The question is never "is there a significant loss?": with few episodes nothing is significant, and
everything would pass. It is "is a loss as large as the margin ruled out?", with the null hypothesis

.. math:: H_0: E[d_e] \le -m, \quad d_e = J_e(\text{candidate}) - J_e(\text{champion})

over episodes that both have played (common random numbers). Rejecting it is what accepts an update;
too few episodes reject the update. The p-value is the larger of Student's t and the studentised
bootstrap,

.. math:: p = \frac{1 + \#\{b: T^*_b \ge T\}}{B + 1}, \quad
    T = \frac{\bar d + m}{s / \sqrt E}, \quad
    T^*_b = \frac{\bar d^*_b - \bar d}{s^*_b / \sqrt E}

Measured (`experiments/acceptance`): the bootstrap corrects for skewness, above all where losses are
rare and large, which Student's t accepts twice as often as it should (0.10 at 0.05, 8 to 32
episodes); where policies differ in few episodes only it is the other way round (0.12 and 0.05). The
larger of both errs least; percentile and BCa bootstraps, which take the estimated spread for the
true one, err most with few episodes.

Episodes that overlap in calendar time are no independent draws. For them (`block` above 1) the
spread of the mean is that of the stationary bootstrap, and the p-value Student's t with as many
degrees of freedom as there are blocks, less one.

Sources: Hall (1992), The Bootstrap and Edgeworth Expansion, section 3.10 (studentised bootstrap);
Davison and Hinkley (1997), Bootstrap Methods and their Application, section 4.4 (p-values); Holm
(1979), Scandinavian Journal of Statistics 6; Politis and Romano (1994), JASA 89(428).

Dimensions: H hypotheses, E episodes, B resamples.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats

from evaluation.bootstrap import block_length, stationary_indices

__all__ = [
    "Redrawing",
    "RetentionTest",
    "check_scores",
    "contrasts",
    "holm",
    "lower_bounds",
    "margin_of",
    "p_values",
    "retention_test",
]

_BATCH_VALUES = 4_000_000
"""Largest number of redrawn values held at once (32 MB)."""
_SPREAD_RESAMPLES = 1000
"""Resamples of the spread of a mean over blocks, at most."""
_CONSTANT = 1e-12
"""Variance, as a share of that of all episodes, below which a redrawn sample counts as constant."""


@dataclass(frozen=True, kw_only=True)
class Redrawing:
    """How episodes are redrawn.

    Attributes:
        resamples: B; no p-value is below 1 / (B + 1).
        block: Mean number of neighbouring episodes that are redrawn together; 1 for independent
            ones, None measures it (episodes must then be in the order of time).
        seed: Of the resamples; the same seed and number of episodes give the same ones.
    """

    resamples: int = 100_000
    block: float | None = 1.0
    seed: int = 0


@dataclass(frozen=True)
class RetentionTest:
    """Whether a loss as large as the margin is ruled out.

    Attributes:
        estimate: Mean of the paired differences, in units of the score.
        margin: Loss that would be tolerated, m >= 0.
        p: p-value of the null hypothesis that the mean is -m or less.
        level: Level of the lower bound.
        low: Lower confidence bound of the mean, one-sided; above -m if and only if p <= level.
        deviation: Standard deviation of the paired differences; nan with one episode.
        episodes: E.
    """

    estimate: float
    margin: float
    p: float
    level: float
    low: float
    deviation: float
    episodes: int

    @property
    def rejected(self) -> bool:
        """Whether the null hypothesis is: the candidate is shown not to be worse by m."""
        return self.p <= self.level


def margin_of(champion: float, flat: float, tolerance: float, floor: float = 0.0) -> float:
    r"""Loss that is tolerated, :math:`m = \tau \max(J - J_0, 0) + m_0`.

    A champion that earns no more than doing nothing has nothing of which a share could be given up:
    the floor alone remains, and without one the margin is 0.

    Args:
        champion: J, mean score of the champion.
        flat: J0, score of doing nothing (on data: of cash).
        tolerance: tau, share of the champion's gain.
        floor: m0, in units of the score.
    """
    return tolerance * max(champion - flat, 0.0) + floor


def retention_test(
    champion_E: Float[np.ndarray, "E"],
    candidate_E: Float[np.ndarray, "E"],
    margin: float,
    level: float = 0.05,
    redrawing: Redrawing | None = None,
) -> RetentionTest:
    """Test whether a candidate is worse than the champion by no less than a margin.

    One episode says nothing about noise: its p-value is 1. Differences that are all alike have no
    noise: the p-value is 0 where they are above -m (identical policies and a margin above 0), and
    else 1.

    Args:
        champion_E: scores of the champion.
        candidate_E: scores of the candidate on the same episodes, in the same order.
        margin: m >= 0, in units of the score.
        level: of the lower bound, in (0, 1).
        redrawing: how episodes are redrawn.

    Raises:
        ValueError: other numbers of episodes, none, values that are not finite, negative margin.
    """
    check_scores("champion_E", champion_E)
    check_scores("candidate_E", candidate_E)
    if len(champion_E) != len(candidate_E):
        raise ValueError(
            f"candidate_E: expected {len(champion_E)} episodes, the champion's, found "
            f"{len(candidate_E)}"
        )
    if not margin >= 0.0:
        raise ValueError(f"margin: expected 0 or more, found {margin}")
    settings = redrawing or Redrawing()
    difference_1E = np.asarray(candidate_E - champion_E, dtype=np.float64)[None]
    p = float(p_values(difference_1E, np.array([margin]), settings)[0])
    episodes = len(champion_E)
    return RetentionTest(
        estimate=float(np.mean(difference_1E)),
        margin=margin,
        p=p,
        level=level,
        low=float(lower_bounds(difference_1E, np.array([level]), settings)[0]),
        deviation=float(np.std(difference_1E, ddof=1)) if episodes > 1 else math.nan,
        episodes=episodes,
    )


def check_scores(name: str, scores_E: NDArray[np.float64]) -> None:
    """Check that there are scores and that they are finite.

    Raises:
        ValueError: they are not.
    """
    if scores_E.size == 0:
        raise ValueError(f"{name}: expected at least one episode, found none")
    if not np.isfinite(scores_E).all():
        faulty = int(np.argmin(np.isfinite(scores_E)))
        raise ValueError(
            f"{name}: expected finite scores, found {scores_E[faulty]} in episode {faulty}"
        )


def contrasts(
    differences_HE: Float[np.ndarray, "H E"],
    gains_HE: Float[np.ndarray, "H E"],
    shares_H: Float[np.ndarray, "H"],
) -> tuple[Float[np.ndarray, "H E"], Float[np.ndarray, "H"]]:
    r"""Differences with the tolerated share of the champion's gain, episode by episode.

    A margin that is a share of a *measured* gain is itself uncertain, and as the differences go
    with the gain a test that takes it for given is wrong: measured at a true loss of the margin it
    accepts 10 % instead of 5 %, and 5 % instead of 0.5 %. The null hypothesis
    :math:`E[d] \le -\tau E[g] - m_0` is therefore tested on :math:`x_e = d_e + \tau g_e`, as
    :math:`E[x] \le -m_0` (the linear form of Fieller 1954, JRSS B 16).

    Differences that are all alike, and champions that earn nothing, are left as they are.

    Args:
        differences_HE: d.
        gains_HE: g, the champion's scores less that of doing nothing.
        shares_H: tau, for each hypothesis.

    Returns:
        x, and what was added in the mean: a margin m of the differences is m less that of x, and so
        is a bound.
    """
    gain_H = gains_HE.mean(axis=1)
    share_H = np.where(_constant(differences_HE) | (gain_H <= 0.0), 0.0, shares_H)
    return differences_HE + share_H[:, None] * gains_HE, share_H * gain_H


def p_values(
    differences_HE: Float[np.ndarray, "H E"],
    margins_H: Float[np.ndarray, "H"],
    redrawing: Redrawing,
) -> Float[np.ndarray, "H"]:
    """p-values of the null hypotheses that the mean difference is -m or less.

    All hypotheses see the same redrawn episodes.

    Args:
        differences_HE: paired differences, finite.
        margins_H: m.
        redrawing: how episodes are redrawn.
    """
    mean_H = differences_HE.mean(axis=1)
    p_H = np.ones(len(mean_H))
    constant_H = _constant(differences_HE)
    if differences_HE.shape[1] < 2:
        return p_H
    p_H[constant_H & (mean_H > -margins_H)] = 0.0
    rows = np.flatnonzero(~constant_H)
    if rows.size == 0:
        return p_H
    moving_HE, shift_H = differences_HE[rows], mean_H[rows] + margins_H[rows]
    if redrawing.block != 1.0:
        error_H, freedom_H = _block_spreads(moving_HE, redrawing)
        p_H[rows] = stats.t.sf(shift_H / error_H, freedom_H)
        return p_H
    observed_H = shift_H / (moving_HE.std(axis=1, ddof=1) / math.sqrt(moving_HE.shape[1]))
    exceeding_H = np.zeros(len(rows))
    for redrawn_BH in _redrawn_t(moving_HE, redrawing):
        exceeding_H += np.count_nonzero(redrawn_BH >= observed_H, axis=0)
    student_H = stats.t.sf(observed_H, moving_HE.shape[1] - 1)
    p_H[rows] = np.maximum((1.0 + exceeding_H) / (redrawing.resamples + 1.0), student_H)
    return p_H


def holm(
    p_H: Float[np.ndarray, "H"], alpha: float
) -> tuple[Float[np.ndarray, "H"], Bool[np.ndarray, "H"]]:
    r"""Levels and rejections of Holm's step-down procedure.

    The i-th smallest p-value is compared with :math:`\alpha / (H - i + 1)`, and nothing is rejected
    after the first that is above. Which hypotheses are rejected falsely, one or more of them, has
    probability :math:`\alpha` at most, whatever their dependence.

    Args:
        p_H: p-values.
        alpha: family-wise error rate.

    Returns:
        The level that each is compared with, and whether it is rejected.
    """
    order_H = np.argsort(p_H, kind="stable")
    level_H, rejected_H = np.empty(len(p_H)), np.zeros(len(p_H), dtype=np.bool_)
    level_H[order_H] = alpha / np.arange(len(p_H), 0, -1)
    rejected_H[order_H] = np.logical_and.accumulate(p_H[order_H] <= level_H[order_H])
    return level_H, rejected_H


def _constant(differences_HE: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(differences_HE, axis=1) == 0.0)


def lower_bounds(
    differences_HE: Float[np.ndarray, "H E"],
    levels_H: Float[np.ndarray, "H"],
    redrawing: Redrawing,
) -> Float[np.ndarray, "H"]:
    """One-sided lower confidence bounds of the mean differences.

    Each is the largest -m whose null hypothesis is rejected at its level: a bound is above -m if
    and only if the p-value of `p_values` is at most the level.

    Args:
        differences_HE: paired differences, finite.
        levels_H: levels in (0, 1); a level below 1 / (B + 1) has no bound.
        redrawing: how episodes are redrawn.
    """
    episodes = differences_HE.shape[1]
    low_H = np.full(len(levels_H), -np.inf)
    if episodes < 2:
        return low_H
    constant_H = _constant(differences_HE)
    low_H[constant_H] = differences_HE[constant_H, 0]
    rows = np.flatnonzero(~constant_H)
    if rows.size == 0:
        return low_H
    moving_HE, level_H = differences_HE[rows], levels_H[rows]
    if redrawing.block != 1.0:
        error_H, freedom_H = _block_spreads(moving_HE, redrawing)
        low_H[rows] = moving_HE.mean(axis=1) - error_H * stats.t.isf(level_H, freedom_H)
        return low_H
    redrawn_BH = np.concatenate(list(_redrawn_t(moving_HE, redrawing)))
    # p <= level if fewer than `rank` redrawn values reach the observed one.
    rank_H = np.floor(level_H * (redrawing.resamples + 1.0) + 1e-9).astype(np.int64)
    edge_H = np.array(
        [
            np.partition(redrawn_B, -rank)[-rank] if rank else np.inf
            for redrawn_B, rank in zip(redrawn_BH.T, rank_H, strict=True)
        ]
    )
    error_H = moving_HE.std(axis=1, ddof=1) / math.sqrt(episodes)
    edge_H = np.maximum(edge_H, stats.t.isf(level_H, episodes - 1))
    low_H[rows] = moving_HE.mean(axis=1) - edge_H * error_H
    return low_H


def _redrawn_t(
    differences_HE: NDArray[np.float64], redrawing: Redrawing
) -> Iterator[NDArray[np.float64]]:
    """Studentised means of redrawn episodes, in batches of shape (b, H)."""
    episodes = differences_HE.shape[1]
    centred_EH = (differences_HE - differences_HE.mean(axis=1, keepdims=True)).T
    centred_EH = centred_EH / centred_EH.std(axis=0)
    rng = np.random.default_rng([redrawing.seed, episodes])
    step = max(1, _BATCH_VALUES // max(episodes, differences_HE.shape[0]))
    for start in range(0, redrawing.resamples, step):
        batch = min(step, redrawing.resamples - start)
        drawn_BE = rng.integers(0, episodes, size=(batch, episodes))
        drawn_BE += episodes * np.arange(batch)[:, None]
        count_BE = np.bincount(drawn_BE.ravel(), minlength=batch * episodes).reshape(batch, -1)
        share_BE = count_BE / episodes
        mean_BH = share_BE @ centred_EH
        variance_BH = share_BE @ centred_EH**2 - mean_BH**2
        # A redrawn sample of one value is infinitely sure of itself: it speaks against rejecting.
        constant_BH = variance_BH <= _CONSTANT
        error_BH = np.sqrt(np.where(constant_BH, 1.0, variance_BH) / (episodes - 1.0))
        sure_BH = np.where(mean_BH > 0.0, np.inf, -np.inf)
        yield np.where(constant_BH, sure_BH, mean_BH / error_BH)


def _block_spreads(
    differences_HE: NDArray[np.float64], redrawing: Redrawing
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard errors of the means by the stationary bootstrap, and degrees of freedom."""
    episodes = differences_HE.shape[1]
    # The spread needs far fewer resamples than a quantile far out in the tail.
    resamples = min(redrawing.resamples, _SPREAD_RESAMPLES)
    spread_H, block_H = np.empty(len(differences_HE)), np.empty(len(differences_HE))
    for row, difference_E in enumerate(differences_HE):
        block = block_length(difference_E) if redrawing.block is None else redrawing.block
        rng = np.random.default_rng([redrawing.seed, episodes])
        index_BE = stationary_indices(episodes, block, resamples, rng)
        spread_H[row] = difference_E[index_BE].mean(axis=1).std()
        block_H[row] = block
    count_H = np.maximum(episodes / block_H, 1.0 + 1e-6)
    return spread_H * np.sqrt(count_H / (count_H - 1.0)), count_H - 1.0
