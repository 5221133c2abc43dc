"""Whether a configuration fits a market, and the bars that it may use there."""

import numpy as np

from envs.config import LevelsAction, SimplexAction, TradingConfig
from envs.market_arrays import MarketArrays

EXACT_FLOAT32 = 2**24
"""Bar numbers below this are exact in float32 observations."""


def action_size(config: TradingConfig, market: MarketArrays) -> int:
    """Return the numbers in one lane's action, D.

    Raises:
        ValueError: Discrete levels on a market of several assets.
    """
    match config.action:
        case LevelsAction():
            if market.num_assets != 1:
                msg = f"action levels: expected a market of 1 asset, found {market.num_assets}"
                raise ValueError(msg)
            return 1
        case SimplexAction(parametrisation="logits"):
            return market.num_assets + 1
        case _:
            return market.num_assets


def check_volume(market: MarketArrays, config: TradingConfig) -> None:
    """Check that every asset has volumes where a model needs them.

    Raises:
        ValueError: An asset without any volume, and impact or participation is on.
    """
    if config.impact.coefficient == 0.0 and config.participation.maximum is None:
        return
    silent = ~(market.volume_TA > 0.0).any(axis=0)
    if silent.any():
        symbol = market.symbols[int(np.argmax(silent))]
        msg = (
            f"market {symbol}: expected volumes for the models of impact and participation, found "
            "none; set impact.coefficient to 0 and participation.maximum to None"
        )
        raise ValueError(msg)


def episode_span(
    market: MarketArrays, config: TradingConfig, rows: tuple[int, int] | None
) -> tuple[int, int, int]:
    """Return the first start, the last start and the last bar of episodes.

    Raises:
        ValueError: Rows outside the market, or too few bars for a window and an episode.
    """
    begin, end = rows if rows is not None else (0, market.num_bars)
    if not 0 <= begin < end <= market.num_bars:
        msg = f"rows: expected 0 <= start < stop <= {market.num_bars}, found ({begin}, {end})"
        raise ValueError(msg)
    if market.num_bars >= EXACT_FLOAT32:
        msg = f"market: expected fewer than {EXACT_FLOAT32} bars, found {market.num_bars}"
        raise ValueError(msg)
    length = config.episode.length or 1
    window = config.observation.window
    first = max(begin, market.first_bar + window - 1)
    last = end - 1 - length
    if first > last:
        found = max(end - first, 0)
        msg = (
            f"rows ({begin}, {end}): expected at least {length + 1} bars for an episode of {length}"
            f" steps after a window of {window} and a warm-up of {market.first_bar}, found {found}"
        )
        raise ValueError(msg)
    return first, last, end - 1
