"""What the rules of all markets share: what they know of the regime, and doing nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.base import Information, World
from markets.synthetic.chain import SyntheticMarketError, one_hot


@dataclass(frozen=True)
class DoNothing:
    """Never trades: the zero of the optimality ratio.

    Attributes:
        information: What it knows of the regime; it does not look.
        value: Of a flat start: nothing.
    """

    information: Information = "known"
    value: float | None = 0.0

    def target(self, world: World, holding_NA: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the present holdings (N, A); see `Solution`."""
        del world
        return holding_NA


def belief_of(world: World) -> NDArray[np.float64]:
    """Return the filter's probabilities (N, K).

    Raises:
        SyntheticMarketError: the stream did not filter.
    """
    if world.belief_NK is None:
        raise SyntheticMarketError(
            "belief: expected a stream that filters (stream(belief=True)), found none"
        )
    return world.belief_NK


def knowledge(world: World, information: Information, num_regimes: int) -> NDArray[np.float64]:
    """Return what a solution knows of the regime, as probabilities (N, K).

    Raises:
        SyntheticMarketError: it needs a belief, and the stream did not filter.
    """
    return one_hot(world.regime_N, num_regimes) if information == "known" else belief_of(world)
