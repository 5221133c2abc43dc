"""Online mode: an agent of a run on recorded data learns on, on bars that came since.

The new bars are one more phase behind those of the run, gated like any other: a run of one training
counts as one phase, whose held-out bars are its validation span. Features and detector are the
run's, as fitted.

    runs/adapt-NAME-time/adapt.json     what was asked for
                         seed-0/        the phases, as a stream keeps them
                         checkpoint/    the accepted agent, or the old one
                         decision.json  which, with all evidence
                         verdict.txt    the same in words
"""

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.acceptance import Decision
from evaluation.acceptance_config import AcceptanceConfig
from evaluation.acceptance_power import (
    Sample,
    check_feasible,
    deviation_of,
    episodes_needed,
    explain_power,
)
from features.pipeline import FeaturePipeline
from markets.atomic import write_whole
from markets.manifest import Manifest
from markets.sources.config import load_dataset
from markets.splits import Rows
from regimes.config import RegimeConfig
from training.agents import build_learner, policy_of
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.continual.config import CalendarPhases, ContinualConfig, GateConfig
from training.continual.data_phases import DataRegime, Stretch, cut, gap_between, lacks
from training.continual.job import open_stream, train_streams
from training.continual.new_bars import extended, new_data
from training.continual.phases import Phase, Plan, Scores, open_plan
from training.continual.stream import SCORES
from training.continual.updates import DECISIONS, read_decisions
from training.errors import ConfigError
from training.job import Interrupted
from training.learning import checkpoints, chosen
from training.own_modules import import_own
from training.preparation import Prepared, assemble
from training.regime_block import REGIMES, regime_block
from training.runtime import limit_torch_threads, resolve_device
from training.sb3.option_config import OptionAgentConfig
from training.sb3.snapshot import check_fits
from training.signals import StopRequest
from training.tasks.data import DataTask
from training.tasks.task import PROVENANCE
from training.tracking.tracker import RunTracker

REQUEST, DECISION, VERDICT = "adapt.json", "decision.json", "verdict.txt"
"""Files of the result."""
_SHARE = 10
"""The run's steps are this many times those of an adaptation, where none are given."""

