"""The arrays of N accounts: where the kernel writes, and their names for everyone else."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.feed import Feed
from envs.kernel.layout import (
    Account,
    Clock,
    Flag,
    Key,
    OptionCount,
    OptionSetting,
    OptionSum,
    Term,
    padded_width,
)
from markets.synthetic.layout import Generator

Scalar = TypeVar("Scalar", bound=np.generic)


class AccountArrays:
    """N accounts as arrays that change in place, and read-only views of them.

    Args:
        feed: The market.
        rules_R: Parameters of the models.
        levels_L: Target weights of discrete actions.
        num_envs: Lanes, N.
        action_size: Numbers in a lane's action, D.
        record_terms: Whether there are terms and trades.

    Attributes: those of `envs.simulator.Simulator` that are arrays.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        rules_R: NDArray[np.float64],
        levels_L: NDArray[np.float64],
        num_envs: int,
        action_size: int,
        record_terms: bool,
    ) -> None:
        self.num_envs = num_envs
        self.num_assets = feed.num_assets
        self.action_size = action_size
        self.account_size = feed.num_signals + feed.num_assets + 3
        self.record_terms = record_terms
        self._generator = feed.generator
        self._features = feed.features_S
        self._allocate(feed)
        self._arrays = (
            np.concatenate([rules_R, feed.model_Q]),
            feed.market_TK,
            feed.events_T3A,
            feed.lot_A,
            levels_L,
            self._state,
            self._holdings.reshape(-1),
            self._clock,
            self._keys,
            self._flags,
            self._current.reshape(-1),
            self._final.reshape(-1),
            self._record,
        )
        self._plain_step = (
            np.zeros((OptionCount.SIZE, 0), dtype=np.int64),
            np.zeros((OptionSum.SIZE, 0)),
            np.zeros(OptionSetting.SIZE),
            *self._arrays,
        )
        self._name_views()

    def _allocate(self, feed: Feed) -> None:
        lanes, assets = self.num_envs, self.num_assets
        streaming = self._generator != Generator.TABLE
        self._actions = np.zeros((lanes, self.action_size))
        self._state = np.zeros((Account.STREAM_SIZE if streaming else Account.SIZE, lanes))
        self._state[Account.SIZE :] = np.nan
        self._holdings = np.zeros((lanes, padded_width(assets)))
        self._clock = np.zeros((Clock.SIZE, lanes), dtype=np.int32)
        self._keys = np.zeros((Key.STREAM_SIZE if streaming else Key.SIZE, lanes), dtype=np.int64)
        self._flags = np.zeros((Flag.SIZE, lanes), dtype=np.bool_)
        self._current = np.zeros((lanes, 1 + self.account_size), dtype=np.float32)
        self._final = np.zeros((lanes, 1 + self.account_size), dtype=np.float32)
        record_size = Term.SIZE + 3 * assets
        self._record = np.zeros((lanes if self.record_terms else 0, record_size))
        self._world = feed.market_TK if streaming else np.zeros((lanes, 0))
        self._changing: dict[str, NDArray[Any]] = {
            "state": self._state,
            "shares": self._holdings[:, :assets],
            "clock": self._clock,
            "keys": self._keys,
            "flags": self._flags,
            "current": self._current,
            "final": self._final,
            "record": self._record,
        }
        if streaming:
            self._changing["world"] = self._world

    def _name_views(self) -> None:
        lanes = self.num_envs
        self.bar_N = _readonly(self._clock[Clock.BAR])
        self.start_N = _readonly(self._clock[Clock.START])
        self.end_N = _readonly(self._clock[Clock.END])
        self.projection_count_N = _readonly(self._clock[Clock.PROJECTIONS])
        self.episode_N = _readonly(self._keys[Key.EPISODE])
        self.seed_N = _readonly(self._keys[Key.SEED])
        self.cash_N = _readonly(self._state[Account.CASH])
        self.equity_N = _readonly(self._state[Account.EQUITY])
        self.peak_N = _readonly(self._state[Account.PEAK])
        self.reward_N = _readonly(self._state[Account.REWARD])
        streaming = self._generator != Generator.TABLE
        expected = self._state[Account.EXPECTED] if streaming else np.full(lanes, np.nan)
        self.expected_N = _readonly(expected)
        self.shares_NA = _readonly(self._holdings[:, : self.num_assets])
        self.world_NS = _readonly(self._world)
        self.terminated_N = _readonly(self._flags[Flag.TERMINATED])
        self.truncated_N = _readonly(self._flags[Flag.TRUNCATED])
        self.projected_N = _readonly(self._flags[Flag.PROJECTED])
        self.liquidated_N = _readonly(self._flags[Flag.LIQUIDATED])
        self.ended_N = _readonly(self._flags[Flag.ENDED])
        self.final_bar_N = _readonly(self._final[:, 0])
        self.account_NP = _readonly(self._current[:, 1:])

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of everything that changes, as plain arrays; see `load_state_dict`."""
        return {name: array.copy() for name, array in self._changing.items()}

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue exactly where `state_dict` was taken, on the same market and configuration.

        Raises:
            ValueError: Other names, shapes or dtypes.
        """
        if set(state) != set(self._changing):
            msg = f"state: expected {sorted(self._changing)}, found {sorted(state)}"
            raise ValueError(msg)
        for name, array in self._changing.items():
            found = state[name]
            if found.shape != array.shape or found.dtype != array.dtype:
                msg = (
                    f"state[{name!r}]: expected {array.dtype} of shape {array.shape}, found "
                    f"{found.dtype} of shape {found.shape}"
                )
                raise ValueError(msg)
        for name, array in self._changing.items():
            array[...] = state[name]

    @property
    def terms_N7(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Terms of the last step in the order of `TERMS`, currency."""
        return self._recorded(0, Term.SIZE)

    @property
    def trades_NA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Signed shares filled in the last step (forced ones included)."""
        return self._recorded(Term.SIZE, self.num_assets)

    @property
    def fill_price_NA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Price of the last fill with half spread and slippage, currency; NaN = none."""
        return self._recorded(Term.SIZE + self.num_assets, self.num_assets)

    @property
    def unfilled_NA(self) -> NDArray[np.float64]:  # noqa: N802 - dimension suffix
        """Signed shares of orders that lapsed in the last step."""
        return self._recorded(Term.SIZE + 2 * self.num_assets, self.num_assets)

    def _recorded(self, start: int, size: int) -> NDArray[np.float64]:
        if not self.record_terms:
            msg = "terms and trades are kept only with record_terms=True, found False"
            raise RuntimeError(msg)
        return _readonly(self._record[:, start : start + size])


def _readonly(array: NDArray[Scalar]) -> NDArray[Scalar]:
    view = array.view()
    view.flags.writeable = False
    return view
