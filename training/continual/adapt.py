"""Online mode: the agents of a run on recorded data learn on, on bars that came since.

The new bars are one more phase behind those of the run, gated like any other; what comes of it is
a run to go on from in turn.

    runs/adapt-NAME-time/adapt.json     what was asked for
                         seed-0/        the phases, as a stream keeps them
                         seed-0/checkpoint/   the accepted agent, or the old one
                         decision.json  which, with all evidence
                         verdict.txt    the same in words
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from markets.atomic import write_whole
from training.config import TrainConfig
from training.continual.adapt_power import explain
from training.continual.adapt_request import DECISION, REQUEST, VERDICT, Request
from training.continual.adapt_setting import Setting, prepare_adaptation
from training.continual.adapt_verdict import conclude, headline
from training.continual.job import open_stream, train_streams
from training.continual.stream import SCORES
from training.continual.updates import DECISIONS
from training.errors import ConfigError
from training.job import Interrupted
from training.runtime import limit_torch_threads, resolve_device
from training.signals import StopRequest
from training.tracking.journal import FILE_NAME
from training.tracking.tracker import RunTracker

Tell = Callable[[str], object]


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
    if into is not None and _is_over(request, into):
        tell(f"over before\n\n{(into / VERDICT).read_text(encoding='utf-8').rstrip()}")
        tell(_closing(into))
        return into
    setting = prepare_adaptation(request)
    resolve_device(setting.config.device)
    limit_torch_threads(setting.config.threads)
    power = explain(setting)
    tell("\n".join([*setting.task.opening(), *setting.plan.opening, *power.lines]))
    if power.never and not force:
        alone = ", --seed N adapts one seed alone" if len(setting.champions) > 1 else ""
        raise ConfigError(
            "the gate can never accept an update here: "
            + "; ".join(power.never)
            + "; --gate.floor or --gate.tolerance allow a larger loss, --episode N makes more and "
            f"shorter episodes{alone}, --force learns in vain"
        )
    folder = _folder(request, setting.config, into)
    tell(f"result  {folder}")
    verdict = _learn(setting, request, folder, power.lines)
    tell(f"\n{verdict}")
    tell(_closing(folder))
    return folder


def _closing(folder: Path) -> str:
    """What to open and to do next."""
    return (
        f"\nagents       {folder / 'seed-*' / 'checkpoint'}\n"
        f"evidence     {folder / DECISION}\n"
        f"judge        perennial evaluate {folder}\n"
        f"adapt again  perennial adapt {folder} --data NEWER"
    )


def _is_over(request: Request, into: Path) -> bool:
    """Whether what is asked for was done before.

    Raises:
        ConfigError: the folder holds another adaptation.
    """
    if not (into / REQUEST).exists():
        return False
    _require_same(request, into)
    return (into / DECISION).exists()


def _require_same(request: Request, into: Path) -> None:
    asked, found = request.located(), Request.read(into)
    if asked.to_json() == found.to_json():
        return
    differ = [
        f"{name} {getattr(found, name)!s} (asked for: {getattr(asked, name)!s})"
        for name in ("run", "data", "steps", "seed", "holdout", "episode", "gate")
        if (getattr(found, name) or None) != (getattr(asked, name) or None)
    ]
    raise ConfigError(
        f"{into}: expected an adaptation as asked for, found one with {', '.join(differ)}; it goes "
        f"on with: {found.command(into)}"
    )


def _folder(request: Request, config: TrainConfig, into: Path | None) -> Path:
    """The result's folder, with the request in it."""
    if into is not None and (into / REQUEST).exists():
        return into
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    folder = into or Path(config.runs) / f"{config.name}-{stamp}"
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: expected an empty folder or an adaptation, found another")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / REQUEST, request.to_json())
    return folder


def _learn(setting: Setting, request: Request, folder: Path, lines: tuple[str, ...]) -> str:
    """Take over the run's phases, learn the new one, and write down what came of it.

    Returns:
        The verdict.
    """
    config, plan = setting.config, setting.plan
    setting.task.keep_provenance(folder)
    for seed in setting.champions:
        _take_over(setting, request, folder, seed)
    tracker = RunTracker(folder, config.tracking)
    with StopRequest() as stop:
        again = (folder / FILE_NAME).exists()
        tracker.start(
            config.to_container(),
            {
                "data_sha256": setting.task.sha256,
                "seed": str(config.seed),
                "adapted": str(request.run),
            },
            overrides=request.words(),
            resume_step=0 if again else None,
        )
        with tracker:
            old = len(plan.phases) - 1
            train_streams(config, plan, setting.task, tracker, stop, adopted=old)
            if stop.signal is not None:
                raise Interrupted(f"{stop.signal.name}; go on with: {request.command(folder)}")
            verdict = conclude(setting, folder, lines)
            tracker.log_metrics(headline(folder), step=config.schedule.total_steps)
            if tracker.status is not None:
                tracker.status.headline(headline(folder))
    return verdict


def _take_over(setting: Setting, request: Request, folder: Path, seed: int) -> None:
    """Begin a seed's stream with the phases that the run has gone through."""
    stream = open_stream(setting.config, setting.plan, setting.task, seed, folder)
    old = setting.plan.phases[:-1]
    for phase in old:
        source = request.run / f"seed-{seed}" / stream.phase_folder(phase).name
        names = [DECISIONS] if phase is old[-1] else [DECISIONS, SCORES]
        _copy(source, stream.phase_folder(phase), names)
    stream.adopt(old[-1], setting.champions[seed].snapshot)


def _copy(source: Path, folder: Path, names: Sequence[str]) -> None:
    """Take over what the gate of a phase has decided, which its error rate is spent on, and more.

    Args:
        source: the phase's folder in the run.
        folder: its folder here.
        names: of the files; those that there are not are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
