"""Memory aware synapses: parameters are held by how much the outputs move with them."""

from agents.continual.anchors import Anchored
from agents.continual.config import MASConfig
from agents.continual.fisher import (
    first_states,
    normalised,
    output_sensitivity,
    require_gradient,
)
from agents.continual.protocol import Experience, PolicyFunction


class MAS(Anchored):
    """Memory aware synapses (Aljundi et al. 2018, arXiv:1711.09601).

        penalty = Lambda / 2 sum_p Omega_p (theta_p - theta*_p)^2,   Omega <- Omega + Omega_i

    with Omega_i of `output_sensitivity`, mean 1 over each layer, and theta* where the latest phase
    ended, as published. A regime that comes back adds once more (see `Anchored`).

    Args:
        config: strength, parts, form and states.
        function: the policy.

    Raises:
        ValueError: a part that the policy does not have.
    """

    def __init__(self, config: MASConfig, function: PolicyFunction) -> None:
        super().__init__(config, function)
        self._states = config.states

    def consolidate(self, experience: Experience) -> None:
        """Add the phase's importance, and anchor all of it at the present.

        Raises:
            ValueError: no states, a protected part without a gradient, or importance that is not
                finite.
        """
        states, masks = first_states(experience.states, self._states), self.quadratic.masks
        found = output_sensitivity(self._function, states, names=tuple(masks))
        require_gradient(self.name, self._function, self._protect, found)
        self._move(normalised(found, masks))
