"""Elastic weight consolidation: parameters are held by the Fisher information of earlier phases."""

from torch import Tensor

from agents.continual.anchors import Anchored
from agents.continual.config import EWCConfig, OnlineEWCConfig
from agents.continual.fisher import (
    first_states,
    fisher_information,
    normalised,
    require_gradient,
)
from agents.continual.protocol import Experience, PolicyFunction


class _Elastic(Anchored):
    """What both share: the Fisher information of a phase, mean 1 over each layer.

    Args:
        config: strength, parts, form and states.
        function: the policy.

    Raises:
        ValueError: a part that the policy does not have.
    """

    def __init__(self, config: EWCConfig | OnlineEWCConfig, function: PolicyFunction) -> None:
        super().__init__(config, function)
        self._states = config.states

    def _information(self, experience: Experience) -> dict[str, Tensor]:
        states = first_states(experience.states, self._states)
        masks = self.quadratic.masks
        found = fisher_information(self._function, states, experience.generator, names=tuple(masks))
        require_gradient(self.name, self._function, self._protect, found)
        return normalised(found, masks)


class EWC(_Elastic):
    """Every earlier phase pulls to where it ended (Kirkpatrick et al. 2017, arXiv:1612.00796).

        penalty = Lambda / 2 sum_i sum_p F_i,p (theta_p - theta*_i,p)^2

    F_i is the policy's own Fisher information (`agents.continual.fisher`), not the square of the
    training's gradients; the critic and the deviations are free. A regime that comes back adds once
    more (see `Anchored`).
    """

    def consolidate(self, experience: Experience) -> None:
        """Add the phase's quadratic.

        Raises:
            ValueError: no states, a protected part without a gradient, or information that is not
                finite.
        """
        # Huszar 2018 (arXiv:1712.03847): as Bayes' rule the sum should be around the latest
        # optimum only, which has the earlier quadratics in it already; a term for each counts early
        # phases more often. The paper's form is kept here, and that one is `OnlineEWC`.
        self._add(self._information(experience))


class OnlineEWC(_Elastic):
    """One anchor, and information that fades (Schwarz et al. 2018, arXiv:1805.06370, section 4).

        penalty = Lambda / 2 sum_p F_p (theta_p - theta*_p)^2,   F <- gamma F + F_i

    with theta* where the latest phase ended.

    With gamma < 1 the pull stays bounded by 1 / (1 - gamma) times a phase's, also where regimes
    recur.
    """

    def __init__(self, config: OnlineEWCConfig, function: PolicyFunction) -> None:
        super().__init__(config, function)
        self._decay = config.decay

    def consolidate(self, experience: Experience) -> None:
        """Let the information fade, add the phase's, and anchor all of it at the present.

        Raises:
            ValueError: no states, a protected part without a gradient, or information that is not
                finite.
        """
        self._move(self._information(experience), self._decay)
