"""A real market for the tests of features."""

from pathlib import Path

import pandas as pd
import pytest

from markets.actions import CorporateActions
from markets.bars import Bars


@pytest.fixture(scope="session")
def us_bars(shared_data: Path) -> Bars:
    """Raw daily bars with splits and dividends, 2005 to 2021; GOOG starts in 2014, FB in 2012."""
    folder = shared_data / "us_daily_raw_1998_2021"
    symbols = ["AAPL", "AIG", "FB", "GOOG", "IBM"]
    starts = {"FB": "2012-05-18", "GOOG": "2014-04-03"}
    frame = pd.read_csv(folder / "daily_raw.csv.gz", parse_dates=["date"])
    first = frame["symbol"].map(starts).fillna("2005-01-01")
    frame = frame[frame["symbol"].isin(symbols) & (frame["date"] >= pd.to_datetime(first))]
    actions = CorporateActions.from_pandas(pd.read_csv(folder / "actions.csv"))
    return Bars.from_pandas(frame, actions=actions)
