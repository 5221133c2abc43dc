"""Where a span ends changes no decision before its end, unless the agent is told the time left."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.backtest import backtest
from tests.evaluation.test_backtest import CONFIG, ROWS, Array, make_market


class Attentive:
    """A policy whose weights hang on every number of the observation."""

    def reset(self, num_envs: int) -> None:
        """It has no memory."""

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        account_NP = observation_NO[:, 1:].astype(np.float64)
        mixing_PA = np.cos(np.arange(account_NP.shape[1] * 3)).reshape(-1, 3)
        return 0.33 * np.abs(np.sin(account_NP @ mixing_PA + observation_NO[:, :1]))


@pytest.mark.parametrize("told", [False, True])
def test_the_end_of_the_span_changes_decisions_only_where_time_left_is_told(told: bool) -> None:
    observation = dataclasses.replace(CONFIG.observation, time_left=told)
    config = dataclasses.replace(CONFIG, observation=observation)
    market = make_market()
    short, long = (
        backtest(Attentive(), market, config, (ROWS[0], stop)) for stop in (100, ROWS[1])
    )
    rows = len(short.equity)
    assert rows == 60 < len(long.equity)
    same = {
        name: getattr(short, name).tobytes() == getattr(long, name)[:rows].tobytes()
        for name in ("ts_event", "equity", "cash", "weights", "terms", "turnover", "reward")
    }
    past = long.trades.row < rows
    same |= {
        f"trades.{name}": getattr(short.trades, name).tobytes()
        == getattr(long.trades, name)[past].tobytes()
        for name in ("row", "asset", "shares", "price", "cost")
    }
    if told:
        assert not same["equity"]
        assert not same["trades.shares"]
    else:
        assert all(same.values()), same