Tell = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for."""

    run: Path
    """Folder of the run."""
    data: str
    """Name of a data group, or a file or folder."""
    steps: int | None = None
    """Environment steps; None = a tenth of the run's."""
    seed: int | None = None
    """Of the run's agent; None = the first."""
    holdout: float = 0.3
    """Last share of the new bars, which is judged on and not learned from."""
    episode: int | None = None
    """Bars of an episode; None = as in the run."""
    gate: Mapping[str, str] | None = None
    """Settings of `AcceptanceConfig` by name, as words."""

    def to_json(self) -> str:
        """As JSON."""
        found = asdict(self) | {"run": str(self.run.resolve()), "gate": dict(self.gate or {})}
        return json.dumps(found, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Setting:
    """All that an adaptation is made of."""

    config: TrainConfig
    """Of the adaptation: the run's, with the new phase's steps and gate."""
    task: DataTask
    """All bars, old and new."""
    plan: Plan
    """The run's phases and the new one."""
    snapshot: Snapshot
    """The champion: what the run has left."""
    source: Path
    """Where it comes from."""
    before: Snapshot | None
    """An earlier checkpoint of the run, which tells how much neighbouring policies differ."""
    update: int
    """Number of the next update: the error rate is spent over all, the run's own included."""


def adapt(request: Request, *, into: Path | None = None, force: bool = False, tell: Tell) -> Path:
    """Learn on new bars, and keep the result only where the gate accepts it.

    Args:
        request: what is asked for.
        into: folder of the result, or of an interrupted one to go on with; None = a new one.
        force: go on where no update can be accepted.
        tell: takes lines for the user.

    Returns:
        The result's folder.

    Raises:
        ConfigError: a run that cannot be adapted, new bars that do not extend its data, or a gate
            that can never be passed; no folder is made.
        Interrupted: SIGINT or SIGTERM came; the same command with `--into` goes on.
    """
    setting = prepare_adaptation(request)
    resolve_device(setting.config.device)
    limit_torch_threads(setting.config.threads)
    lines, never = explain(setting)
    tell("\n".join([*setting.task.opening(), *setting.plan.opening, *lines]))
    if never and not force:
        raise ConfigError(
            "the gate can never accept an update here: "
            + "; ".join(never)
            + "; --gate.floor or --gate.tolerance allow a larger loss, --episode N makes more and "
            "shorter episodes, --force learns in vain"
        )
    folder = _folder(request, setting.config, into)
    _learn(setting, request, folder)
    verdict = _conclude(setting, folder, lines)
    tell(f"\n{verdict}\n\ncheckpoint  {folder / 'checkpoint'}\nevidence    {folder / DECISION}")
    return folder


# -- what there is --------------------------------------------------------------------------------


def prepare_adaptation(request: Request) -> Setting:
    """Open the run, join its bars with the new ones, and plan the phases.

    Raises:
        ConfigError: as `adapt`.
        CheckpointError: the run has no checkpoint, or a damaged one.
        ManifestError: the run's data has changed since.
    """
    config = _adaptable(request)
    seed = config.seed if request.seed is None else request.seed
    if not config.seed <= seed < config.seed + config.seeds:
        raise ConfigError(
            f"--seed: expected one of the run's, {config.seed} .. "
            f"{config.seed + config.seeds - 1}, found {seed}"
        )
    source, before = _champions(request.run, config, seed)
    snapshot = load(source)
    prepared, first = _joined(request, config, snapshot)
    base = _base(request, config, seed)
    task = DataTask(base, prepared)
    plan = _plan(request, config, task, first)
    day = prepared.bars.ts_event[first].astype("datetime64[ns]").astype("datetime64[D]")
    adapted = _gated(request, config, base, plan, day.item())
    return Setting(
        adapted,
        DataTask(adapted, prepared),
        plan,
        snapshot,
        source,
        None if before is None else load(before),
        update=1
        + sum(map(len, map(read_decisions, (request.run / f"seed-{seed}").glob("phase-*")))),
    )


def _adaptable(request: Request) -> TrainConfig:
    config = TrainConfig.from_yaml(request.run / "config.yaml")
    if (request.run / REQUEST).exists():
        raise ConfigError(
            f"{request.run}: expected a run of perennial train, found one of perennial adapt; "
            "adapt the first run to all bars that came since"
        )
    if config.market is not None:
        raise ConfigError(
            f"{request.run}: expected a run on recorded data, found one on "
            f"{config.market.world.kind}, of which there are as many bars as one likes and no new "
            "ones; a stream of its phases is learned with continual=regimes"
        )
    if config.continual is not None and config.continual.joint:
        raise ConfigError(f"{request.run}: expected phases in turn, found continual.joint=true")
    return config


def _champions(run: Path, config: TrainConfig, seed: int) -> tuple[Path, Path | None]:
    """The checkpoint to go on from, and an earlier one where there is one."""
    folder = run / f"seed-{seed}"
    if config.continual is None:
        store = checkpoints(config, folder)
        source = chosen(config, store)
        others = [path for path in store.steps().values() if path != source]
        return source, others[-1] if others else None
    over = sorted(path.parent for path in folder.glob(f"phase-*/{SCORES}"))
    stores = [CheckpointStore(path / "accepted").latest() for path in over]
    found = [path for path in stores if path is not None]
    if not found:
        raise CheckpointError(f"{folder}: expected a phase that is over, found none")
    return found[-1], found[-2] if len(found) > 1 else None


def _joined(request: Request, config: TrainConfig, snapshot: Snapshot) -> tuple[Prepared, int]:
    """Old and new bars through the run's own features and detector, and the first new row."""
    recorded = config.recorded
    import_own(recorded.features.modules)
    old = load_dataset(recorded.data)
    new = load_dataset(new_data(recorded.data, request.data, old.manifest.adjusted))
    Manifest.read(request.run / PROVENANCE).verify(old.bars)
    bars = extended(old, new)
    manifest = Manifest.of(
        bars,
        dataset=f"{old.manifest.dataset}+new",
        source=f"{old.manifest.source}; {new.manifest.source}",
        licence=new.manifest.licence,
        adjusted=old.manifest.adjusted,
    )
    split = recorded.split.splits(old.bars.ts_event)[config.fold]
    pipeline = FeaturePipeline.from_json(snapshot.files["features.json"])
    block = None
    if isinstance(config.regime, RegimeConfig):
        block = regime_block(config.regime, bars, split.train, snapshot.files[REGIMES])
    return assemble(config, bars, manifest, split, pipeline, block), old.bars.num_bars


def _base(request: Request, config: TrainConfig, seed: int) -> TrainConfig:
    """The run's configuration for the one agent, as far as it does not depend on the phases."""
    env, agent = config.recorded.env, config.agent
    if request.episode is not None:
        env = replace(env, episode=replace(env.episode, length=request.episode))
    if isinstance(agent, OptionAgentConfig):
        # The controller has decided before; it needs no head start.
        agent = replace(agent, meta_controller=replace(agent.meta_controller, head_start=0))
    steps = request.steps or max(1, config.schedule.total_steps // _SHARE)
    return replace(
        config,
        name=f"adapt-{request.run.resolve().name}",
        run=None,
        seed=seed,
        seeds=1,
        env=env,
        agent=agent,
        schedule=replace(config.schedule, total_steps=steps),
    )


def _plan(request: Request, config: TrainConfig, task: DataTask, first: int) -> Plan:
    """The run's phases, and the new one behind them."""
    prepared, trading, length = task.prepared, task.trading, task.trading.episode.length
    if length is None:
        raise ConfigError("--episode: expected a number of bars, as the run has none, found none")
    if not 0.0 < request.holdout < 0.9:
        raise ConfigError(f"--holdout: expected a share between 0 and 0.9, found {request.holdout}")
    if config.continual is not None:
        old = open_plan(task.config, replace(config.continual, gate=None), task)
    else:
        split = prepared.split
        stretch = Stretch(0, split.train, split.validation)
        if lacks(stretch, length):
            raise ConfigError(
                f"split.validation: expected at least {length + 2} bars held out for episodes of "
                f"{length} bars, to see what is lost, found {split.validation.size}; try --episode"
            )
        regime = DataRegime("before", prepared.market, trading, [stretch])
        old = Plan((regime,), (Phase(0, 0),), known=False, mixed=True)
    number, rows = len(old.phases), Rows(first, prepared.bars.num_bars)
    new = cut(number, rows, request.holdout, 0, gap_between(config))
    if lacks(new, length):
        raise ConfigError(
            f"--data: expected at least {length + 1} new bars to learn from and {length + 2} held "
            f"out for episodes of {length} bars, found {new.learned.size} and {new.held.size} of "
            f"{rows.size}; wait for more bars, or try --episode or --holdout"
        )
    day_T = prepared.bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")
    learned, held = day_T[new.learned.stop - 1], day_T[new.held.start]
    latest = DataRegime(f"since {day_T[first]}", prepared.market, trading, [new])
    return replace(
        old,
        regimes=(*old.regimes, latest),
        phases=(*old.phases, Phase(number, len(old.regimes))),
        opening=(
            f"new     {rows.size:,} bars from {day_T[first]} to {day_T[-1]}",
            f"new     learned to {learned}, held out from {held} on",
        ),
    )


def _gated(
    request: Request, config: TrainConfig, base: TrainConfig, plan: Plan, day: date
) -> TrainConfig:
    """The configuration with its gate.

    Raises:
        ConfigError: a setting of the gate that does not fit.
    """
    try:
        acceptance: AcceptanceConfig = TypeAdapter(AcceptanceConfig).validate_python(
            dict(request.gate or {})
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"--gate.{name}: {first['msg']}, found {first['input']!r}") from error
    overlap = max(regime.overlap(acceptance.episodes) for regime in _regimes(plan))
    gate = GateConfig(acceptance=replace(acceptance, block=math.ceil(overlap)))
    if config.continual is not None:
        continual = replace(config.continual, gate=gate)
    else:
        phases = CalendarPhases(borders=(day,), names=("before", "since"), holdout=request.holdout)
        continual = ContinualConfig(phases=phases, gate=gate)
    return replace(base, continual=continual)


def _regimes(plan: Plan) -> list[DataRegime]:
    return [regime for regime in plan.regimes if isinstance(regime, DataRegime)]


# -- what the gate can see ------------------------------------------------------------------------


def explain(setting: Setting) -> tuple[list[str], tuple[str, ...]]:
    """What the gate sees at the sample at hand, and why no update can pass it, if so."""
    acceptance = _acceptance(setting)
    own = _scores(setting, setting.snapshot)
    other = None if setting.before is None else _scores(setting, setting.before)
    samples, apart = {}, []
    for number, regime in enumerate(_regimes(setting.plan)):
        scores = own[number]
        gain_E = scores.earned_E - scores.nothing_E
        noise_E = gain_E if other is None else scores.earned_E - other[number].earned_E
        samples[regime.name] = Sample(
            deviation=deviation_of(noise_E),
            episodes=min(regime.independent, len(gain_E)),
            gain=float(gain_E.mean()),
        )
        margin = samples[regime.name].margin(acceptance)
        needed = episodes_needed(deviation_of(gain_E), margin, alpha=acceptance.alpha)
        if needed is not None:
            apart.append(f"{needed:,} in {regime.name}")
    taken = (
        "the champion's own gain, more than neighbouring policies differ"
        if other is None
        else "what separates the champion from the run's checkpoint before it"
    )
    told = list(explain_power(samples, acceptance, setting.update))
    if other is not None and apart:
        told.append(f"An update that changes much takes more episodes: {', '.join(apart)}.")
    lines = [f"gate    {line}" for line in told]
    lines.append(
        f"gate    The noise is that of {taken}; of overlapping episodes as many count as there is "
        "room for side by side."
    )
    return lines, check_feasible(samples, acceptance, setting.update).never


def _acceptance(setting: Setting) -> AcceptanceConfig:
    continual = setting.config.continual
    assert continual is not None and continual.gate is not None  # noqa: S101, PT018 - made above
    return continual.gate.acceptance


def _scores(setting: Setting, snapshot: Snapshot) -> list[Scores]:
    """What a checkpoint is worth in every regime."""
    config, plan = setting.config, setting.plan
    lanes = {plan.phases[-1].regime: config.schedule.num_envs}
    model = build_learner(config, setting.task, config.seed, plan.simulator(lanes, config.seed))
    check_fits(model, snapshot)
    model.policy.net.load_state_dict(dict(snapshot.weights))
    policy, episodes = policy_of(model), _acceptance(setting).episodes
    return [regime.judge(policy, seed=0, episodes=episodes) for regime in plan.regimes]


# -- what is learned ------------------------------------------------------------------------------


def _folder(request: Request, config: TrainConfig, into: Path | None) -> Path:
    """The result's folder, with the request in it."""
    text = request.to_json()
    if into is not None and (into / REQUEST).exists():
        found = (into / REQUEST).read_text(encoding="utf-8")
        if found != text:
            raise ConfigError(
                f"{into}: expected an adaptation as asked for, {' '.join(text.split())}, found "
                f"{' '.join(found.split())}"
            )
        return into
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    folder = into or Path(config.runs) / f"{config.name}-{stamp}"
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: expected an empty folder or an adaptation, found another")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / REQUEST, text)
    return folder


def _learn(setting: Setting, request: Request, folder: Path) -> None:
    """Take over the run's phases, and learn the new one."""
    config, plan, seed = setting.config, setting.plan, setting.config.seed
    setting.task.keep_provenance(folder)
    stream = open_stream(config, plan, setting.task, seed, folder)
    old = plan.phases[:-1]
    for phase in old:
        source = request.run / f"seed-{seed}" / stream.phase_folder(phase).name
        _copy(source, stream.phase_folder(phase), SCORES if phase is not old[-1] else "")
    stream.adopt(old[-1], setting.snapshot)
    tracker = RunTracker(folder, config.tracking)
    with StopRequest() as stop:
        again = (folder / "journal.jsonl").exists()
        tracker.start(
            config.to_container(),
            {"data_sha256": setting.task.sha256, "seed": str(seed), "adapted": str(request.run)},
            overrides=sys.argv[1:],
            resume_step=0 if again else None,
        )
        with tracker:
            train_streams(config, plan, setting.task, tracker, stop)
            if stop.signal is not None:
                raise Interrupted(f"{stop.signal.name}; go on: the same command --into {folder}")


def _copy(source: Path, folder: Path, *names: str) -> None:
    """Take over what the gate of a phase has decided, which its error rate is spent on, and more.

    Args:
        source: the phase's folder in the run.
        folder: its folder here.
        names: further files; empty names are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in filter(None, (DECISIONS, *names)):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def _conclude(setting: Setting, folder: Path, lines: list[str]) -> str:
    """Write down what became of it; returns the verdict."""
    config, plan = setting.config, setting.plan
    stream = open_stream(config, plan, setting.task, config.seed, folder)
    decisions = read_decisions(stream.phase_folder(plan.phases[-1]))
    accepted = any(decision.accepted for decision in decisions)
    snapshot = stream.accepted(plan.phases[-1]) if accepted else setting.snapshot
    store = CheckpointStore(folder / "checkpoint", keep_last=1)
    store.save(int(snapshot.trainer["num_timesteps"]), snapshot)
    verdict = _words(decisions, setting, accepted=accepted)
    record = {
        "accepted": accepted,
        "from": str(setting.source),
        "decisions": [json.loads(decision.to_json()) for decision in decisions],
        "reasons": [list(decision.reasons) for decision in decisions],
    }
    write_whole(folder / DECISION, json.dumps(record, indent=1) + "\n")
    write_whole(folder / VERDICT, "\n".join([*lines, verdict]) + "\n")
    return verdict


def _words(decisions: list[Decision], setting: Setting, *, accepted: bool) -> str:
    """The outcome, and every attempt."""
    steps = setting.config.schedule.total_steps
    outcome = (
        f"Accepted: the agent has learned {steps:,} steps on the new bars."
        if accepted
        else f"Rejected: the agent of {setting.source} stays as it was."
    )
    return "\n".join([outcome, *(decision.verdict for decision in decisions)])
