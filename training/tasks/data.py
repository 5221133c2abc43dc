"""Recorded markets: learned on one span, chosen on the next, judged on the last."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from evaluation import metrics
from evaluation.backtest import backtest
from evaluation.judge import Evaluation, judge
from evaluation.option_result import OptionReport
from evaluation.option_scores import report_on_data
from evaluation.plots import median_seed
from evaluation.regime_summary import RegimeHistory
from evaluation.report import ReportInputs, write_figures, write_report
from features.pipeline import FeaturePipeline
from meta_controller.beliefs import BeliefSource
from meta_controller.policy import HierarchicalPolicy
from regimes.config import RegimeConfig
from training.config import TrainConfig
from training.errors import ConfigError
from training.own_modules import import_own
from training.preparation import Prepared, keep_manifest, learner_env, prepare, warnings_of
from training.record import RunRecord
from training.regime_block import REGIMES
from training.regime_view import RegimeView, view
from training.sb3.option_config import OptionAgentConfig
from training.tasks.foreign import Seen, last_seen, require_same_account, require_unseen
from training.tasks.option_reports import option_names, report_inputs
from training.tasks.task import Result, Score


class DataTask:
    """A recorded market, prepared.

    Args:
        config: of the run.
        prepared: its market; None loads it.
        saved: files of a checkpoint by name (`files`), from which fits are taken; the rest is
            fitted anew.

    Raises:
        ConfigError: the split leaves a span without a single step.
    """

    def __init__(
        self,
        config: TrainConfig,
        prepared: Prepared | None = None,
        saved: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.prepared = prepared or prepare(config, saved.get(REGIMES))
        self._env = learner_env(config)

    @property
    def sha256(self) -> str:
        """Digest of the data."""
        return self.prepared.manifest.sha256

    @property
    def features(self) -> NDArray[np.float32]:
        """Features of every bar."""
        return self.prepared.market.features_TC

    @property
    def market(self) -> MarketArrays:
        """All bars, with their features."""
        return self.prepared.market

    @property
    def trading(self) -> TradingConfig:
        """The learner's rules."""
        return self._env

    @property
    def beliefs(self) -> BeliefSource:
        """The columns of the features that hold the detector's beliefs; none without one."""
        block = self.prepared.regimes
        if block is None:
            return BeliefSource("features", ())
        first = self.features.shape[1] - len(block.names)
        found = BeliefSource.find(block.names, "features").columns
        return BeliefSource("features", tuple(first + column for column in found))

    @property
    def true_regimes(self) -> int:
        """None that anybody knows."""
        return 0

    @property
    def files(self) -> Mapping[str, str]:
        """The fitted features, and the fitted detector of regimes if there is one."""
        files = {"features.json": self.prepared.pipeline.to_json()}
        block = self.prepared.regimes
        return files if block is None else files | {REGIMES: block.text}

    def seen_by(self, config: TrainConfig, files: Mapping[str, str]) -> Seen:
        """These bars through the features that an agent of another run was fitted with.

        Raises:
            ConfigError: it knows other assets, accounts, actions or regimes, needs more bars than
                lie before the training, learned on what is chosen or tested on here, or was chosen
                on what is tested on.
        """
        if config.market is not None:
            raise ConfigError(
                f"expected an agent of recorded data, found one of {config.market.world.kind}"
            )
        prepared, own = self.prepared, self.files
        import_own(config.recorded.features.modules)
        pipeline = FeaturePipeline.from_json(files["features.json"])
        span, bars = pipeline.state.span, prepared.bars
        if span.symbols != bars.symbols:
            raise ConfigError(f"expected the symbols {bars.symbols}, found {span.symbols}")
        require_same_account(self._env, learner_env(config))
        learned = span.ts_event[1]
        chosen = last_seen(config, self.config, bars, learned)
        require_unseen(bars, prepared.split, learned=learned, chosen=chosen)
        if REGIMES in files and files[REGIMES] != own.get(REGIMES):
            raise ConfigError(
                "expected no detector of regimes, or this run's, which is fitted on its training "
                "span, found another one"
            )
        features = pipeline.transform(bars)
        sees = prepared.regimes is not None and REGIMES in files
        if prepared.regimes is not None and sees:
            features = prepared.regimes.beside(features)
        needed = features.warmup + config.agent.policy.encoder.window - 1
        if needed > prepared.split.train.start:
            raise ConfigError(
                f"expected an agent that needs at most {prepared.split.train.start} bars before "
                f"the first one learned on, found one that needs {needed}"
            )
        beliefs = self.beliefs if sees else BeliefSource("features", ())
        first_own, columns = self.features.shape[1], features.flat()
        moved = tuple(c - first_own + columns.shape[1] for c in beliefs.columns)
        return Seen(columns, BeliefSource("features", moved))

    def opening(self) -> list[str]:
        """Where the data comes from, its spans, and what looks wrong in it."""
        prepared = self.prepared
        manifest, dates = prepared.manifest, prepared.bars.ts_event.astype("datetime64[ns]")
        spans = ", ".join(
            f"{name} {dates[rows.start].astype('datetime64[D]')} to "
            f"{dates[rows.stop - 1].astype('datetime64[D]')}"
            for name in ("train", "validation", "test")
            if (rows := prepared.rows(name)).size
        )
        return [
            f"data    {manifest.dataset}: {', '.join(manifest.symbols)} ({manifest.source})",
            f"bars    {prepared.market.num_features} features each; {spans}",
            *([] if prepared.regimes is None else [f"regime  {prepared.regimes.summary}"]),
            *(f"beware  {warning}" for warning in warnings_of(prepared)),
        ]

    def keep_provenance(self, folder: Path) -> None:
        """Write the data's manifest, or check the data against the one there.

        Raises:
            ManifestError: the data is not the one that the run was started with.
        """
        keep_manifest(self.prepared, folder)

    def simulator(self, seed: int) -> Simulator:
        """Return the environments on the training span."""
        return Simulator(
            self.prepared.market,
            self._env,
            self.config.schedule.num_envs,
            seed=seed,
            rows=self.prepared.split.train,
            autoreset="same_step",
        )

    def score(self, policy: Policy) -> Score | None:
        """Log growth a bar on the validation span, None where there is no such span."""
        rows = self.prepared.split.validation
        if not rows.size:
            return None
        ledger = backtest(policy, self.prepared.market, self._env, rows, seed=0)
        # Of returns with a floor: the score of a ruined account is low, not undefined.
        growth = float(metrics.log_returns(ledger.returns).mean())
        return Score("validation/log_growth_per_bar", growth)

    def judge(self, agents: Mapping[int, Policy], folder: Path, into: str = "evaluation") -> Result:
        """Ledgers on validation and test span beside the baselines', figures, and the report."""
        prepared = self.prepared
        validation = prepared.split.validation
        evaluation = judge(
            agents,
            prepared.market,
            self._env,
            test=prepared.split.test,
            validation=validation if validation.size else None,
            config=self.config.evaluation,
            data_sha256=prepared.manifest.sha256,
        )
        target, seen = folder / into, self._regimes(folder.name)
        regimes = None if seen is None else seen.history
        evaluation = replace(evaluation, options=self._options(agents, evaluation, seen))
        evaluation.save(target)
        inputs = self._report_inputs(folder, evaluation, regimes)
        write_figures(target / "figures", evaluation, regimes, inputs.options)
        write_report(target / "report.html", inputs)
        return Result(evaluation.comparison.verdict, _headline(evaluation))

    def _options(
        self,
        agents: Mapping[int, Policy],
        evaluation: Evaluation,
        seen: RegimeView | None,
    ) -> OptionReport | None:
        """Who acted, and what options are worth, of the median seed; None without options."""
        seed, agent = median_seed(evaluation.agents).metadata.seed, self.config.agent
        policy = agents[seed]
        if not isinstance(policy, HierarchicalPolicy) or not isinstance(agent, OptionAgentConfig):
            return None
        return report_on_data(
            policy,
            self.prepared.market,
            self._env,
            self.prepared.split.test,
            self.config.evaluation.bootstrap,
            seed=seed,
            names=option_names(agent.options),
            regime_names=() if seen is None else seen.slots,
        )

    def _regimes(self, label: str) -> RegimeView | None:
        """What the agents saw of regimes, named for people; None where they saw nothing."""
        prepared, regime = self.prepared, self.config.regime
        if prepared.regimes is None or not isinstance(regime, RegimeConfig):
            return None
        return view(
            prepared.bars,
            regime,
            prepared.split.train,
            label=label,
            name=regime.detector.kind,
            fitted=prepared.regimes.text,
        )

    def _report_inputs(
        self, folder: Path, evaluation: Evaluation, regimes: RegimeHistory | None
    ) -> ReportInputs:
        record, prepared = RunRecord.read(folder), self.prepared
        return ReportInputs(
            evaluation=evaluation,
            title=folder.name,
            config_text=record.config_text,
            manifest=json.loads(prepared.manifest.to_json()),
            versions=record.versions,
            command=record.command,
            notes=[f"Look at the data: {warning}." for warning in warnings_of(prepared)],
            regimes=regimes,
            options=report_inputs(
                evaluation.options,
                self.config.agent,
                "test span",
                self._env.action,
                symbols=prepared.market.symbols,
            ),
        )


def _headline(evaluation: Evaluation) -> dict[str, float]:
    figures, best = evaluation.figures(), evaluation.comparison.best
    gap = evaluation.comparison.headline.growth
    return {
        "test/log_growth": figures["agent"]["log_growth"],
        "test/sharpe": figures["agent"]["sharpe"],
        "test/max_drawdown": figures["agent"]["max_drawdown"],
        "test/best_baseline_log_growth": figures[best]["log_growth"],
        "test/difference": gap.estimate,
        "test/difference_low": gap.low,
        "test/difference_high": gap.high,
    }
