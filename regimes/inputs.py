"""What detectors read of recorded bars: log returns of the market, or of each asset.

Dimensions: T bars, A assets, D series, M regressors.
"""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from features.inputs import ASSET_INPUTS, MARKET_INPUTS
from features.panel import Panel, PanelState
from markets.bars import Bars
from regimes.base import Array, Observations, RegimeError

__all__ = ["InputConfig", "observations_of"]

_CLOSE = ASSET_INPUTS.index("close")
_LEVEL = MARKET_INPUTS.index("market")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InputConfig:
    """Which series a detector observes, and what it regresses them on."""

    series: Literal["market", "assets"] = "market"
    """"market": the log return of the equal-weight market of all symbols (dividends reinvested,
    splits taken out), D = 1. "assets": the log return of each asset, D = A; a bar that any of them
    lacks is a bar without an observation."""
    lags: Annotated[int, Ge(0)] = 0
    """Earlier market log returns that the series are regressed on, M (for switching_regression)."""

    @property
    def warmup(self) -> int:
        """First row that can be observed where every asset has every bar."""
        return 1 + self.lags


def observations_of(bars: Bars, config: InputConfig | None = None) -> Observations:
    """Observations of recorded bars; a row depends on no later bar.

    A row is NaN where no asset has a return (a first bar, a halt of all), where a series is absent
    and where a lagged return is not known.

    Args:
        bars: raw bars with splits and dividends.
        config: which series; the market without lags if left out.

    Raises:
        RegimeError: an instrument with additive prices, which has no log returns.
    """
    config = config if config is not None else InputConfig()
    for instrument in bars.instruments:
        if instrument.additive:
            raise RegimeError(
                f"regime inputs: expected positive prices (of which there are log returns), found "
                f"the additive instrument {instrument.symbol}"
            )
    panel = PanelState.of(bars).take_in(bars, bars.split_TA, bars.dividend_TA)
    return_TA = _asset_returns(panel)
    market_T = _market_returns(panel, np.asarray(np.isfinite(return_TA).any(axis=1)))
    y_TD = return_TA if config.series == "assets" else market_T[:, None]
    x_TM = _lagged(market_T, config.lags)
    y_TD[~np.isfinite(x_TM).all(axis=1)] = np.nan
    return Observations(y_TD, x_TM)


def _asset_returns(panel: Panel) -> Array:
    """Log return of each asset over its own previous bar, (T, A); NaN where there is none."""
    return_TA = np.full(panel.present_TA.shape, np.nan)
    for asset in range(len(panel.present_TA[0])):
        rows_n = np.flatnonzero(panel.present_TA[:, asset])
        log_n = np.log(panel.asset_TAI[rows_n, asset, _CLOSE])
        return_TA[rows_n[1:], asset] = np.diff(log_n)
    return return_TA


def _market_returns(panel: Panel, known_T: NDArray[np.bool_]) -> Array:
    """Log return of the market's level, (T,); NaN in rows where no asset has a return."""
    level_T = panel.shared_TM[:, _LEVEL]
    return_T = np.full(len(level_T), np.nan)
    return_T[1:] = np.log(level_T[1:] / level_T[:-1])
    return_T[~known_T] = np.nan
    return return_T


def _lagged(market_T: Array, lags: int) -> Array:
    """The last returns before each row, the latest first, (T, lags)."""
    lagged_TM = np.full((len(market_T), lags), np.nan)
    for lag in range(1, lags + 1):
        lagged_TM[lag:, lag - 1] = market_T[:-lag]
    return lagged_TM
