"""The market that the assets make, worked by hand, and the same history in any pieces."""

import numpy as np
import pytest

from features.panel import Panel, PanelState, inputs_code
from features.series import asset_series, panel_of, shared_series
from markets.bars import Bars
from markets.instruments import Instrument
from markets.published import PublishedSeries
from tests.features.random_markets import FIELDS, flat_bars, random_bars

NAN = np.nan
DAY = 86_400 * 10**9


def with_sectors(bars: Bars, sectors: list[str | None]) -> Bars:
    instruments = [
        Instrument(symbol, sector=sector)
        for symbol, sector in zip(bars.symbols, sectors, strict=True)
    ]
    fields = {name: getattr(bars, name) for name in FIELDS}
    return Bars.from_arrays(
        bars.ts_event, bars.symbols, **fields, actions=bars.actions, instruments=instruments
    )


class TestMarketByHand:
    # A pauses at row 1 and returns with ln 2 over two rows; it pays 2 on row 3.
    bars = flat_bars(
        [[1.0, 10.0], [NAN, 20.0], [2.0, 10.0], [2.0, NAN], [NAN, NAN], [8.0, 40.0]],
        [("A", 3, "dividend", 2.0)],
    )
    two = np.log(2.0)
    # Returns of A: -, -, ln 2, ln (4 / 2), -, ln 4; of B: -, ln 2, -ln 2, -, -, ln 4.
    market = np.array([0.0, two, 0.0, two, 0.0, 2.0 * two])

    def shared(self) -> Panel:
        return panel_of(self.bars)

    def test_market(self) -> None:
        level_T = self.shared().shared_TM[:, 1]
        np.testing.assert_allclose(level_T, np.exp(np.cumsum(self.market)), rtol=1e-14)
        assert level_T[0] == 1.0

    def test_dispersion(self) -> None:
        expected = [0.0, 0.0, self.two, 0.0, 0.0, 0.0]
        np.testing.assert_allclose(self.shared().shared_TM[:, 2], expected, atol=1e-15)

    def test_breadth(self) -> None:
        assert self.shared().shared_TM[:, 3].tolist() == [0.5, 1.0, 0.5, 1.0, 0.5, 1.0]

    def test_an_asset_sees_the_market_at_its_own_bars(self) -> None:
        own, _ = asset_series(self.shared())
        level_T = np.exp(np.cumsum(self.market))
        np.testing.assert_allclose(own.columns["market"], level_T[[0, 2, 3, 5]], rtol=1e-14)
        assert own.columns["sector"].tolist() == own.columns["market"].tolist()

    def test_a_sector_is_the_market_of_its_assets(self) -> None:
        a, b = asset_series(panel_of(with_sectors(self.bars, ["energy", None])))
        own = np.exp(np.cumsum([0.0, self.two, self.two, 2.0 * self.two]))
        np.testing.assert_allclose(a.columns["sector"], own, rtol=1e-14)
        assert b.columns["sector"].tolist() == b.columns["market"].tolist()


@pytest.mark.parametrize("pieces", [(1, 2, 50, 200), tuple(range(1, 201))])
def test_pieces_are_the_whole_bit_for_bit(pieces: tuple[int, ...]) -> None:
    bars = random_bars(3, 200, 6)
    whole = panel_of(bars)
    state, start, parts = PanelState.of(bars), 0, []
    for stop in pieces:
        rows = slice(start, stop)
        part = bars.rows(start, stop)
        parts.append(state.take_in(part, bars.split_TA[rows], bars.dividend_TA[rows]))
        start = stop
    present = whole.present_TA
    pieced_TAI = np.concatenate([part.asset_TAI for part in parts])
    assert pieced_TAI[present].tobytes() == whole.asset_TAI[present].tobytes()
    pieced_TM = np.concatenate([part.shared_TM for part in parts])
    assert pieced_TM.tobytes() == whole.shared_TM.tobytes()


def test_a_series_is_known_from_its_publication_on() -> None:
    bars = flat_bars([[1.0]] * 5, [])
    moment = bars.ts_event
    vix = PublishedSeries(
        name="vix",
        ts_published=np.array([moment[1] + 1, moment[3]]),
        values=np.array([20.0, 30.0]),
    )
    own = shared_series(panel_of(bars), vix)
    assert own.rows_n.tolist() == [2, 3, 4]
    assert own.columns["exogenous"].tolist() == [20.0, 30.0, 30.0]
    # Friday to Monday, then on the day, then a day later.
    np.testing.assert_allclose(own.columns["age"], [3.0 - 1.0 / DAY, 0.0, 1.0], rtol=1e-12)


def test_the_code_of_an_input_belongs_to_a_definition() -> None:
    price, market = inputs_code(frozenset({"close"})), inputs_code(frozenset({"market"}))
    assert len(price) == 1
    assert len(market) == 2
    assert market[0] == price[0]
    assert inputs_code(frozenset({"ts_event"})) == []
    assert inputs_code(frozenset({"close", "sector"})) == market
    assert len(inputs_code(frozenset({"exogenous", "age"}))) == 1
