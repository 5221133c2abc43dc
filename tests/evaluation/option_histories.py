"""Histories of options as plain numbers: nothing is played, and the shape of each is chosen."""

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import Interval
from evaluation.option_history import OptionHistory
from evaluation.option_result import LimitPoint, OptionReport, OptionScores, Variant

Array = NDArray[np.float64]
DAY = 86_400 * 10**9
STAY = 50
"""Bars of a regime in a row."""


def history(
    bars: int = 300,
    *,
    options: int = 3,
    regimes: int = 3,
    actions: int = 1,
    dated: bool = False,
    hard: bool = False,
    beta: float = 0.22,
    noise: float = 0.0,
) -> OptionHistory:
    """Regimes that come in turn, a belief that lags, and weights that follow it by the chain.

    Option k is meant for regime k mod R. `hard` acts by the proposal's largest, switching when it
    changes; otherwise a share `beta` of the weight goes to the proposal in each bar. `noise`
    is the part of each proposal that is drawn anew.
    """
    rng = np.random.default_rng(0)
    regime_T = (np.arange(bars) // STAY) % max(regimes, 1)
    belief_TR = np.full((bars, regimes), 1.0 / max(regimes, 1))
    for bar in range(bars if regimes else 0):
        before_R = belief_TR[max(bar - 1, 0)]
        belief_TR[bar] = 0.8 * before_R + 0.2 * np.eye(regimes)[regime_T[bar]]
    fallback_TK = np.full((bars, options), 1.0 / options)
    if regimes > 1:
        given_RK = np.equal.outer(np.arange(regimes), np.arange(options) % regimes) + 1e-3
        fallback_TK = belief_TR @ (given_RK / given_RK.sum(axis=1, keepdims=True))
    proposal_TK = fallback_TK**2 / (fallback_TK**2).sum(axis=1, keepdims=True)
    drawn_TK = rng.dirichlet(np.ones(options), size=bars) if noise else 0.0
    proposal_TK = (1.0 - noise) * proposal_TK + noise * drawn_TK
    weights_TK, previous_TK = np.zeros((2, bars, options))
    now_K = np.eye(options)[0] if hard else fallback_TK[0]
    for bar in range(bars):
        previous_TK[bar] = now_K
        aim_K = np.eye(options)[proposal_TK[bar].argmax()] if hard else proposal_TK[bar]
        now_K = aim_K if hard else (1.0 - beta) * now_K + beta * aim_K
        weights_TK[bar] = now_K
    alone_TKD = 0.2 + 0.1 * np.arange(options)[None, :, None] * np.ones((bars, options, actions))
    alone_TKD += 0.01 * rng.normal(size=alone_TKD.shape)
    days = np.int64(15_000) + np.arange(bars)
    return OptionHistory(
        names=tuple(f"option {k}" for k in range(options)),
        regime_names=tuple(f"regime {r}" for r in range(regimes)),
        actions=tuple(f"S{d}" for d in range(actions)),
        times=days * DAY if dated else np.arange(bars, dtype=np.int64),
        price_T=np.exp(np.cumsum(0.01 * rng.normal(size=bars))),
        weights_TK=weights_TK,
        previous_TK=previous_TK,
        proposal_TK=proposal_TK,
        fallback_TK=fallback_TK,
        termination_TK=np.full((bars, options), 1.0 if hard else beta),
        deviation_TK=np.zeros((bars, options)),
        belief_TR=belief_TR,
        option_action_TKD=alone_TKD,
        action_TD=np.einsum("tk,tkd->td", weights_TK, alone_TKD),
        reward_T=0.01 * rng.normal(size=bars),
        regime_T=None if dated else regime_T,
    )


def around(value: float, half: float = 0.001) -> Interval:
    """An interval about a value."""
    return Interval(value, value - half, value + half)


def report(seen: OptionHistory, *, limits: bool = True) -> OptionReport:
    """Scores in which each option is best in its regime, and the gate adds something."""
    options, regimes = len(seen.names), len(seen.regime_names)
    alone = [[around(0.02 if k == r else -0.01) for r in range(regimes)] for k in range(options)]
    gains = {"gate_frozen": -0.004, "shift_1": -0.02, "uniform": 0.0005, "mode": -0.005}
    gains |= {f"fixed_{k}": -0.02 for k in range(options)}
    points = tuple(
        LimitPoint(
            beta_max=beta,
            churn=0.1 * beta,
            disruption_p99=0.5 * beta,
            disruption_max=0.9 * beta,
            usage_entropy=0.9,
            holdings_disruption=0.01 * beta,
            value=around(0.01 + 0.005 * beta),
            gain=around(0.005 * (beta - 0.22)),
        )
        for beta in (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
    )
    scores = OptionScores(
        names=seen.names,
        regime_names=seen.regime_names,
        unit="reward a bar",
        agent=around(0.015),
        agent_R=tuple(around(0.015) for _ in range(regimes)),
        alone_KR=tuple(tuple(row) for row in alone),
        share_R=tuple(1.0 / regimes for _ in range(regimes)),
        variants=tuple(
            Variant(name, around(0.015 + gain), around(gain)) for name, gain in gains.items()
        ),
        limits=points if limits else (),
    )
    return OptionReport(5, seen, scores)
