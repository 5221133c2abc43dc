"""The ledger refuses what contradicts itself, and comes back from disk as it went."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.ledger import TERMS, Ledger, LedgerError, LedgerMetadata, Trades

MakeLedger = Callable[..., Ledger]


@pytest.fixture
def ledger(make_ledger: MakeLedger) -> Ledger:
    returns_T = np.random.default_rng(0).normal(size=30) * 0.01
    made: Ledger = make_ledger(returns_T, fee_rate=1e-4, seed=3)
    return made


def test_round_trip_is_exact(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "seed=3" / "ledger.parquet"
    ledger.to_parquet(path)
    back = Ledger.from_parquet(path)
    for column in dataclasses.fields(Ledger):
        if column.name not in ("trades", "metadata", "symbols"):
            np.testing.assert_array_equal(
                getattr(back, column.name), getattr(ledger, column.name), strict=True
            )
    for column in dataclasses.fields(Trades):
        np.testing.assert_array_equal(
            getattr(back.trades, column.name), getattr(ledger.trades, column.name), strict=True
        )
    assert back.metadata == ledger.metadata
    assert back.symbols == ledger.symbols


def test_same_ledger_same_bytes_and_nothing_left_behind(ledger: Ledger, tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    ledger.to_parquet(first)
    ledger.to_parquet(second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_a_failed_write_leaves_the_old_file(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.parquet"
    ledger.to_parquet(path)
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        ledger.to_parquet(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_trades_come_back_as_none(make_ledger: MakeLedger, tmp_path: Path) -> None:
    ledger = make_ledger(np.zeros(3))
    empty = Trades(*(np.array([], dtype=t) for t in (int, int, int, float, float, float)))
    path = tmp_path / "ledger.parquet"
    dataclasses.replace(ledger, trades=empty).to_parquet(path)
    back = Ledger.from_parquet(path)
    assert len(back.trades) == 0
    assert len(back.trades_to_pandas()) == 0


def test_arrays_cannot_be_changed(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="read-only"):
        ledger.equity[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        ledger.trades.price[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        ledger.equity = np.zeros(3)  # type: ignore[misc]  # faulty on purpose


def test_identity_is_checked(ledger: Ledger) -> None:
    terms = ledger.terms.copy()
    terms[7, TERMS.index("fees")] += 1e-3
    with pytest.raises(LedgerError, match=r"equity\[7\]: expected a change of .* found"):
        dataclasses.replace(ledger, terms=terms)


def test_an_altered_file_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    ledger.to_parquet(path)
    table = pq.read_table(path)
    equity = table.column("equity").to_numpy().copy()
    equity[5] *= 1.0001
    column = table.schema.get_field_index("equity")
    pq.write_table(table.set_column(column, "equity", pa.array(equity)), path)
    with pytest.raises(LedgerError, match=r"equity\[5\]"):
        Ledger.from_parquet(path)


def test_files_that_are_no_ledger_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    with pytest.raises(LedgerError, match="expected a ledger in Parquet"):
        Ledger.from_parquet(path)
    ledger.to_parquet(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LedgerError, match="expected a ledger in Parquet"):
        Ledger.from_parquet(path)
    pq.write_table(pa.table({"equity": [1.0]}), path)
    with pytest.raises(LedgerError, match="expected the schema metadata of a ledger"):
        Ledger.from_parquet(path)
    ledger.to_parquet(path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["cash"]), path)
    with pytest.raises(LedgerError, match="expected a column that is missing"):
        Ledger.from_parquet(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"cash": x.cash[:-1]}, r"cash: expected shape \(31,\), found \(30,\)"),
        (lambda x: {"weights": x.weights[:, :1]}, r"weights: expected shape"),
        (lambda _: {"reward": np.where(np.arange(31) == 4, np.nan, 0.0)}, r"reward\[4\]"),
        (lambda x: {"ts_event": x.ts_event[::-1]}, r"ts_event\[1\]: expected a time after"),
    ],
)
def test_inconsistent_columns_are_refused(
    ledger: Ledger, change: Callable[[Ledger], dict[str, Any]], message: str
) -> None:
    with pytest.raises(LedgerError, match=message):
        dataclasses.replace(ledger, **change(ledger))


def test_trades_of_other_bars_are_refused(ledger: Ledger) -> None:
    trades = dataclasses.replace(ledger.trades, row=ledger.trades.row + 5)
    with pytest.raises(LedgerError, match=r"trades\.row"):
        dataclasses.replace(ledger, trades=trades)
    with pytest.raises(LedgerError, match=r"trades\.price: expected 30 values, found 29"):
        dataclasses.replace(ledger.trades, price=ledger.trades.price[1:])


def test_frames_read_as_tables(ledger: Ledger) -> None:
    bars = ledger.to_pandas()
    assert list(bars.columns[:2]) == ["equity", "cash"]
    assert {"weight_AAA", "weight_BBB", *TERMS} < set(bars.columns)
    assert str(bars.index.dtype) == "datetime64[ns, UTC]"
    assert bars["equity"].iloc[-1] == ledger.equity[-1]
    trades = ledger.trades_to_pandas()
    assert len(trades) == 30
    assert set(trades["symbol"]) == {"AAA"}
    assert trades["value"].sum() == pytest.approx(300.0)


def test_costs_are_sums_of_their_terms(ledger: Ledger) -> None:
    np.testing.assert_allclose(ledger.costs, ledger.term("fees"))
    np.testing.assert_allclose(ledger.trading_costs[1:], 1e-4 * ledger.equity[:-1])


def test_metadata_names_the_policy() -> None:
    assert LedgerMetadata(policy="cash").seed == 0
