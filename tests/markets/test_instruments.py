"""What is known of a symbol is checked at once."""

import pytest

from markets import Bars, CorporateActions, Instrument, InstrumentError


@pytest.mark.parametrize("sector", ["", " banks", "banks "])
def test_sector_is_a_name_or_not_known(sector: str) -> None:
    assert Instrument("A").sector is None
    assert Instrument("A", sector="banks").sector == "banks"
    with pytest.raises(InstrumentError, match=r"A\.sector: expected a name .*found"):
        Instrument("A", sector=sector)


def test_sector_is_no_part_of_the_data() -> None:
    """The hash of bars is that of prices: it stays when a sector becomes known."""

    def bars(sector: str | None) -> Bars:
        price = [[1.0], [2.0]]
        return Bars.from_arrays(
            [0, 86_400 * 10**9],
            ["A"],
            open=price,
            high=price,
            low=price,
            close=price,
            volume=price,
            actions=CorporateActions.empty(),
            instruments=[Instrument("A", sector=sector)],
        )

    assert bars("banks").sha256() == bars(None).sha256()
    assert bars("banks").select(["A"]).instruments[0].sector == "banks"
    assert bars("banks").rows(0, 1).instruments[0].sector == "banks"
