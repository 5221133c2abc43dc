"""Phases of a stream of regimes: one market, now in one regime, now in another.

Continual learning plays such phases one after the other. A *pure* phase stays in its regime for
good; in a *dominant* one the regime governs most bars, and the others come and go. Observations of
all phases of a market have one layout and one scale, and by default agents are shown the regimes
as in that market: `believed_transition` is its chain, or a pooled one of all phases, so that no
belief tells which phase it is. Prices do not depend on what is believed, and the best policy is
asked of, and measured on, `phase.informed()`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.base import SyntheticMarket
from markets.synthetic.chain import Matrix, SyntheticMarketError, stationary
from markets.synthetic.checks import integer

__all__ = ["dominant", "pooled", "pure"]

World = TypeVar("World", bound=SyntheticMarket)


def pure(world: World, regime: int) -> World:
    """Return a market that is in one regime for good.

    P = I, and the start is certain. Where `world` shows the regime, the agent knows the task; a
    filter goes on as in `world` and does not know that the regime is frozen.

    Args:
        world: the market; what its agents are shown stays the same.
        regime: number of the regime, from 0.

    Raises:
        SyntheticMarketError: no such regime, or a chain of `world` that leaves a regime for good.
    """
    chosen = _regime(world, regime)
    start = tuple(float(other == chosen) for other in range(world.num_regimes))
    return replace(_shown(world), transition=1.0, start=start)  # type: ignore[type-var]


def dominant(
    world: World, regime: int, share: float = 0.8, *, persistence: float | None = None
) -> World:
    """Return a market that spends most bars in one regime, and starts from that law.

    With p the law that gives `share` to the regime and shares out the rest evenly,

        P = s I + (1 - s) 1 p',   s = (m - sum_k p_k^2) / (1 - sum_k p_k^2):

    at each bar the regime stays with probability s, or is drawn anew from p. So p is stationary,
    and a bar's regime lasts with the mean probability sum_k p_k P_kk = m.

    Args:
        world: the market; what its agents are shown stays the same.
        regime: number of the regime, from 0.
        share: part of the bars that it governs, in [1 / K, 1).
        persistence: m, in [sum_k p_k^2, 1); None = that of `world`, sum_k pi_k P_kk with its
            stationary law pi.

    Raises:
        SyntheticMarketError: no such regime, a single one, a share or a persistence outside its
            range (as of a `world` that is frozen), or a chain of `world` that leaves a regime for
            good.
    """
    chosen, size = _regime(world, regime), world.num_regimes
    if size < 2:
        raise SyntheticMarketError(f"dominant: expected a market of several regimes, found {size}")
    if not 1.0 / size <= share < 1.0:
        raise SyntheticMarketError(
            f"share: expected a number in [1 / {size}, 1), found {share}; pure() is a share of 1"
        )
    law_K = np.full(size, (1.0 - share) / (size - 1))
    law_K[chosen] = share
    again = float(law_K @ law_K)
    own_KK = world.chain.transition_KK
    mean = float(stationary(own_KK) @ np.diag(own_KK)) if persistence is None else persistence
    if not again <= mean < 1.0:
        found = f"the market's own, {mean:.6g}" if persistence is None else f"{mean}"
        raise SyntheticMarketError(
            f"persistence: expected a number in [{again:.6g}, 1) for a share of {share}, found "
            f"{found}"
        )
    stay = (mean - again) / (1.0 - again)
    chain_KK = stay * np.eye(size) + (1.0 - stay) * law_K
    return replace(_shown(world), transition=_nested(chain_KK), start=None)  # type: ignore[type-var]


def pooled(worlds: Sequence[World]) -> tuple[World, ...]:
    """Return the same markets under one filter: it assumes the mean of their transition matrices.

    Args:
        worlds: markets of one kind, with the same regimes.

    Raises:
        SyntheticMarketError: none, different kinds or numbers of regimes, or a mean chain that
            leaves a regime for good.
    """
    kinds = {(type(world).__name__, world.num_regimes) for world in worlds}
    if len(kinds) != 1:
        raise SyntheticMarketError(
            "pooled: expected markets of one kind and one number of regimes, found "
            f"{sorted(kinds) or 'none'}"
        )
    chain_KK = np.mean([world.chain.transition_KK for world in worlds], axis=0)
    believed = _nested(chain_KK)
    return tuple(
        replace(world, believed_transition=believed)  # type: ignore[type-var]
        for world in worlds
    )


def _shown(world: World) -> World:
    """The market with what its agents are shown written out, whatever the chain becomes."""
    if world.believed_transition is not None:
        return world
    return replace(world, believed_transition=world.transition)  # type: ignore[type-var]


def _regime(world: SyntheticMarket, regime: int) -> int:
    found = integer("regime", regime, 0)
    if found >= world.num_regimes:
        raise SyntheticMarketError(
            f"regime: expected a number below {world.num_regimes}, found {found}"
        )
    return found


def _nested(chain_KK: NDArray[np.float64]) -> Matrix:
    return cast("Matrix", tuple(tuple(row) for row in chain_KK.tolist()))
