"""Real data and small frames shared by the tests of markets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets import Bars, CorporateActions

FORMATS = {
    "bad": "%m/%d/%Y",
    "mismatch": "%m/%d/%Y",
    "zeros": "%m/%d/%y",
    "penny": "%Y-%m-%d",
    "intraday": "%Y-%m-%d %H:%M",
}


@pytest.fixture(scope="session")
def raw_daily(shared_data: Path) -> pd.DataFrame:
    """Unadjusted daily bars of eight US stocks, long, 1998 to 2021."""
    folder = shared_data / "us_daily_raw_1998_2021"
    return pd.read_csv(folder / "daily_raw.csv.gz", parse_dates=["date"])


@pytest.fixture(scope="session")
def raw_actions(shared_data: Path) -> CorporateActions:
    frame = pd.read_csv(shared_data / "us_daily_raw_1998_2021" / "actions.csv")
    return CorporateActions.from_pandas(frame)


@pytest.fixture(scope="session")
def raw_bars(raw_daily: pd.DataFrame, raw_actions: CorporateActions) -> Bars:
    return Bars.from_pandas(raw_daily, actions=raw_actions)


@pytest.fixture(scope="session")
def case(shared_data: Path) -> Callable[[str], pd.DataFrame]:
    """A file of validation_cases with its time parsed, rows and columns as they are."""

    def read(name: str) -> pd.DataFrame:
        frame = pd.read_csv(shared_data / "validation_cases" / f"{name}.csv")
        column = frame.columns[0]
        frame[column] = pd.to_datetime(frame[column], format=FORMATS[name])
        return frame

    return read


@pytest.fixture
def two() -> pd.DataFrame:
    """Long frame: A on three days, B on the last two."""
    return pd.DataFrame(
        {
            "date": pd.to_datetime(
                ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-03", "2024-01-04"]
            ),
            "symbol": ["A", "A", "A", "B", "B"],
            "open": [10.0, 11.0, 12.0, 20.0, 21.0],
            "high": [10.5, 11.5, 12.5, 20.5, 21.5],
            "low": [9.5, 10.5, 11.5, 19.5, 20.5],
            "close": [10.2, 11.2, 12.2, 20.2, 21.2],
            "volume": np.array([100.0, 110.0, 120.0, 200.0, 210.0]),
        }
    )
