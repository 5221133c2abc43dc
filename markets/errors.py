"""Base of every error that this package raises on purpose."""


class MarketDataError(ValueError):
    """The data, or what was asked of it, is not what the package can honour.

    Its subclasses name the place: `BarsError`, `ActionsError`, `CalendarError`, `ManifestError`,
    `SplitError`, `InstrumentError`.
    """
