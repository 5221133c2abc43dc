"""What an adaptation is made of: a run's agents, all bars, the phases behind each other, the gate.

The new bars are one more phase behind those of the run, which are its own and those of the
adaptations that led to it: a run of one training counts as one phase, whose held-out bars are its
validation span. Features and detector are those that the first run was fitted with.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agents.continual.remedies import Remedies
from evaluation.acceptance_config import AcceptanceConfig
from features.pipeline import FeaturePipeline
from markets.manifest import Manifest
from markets.sources.config import load_dataset
from markets.sources.protocol import Dataset
from markets.splits import Rows
from regimes.config import RegimeConfig
from training.agents import build_learner
from training.checkpoint import CheckpointError
from training.config import TrainConfig
from training.continual.adapt_champion import Champion, champion_of, require_phase
from training.continual.adapt_request import Lineage, Request, is_result, lineage
from training.continual.config import CalendarPhases, ContinualConfig, GateConfig
from training.continual.data_phases import DataRegime, Stretch, cut, gap_between, lacks
from training.continual.job import open_stream
from training.continual.new_bars import grown, new_data, pause
from training.continual.phases import Phase, Plan, open_plan
from training.continual.states import function_of
from training.errors import ConfigError
from training.own_modules import import_own
from training.preparation import Prepared, assemble
from training.regime_block import REGIMES, regime_block
from training.sb3.option_config import OptionAgentConfig
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import check_fits, load_continual
from training.tasks.data import DataTask
from training.tasks.task import PROVENANCE

_SHARE = 10
"""The run's steps are this many times those of an adaptation, where none are given."""


@dataclass(frozen=True)
class Setting:
    """All that an adaptation is made of."""

    config: TrainConfig
    """Of the adaptation: the run's, with the new phase's steps and gate."""
    task: DataTask
    """All bars, old and new."""
    plan: Plan
    """The run's phases and the new one."""
    champions: Mapping[int, Champion]
    """By seed."""


@dataclass(frozen=True)
class Joined:
    """Old and new bars, and which are whose."""

    data: Dataset
    """All of them."""
    starts: tuple[int, ...]
    """First new row of each adaptation, ascending."""


@dataclass(frozen=True)
class Part:
    """The bars that an adaptation brought."""

    rows: Rows
    """From the first new one on."""
    holdout: float
    """Last share of them, which is judged on."""


def prepare_adaptation(request: Request) -> Setting:
    """Open the run, join its bars with the new ones, and plan the phases.

    Raises:
        ConfigError: a run that cannot be adapted, new bars that do not extend its data, a gate or
            remedies that do not fit.
        CheckpointError: the run has no checkpoint, or a damaged one.
        ManifestError: the run's data has changed since.
    """
    request.check()
    config = TrainConfig.from_yaml(request.run / "config.yaml")
    line = lineage(request.run)
    origin = _adaptable(line.first)
    seeds = _seeds(request, config)
    champions = {seed: champion_of(request.run, config, seed) for seed in seeds}
    joined = join(line, origin, request)
    prepared = prepare_joined(line.first, origin, joined.data, champions)
    base = _base(request, config, seeds)
    task = DataTask(base, prepared)
    plan = plan_parts(origin, task, parts_of(line, joined, request.holdout))
    _require_room(plan, task, request)
    adapted = _gated(request, origin, base, plan, joined)
    setting = Setting(adapted, DataTask(adapted, prepared), plan, champions)
    _require_over(setting, request, origin)
    _require_remedies(setting)
    return setting


# -- the run --------------------------------------------------------------------------------------


def _adaptable(first: Path) -> TrainConfig:
    """The configuration of the first run."""
    config = TrainConfig.from_yaml(first / "config.yaml")
    if config.market is not None:
        raise ConfigError(
            f"{first}: expected a run on recorded data, found one on "
            f"{config.market.world.kind}, of which there are as many bars as one likes and no new "
            "ones; a stream of its phases is learned with continual=regimes"
        )
    if config.continual is not None and config.continual.joint:
        raise ConfigError(f"{first}: expected phases in turn, found continual.joint=true")
    return config


def _seeds(request: Request, config: TrainConfig) -> range:
    own = range(config.seed, config.seed + config.seeds)
    if request.seed is None:
        return own
    if request.seed not in own:
        raise ConfigError(
            f"--seed: expected one of the run's, {own.start} .. {own.stop - 1}, found "
            f"{request.seed}"
        )
    return range(request.seed, request.seed + 1)


def _require_over(setting: Setting, request: Request, origin: TrainConfig) -> None:
    """Refuse a stream that was interrupted: its later phases would be skipped.

    Raises:
        CheckpointError: a phase of a seed is not over.
    """
    if origin.continual is None:
        return
    for seed in setting.champions:
        for phase in setting.plan.phases[:-1]:
            require_phase(request.run, seed, phase.number)


# -- bars -----------------------------------------------------------------------------------------


