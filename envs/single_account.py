"""A simulator of one account whose step costs little more than the kernel's call."""

from collections.abc import Callable, MutableSequence, Sequence
from typing import NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from envs.config import TradingConfig
from envs.feed import Market
from envs.guards import ActionError, EpisodeError
from envs.kernel.run import NO_FAULT
from envs.simulator import Simulator


class SingleAccount(Simulator):
    """One lane, with terms and trades, and without the checks and copies that batches need.

    Attributes:
        arguments: What `kernel` takes.
        action_D: Where the next action is written before the call.
        target: The same as a writable memory view, for the first number.
        observation_O: `[bar, account (P)]` now, a read-only view.
        reward, equity, terminated, truncated, projected, liquidated, bar, projection_count:
            One-element views of the lane's state; indexing them gives Python numbers.
        terms_7, trades_A: Terms and signed fills of the last step, read-only views.
    """

    def __init__(
        self,
        market: Market,
        config: TradingConfig,
        *,
        rows: tuple[int, int] | None = None,
        lane: int = 0,
    ) -> None:
        super().__init__(market, config, 1, seed=0, rows=rows, record_terms=True, lane_offset=lane)
        self.action_D = self._actions[0]
        self.arguments = (self._actions.reshape(-1), *self._plain_step)
        self.target = cast("MutableSequence[float]", self.action_D.data)
        self.observation_O = self._current[0].view()
        self.observation_O.flags.writeable = False
        self.terms_7 = self.terms_N7[0]
        self.trades_A = self.trades_NA[0]
        self.reward = cast("Sequence[float]", self.reward_N.data)
        self.equity = cast("Sequence[float]", self.equity_N.data)
        self.terminated = cast("Sequence[bool]", self.terminated_N.data)
        self.truncated = cast("Sequence[bool]", self.truncated_N.data)
        self.projected = cast("Sequence[bool]", self.projected_N.data)
        self.liquidated = cast("Sequence[bool]", self.liquidated_N.data)
        self.bar = cast("Sequence[int]", self.bar_N.data)
        self.projection_count = cast("Sequence[int]", self.projection_count_N.data)

    @property
    def kernel(self) -> Callable[..., int]:
        """The compiled step, to be called with `arguments`; returns `NO_FAULT` or a fault code."""
        return self._run

    def refuse(self, code: int) -> NoReturn:
        """Raise what a fault code of the kernel means; nothing has changed then.

        Raises:
            ActionError: The action is not finite.
            EpisodeError: The episode has ended.
        """
        self._raise_fault(code, self.action_D)

    def fill_values(self) -> NDArray[np.float64]:
        """Return the signed value traded in each asset in the last step, currency, (A,)."""
        price_A = self.fill_price_NA[0]
        return np.where(self.trades_A != 0.0, self.trades_A * price_A, 0.0)

    def _raise_fault(self, code: int, actions_M: NDArray[np.float64]) -> NoReturn:
        if code < NO_FAULT:
            raise EpisodeError("the episode has ended; call reset before the next step")
        found = actions_M[code]
        raise ActionError(f"action[{code}]: expected a finite number, found {found}")
