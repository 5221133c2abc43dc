"""Markets with a known answer: fresh paths without end, judged by the distance from the optimum."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter

from agents.policy import Policy
from envs.config import TradingConfig
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.optimality import (
    OptimalityEvaluation,
    judge_optimality,
    measure,
    reference_of,
)
from evaluation.optimality_report import (
    OptimalityInputs,
    write_optimality_figures,
    write_optimality_report,
)
from evaluation.option_result import OptionReport
from evaluation.option_scores import report_on_market
from markets.atomic import write_whole
from markets.manifest import ManifestError
from markets.synthetic.base import Stream
from markets.synthetic.chain import SyntheticMarketError
from meta_controller.beliefs import BeliefSource
from meta_controller.policy import HierarchicalPolicy
from regimes.config import OracleRegime
from training.config import TrainConfig, differences
from training.errors import ConfigError
from training.record import RunRecord
from training.sb3.option_config import OptionAgentConfig
from training.tasks.foreign import Seen, require_same_account
from training.tasks.option_reports import option_names, report_inputs
from training.tasks.task import PROVENANCE, Result, Score

VALIDATION_SEED = 2**62
"""Seed of the paths that checkpoints are chosen on; training seeds are below 2**31."""
VALIDATION_EPISODES = 256
"""Paths that checkpoints are chosen on."""


class MarketTask:
    """A synthetic market, played as a stream.

    Args:
        config: of the run.

    Raises:
        ConfigError: the configuration is about recorded data.
    """

    def __init__(self, config: TrainConfig) -> None:
        if config.market is None:
            raise ConfigError("market: expected a synthetic market, found none")
        self.config = config
        self.problem = config.market
        if isinstance(config.regime, OracleRegime):
            world = replace(self.problem.world, regime="belief")
            self.problem = replace(self.problem, world=world)
        rules = self.problem.trading()
        self._env = replace(rules, observation=replace(rules.observation, kind="index"))
        self._document = _document(self.problem)
        try:  # before the training rather than after it
            self._reference = reference_of(self.problem.world)
        except SyntheticMarketError as error:
            raise ConfigError(f"market.world: {error}") from error

    @property
    def sha256(self) -> str:
        """Digest of the market's parameters and rules."""
        digest: str = self._document["sha256"]
        return digest

    @property
    def features(self) -> NDArray[np.float32]:
        """None that are shared."""
        return np.zeros((0, 0), np.float32)

    @property
    def market(self) -> Stream:
        """The stream that makes the paths."""
        return self.problem.stream()

    @property
    def trading(self) -> TradingConfig:
        """The rules for which the market's oracle is the best policy."""
        return self._env

    @property
    def beliefs(self) -> BeliefSource:
        """The columns of the account that tell of the regime."""
        return BeliefSource.find(self.problem.stream().feature_names, "account")

    @property
    def true_regimes(self) -> int:
        """Regimes of the market."""
        return self.problem.world.num_regimes

    @property
    def files(self) -> Mapping[str, str]:
        """The market, in the words of its configuration."""
        return {"market.yaml": yaml.safe_dump(self._document["market"], sort_keys=False)}

    def seen_by(self, config: TrainConfig, files: Mapping[str, str]) -> Seen:
        """Nothing beside the account, whose features must be those that the agent knows.

        Raises:
            ConfigError: it knows other features, assets or actions.
        """
        del files
        if config.market is None:
            raise ConfigError(
                f"expected an agent of {self.problem.world.kind}, found one of recorded data"
            )
        other = MarketTask(config)
        for name in ("feature_names", "symbols"):
            expected, found = getattr(self.market, name), getattr(other.market, name)
            if expected != found:
                raise ConfigError(f"expected the {name} {expected}, found {found}")
        require_same_account(self._env, other.trading)
        return Seen(self.features, self.beliefs)

    def opening(self) -> list[str]:
        """Which market, what is seen of it, and what is learned from."""
        world, stream = self.problem.world, self.problem.stream()
        rewards = "expected" if self.problem.expected_reward else "realised"
        seen = f"{stream.num_features} features, regime {world.regime}"
        lines = [
            f"market  {world.kind}: {world.num_assets} assets, {world.num_regimes} regimes; {seen}",
            f"paths   fresh ones, {self.problem.episode_length} bars an episode, {rewards} rewards",
        ]
        if self._reference == "known" != world.regime and world.num_regimes > 1:
            lines.append("beware  the optimum that knows the regime will judge: a lower bound of S")
        return lines

    def keep_provenance(self, folder: Path) -> None:
        """Write the market's parameters and their digest, or check them against those there.

        Raises:
            ManifestError: the run was started on another market.
        """
        path = folder / PROVENANCE
        if not path.exists():
            write_whole(path, json.dumps(self._document, indent=2, sort_keys=True) + "\n")
            return
        try:
            found = dict(json.loads(path.read_text()))
        except ValueError as error:
            raise ManifestError(f"{path}: expected JSON, found {error}") from error
        faults = [
            f"{name}: expected {saved!r} as the run was started, found {now!r}"
            for name, saved, now in differences(found, self._document)
        ]
        if faults:
            raise ManifestError(f"{path}:\n" + "\n".join(faults))

    def simulator(self, seed: int) -> Simulator:
        """Return environments on paths of this seed."""
        lanes = self.config.schedule.num_envs
        return Simulator(self.problem.stream(), self._env, lanes, seed=seed, autoreset="same_step")

    def score(self, policy: Policy) -> Score:
        """Value of the expected rewards on paths that are neither learned nor judged on."""
        settings = replace(
            self.config.evaluation.optimality, seed=VALIDATION_SEED, episodes=VALIDATION_EPISODES
        )
        earned = measure(policy, self.problem, settings).earned
        return Score("validation/value_per_bar", float(earned.discounted_E.mean()))

    def judge(self, agents: Mapping[int, Policy], folder: Path, into: str = "evaluation") -> Result:
        """Optimality ratio beside oracles and rules, tables, plots and the report."""
        found = judge_optimality(agents, self.problem, self.config.evaluation.optimality)
        target, record = folder / into, RunRecord.read(folder)
        found = replace(found, options=self._options(agents, found))
        found.save(target)
        options = report_inputs(
            found.options,
            self.config.agent,
            "first episode",
            self._env.action,
            slices=found.slices,
            additive=found.additive,
        )
        write_optimality_figures(target / "figures", found, options)
        inputs = OptimalityInputs(
            title=folder.name,
            config_text=record.config_text,
            versions=record.versions,
            command=record.command,
            options=options,
        )
        write_optimality_report(target / "report.html", found, inputs)
        return Result(f"{found.verdict} {found.evidence}", found.headline)

    def _options(
        self, agents: Mapping[int, Policy], found: OptimalityEvaluation
    ) -> OptionReport | None:
        """Who acted, and what options are worth, of the median seed; None without options."""
        seed, agent = found.agents[found.shown].seed, self.config.agent
        policy = agents[seed]
        if not isinstance(policy, HierarchicalPolicy) or not isinstance(agent, OptionAgentConfig):
            return None
        return report_on_market(
            policy,
            self.problem,
            self.config.evaluation.optimality,
            seed=seed,
            names=option_names(agent.options),
            unit=found.unit,
        )


def _document(problem: Problem) -> dict[str, Any]:
    """What the agent's experience depends on: the market's parameters, how it is traded."""
    market: dict[str, Any] = TypeAdapter(Problem).dump_python(problem, mode="json")
    text = json.dumps(market, sort_keys=True)
    return {
        "kind": "market",
        "market": market,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
