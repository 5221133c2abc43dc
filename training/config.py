"""The main job's configuration: composed by Hydra, validated here, once, into frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from agents.networks import PolicyConfig
from envs.config import TradingConfig
from envs.synthetic import Problem
from evaluation.judge import EvaluationConfig
from evaluation.optimality_scores import OptimalityConfig
from features.pipeline import FeatureConfig
from markets.sources.config import DataConfig
from markets.splits import SplitConfig
from regimes.config import OracleRegime, RegimeConfig
from training.continual.config import CalendarPhases, ContinualConfig, DetectorPhases
from training.errors import ConfigError, describe_faults
from training.runtime import Device
from training.sb3.option_config import OptionAgentConfig
from training.sb3.ppo import PPOConfig
from training.tracking.config import TrackingConfig

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class AgentConfig:
    """A flat agent trained by PPO."""

    kind: Literal["flat"] = "flat"
    """Discriminator."""
    policy: PolicyConfig = Field(default_factory=PolicyConfig)
    """Networks."""
    ppo: PPOConfig = Field(default_factory=PPOConfig)
    """Hyper-parameters."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScheduleConfig:
    """How long, how wide, and how often something is kept."""

    total_steps: Annotated[int, Field(ge=1)]
    """Environment steps of a seed; rounded up to whole rollouts."""
    num_envs: Annotated[int, Field(ge=1)] = 64
    """Environments that are played side by side."""
    checkpoint_steps: Annotated[int, Field(ge=1)] = 100_000
    """Environment steps between two checkpoints; rounded up to whole rollouts."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints that are kept (the best one always is)."""
    select: Literal["last", "best"] = "last"
    """Which checkpoint is judged: the last, or the best on the validation span."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class JudgementConfig(EvaluationConfig):
    """How an agent is judged: against baselines, or by its distance from the optimum."""

    optimality: OptimalityConfig = Field(default_factory=OptimalityConfig)
    """On markets with a known answer."""


class Recorded(NamedTuple):
    """The parts of a configuration that are about recorded data."""

    data: DataConfig
    split: SplitConfig
    features: FeatureConfig
    env: TradingConfig


RECORDED = Recorded._fields
"""Keys of a run on recorded data."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainConfig:
    """Everything that a run depends on.

    It learns on recorded data (`data`, `split`, `features`, `env`) or on a market with a known
    answer (`market`).
    """

    name: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is `runs/<name>-<time>`."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """First seed."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of agents, trained with the seeds seed, seed + 1, ..."""
    device: Device = "auto"
    """Where networks live: auto, cpu or cuda."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of compiled mathematics; null = the cores of this machine."""
    runs: str = "runs"
    """Folder of all runs."""
    run: str | None = None
    """Folder of this run; null = made from name and time."""
    market: Problem | None = None
    """A synthetic market and how it is traded, instead of recorded data."""
    data: DataConfig | None = None
    """Which recorded data."""
    split: SplitConfig | None = None
    """Which of its bars are for what."""
    fold: Annotated[int, Field(ge=0)] = 0
    """Number of the split where there are several (walk-forward)."""
    features: FeatureConfig | None = None
    """What may be known."""
    regime: Annotated[RegimeConfig | OracleRegime, Field(discriminator="kind")] | None = None
    """Beliefs about regimes beside the features: a detector's on recorded data, the exact filter's
    (oracle) on a synthetic market; null = as `market.world.regime` says, and none on data."""
    env: TradingConfig | None = None
    """Accounting, costs, reward and episodes of the training."""
    agent: Annotated[AgentConfig | OptionAgentConfig, Field(discriminator="kind")]
    """What learns: a flat agent, or options under a meta-controller."""
    continual: ContinualConfig | None = None
    """A stream of phases and what keeps earlier ones from being forgotten; null = one training.
    `schedule.total_steps` are then those of a phase."""
    schedule: ScheduleConfig
    """How long."""
    evaluation: JudgementConfig
    """How it is judged."""
    tracking: TrackingConfig
    """What is recorded where."""

    @model_validator(mode="after")
    def _one_world(self) -> Self:
        given = [name for name in RECORDED if getattr(self, name) is not None]
        if self.market is None and len(given) < len(RECORDED):
            absent = [name for name in RECORDED if name not in given]
            raise ValueError(
                f"expected market, or all of {', '.join(RECORDED)}; found no market and no "
                f"{', '.join(absent)}"
            )
        phases = None if self.continual is None else self.continual.phases
        if (
            self.market is not None
            and given
            and isinstance(phases, CalendarPhases | DetectorPhases)
        ):
            # Their groups set the episodes of recorded data, of which the user has said nothing.
            raise ValueError(
                "continual.phases.kind: expected regimes on a synthetic market, found "
                f"{phases.kind}"
            )
        if self.market is not None and given:
            raise ValueError(
                f"expected market, or all of {', '.join(RECORDED)}; found market beside "
                f"{', '.join(given)}"
            )
        return self

    @model_validator(mode="after")
    def _regime_fits(self) -> Self:
        if self.market is None and isinstance(self.regime, OracleRegime):
            raise ValueError(
                "regime: expected a detector (regime=hmm, dpgmm, ...) or none on recorded data, "
                "whose regimes nobody knows, found oracle"
            )
        if self.market is not None and isinstance(self.regime, RegimeConfig):
            raise ValueError(
                "regime: expected oracle (the exact filter) or none (market.world.regime says what "
                f"is seen) on a synthetic market, found {self.regime.detector.kind}"
            )
        return self

    @model_validator(mode="after")
    def _paths_differ(self) -> Self:
        tested = self.evaluation.optimality.seed
        if self.market is not None and self.seed <= tested < self.seed + self.seeds:
            raise ValueError(
                f"evaluation.optimality.seed: expected none of the training seeds {self.seed} .. "
                f"{self.seed + self.seeds - 1}, whose paths are learned on, was {tested}"
            )
        return self

    @model_validator(mode="after")
    def _rollouts_divide(self) -> Self:
        ppo, lanes = self.agent.ppo, self.schedule.num_envs
        if (ppo.steps * lanes) % ppo.minibatch:
            raise ValueError(
                f"agent.ppo.minibatch: expected a divisor of agent.ppo.steps * schedule.num_envs "
                f"= {ppo.steps * lanes}, was {ppo.minibatch}"
            )
        return self

    @model_validator(mode="after")
    def _head_start_ends(self) -> Self:
        if not isinstance(self.agent, OptionAgentConfig):
            return self
        start, total = self.agent.meta_controller.head_start, self.schedule.total_steps
        if start >= total:
            raise ValueError(
                f"agent.meta_controller.head_start: expected below schedule.total_steps = {total}, "
                f"or the controller never decides, was {start}"
            )
        return self

    @model_validator(mode="after")
    def _controller_fits(self) -> Self:
        if not isinstance(self.agent, OptionAgentConfig):
            return self
        controller, options = self.agent.meta_controller.controller, len(self.agent.options)
        where = "agent.meta_controller.controller"
        if self.market is None and controller.kind == "oracle":
            raise ValueError(
                f"{where}.kind: expected another kind on recorded data, whose regimes nobody "
                "knows, was oracle"
            )
        if controller.kind == "fixed" and controller.option >= options:
            raise ValueError(
                f"{where}.option: expected one of 0 .. {options - 1}, the numbers of "
                f"agent.options, was {controller.option}"
            )
        return self

    @property
    def recorded(self) -> Recorded:
        """What the configuration says about recorded data.

        Raises:
            ConfigError: it is about a market with a known answer.
        """
        if self.data is None or self.split is None or self.features is None or self.env is None:
            raise ConfigError(f"expected {', '.join(RECORDED)}, found market")
        return Recorded(self.data, self.split, self.features, self.env)

    @classmethod
    def from_hydra(cls, cfg: DictConfig) -> "TrainConfig":
        """Validate what Hydra composed.

        Raises:
            ConfigError: one line for each fault with its path, the expected and the found.
        """
        try:
            container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            first = str(error.msg).splitlines()[0]
            raise ConfigError(f"{error.full_key or 'config'}: {first}") from error
        return cls.from_container(container)

    @classmethod
    def from_container(cls, container: object) -> "TrainConfig":
        """Validate plain nested data.

        Raises:
            ConfigError: as `from_hydra`.
        """
        try:
            return _adapter().validate_python(container, extra="forbid")
        except ValidationError as error:
            raise ConfigError(
                describe_faults(error, sorted(known_paths(cls)), container)
            ) from error

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read the `config.yaml` of a run.

        Raises:
            ConfigError: there is none, or it is not valid.
        """
        if not path.is_file():
            raise ConfigError(f"{path}: expected the configuration of a run, found no such file")
        try:
            return cls.from_container(yaml.safe_load(path.read_text()))
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: expected YAML, found {error}") from error

    def to_container(self) -> dict[str, Any]:
        """Plain nested data that `from_container` turns into an equal value."""
        container: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return container


@cache
def _adapter() -> TypeAdapter[TrainConfig]:
    return TypeAdapter(TrainConfig)


def known_paths(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of a configuration class; of alternatives, those of each, in their order."""
    for field in fields(kind):
        path = f"{prefix}{field.name}"
        yield path
        for nested in _classes(field.type):
            yield from known_paths(nested, f"{path}.")


def _classes(annotation: Any) -> Iterator[type[Any]]:  # noqa: ANN401 - any annotation
    """The configuration classes that an annotation allows."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def differences(
    saved: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Dotted paths at which two configurations differ, with both values."""
    found: list[tuple[str, Any, Any]] = []
    for key in sorted({*saved, *asked}):
        path, left, right = f"{prefix}{key}", saved.get(key), asked.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{path}.")
        elif left != right:
            found.append((path, left, right))
    return found
