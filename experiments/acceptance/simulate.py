"""Simulated sequences of gated updates, judged by the gate's own tests.

Dimensions: S sequences, P policies, R regimes, E episodes of an update, H hypotheses.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.acceptance import AcceptanceConfig, levels
from evaluation.acceptance_statistics import contrasts, margin_of, p_values
from experiments.acceptance.law import Pool

Array = NDArray[np.float64]
Losses = Callable[[np.random.Generator, int], Array]
"""True losses (S, R) of the candidates, as shares of the first champion's gain."""


def harmless(_: np.random.Generator, sequences: int) -> Array:
    """No update changes anything in the mean."""
    return np.zeros((sequences, 3))


def loses(share: float) -> Losses:
    """Every update loses a share in one regime, drawn at random."""

    def draw(rng: np.random.Generator, sequences: int) -> Array:
        loss_SR = np.zeros((sequences, 3))
        loss_SR[np.arange(sequences), rng.integers(0, 3, size=sequences)] = share
        return loss_SR

    return draw


def drifts(share: float) -> Losses:
    """Every update loses a share in every regime."""
    return lambda _, sequences: np.full((sequences, 3), share)


@dataclass(frozen=True)
class Outcome:
    """What became of the updates.

    Attributes:
        accepted_TS: Whether update t of sequence s was accepted.
        value_SR: True value of the last champion, of the first one's.
        champion_TS: Whether the tests against the champion alone would have accepted it.
        wrong_TS: Whether "no significant loss" would have accepted it: no regime whose mean
            difference from the champion is below 0 at the level of 5 %.
    """

    accepted_TS: NDArray[np.bool_]
    value_SR: Array
    champion_TS: NDArray[np.bool_]
    wrong_TS: NDArray[np.bool_]


@dataclass
class _State:
    """Champions and golden policies: rows of the pool, and true values."""

    champion_S: NDArray[np.int64]
    value_SR: Array
    golden_SR: NDArray[np.int64]
    best_SR: Array


def simulate(
    pool: Pool,
    losses: Losses,
    config: AcceptanceConfig,
    *,
    sequences: int = 100,
    updates: int = 10,
    seed: int = 0,
) -> Outcome:
    """Play sequences of updates.

    Each update draws fresh episodes of every regime, which champion, candidate and golden policies
    all play; the margins are shares of the champion's mean on them. A candidate is another policy
    of the pool, whose true value is the champion's less the loss; where the loss is 10 % its noise
    is that of policies that truly lose as much. An accepted candidate becomes champion, and golden
    where its mean is above the golden policy's.

    Args:
        pool: scores of policies.
        losses: of the candidates.
        config: of the gate; `episodes` of each regime.
        sequences: S.
        updates: T of each.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    policies, regimes, size = pool.equal_PRE.shape
    state = _State(
        np.zeros(sequences, dtype=np.int64),
        np.ones((sequences, regimes)),
        np.zeros((sequences, regimes), dtype=np.int64),
        np.ones((sequences, regimes)),
    )
    noise_PRE = np.concatenate([pool.equal_PRE - 1.0, pool.bad_PRE - 0.9])
    regime_R1 = np.arange(regimes)[:, None]
    outcomes = []
    for update in range(1, updates + 1):
        step_S = rng.integers(1, policies, size=sequences)
        candidate_S = (state.champion_S + step_S) % policies
        loss_SR = losses(rng, sequences)
        episode_SRE = rng.integers(0, size, size=(sequences, regimes, config.episodes))
        # Rows from P on are the policies that lose 10 %, the same directions in the same order.
        row_SR = candidate_S[:, None] + np.where(loss_SR >= 0.1, policies, 0)

        champion_SR = np.broadcast_to(state.champion_S[:, None], row_SR.shape)
        champion_SRE, candidate_SRE, golden_SRE = (
            noise_PRE[policy_SR[:, :, None], regime_R1, episode_SRE] + value_SR[:, :, None]
            for policy_SR, value_SR in (
                (champion_SR, state.value_SR),
                (row_SR, state.value_SR - loss_SR),
                (state.golden_SR, state.best_SR),
            )
        )
        both_S, alone_S = judge(champion_SRE, candidate_SRE, golden_SRE, config, update)
        wrong_S = no_significant_loss(champion_SRE, candidate_SRE)
        outcomes.append((both_S, alone_S, wrong_S))
        state.champion_S = np.where(both_S, candidate_S, state.champion_S)
        state.value_SR = np.where(both_S[:, None], state.value_SR - loss_SR, state.value_SR)
        better_SR = candidate_SRE.mean(axis=2) > golden_SRE.mean(axis=2)
        better_SR &= both_S[:, None]
        state.golden_SR = np.where(better_SR, candidate_S[:, None], state.golden_SR)
        state.best_SR = np.where(better_SR, state.value_SR, state.best_SR)
    accepted_TS, champion_TS, wrong_TS = (
        np.array(column) for column in zip(*outcomes, strict=True)
    )
    return Outcome(accepted_TS, state.value_SR, champion_TS, wrong_TS)


def judge(
    champion_SRE: Array,
    candidate_SRE: Array,
    golden_SRE: Array,
    config: AcceptanceConfig,
    update: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Decisions of the gate on many updates at once, as `evaluation.acceptance.decide` makes them.

    Doing nothing earns 0. Risk is not looked at (`experiments.acceptance.risk`).

    Returns:
        Whether each update is accepted, and whether it were without the golden policies.
    """
    sequences, regimes, episodes = champion_SRE.shape
    margin_SR = np.array(
        [
            [margin_of(gain, 0.0, config.tolerance, config.floor) for gain in gain_R]
            for gain_R in champion_SRE.mean(axis=2)
        ]
    )
    differences_SRHE = np.stack([candidate_SRE - champion_SRE, candidate_SRE - golden_SRE], axis=2)
    margins_SRH = np.stack([margin_SR, config.golden_factor * margin_SR], axis=2)
    contrast_HE, offset_H = contrasts(
        differences_SRHE.reshape(-1, episodes),
        np.repeat(champion_SRE.reshape(-1, episodes), 2, axis=0),
        np.tile(config.tolerance * np.array([1.0, config.golden_factor]), sequences * regimes),
    )
    p_H = p_values(contrast_HE, margins_SRH.ravel() - offset_H, config.redrawing)
    p_SRH = p_H.reshape(sequences, regimes, 2)
    alpha = config.spent(update)
    both_S = [levels(p_RH.ravel(), alpha, config)[1].all() for p_RH in p_SRH]
    alone_S = [levels(p_RH[:, 0], alpha, config)[1].all() for p_RH in p_SRH]
    return np.array(both_S), np.array(alone_S)


def no_significant_loss(champion_SRE: Array, candidate_SRE: Array) -> NDArray[np.bool_]:
    """The wrong test, for comparison: accept unless a loss is significant at 5 % in some regime."""
    result = stats.ttest_1samp(candidate_SRE - champion_SRE, 0.0, axis=2, alternative="less")
    return np.asarray((np.asarray(result.pvalue) > 0.05).all(axis=1))
