"""A policy of options that is watched for what its controller moves: weights, and holdings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.blending import blend
from envs.synthetic import MarketConfig, Problem
from experiments.options_vs_flat.training import Watched
from experiments.regime_detection.worlds import transition_of
from markets.synthetic.chain import stationary
from markets.synthetic.regime_gbm import RegimeGBM
from meta_controller.diagnostics import holdings_disruption, mutual_information
from meta_controller.policy import HierarchicalPolicy


class Moved(Watched):
    """`Watched`, with the part of each trade that the controller causes.

    a(s, w) is the action of the blend of the options' outputs, clipped to the action's box; what it
    asks for less what it would have asked for under the weights before, at the same holdings.

    Args:
        policy: what acts, in continuous actions.
        unit: holdings that an action of 1 asks for or trades, as shares of the largest holdings.
    """

    def __init__(self, policy: HierarchicalPolicy, unit: float) -> None:
        super().__init__(policy)
        self._unit = unit

    def reset(self, num_envs: int) -> None:
        """Begin to count anew."""
        super().reset(num_envs)
        self._weights: torch.Tensor | None = None
        self._caused: list[torch.Tensor] = []
        self._every: list[torch.Tensor] = []
        self._beliefs: list[torch.Tensor] = []

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Act, and count."""
        actions = super().act(observation_NO)
        step = self.policy.last
        assert step is not None
        outputs_NKD = step.decision.outputs_BKD
        if self._weights is not None:
            moved, unmoved = (
                blend(outputs_NKD, weights_NK, self.policy.kind).clamp(-1.0, 1.0)
                for weights_NK in (step.weights_NK, self._weights)
            )
            self._caused.append(holdings_disruption(moved, unmoved, 1.0 / self._unit))
        self._weights = step.weights_NK
        self._every.append(step.weights_NK)
        self._beliefs.append(step.belief_NR)
        return actions

    def counts(self) -> dict[str, Any]:
        """As `Watched`; with the disruption of holdings, and mutual information with the belief."""
        caused = torch.cat(self._caused).numpy()
        known = mutual_information(torch.cat(self._every), torch.cat(self._beliefs))
        return super().counts() | {
            "holdings_mean": float(caused.mean()),
            "holdings_p99": float(np.quantile(caused, 0.99)),
            "holdings_max": float(caused.max()),
            "information": known,
        }


def unit_of(problem: Problem) -> float:
    """Holdings that an action of 1 stands for, as a share of the largest that are allowed."""
    if isinstance(problem.world, RegimeGBM):
        return 1.0
    return problem.size / problem.limit


def switch_rate(world: MarketConfig) -> float:
    """Probability that the true regime changes in a bar, in the long run."""
    transition_KK = transition_of(world)
    probability_K = stationary(transition_KK)
    return float(1.0 - probability_K @ np.diag(transition_KK))