def join(line: Lineage, origin: TrainConfig, request: Request | None = None) -> Joined:
    """The bars of the first run, and those that each adaptation brought.

    Args:
        line: the runs.
        origin: configuration of the first one.
        request: one more adaptation, whose bars come last; None = no more.

    Raises:
        ConfigError: new bars that do not extend the old ones.
        ManifestError: bars that are not those that were learned from.
    """
    import_own(origin.recorded.features.modules)
    data = load_dataset(origin.recorded.data)
    Manifest.read(line.first / PROVENANCE).verify(data.bars)
    starts = []
    for result, asked in zip(line.results, line.requests, strict=True):
        starts.append(data.bars.num_bars)
        manifest = Manifest.read(result / PROVENANCE)
        # A file or group that has grown since holds the bars of that time, and later ones.
        found = _more(data, origin, asked)
        bars = found.bars.rows(0, min(manifest.rows, found.bars.num_bars))
        manifest.verify(bars)
        data = Dataset(bars=bars, manifest=manifest)
    if request is not None:
        starts.append(data.bars.num_bars)
        data = _more(data, origin, request)
    return Joined(data, tuple(starts))


def _more(data: Dataset, origin: TrainConfig, request: Request) -> Dataset:
    new = load_dataset(new_data(origin.recorded.data, request.data, data.manifest.adjusted))
    return grown(data, new)


def prepare_joined(
    first: Path, origin: TrainConfig, data: Dataset, champions: Mapping[int, Champion]
) -> Prepared:
    """All bars through the first run's features and detector, as fitted.

    Args:
        first: the first run.
        origin: its configuration.
        data: all bars.
        champions: agents by seed, whose checkpoints hold the fits.

    Raises:
        CheckpointError: agents that were fitted differently.
    """
    fits = {
        seed: [each.snapshot.files.get(name) for name in ("features.json", REGIMES)]
        for seed, each in champions.items()
    }
    seed, (features, regimes) = next(iter(fits.items()))
    for other, found in fits.items():
        if found != [features, regimes] or features is None:
            raise CheckpointError(
                f"{champions[other].source}: expected features and detector as fitted for seed "
                f"{seed}, found others"
            )
    old_bars = data.bars.rows(0, Manifest.read(first / PROVENANCE).rows)
    split = origin.recorded.split.splits(old_bars.ts_event)[origin.fold]
    block = None
    if isinstance(origin.regime, RegimeConfig):
        block = regime_block(origin.regime, data.bars, split.train, regimes)
    pipeline = FeaturePipeline.from_json(str(features))
    return assemble(origin, data.bars, data.manifest, split, pipeline, block)


# -- phases ---------------------------------------------------------------------------------------


def parts_of(line: Lineage, joined: Joined, holdout: float | None = None) -> tuple[Part, ...]:
    """The bars of each adaptation.

    Args:
        line: the runs.
        joined: their bars.
        holdout: of one more adaptation; None = no more.
    """
    shares = [request.holdout for request in line.requests]
    shares += [] if holdout is None else [holdout]
    stops = [*joined.starts[1:], joined.data.bars.num_bars]
    return tuple(
        Part(Rows(start, stop), share)
        for start, stop, share in zip(joined.starts, stops, shares, strict=True)
    )


def plan_parts(origin: TrainConfig, task: DataTask, parts: Sequence[Part]) -> Plan:
    """The first run's phases, and one for each adaptation behind them.

    Args:
        origin: configuration of the first run.
        task: all bars.
        parts: bars of the adaptations.

    Raises:
        ConfigError: too few bars held out, or episodes without a length.
    """
    prepared, trading = task.prepared, task.trading
    if trading.episode.length is None:
        raise ConfigError("--episode: expected a number of bars, as the run has none, found none")
    plan = _old_plan(origin, task, trading.episode.length)
    for part in parts:
        number = len(plan.phases)
        stretch = cut(number, part.rows, part.holdout, 0, gap_between(origin))
        names = {regime.name for regime in plan.regimes}
        name = _name(prepared, part.rows.start, names)
        regime = DataRegime(name, prepared.market, trading, [stretch])
        plan = plan.with_regime(regime, len(task.beliefs.columns))
        plan = replace(plan, opening=(*plan.opening, *_opening(prepared, part, stretch)))
    return plan


def _old_plan(origin: TrainConfig, task: DataTask, length: int) -> Plan:
    """The first run's phases; a run of one training is one."""
    if origin.continual is not None:
        return open_plan(task.config, replace(origin.continual, gate=None), task)
    prepared = task.prepared
    split = prepared.split
    stretch = Stretch(0, split.train, split.validation)
    if lacks(stretch, length):
        raise ConfigError(
            f"split.validation: expected at least {length + 2} bars held out for episodes of "
            f"{length} bars, to see what is lost, found {split.validation.size}; try "
            "--episode with fewer bars"
        )
    regime = DataRegime("before", prepared.market, task.trading, [stretch])
    return Plan((regime,), (Phase(0, 0),), known=False, mixed=True)


