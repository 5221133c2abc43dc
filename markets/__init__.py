"""What happened, with its provenance: bars, actions, sources, manifests, splits."""

from markets.actions import ActionsError, CorporateActions, derive_actions
from markets.bars import Bars
from markets.calendars import CalendarError
from markets.errors import MarketDataError
from markets.inspection import Suspicion, suspicious
from markets.instruments import Instrument, InstrumentError
from markets.manifest import Manifest, ManifestError
from markets.splits import (
    DateSplit,
    FractionSplit,
    Rows,
    Split,
    SplitConfig,
    SplitError,
    WalkForwardSplit,
    by_date,
    by_fraction,
    by_rows,
    walk_forward,
)
from markets.times import TimeError
from markets.validation import BarsError, Fault, Repair

__all__ = [
    "ActionsError",
    "Bars",
    "BarsError",
    "CalendarError",
    "CorporateActions",
    "DateSplit",
    "Fault",
    "FractionSplit",
    "Instrument",
    "InstrumentError",
    "Manifest",
    "ManifestError",
    "MarketDataError",
    "Repair",
    "Rows",
    "Split",
    "SplitConfig",
    "SplitError",
    "Suspicion",
    "TimeError",
    "WalkForwardSplit",
    "by_date",
    "by_fraction",
    "by_rows",
    "derive_actions",
    "suspicious",
    "walk_forward",
]
