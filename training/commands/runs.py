"""``perennial runs``: what was run, how it ended, what came of it."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.output import columns, say
from training.wording import duration

if TYPE_CHECKING:
    from training.status import RunStatus

_SHOWN = 3
"""Figures of a run in the list; ``--json`` has all."""

SUMMARY = "list the runs with their state, dates and headline figures"
EXAMPLES = """\
perennial runs ls                  # newest first
perennial runs ls --json           # for programs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="list the runs, newest first")
    ls.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    ls.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List the runs."""
    found = list_runs(arguments.runs)
    if arguments.json:
        say(json.dumps([_plain(folder, status) for folder, status in found], indent=2))
        return 0
    if not found:
        say(f"{arguments.runs}: no runs yet; `perennial train` makes one")
        return 0
    rows: list[tuple[str, ...]] = [("RUN", "STATE", "STARTED (UTC)", "TOOK", "RESULT")]
    rows += [_row(folder, status) for folder, status in found]
    say(columns(rows))
    return 0


def list_runs(folder: Path) -> "list[tuple[Path, RunStatus]]":
    """Return the runs below a folder, newest first; a damaged status is passed over."""
    from training.status import FILE_NAME, StatusError, read_status  # noqa: PLC0415 - help is quick

    found = []
    for path in sorted(folder.glob(f"**/{FILE_NAME}")) if folder.is_dir() else []:
        try:
            found.append((path.parent, read_status(path.parent)))
        except (OSError, StatusError) as error:
            say(f"passed over: {error}")
    return sorted(found, key=lambda item: item[1].started, reverse=True)


def find_run(word: str, runs: Path = Path("runs")) -> Path:
    """Return the folder that a word on the command line means.

    Args:
        word: A run's folder, its name below the folder of runs, or ``latest``.
        runs: Folder of the runs.

    Raises:
        FileNotFoundError: There is no such run; names those that are.
    """
    if word == "latest":
        found = list_runs(runs)
        if found:
            return found[0][0]
    for path in (Path(word), runs / word):
        if path.is_dir() and word != "latest":
            return path
    names = [folder.name for folder, _ in list_runs(runs)][:5]
    known = f"the newest are {', '.join(names)}" if names else f"there is none in {runs}"
    raise FileNotFoundError(f"{word}: expected the folder of a run, found none; {known}")


def _plain(folder: Path, status: "RunStatus") -> dict[str, object]:
    return {
        "run": str(folder),
        "state": status.effective,
        "started": status.started,
        "ended": status.ended,
        "error": status.error,
        "checkpoint": status.checkpoint,
        "headline": {k: v if v == v else None for k, v in status.headline.items()},  # noqa: PLR0124 - NaN
    }


def _short(name: str) -> str:
    """``test/log_growth`` as people say it."""
    return name.rpartition("/")[2].replace("_", " ")


def _row(folder: Path, status: "RunStatus") -> tuple[str, ...]:
    started = datetime.fromisoformat(status.started)
    ended = datetime.fromisoformat(status.ended or status.updated)
    if status.effective == "RUNNING":
        ended = datetime.now(UTC)
    shown = list(status.headline.items())[:_SHOWN]
    result = ", ".join(f"{_short(name)} {value:.4g}" for name, value in shown)
    first_line = (status.error or "").partition("\n")[0]
    return (
        str(folder),
        status.effective,
        started.strftime("%Y-%m-%d %H:%M"),
        duration((ended - started).total_seconds()),
        result or first_line[:60],
    )
