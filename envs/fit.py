"""Whether a configuration fits a market, and the bars that it may use there."""

import numpy as np

from envs.config import LevelsAction, SimplexAction, TradingConfig
from envs.feed import Market
from envs.kernel.layout import Expectation
from envs.market_arrays import MarketArrays
from markets.synthetic.base import Stream

EXACT_FLOAT32 = 2**24
"""Bar numbers below this are exact in float32 observations."""


def action_size(config: TradingConfig, market: Market) -> int:
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


def check_market(market: Market, config: TradingConfig) -> None:
    """Check that the models have what they need of the market.

    Raises:
        ValueError: A model that the market cannot serve.
    """
    _check_additive(market, config)
    if isinstance(market, Stream):
        _check_stream(config)
    else:
        check_volume(market, config)


def _check_additive(market: Market, config: TradingConfig) -> None:
    trading = config.action.kind == "trade"
    if trading != market.additive:
        wanted = "'trade'" if market.additive else "another kind than 'trade'"
        kind = "an additive market" if market.additive else "a market that is not additive"
        msg = f"action.kind: expected {wanted} on {kind}, found {config.action.kind!r}"
        raise ValueError(msg)
    if config.quadratic.coefficient > 0.0 and not market.additive:
        cost = config.quadratic.coefficient
        msg = f"quadratic.coefficient: expected 0 on a market that is not additive, found {cost}"
        raise ValueError(msg)
    if config.borrow.annual_rate > 0.0 and market.additive:
        rate = config.borrow.annual_rate
        msg = f"borrow.annual_rate: expected 0 on an additive market, found {rate}"
        raise ValueError(msg)
    known = isinstance(market, Stream) or market.covariance_AA is not None
    if config.reward.kind == "quadratic_utility" and not (market.additive and known):
        found = "no covariance" if market.additive else "a market that is not additive"
        msg = (
            "reward.kind 'quadratic_utility': expected an additive market with the covariance of "
            f"its price changes, found {found}"
        )
        raise ValueError(msg)


def _check_stream(config: TradingConfig) -> None:
    expected: float | None
    for name, expected, found in (
        ("impact.coefficient", 0.0, config.impact.coefficient),
        ("participation.maximum", None, config.participation.maximum),
        ("margin.maintenance", 0.0, config.margin.maintenance),
        ("observation.window", 1, config.observation.window),
    ):
        if found != expected:
            msg = f"{name}: expected {expected} on a stream of a synthetic market, found {found}"
            raise ValueError(msg)
    if config.episode.length is None:
        msg = "episode.length: expected a number of bars on a stream, which has no end, found None"
        raise ValueError(msg)


def expectation_of(market: Market, config: TradingConfig, *, report: bool) -> Expectation:
    """Return whether expected rewards are computed, and what for.

    Args:
        market: The market.
        config: The trading configuration.
        report: Whether someone wants to see them beside the rewards.

    Raises:
        ValueError: They are to be the rewards, and there is no formula for them.
    """
    if not config.expected_reward:
        streaming = isinstance(market, Stream)
        return Expectation.REPORT if report and streaming else Expectation.OFF
    found: str | None = None
    if not isinstance(market, Stream):
        found = "a table of bars"
    elif config.reward.kind not in {"quadratic_utility", "log_return"}:
        found = f"the reward {config.reward.kind!r}"
    elif config.reward.kind == "log_return" and (market.additive or market.num_assets > 1):
        found = f"{market.num_assets} assets" if market.num_assets > 1 else "additive prices"
    if found is not None:
        msg = (
            "expected_reward: expected a stream of a synthetic market with the reward "
            "'quadratic_utility', or 'log_return' on one asset with lognormal returns, "
            f"found {found}"
        )
        raise ValueError(msg)
    return Expectation.REWARD


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
    market: Market, config: TradingConfig, rows: tuple[int, int] | None
) -> tuple[int, int, int]:
    """Return the first start, the last start and the last bar of episodes.

    Every episode of a stream starts at its bar 0.

    Raises:
        ValueError: Rows outside the market, or too few bars for a window and an episode; rows or
            too long an episode of a stream.
    """
    if isinstance(market, Stream):
        return _stream_span(config, rows)
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


def _stream_span(config: TradingConfig, rows: tuple[int, int] | None) -> tuple[int, int, int]:
    if rows is not None:
        msg = f"rows: expected None on a stream, which has no rows, found {rows}"
        raise ValueError(msg)
    length = config.episode.length or 0
    if length >= EXACT_FLOAT32:
        msg = f"episode.length: expected fewer than {EXACT_FLOAT32} bars, found {length}"
        raise ValueError(msg)
    return 0, 0, length
