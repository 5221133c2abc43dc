"""Ledgers made from plain returns, so that evaluation is tested without a market."""

from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import install_import_hook
from numpy.typing import NDArray

with install_import_hook(["evaluation.metrics", "evaluation.bootstrap"], "beartype.beartype"):
    from evaluation import bootstrap, metrics

from evaluation.ledger import TERMS, Ledger, LedgerMetadata, Trades

DAY = 86_400_000_000_000
START = 1_577_923_200_000_000_000
"""2020-01-02, ns UTC."""

MakeLedger = Callable[..., Ledger]

CHECKED = (bootstrap, metrics)
"""Modules whose shapes are checked at run time, imported before anything else imports them."""


def business_days(count: int) -> NDArray[np.int64]:
    """The first ``count`` weekdays from 2020-01-02 on, ns UTC at 21:00."""
    days = np.arange(2 * count + 7)
    weekdays = days[(days + 3) % 7 < 5][:count]
    return np.asarray(START + weekdays * DAY + 21 * 3_600_000_000_000)


def ledger_from_returns(
    returns_T: NDArray[np.float64],
    *,
    policy: str = "agent",
    seed: int = 0,
    split: str = "test",
    symbols: tuple[str, ...] = ("AAA", "BBB"),
    fee_rate: float = 0.0,
) -> Ledger:
    """A ledger whose equity has the given returns; every bar buys one share of the first asset.

    ``fee_rate`` books part of each bar's change as a fee, so that costs are not all zero.
    """
    equity_E = 1000.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns_T)])
    rows, assets = len(equity_E), len(symbols)
    terms = np.zeros((rows, len(TERMS)))
    terms[1:, TERMS.index("fees")] = fee_rate * equity_E[:-1]
    terms[1:, 0] = np.diff(equity_E) + terms[1:, TERMS.index("fees")]
    ts_event = business_days(rows)
    weights = np.full((rows, assets), 0.5 / assets)
    weights[0] = 0.0
    trade_rows = np.arange(1, rows)
    trades = Trades(
        row=trade_rows,
        ts_event=ts_event[1:],
        asset=np.zeros(rows - 1, dtype=np.int64),
        shares=np.ones(rows - 1),
        price=np.full(rows - 1, 10.0),
        cost=terms[1:, TERMS.index("fees")],
    )
    return Ledger(
        symbols=symbols,
        ts_event=ts_event,
        equity=equity_E,
        cash=equity_E * (1.0 - weights.sum(axis=1)),
        weights=weights,
        terms=terms,
        turnover=np.concatenate([[0.0], 10.0 / equity_E[:-1]]),
        reward=np.concatenate([[0.0], np.log1p(returns_T)]),
        projected=np.zeros(rows, dtype=bool),
        closed=np.zeros(rows, dtype=bool),
        trades=trades,
        metadata=LedgerMetadata(policy=policy, seed=seed, split=split, periods_per_year=252.0),
    )


@pytest.fixture(scope="session")
def make_ledger() -> MakeLedger:
    return ledger_from_returns
