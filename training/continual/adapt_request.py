"""What is asked of an adaptation, and which adaptations led to a run.

    runs/adapt-NAME-time/adapt.json     what was asked for: the run that it goes on from, the data

The result of an adaptation is a run to go on from too. Its `adapt.json` names the one before, and
so on back to a run of `perennial train`.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from training.errors import ConfigError

REQUEST, DECISION, VERDICT = "adapt.json", "decision.json", "verdict.txt"
"""Files of a result."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for."""

    run: Path
    """Folder of the run, of `perennial train` or an earlier result."""
    data: str
    """Name of a data group, or a file or folder."""
    steps: int | None = None
    """Environment steps of a seed; None = a tenth of the run's, or as many as of the result."""
    seed: int | None = None
    """Of the run's agents; None = all."""
    holdout: float = 0.3
    """Last share of the new bars, which is judged on and not learned from."""
    episode: int | None = None
    """Bars of an episode; None = as in the run."""
    gate: Mapping[str, str] | None = None
    """Settings of `AcceptanceConfig` by name, as words."""

    def check(self) -> None:
        """Refuse numbers out of their range.

        Raises:
            ConfigError: one is.
        """
        for name in ("steps", "episode"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name}: expected 1 or more, found {value}")
        if not 0.0 < self.holdout < 0.9:
            raise ConfigError(
                f"--holdout: expected a share between 0 and 0.9, found {self.holdout}"
            )

    def located(self) -> "Request":
        """The same wherever the command is given: paths from the root."""
        path = Path(self.data).expanduser()
        data = str(path.resolve()) if path.exists() else self.data
        return replace(self, run=self.run.resolve(), data=data)

    def to_json(self) -> str:
        """As JSON."""
        own = self.located()
        found = asdict(own) | {"run": str(own.run), "gate": dict(own.gate or {})}
        return json.dumps(found, indent=1, sort_keys=True) + "\n"

    def words(self) -> list[str]:
        """Words of the command line that ask for this, without `perennial adapt`."""
        own = self.located()
        found = [str(own.run), "--data", own.data]
        for name in ("steps", "seed", "episode"):
            if (value := getattr(own, name)) is not None:
                found += [f"--{name}", str(value)]
        if own.holdout != type(self).holdout:
            found += ["--holdout", f"{own.holdout:g}"]
        for name, word in (own.gate or {}).items():
            found += [f"--gate.{name}", word]
        return found

    def command(self, into: Path) -> str:
        """The command that goes on with this in a folder."""
        return shlex.join(["perennial", "adapt", *self.words(), "--into", str(into)])

    @classmethod
    def read(cls, folder: Path) -> "Request":
        """What was asked of a result.

        Args:
            folder: of the result.

        Raises:
            ConfigError: `adapt.json` is missing or damaged.
        """
        path = folder / REQUEST
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            return cls(**(found | {"run": Path(found["run"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path}: expected a request of perennial adapt with "
                f"{', '.join(field.name for field in fields(cls))}, found {error}"
            ) from error


def is_result(run: Path) -> bool:
    """Whether a folder is one of `perennial adapt`, finished or not."""
    return (run / REQUEST).exists()


@dataclass(frozen=True)
class Lineage:
    """Where a run comes from."""

    first: Path
    """The run of `perennial train`."""
    results: tuple[Path, ...]
    """What it was adapted to since, oldest first; the last one is the run itself, if it is one."""
    requests: tuple[Request, ...]
    """What was asked of each."""


def lineage(run: Path) -> Lineage:
    """Go back from a run to the one that was trained first.

    Args:
        run: its folder.

    Raises:
        ConfigError: a run in between is gone, or an adaptation is not over.
    """
    results: list[Path] = []
    requests: list[Request] = []
    while is_result(run):
        request = Request.read(run)
        if not (run / DECISION).exists():
            raise ConfigError(
                f"{run}: expected an adaptation that is over, found one without {DECISION}; go on "
                f"with it: {request.command(run)}"
            )
        results.insert(0, run)
        requests.insert(0, request)
        run = _found(run, request)
        if run in results:
            raise ConfigError(f"{run / REQUEST}: expected an earlier run, found one of its own")
    return Lineage(run, tuple(results), tuple(requests))


def _found(result: Path, request: Request) -> Path:
    """The run that a result goes on from; runs that were moved together find each other."""
    for path in (request.run, result.resolve().parent / request.run.name):
        if path.is_dir():
            return path
    raise ConfigError(
        f"{result / REQUEST}: expected the run {request.run}, which it goes on from, found no such "
        "folder"
    )


def require_training(folder: Path) -> None:
    """Refuse a result of `perennial adapt` where a run of `perennial train` is meant.

    Args:
        folder: of the run.

    Raises:
        ConfigError: it is one; says what goes on with it.
    """
    if is_result(folder):
        raise ConfigError(
            f"{folder}: expected a run of perennial train, found one of perennial adapt; an "
            f"interrupted one goes on with: {Request.read(folder).command(folder)}"
        )
