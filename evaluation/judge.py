"""The whole judgement of trained policies: ledgers on two spans, baselines, figures, comparison."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from agents.policy import Policy
from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from evaluation.backtest import Run, backtest_many
from evaluation.baselines import (
    BaselineConfig,
    baseline_runs,
    calibrated_turnover,
    matched_turnover,
    on_simplex,
)
from evaluation.bootstrap import BootstrapConfig, Interval
from evaluation.comparison import Comparison, compare
from evaluation.ledger import Ledger
from evaluation.option_result import OptionReport
from evaluation.summary import MEASURES, mean_figures, measured_intervals
from markets.atomic import whole_file

__all__ = ["Evaluation", "EvaluationConfig", "finite", "judge", "save_options"]


@pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EvaluationConfig:
    """How an agent is judged."""

    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    """How intervals are drawn."""
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Parameters of the baselines."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the random baseline."""


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known about an agent out of sample."""

    agents: tuple[Ledger, ...]
    """Test span, one for each seed."""
    baselines: Mapping[str, tuple[Ledger, ...]]
    """Test span, several for the random one."""
    agents_validation: tuple[Ledger, ...]
    """Validation span, one for each seed; empty without one."""
    baselines_validation: Mapping[str, tuple[Ledger, ...]]
    """Validation span; empty without one."""
    comparison: Comparison
    """The judgement."""
    config: EvaluationConfig
    """How it was judged."""
    options: OptionReport | None = None
    """Who acted, and what options are worth; None where the agent is not made of options."""

    def figures(self) -> dict[str, dict[str, float]]:
        """Mean figures on the test span by policy (`agent` and the baselines) and measure."""
        policies: dict[str, Sequence[Ledger]] = {"agent": self.agents, **self.baselines}
        return {
            name: {key: figure.value for key, figure in mean_figures(ledgers).items()}
            for name, ledgers in policies.items()
        }

    def intervals(self) -> dict[str, Mapping[str, Interval]]:
        """Intervals on the test span by policy and measure, if a measure follows from returns."""
        policies: dict[str, Sequence[Ledger]] = {"agent": self.agents, **self.baselines}
        return {
            name: measured_intervals(ledgers, self.config.bootstrap)
            for name, ledgers in policies.items()
        }

    def save(self, folder: Path) -> None:
        """Write every ledger (`<split>/<policy>-<seed>.parquet`) and `metrics.json`.

        Scores of options are written to `options.json`, if the agent is made of them.

        Args:
            folder: the run's folder for evaluations; made if it is missing.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        spans: dict[str, list[Ledger]] = {
            "test": [*self.agents, *_flat(self.baselines)],
            "validation": [*self.agents_validation, *_flat(self.baselines_validation)],
        }
        for split, ledgers in spans.items():
            for ledger in ledgers:
                name = f"{ledger.metadata.policy}-{ledger.metadata.seed}.parquet"
                ledger.to_parquet(folder / split / name)
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)
        with whole_file(folder / "metrics.json") as file:
            file.write(text.encode())
        if self.options is not None:
            save_options(folder, self.options)

    def to_dict(self) -> dict[str, Any]:
        """Verdict, differences, figures and their units, as JSON has them (null for undefined)."""
        document = {
            "verdict": self.comparison.verdict,
            "evidence": self.comparison.evidence,
            "won": self.comparison.won,
            "decided": self.comparison.decided,
            "comparison": asdict(self.comparison),
            "figures": self.figures(),
            "units": {measure.name: measure.unit for measure in MEASURES},
        }
        plain: dict[str, Any] = finite(document)
        return plain


def judge(
    agents: Mapping[int, Policy],
    market: MarketArrays,
    trading: TradingConfig,
    *,
    test: tuple[int, int],
    validation: tuple[int, int] | None,
    config: EvaluationConfig | None = None,
    data_sha256: str = "",
) -> Evaluation:
    """Judge the trained policies of several seeds on a test span.

    Args:
        agents: policies by their training seed, in the action space of ``trading``.
        market: the market, with all rows.
        trading: the trading rules that the agents were trained under.
        test: rows of the test span, (start, stop).
        validation: rows of the validation span, on which the best baseline is chosen; none chooses
            it in hindsight, and the verdict says so.
        config: how it is judged.
        data_sha256: digest of the market data, for the record.

    Returns:
        Ledgers, comparison and verdict.

    Raises:
        ValueError: no agent, or spans that hold no bar to trade on.
    """
    if not agents:
        raise ValueError("agents: expected at least one trained policy, found none")
    settings = config or EvaluationConfig()

    def run(split: str, rows: tuple[int, int]) -> tuple[tuple[Ledger, ...], dict[str, Any]]:
        record = {"split": split, "data_sha256": data_sha256}
        learned = [Run(name="agent", policy=p, seed=seed) for seed, p in agents.items()]
        tested = backtest_many(learned, market, trading, rows, **record)
        ledgers = tuple(lanes[0] for lanes in tested)
        asked = calibrated_turnover(
            matched_turnover(ledgers), market, trading, rows, settings.baselines, settings.seed
        )
        runs = baseline_runs(market, settings.baselines, turnover=asked, seed=settings.seed)
        others = backtest_many(runs, market, on_simplex(trading), rows, **record)
        return ledgers, {r.name: tuple(lanes) for r, lanes in zip(runs, others, strict=True)}

    earlier, earlier_baselines = run("validation", validation) if validation else ((), {})
    later, baselines = run("test", test)
    return Evaluation(
        agents=later,
        baselines=baselines,
        agents_validation=earlier,
        baselines_validation=earlier_baselines,
        comparison=compare(later, baselines, earlier_baselines or None, settings.bootstrap),
        config=settings,
    )


def save_options(folder: Path, report: OptionReport) -> None:
    """Write the scores of options to `options.json`, whole or not at all.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    document = finite({"seed": report.seed, **report.scores.to_dict()})
    text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
    with whole_file(folder / "options.json") as file:
        file.write(text.encode())


def _flat(baselines: Mapping[str, Sequence[Ledger]]) -> list[Ledger]:
    return [ledger for ledgers in baselines.values() for ledger in ledgers]


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same document with null for numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
