"""What a policy that asks for it is told while it is played: true regimes, and forgone payoffs.

A policy asks by attributes (`Informed`); any other is told nothing. Regimes are told before the
action, and only a synthetic market knows them. What each of a policy's options would have earned
in a bar is told after that bar: a policy that learns from it is causal.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.branching import Branches
from envs.simulator import Simulator
from markets.synthetic.base import Stream, regimes_of
from meta_controller.policy import Step

__all__ = ["Briefing", "Informed"]

Array = NDArray[np.float64]


@runtime_checkable
class Informed(Protocol):
    """A policy that may ask for more than observations."""

    @property
    def wants_regimes(self) -> bool:
        """Whether it must be told the true regimes before it acts."""
        ...

    @property
    def wants_payoffs(self) -> bool:
        """Whether it must be told after a bar what each of its options would have earned."""
        ...

    @property
    def last(self) -> Step | None:
        """What it did in its last bar, and what each option alone would have done."""
        ...

    def tell(self, regime_N: NDArray[np.int64]) -> None:
        """Say which regimes the accounts are in."""
        ...

    def learn(self, payoff_NK: Array) -> None:
        """Say what each option would have earned in the bar after the last action."""
        ...


class Briefing:
    """Tells one policy, whose accounts are some lanes of a simulator.

    Args:
        policy: who acts.
        simulator: where.
        lanes: the policy's accounts.

    Raises:
        ValueError: the policy wants true regimes, which recorded markets do not know.
    """

    def __init__(self, policy: Policy, simulator: Simulator, lanes: slice = slice(None)) -> None:
        self._simulator, self._lanes = simulator, lanes
        self._policy = policy if isinstance(policy, Informed) else None
        self._branches: Branches | None = None
        if self._policy is None:
            return
        if self._policy.wants_regimes and not isinstance(simulator.market, Stream):
            raise ValueError(
                "controller: expected one that needs no true regimes on a recorded market, which "
                "does not know them, found the oracle's"
            )
        if self._policy.wants_payoffs:
            self._branches = Branches(simulator)
        self._payoff_NK = np.zeros((0, 0))

    def before(self) -> None:
        """Tell what is known before the policy acts."""
        if self._policy is not None and self._policy.wants_regimes:
            self._policy.tell(regimes_of(self._simulator.world_NS)[self._lanes])

    def look(self, actions_ND: Array) -> None:
        """Try every option, between the actions of all lanes and the simulator's step.

        Args:
            actions_ND: that all lanes are about to take.
        """
        if self._policy is None or self._branches is None:
            return
        step = self._policy.last
        assert step is not None  # noqa: S101 - the policy has just acted
        own_MKD = step.option_NKD
        failed = step.decision.failed_BK
        failed_MK = np.zeros(own_MKD.shape[:2], bool) if failed is None else failed.cpu().numpy()
        shape = (len(actions_ND), own_MKD.shape[1], actions_ND.shape[1])
        tried_NKD = np.array(np.broadcast_to(actions_ND[:, None], shape))
        tried_NKD[self._lanes] = own_MKD
        # Nothing is learned of an option that failed, nor in the call that only resets an account.
        idle_M1 = self._simulator.ended_N[self._lanes, None]
        paid_MK = self._branches.payoffs(tried_NKD)[self._lanes]
        self._payoff_NK = np.where(failed_MK | idle_M1, np.nan, paid_MK)

    def after(self) -> None:
        """Tell what the options would have earned, once the bar is over."""
        if self._policy is not None and self._branches is not None:
            self._policy.learn(self._payoff_NK)
