"""Exogenous series that come inside an ordinary dependency, with honest publication lags.

The files say to which day or month a value belongs, not when it was published. Each lag below is
the longest one that the publisher's routine allows; no value is known earlier than in reality.
All values are the last vintage: later revisions are in them, which the notes say.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from markets.sources.packages import (
    PackagedFile,
    accept_content,
    installed_version,
    read_content,
)
from markets.sources.publication import Lag, Publications, clock_of_day, to_utc

__all__ = ["PACKAGED_SERIES", "PackagedSeries", "PackagedSeriesConfig"]

_NEW_YORK = "America/New_York"
_PUBLIC = "public figures; package NCSA, no separate licence of the data"


@dataclass(frozen=True, kw_only=True)
class PackagedSeries(PackagedFile):
    """One series inside a package.

    Attributes:
        column: Column of the values.
        minus: Column that is subtracted, or "".
        date_format: strptime format of the dates.
        lag: From the first day of an observation to its publication; the time of day is `at`.
        at: Time of publication in New York.
        unit: Unit of the values.
        notes: Publication rule, and what is wrong with the data.
    """

    column: str
    minus: str = ""
    date_format: str = "%m/%d/%Y"
    lag: str
    at: str
    unit: str
    notes: tuple[str, ...]

    def publications(self, content: bytes) -> Publications:
        """Publications in the file's content; days without a value are left out."""
        frame = pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", na_values=["."])
        values = frame[self.column].to_numpy(np.float64)
        if self.minus:
            values = values - frame[self.minus].to_numpy(np.float64)
        known = np.isfinite(values)
        dates = pd.DatetimeIndex(pd.to_datetime(frame["Date"], format=self.date_format))
        local = Lag.parse(self.lag).after(dates[known].as_unit("ns").asi8) + clock_of_day(self.at)
        return Publications(
            name=self.dataset,
            ts_published=to_utc(local, _NEW_YORK),
            values=values[known],
            unit=self.unit,
            source=f"{self.distribution} {installed_version(self)}: {self.file}",
            licence=self.licence,
            notes=self.notes,
        )


PACKAGED_SERIES: Mapping[str, PackagedSeries] = {
    entry.dataset: entry
    for entry in (
        PackagedSeries(
            dataset="vix",
            package="arch",
            distribution="arch",
            file="data/vix/vix.csv.gz",
            sha256="6426bbfd29e017bf33d95e25e69cded4c9686b736466100b0fa4703814f78731",
            version="8.0.0",
            licence=_PUBLIC,
            column="vix",
            lag="0D",
            at="16:15",
            unit="percent a year",
            notes=(
                (
                    "close of Cboe's VIX, 2014-2018: known at 16:15 in New York, a quarter of an"
                    " hour after the stocks' close of the day"
                ),
            ),
        ),
        PackagedSeries(
            dataset="wti",
            package="arch",
            distribution="arch",
            file="data/wti/wti.csv.gz",
            sha256="7da09a03f7bb5bff9d029c1b642eca14f195940379ad8a83305277175b88c3d6",
            version="8.0.0",
            licence=_PUBLIC,
            column="DCOILWTICO",
            lag="7B",
            at="17:00",
            unit="USD per barrel",
            notes=(
                (
                    "daily spot price of WTI, 1986-2018 (EIA by FRED): the EIA publishes on"
                    " Wednesday, after a holiday on Thursday, up to the Monday before; 7 business"
                    " days bear that"
                ),
            ),
        ),
        PackagedSeries(
            dataset="brent",
            package="arch",
            distribution="arch",
            file="data/crude/crude.csv.gz",
            sha256="61567ed3149561405a08c57cb97a0e82b2398e70dd16bc516f1dcd025ecb3a5b",
            version="8.0.0",
            licence=_PUBLIC,
            column="Brent",
            date_format="%Y-%m-%d",
            lag="2M",
            at="00:00",
            unit="USD per barrel",
            notes=(
                (
                    "monthly mean of Brent, 1987-2020, dated on the 15th of its month: published in"
                    " the first half of the next month, used from the 15th of the one after"
                ),
            ),
        ),
        PackagedSeries(
            dataset="core_cpi",
            package="arch",
            distribution="arch",
            file="data/core_cpi/core-cpi.csv.gz",
            sha256="8720a64241f976d1bb1137d11a2385dbb0d1db7e6d90065a45e94cc18538a980",
            version="8.0.0",
            licence=_PUBLIC,
            column="CPILFESL",
            lag="2M",
            at="00:00",
            unit="index, 1982-84 = 100",
            notes=(
                (
                    "consumer prices without food and energy, 1957-2018 (BLS by FRED): published in"
                    " the month after (the latest on the 30th, in October 2013), used from its end"
                ),
                (
                    "seasonally adjusted with later seasons: the last five years are revised each"
                    " February, so a value may differ from what was published then"
                ),
            ),
        ),
        PackagedSeries(
            dataset="default_spread",
            package="arch",
            distribution="arch",
            file="data/default/default.csv.gz",
            sha256="1956358585e5cad1046d144a8e41f393afd0e9365a9540066c99a64a30869c55",
            version="8.0.0",
            licence=_PUBLIC,
            column="BAA",
            minus="AAA",
            lag="1M 7D",
            at="00:00",
            unit="percentage points",
            notes=(
                (
                    "Moody's Baa less Aaa yield, monthly mean, 1919-2018 (Federal Reserve by FRED):"
                    " published in the first days of the next month, used from its 8th"
                ),
            ),
        ),
    )
}


@config_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PackagedSeriesConfig:
    """A series that comes inside an ordinary dependency; works offline, after installation."""

    kind: Literal["package"] = "package"
    """Discriminator."""
    series: Literal["vix", "wti", "brent", "core_cpi", "default_spread"]
    """Identifier, of `PACKAGED_SERIES`, which tells spans, units and publication rules."""
    accept_sha256: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None
    """SHA-256 of a changed file's content that is accepted in place of the pinned one."""

    def read(self) -> Publications:
        """Read and check the file.

        Raises:
            DataFileError: the package or its file is not there.
            ManifestError: the file is not the one that this version knows.
        """
        entry = PACKAGED_SERIES[self.series]
        content = read_content(entry)
        accepted = accept_content(entry, content, self.accept_sha256)
        known = entry.publications(content)
        return replace(known, notes=(*known.notes, *accepted))
