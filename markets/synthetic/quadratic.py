"""Policies of quadratic problems: linear in the holdings and the signals, regime by regime."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.synthetic.base import Information, World
from markets.synthetic.moments import LinearRule
from markets.synthetic.riccati import Riccati
from markets.synthetic.rules import knowledge

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QuadraticPolicy:
    """The rule x_t = J_w^-1 (Lambda_w x_{t-1} + H_w f_t), with M_w = sum_k w_k M_k.

    The weights w are certainty of the true regime, the filter's belief, or `weight_K`.

    Attributes:
        information: What it knows of the regime.
        curvature_KAA: J_k.
        cost_KAA: Lambda_k.
        pull_KAS: H_k.
        weight_K: Constant weights of a rule that looks at no regime.
        value: (1 - discount) times its discounted reward from a flat start, where known.
        solution: The value function behind an oracle that knows the regime.
    """

    information: Information
    curvature_KAA: Array
    cost_KAA: Array
    pull_KAS: Array
    weight_K: Array | None = None
    value: float | None = None
    solution: Riccati | None = None

    def target(self, world: World, holding_NA: Array) -> Array:
        """Return the holdings (N, A) to trade to, units."""
        weight_NK = self._weights(world)
        pull_NAS = np.tensordot(weight_NK, self.pull_KAS, axes=1)
        cost_NAA = np.tensordot(weight_NK, self.cost_KAA, axes=1)
        right_NA1 = cost_NAA @ holding_NA[:, :, None] + pull_NAS @ world.signal_NF[:, :, None]
        curvature_NAA = np.tensordot(weight_NK, self.curvature_KAA, axes=1)
        return np.asarray(np.linalg.solve(curvature_NAA, right_NA1)[:, :, 0])

    def linear_rule(self) -> LinearRule | None:
        """Return the rule regime by regime; None where it follows the filter's belief."""
        if self.weight_K is None and self.information == "belief":
            return None
        certain_KK = np.eye(len(self.curvature_KAA))
        weight_KK = (
            certain_KK if self.weight_K is None else np.tile(self.weight_K, (len(certain_KK), 1))
        )
        return LinearRule.of(
            np.tensordot(weight_KK, self.curvature_KAA, axes=1),
            np.tensordot(weight_KK, self.cost_KAA, axes=1),
            np.tensordot(weight_KK, self.pull_KAS, axes=1),
        )

    def _weights(self, world: World) -> Array:
        num_regimes = len(self.curvature_KAA)
        if self.weight_K is not None:
            return np.broadcast_to(self.weight_K, (len(world.regime_N), num_regimes))
        return knowledge(world, self.information, num_regimes)
