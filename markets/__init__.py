"""What happened, with its provenance: bars, actions, sources, manifests, splits."""

from markets.actions import ActionsError, CorporateActions, derive_actions
from markets.bars import Bars
from markets.calendars import CalendarError
from markets.errors import MarketDataError
from markets.instruments import Instrument, InstrumentError
from markets.manifest import Manifest, ManifestError
from markets.times import TimeError
from markets.validation import BarsError, Fault, Repair

__all__ = [
    "ActionsError",
    "Bars",
    "BarsError",
    "CalendarError",
    "CorporateActions",
    "Fault",
    "Instrument",
    "InstrumentError",
    "Manifest",
    "ManifestError",
    "MarketDataError",
    "Repair",
    "TimeError",
    "derive_actions",
]
