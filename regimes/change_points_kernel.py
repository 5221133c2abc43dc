r"""Compiled Bayesian online change-point detection: the posterior of the run length, bar by bar.

Source: Adams & MacKay (2007), arXiv:0710.3742, algorithm 1, with a normal-inverse-gamma prior of a
run's mean and variance. A run of r bars has :math:`\kappa_r = \kappa_0 + r`,
:math:`\alpha_r = \alpha_0 + r/2`, and its mean :math:`\mu` and scatter :math:`\beta` follow

.. math::
    \mu' = \mu + (y - \mu) / (\kappa_r + 1), \qquad
    \beta' = \beta + \tfrac12 (y - \mu)^2 \kappa_r / (\kappa_r + 1).

Its Student-t predictive density is :math:`c_r\, \beta^{\alpha_r} / \beta'^{\,\alpha_{r+1}}` with a
:math:`c_r` that depends on r alone, so that one logarithm a run length is enough.

Dimensions: T bars, R run lengths 0..R-1, K regimes, F = 2 statistics, S numbers of state.
"""

import math
from typing import NamedTuple

import numpy as np

from markets.compiled import kernel, separate
from regimes.base import Array
from regimes.trailing import class_probabilities, standard_mean

__all__ = ["RUN_NUMBERS", "RunLaw", "run", "run_law", "summary_rows"]

RUN_NUMBERS = 4
"""Numbers of state of a run length: probability, mean, scatter and its logarithm."""


class RunLaw(NamedTuple):
    """What the compiled functions read of the prior and the hazard."""

    centre: float
    scale: float
    """Mean and standard deviation of the mean return in the training span."""
    hazard: float
    """Probability that a run ends at a bar."""
    kappa_0: float
    alpha_0: float
    beta_0: float
    constant_R: Array
    """log c_r."""


def run_law(
    centre: float, scale: float, hazard: float, prior: tuple[float, float], max_run: int
) -> RunLaw:
    """Build the law; the prior's expected variance is the training span's.

    Args:
        centre: mean return of the training span.
        scale: its standard deviation.
        hazard: probability that a run ends at a bar.
        prior: (kappa_0, alpha_0), the prior mean's weight in bars and the shape, > 1.
        max_run: longest run length that is told apart, R - 1.
    """
    kappa_0, alpha_0 = prior
    constant_R = np.empty(max_run + 1)
    for bars in range(max_run + 1):
        kappa, alpha = kappa_0 + bars, alpha_0 + 0.5 * bars
        constant_R[bars] = math.lgamma(alpha + 0.5) - math.lgamma(alpha)
        constant_R[bars] -= 0.5 * math.log(2.0 * math.pi * (kappa + 1.0) / kappa)
    return RunLaw(centre, scale, hazard, kappa_0, alpha_0, alpha_0 - 1.0, constant_R)


@separate
def _advance_runs(law: RunLaw, state_S: Array, at: int, value: float, density_R: Array) -> None:
    """Take in a standardised return: grow every run, or end it."""
    count = len(law.constant_R)
    mean, scatter, log_scatter = at + count, at + 2 * count, at + 3 * count
    last = count - 1
    highest = -math.inf
    for bars in range(count):
        kappa, alpha = law.kappa_0 + bars, law.alpha_0 + 0.5 * bars
        gap = value - state_S[mean + bars]
        grown = state_S[scatter + bars] + 0.5 * gap * gap * kappa / (kappa + 1.0)
        density_R[bars] = law.constant_R[bars] + alpha * state_S[log_scatter + bars]
        # What a run grows to is written over the run that it came from; it is moved up below.
        state_S[mean + bars] += gap / (kappa + 1.0)
        state_S[scatter + bars] = grown
        state_S[log_scatter + bars] = math.log(grown)
        density_R[bars] -= (alpha + 0.5) * state_S[log_scatter + bars]
        if state_S[at + bars] > 0.0:
            highest = max(highest, density_R[bars])
    total = 0.0
    for bars in range(count):
        if state_S[at + bars] > 0.0:
            state_S[at + bars] *= math.exp(density_R[bars] - highest)
            total += state_S[at + bars]
    grow = (1.0 - law.hazard) / total
    longest = state_S[at + last]
    for bars in range(last, 0, -1):
        state_S[at + bars] = state_S[at + bars - 1] * grow
        state_S[mean + bars] = state_S[mean + bars - 1]
        state_S[scatter + bars] = state_S[scatter + bars - 1]
        state_S[log_scatter + bars] = state_S[log_scatter + bars - 1]
    state_S[at + last] += longest * grow
    state_S[at] = law.hazard
    state_S[mean] = 0.0
    state_S[scatter] = law.beta_0
    state_S[log_scatter] = math.log(law.beta_0)


@separate
def _summary(law: RunLaw, state_S: Array, at: int, out_F: Array) -> None:
    """Mean over volatility, and log volatility, expected over the run lengths."""
    count = len(law.constant_R)
    mean, variance = 0.0, 0.0
    for bars in range(count):
        shape = law.alpha_0 + 0.5 * bars - 1.0
        mean += state_S[at + bars] * state_S[at + count + bars]
        variance += state_S[at + bars] * state_S[at + 2 * count + bars] / shape
    deviation = math.sqrt(variance)
    out_F[0] = mean / deviation
    out_F[1] = math.log(deviation)


@kernel
def summary_rows(y_TD: Array, law: RunLaw, density_R: Array, state_S: Array, out_TF: Array) -> None:
    """Write the summary after each bar; NaN for a bar without an observation."""
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, law.centre, law.scale)
        if math.isnan(value):
            out_TF[row, 0] = np.nan
            out_TF[row, 1] = np.nan
        else:
            _advance_runs(law, state_S, 0, value, density_R)
            _summary(law, state_S, 0, out_TF[row])


@kernel
def run(
    y_TD: Array,
    law: RunLaw,
    classes: tuple[Array, Array, Array],
    room: tuple[Array, Array],
    state_S: Array,
    belief_TK: Array,
) -> None:
    """Take in T bars and write the belief after each; see `regimes.change_points`."""
    num_regimes = belief_TK.shape[1]
    density_R, summary_F = room
    for row in range(len(y_TD)):
        value = standard_mean(y_TD, row, law.centre, law.scale)
        if not math.isnan(value):
            _advance_runs(law, state_S, num_regimes, value, density_R)
            _summary(law, state_S, num_regimes, summary_F)
            class_probabilities(summary_F, classes, state_S)
        for regime in range(num_regimes):
            belief_TK[row, regime] = state_S[regime]
