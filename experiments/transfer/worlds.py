"""Gârleanu-Pedersen markets that are seen and traded alike, and differ in their regimes.

Options are ways to act on two signals: the three vectors of loadings of `conf/market` are what
there is to learn. A and B have them pure, one a regime, and differ in how often regimes change. In
the third market every regime is a mixture of two of them: what a regime asks for is new, how it is
done is not. It comes with two namings of its regimes. `near`: each has the number of its larger
part, so that the fallback is a fair start. `far`: they are dealt anew, so that numbers mislead.

The mixture is doubly stochastic and its regimes change as often as A's, so that the best policy is
exactly A's best options mixed by M' pi: nothing stands in the way of a new gate but learning it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from experiments.options_vs_flat.training import configuration
from training.config import TrainConfig

LOADINGS: Final = ((0.20, 0.0), (-0.15, 0.20), (0.05, -0.20))
"""Expected price change for a signal of 1: those of `conf/market/garleanu_pedersen.yaml`."""
PURE: Final = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
MIXTURES: Final[Mapping[str, tuple[tuple[float, ...], ...]]] = {
    "A": PURE,
    "B": PURE,
    "near": ((0.75, 0.25, 0.0), (0.0, 0.75, 0.25), (0.25, 0.0, 0.75)),
    "far": ((0.0, 0.75, 0.25), (0.25, 0.0, 0.75), (0.75, 0.25, 0.0)),
}
"""M: share of each vector of loadings in each regime of a market."""
STAY: Final[Mapping[str, float]] = {"A": 0.995, "B": 0.98, "near": 0.995, "far": 0.995}
"""Probability that a regime stays, a bar."""
THIRD: Final = ("near", "far")
"""The third market, by the naming of its regimes."""
TRADE: Final = 0.14
"""Units that an action of 1 trades, in all of them, about a standard deviation of A's best
holdings."""
MEASURE: Final = "A"
"""The market whose best holdings are the unit of observed holdings, of their limit and of the money
in all of them. In units of its own, the third market would show the same holdings 1.48 times as
large as A, and options that were learned there would misread them."""


def loadings_of(world: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """B, (K, S)."""
    return np.asarray(np.array(MIXTURES[world]) @ np.array(LOADINGS))


def config_of(world: str, view: str, steps: int, changes: tuple[str, ...] = ()) -> TrainConfig:
    """A training on one of the markets.

    Args:
        world: "A", "B", "near" or "far".
        view: "gp" where the regime is seen, "gp belief" where the filter's belief is.
        steps: of the training.
        changes: further words of the command line.
    """
    config = _alone(world, view, steps, changes)
    assert config.market is not None
    measure = config if world == MEASURE else _alone(MEASURE, view, steps, changes)
    assert measure.market is not None
    return replace(config, market=replace(config.market, measure=measure.market.world))


def _alone(world: str, view: str, steps: int, changes: tuple[str, ...]) -> TrainConfig:
    """The same, in units of its own."""
    rows = ",".join(f"[{','.join(f'{b:.6g}' for b in row)}]" for row in loadings_of(world))
    own = (
        f"market.world.loadings=[{rows}]",
        f"market.world.transition={STAY[world]}",
        f"market.trade_size={TRADE}",
    )
    return configuration(view, "blended", steps, (*own, *changes))
