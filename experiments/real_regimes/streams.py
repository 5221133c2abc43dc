"""The two streams of real regimes, their borders, and the bars that no agent has seen.

Borders are highs and lows of the NASDAQ Composite's close that were only known later, as those of
every dating of bull and bear markets (Pagan and Sossounov 2003, Journal of Applied Econometrics
18(1)); the stocks take the same days. A phase's name says what it was like afterwards. Nobody who
traded then knew either: the agents are told neither name nor border, but what they are trained on
is cut there.

Dimensions: T bars, A assets.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from envs.market_arrays import MarketArrays
from features.pipeline import FeaturePipeline
from markets.actions import CorporateActions
from markets.bars import Bars
from markets.sources.config import load_dataset, parse_config
from regimes.config import RegimeConfig
from training.config import TrainConfig
from training.preparation import Prepared
from training.regime_block import regime_block


@dataclass(frozen=True)
class Series:
    """A market, and the phases that its training span is cut into."""

    title: str
    """For tables."""
    words: tuple[str, ...]
    """Of the command line, but for the agent's."""
    borders: tuple[str, ...]
    """First days of the phases from the second on."""
    names: tuple[str, ...]
    """Regime of each phase."""
    events: tuple[str, ...]
    """What each phase is known as."""


_TRADING: Final = (
    "env=long_short",
    "env.action={kind: long_short, gross: 1.0, net: 1.0, scale: 1.0}",
    # An index has no volume of its own that an order could move; on the stocks an account of so
    # little money would not.
    "env.impact.coefficient=0.0",
    "env.participation.maximum=null",
    "env.episode.length=42",
    "regime=hmm",
    "tracking=journal",
    "threads=1",
)
"""Long and short up to the whole account, so that a falling market has something to be learned."""

SERIES: Final = {
    "nasdaq": Series(
        "NASDAQ Composite, 1999 to 2016",
        (
            *_TRADING,
            "data=nasdaq",
            "split=nasdaq",
            "split.train=['1999-01-01','2016-12-31']",
            "split.validation=null",
            "split.test=['2017-01-01','2018-12-31']",
        ),
        ("2000-03-13", "2002-10-10", "2007-11-01", "2009-03-10", "2011-10-04"),
        ("wild rise", "bear", "calm rise", "bear", "wild rise", "calm rise"),
        (
            "dot-com rise",
            "dot-com bust",
            "recovery",
            "financial crisis",
            "rebound and debt crisis",
            "calm rise",
        ),
    ),
    "stocks": Series(
        "Four stocks, 2000 to 2011",
        (
            *_TRADING,
            "data=us_stocks",
            "data.symbols=[AAPL,GOOG,IBM,MSFT]",
            "split=us_stocks",
            "split.train=['2000-03-01','2011-12-31']",
            "split.validation=null",
            "split.test=['2012-01-01','2013-03-01']",
        ),
        ("2002-10-10", "2007-11-01", "2009-03-10"),
        ("bear", "rise", "bear", "rise"),
        ("dot-com bust", "recovery", "financial crisis", "rebound"),
    ),
}
"""By name."""
HOLDOUT: Final = 0.3
"""Last share of a phase's bars, which agents are judged on and never learn from."""
LATER: Final = "aapl_adjusted"
"""Embedded series of 2019 to 2024: one stock."""
PLACE: Final = {"nasdaq": "IXIC", "stocks": "AAPL"}
"""As which symbol of a stream that stock is shown to the stream's agents."""


def later_bars(symbols: tuple[str, ...], place: str, instruments: Bars) -> Bars:
    """Bars of 2019 to 2024 in the shape of a stream's market.

    Args:
        symbols: of the stream, (A,).
        place: which of them the stock stands for; the others have no bar.
        instruments: bars of the stream, whose instruments are taken.

    Returns:
        Bars (T, A), adjusted for splits; dividends are paid.
    """
    found = load_dataset(parse_config({"kind": "packages", "dataset": LATER}, where=LATER)).bars
    column, shape = symbols.index(place), (found.num_bars, len(symbols))

    def shown(values_TA: NDArray[np.float64]) -> NDArray[np.float64]:
        wide_TA = np.full(shape, np.nan)
        wide_TA[:, column] = values_TA[:, 0]
        return wide_TA

    actions = found.actions.to_pandas()
    return Bars.from_arrays(
        found.ts_event,
        symbols,
        open=shown(found.open),
        high=shown(found.high),
        low=shown(found.low),
        close=shown(found.close),
        volume=shown(found.volume),
        actions=CorporateActions.from_pandas(actions.assign(symbol=place)),
        instruments=instruments.instruments,
    )


@dataclass(frozen=True)
class Unseen:
    """Bars that no agent of a stream has learned from, through the stream's features."""

    market: MarketArrays
    """Prices and features; scales and detector are those of the training span."""
    rows: tuple[int, int]
    """The span that is traded."""


def unseen(config: TrainConfig, prepared: Prepared, series: str) -> dict[str, Unseen]:
    """What a stream's agents are judged on at the end.

    Args:
        config: of the stream.
        prepared: its market.
        series: its name.

    Returns:
        `next`: the same assets in the years after the training span. `later`: 2019 to 2024.
    """
    bars = later_bars(prepared.bars.symbols, PLACE[series], prepared.bars)
    pipeline = FeaturePipeline.from_json(prepared.pipeline.to_json())
    features = pipeline.transform(bars)
    if isinstance(config.regime, RegimeConfig) and prepared.regimes is not None:
        block = regime_block(config.regime, bars, prepared.split.train, prepared.regimes.text)
        features = block.beside(features)
    market = MarketArrays.from_bars(bars, features.flat(), warmup=features.warmup)
    window = config.agent.policy.encoder.window
    return {
        "next": Unseen(prepared.market, prepared.split.test),
        "later": Unseen(market, (market.first_bar + window - 1, bars.num_bars)),
    }


def phases(series: Series) -> dict[str, Any]:
    """The phases' part of a stream's configuration."""
    return {
        "kind": "calendar",
        "borders": list(series.borders),
        "names": list(series.names),
        "holdout": HOLDOUT,
    }
