"""From the configuration to what is learned on: data, split, features, the kernel's market."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from features.pipeline import FeaturePipeline
from markets.bars import Bars
from markets.inspection import suspicious
from markets.manifest import Manifest
from markets.sources.config import load_dataset
from markets.splits import Rows, Split
from regimes.config import RegimeConfig
from training.config import TrainConfig
from training.errors import ConfigError
from training.own_modules import import_own
from training.regime_block import RegimeBlock, regime_block


@dataclass(frozen=True)
class Prepared:
    """Everything between the data and the learner."""

    bars: Bars
    """The market as it happened."""
    manifest: Manifest
    """Where it comes from."""
    split: Split
    """Rows to learn on, to choose on, to report; the warm-up is cut from the first."""
    pipeline: FeaturePipeline
    """Fitted on the training rows only."""
    market: MarketArrays
    """Prices, actions and features as the kernel reads them."""
    regimes: RegimeBlock | None = None
    """What is known of the regimes, in the last columns of the features; None = not asked for."""

    def rows(self, span: str) -> Rows:
        """Rows of "train", "validation" or "test"."""
        rows: Rows = getattr(self.split, span)
        return rows


def prepare(config: TrainConfig, regimes: str | None = None) -> Prepared:
    """Load, split, fit features and regimes on the training span, and pack the market.

    Args:
        config: of the run.
        regimes: the `regimes.json` of a checkpoint, instead of a fit.

    Raises:
        ConfigError: the split leaves a span without a single step; a module of the user cannot be
            imported.
        ValueError: as the packages say; the data, the split or the features do not fit.
    """
    recorded = config.recorded
    import_own(recorded.features.modules)
    dataset = load_dataset(recorded.data)
    bars = dataset.bars
    splits = recorded.split.splits(bars.ts_event)
    if config.fold >= len(splits):
        raise ConfigError(f"fold: expected a number below {len(splits)}, was {config.fold}")
    split = splits[config.fold]
    pipeline = FeaturePipeline(recorded.features).fit(bars, split.train)
    block = None
    if isinstance(config.regime, RegimeConfig):
        block = regime_block(config.regime, bars, split.train, regimes)
    return assemble(config, bars, dataset.manifest, split, pipeline, block)


def assemble(
    config: TrainConfig,
    bars: Bars,
    manifest: Manifest,
    split: Split,
    pipeline: FeaturePipeline,
    regimes: RegimeBlock | None = None,
) -> Prepared:
    """Pack the market with fitted features, and cut their warm-up from the training span.

    Raises:
        ConfigError: a span is shorter than its purpose needs.
    """
    features = pipeline.transform(bars)
    if regimes is not None:
        features = regimes.beside(features)
    market = MarketArrays.from_bars(bars, features.flat(), warmup=features.warmup)
    env = config.recorded.env
    first = market.first_bar + env.observation.window - 1
    start = max(split.train.start, first)
    need = (env.episode.length or 1) + 1
    if split.train.stop - start < need:
        raise ConfigError(
            f"split.train: expected at least {first + need} bars (warm-up {market.first_bar}, "
            f"window {env.observation.window}, episode {need - 1}), "
            f"found rows {split.train.start} to {split.train.stop}"
        )
    split = replace(split, train=Rows(start, split.train.stop))
    for name in ("validation", "test"):
        rows = getattr(split, name)
        if 0 < rows.size < 2 or (rows.size and rows.start < first):
            raise ConfigError(
                f"split.{name}: expected at least 2 bars after the warm-up of {first} bars, "
                f"found rows {rows.start} to {rows.stop}"
            )
    _require_bars(bars, split)
    return Prepared(bars, manifest, split, pipeline, market, regimes)


def _require_bars(bars: Bars, split: Split) -> None:
    used = np.zeros(bars.num_bars, dtype=bool)
    for rows in (split.train, split.validation, split.test):
        used[rows.start : rows.stop] = True
    absent = np.flatnonzero(bars.missing[used].all(axis=0))
    if len(absent):
        raise ConfigError(
            f"data.symbols: expected a bar of each symbol in the spans of the split, found none of "
            f"{', '.join(bars.symbols[number] for number in absent)}; leave them out"
        )


def learner_env(config: TrainConfig) -> TradingConfig:
    """The training's environment: index observations over the encoder's window."""
    env = config.recorded.env
    window = max(env.observation.window, config.agent.policy.encoder.window)
    observation = replace(env.observation, kind="index", window=window)
    return replace(env, observation=observation)


def keep_manifest(prepared: Prepared, folder: Path) -> None:
    """Write the data's manifest into the run's folder, or check the data against the one there.

    Raises:
        ManifestError: the data is not the one that the run was started with.
    """
    path = folder / "data.json"
    if path.exists():
        Manifest.read(path).verify(prepared.bars)
    else:
        prepared.manifest.write(path)


def warnings_of(prepared: Prepared) -> list[str]:
    """What looks wrong: splits that no action explains, other faults of the data, regimes lost."""
    found = suspicious(prepared.bars)
    splits = [str(item) for item in found if item.kind == "split"]
    others = [str(item) for item in found if item.kind != "split"]
    more = "" if len(others) < 2 else f" (and {len(others) - 1} more: perennial data check)"
    data = splits + ([f"{others[0]}{more}"] if others else [])
    return data if prepared.regimes is None else data + prepared.regimes.faults