def _name(prepared: Prepared, first: int, taken: set[str]) -> str:
    """Of an adaptation's regime: its first day, or its first second where that is taken."""
    ts_event = prepared.bars.ts_event[first].astype("datetime64[ns]")
    name = f"since {ts_event.astype('datetime64[D]')}"
    return f"since {ts_event.astype('datetime64[s]')}" if name in taken else name


def _opening(prepared: Prepared, part: Part, stretch: Stretch) -> list[str]:
    """What there is to say of an adaptation's bars."""
    day_T = prepared.bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")
    rows = part.rows
    lines = [f"new     {rows.size:,} bars from {day_T[rows.start]} to {day_T[rows.stop - 1]}"]
    if stretch.learned.size and stretch.held.size:
        lines.append(
            f"new     learned to {day_T[stretch.learned.stop - 1]}, held out from "
            f"{day_T[stretch.held.start]} on"
        )
    beware = pause(prepared.bars, rows.start)
    return lines if beware is None else [*lines, f"beware  {beware}"]


def regimes_of(plan: Plan) -> list[DataRegime]:
    """The regimes of a plan on recorded data."""
    return [regime for regime in plan.regimes if isinstance(regime, DataRegime)]


def _require_room(plan: Plan, task: DataTask, request: Request) -> None:
    """Refuse new bars in which no episode fits."""
    stretch, length = regimes_of(plan)[-1].stretches[-1], task.trading.episode.length or 1
    if lacks(stretch, length):
        rows = task.prepared.bars.num_bars - stretch.learned.start
        raise ConfigError(
            f"--data: expected at least {length + 1} new bars to learn from and {length + 2} held "
            f"out for episodes of {length} bars, found {stretch.learned.size} and "
            f"{stretch.held.size} of {rows}; wait for more bars, or try --episode with fewer bars, "
            f"or another --holdout than {request.holdout:g}"
        )


# -- the configuration ----------------------------------------------------------------------------


def _base(request: Request, config: TrainConfig, seeds: range) -> TrainConfig:
    """The run's configuration, as far as it does not depend on the phases."""
    env, agent, result = config.recorded.env, config.agent, is_result(request.run)
    if request.episode is not None:
        env = replace(env, episode=replace(env.episode, length=request.episode))
    if isinstance(agent, OptionAgentConfig):
        # The controller has decided before; it needs no head start.
        agent = replace(agent, meta_controller=replace(agent.meta_controller, head_start=0))
    total = config.schedule.total_steps
    steps = request.steps or (total if result else max(1, total // _SHARE))
    return replace(
        config,
        name=config.name if result else f"adapt-{request.run.resolve().name}",
        run=None,
        seed=seeds.start,
        seeds=len(seeds),
        env=env,
        agent=agent,
        schedule=replace(config.schedule, total_steps=steps),
    )


def _gated(
    request: Request, origin: TrainConfig, base: TrainConfig, plan: Plan, joined: Joined
) -> TrainConfig:
    """The configuration with its gate; the agent trades already, so its risk on new bars counts.

    Raises:
        ConfigError: a setting of the gate that does not fit.
    """
    try:
        acceptance: AcceptanceConfig = TypeAdapter(AcceptanceConfig).validate_python(
            {"risk": "all", **(request.gate or {})}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"--gate.{name}: {first['msg']}, found {first['input']!r}") from error
    overlap = max(regime.overlap(acceptance.episodes) for regime in regimes_of(plan))
    gate = GateConfig(acceptance=replace(acceptance, block=math.ceil(overlap)))
    if origin.continual is not None:
        return replace(base, continual=replace(origin.continual, gate=gate))
    days = joined.data.bars.ts_event[list(joined.starts)].astype("datetime64[ns]")
    borders = tuple(dict.fromkeys(days.astype("datetime64[D]").tolist()))
    phases = CalendarPhases(borders=borders, holdout=request.holdout)
    return replace(base, continual=ContinualConfig(phases=phases, gate=gate))


def _require_remedies(setting: Setting) -> None:
    """Refuse remedies that do not fit one more phase, or agents that have lost what they keep."""
    config, plan = setting.config, setting.plan
    assert config.continual is not None  # noqa: S101 - made above
    ungated = replace(config, continual=replace(config.continual, gate=None))
    open_stream(ungated, plan, setting.task, config.seed, Path(config.runs)).check()
    for seed, champion in setting.champions.items():
        model = learner(setting, seed)
        remedies = Remedies(config.continual.remedies, function_of(model, setting.task.beliefs))
        model.remedy = remedies
        try:
            check_fits(model, champion.snapshot)
            load_continual(model, champion.snapshot)
        except CheckpointError as error:
            raise CheckpointError(f"{champion.source}: {error}") from error


def learner(setting: Setting, seed: int) -> MarketPPO:
    """A fresh learner of a seed on the new bars."""
    config, plan = setting.config, setting.plan
    lanes = {plan.phases[-1].regime: config.schedule.num_envs}
    return build_learner(config, setting.task, seed, plan.simulator(lanes, seed))
