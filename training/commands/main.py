"""Arguments of ``perennial``, its verbs, and how errors are shown. Imports nothing heavy."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from training.commands import (
    adapt,
    cache,
    data,
    doctor,
    evaluate,
    explain,
    features,
    regimes,
    runs,
    sync,
    train,
    ui,
)
from training.commands.output import columns, complain
from training.runtime import configure_from_arguments

DEBUG_VARIABLE = "PERENNIAL_DEBUG"
"""Set to 1: tracebacks are shown, as with ``--debug``."""

OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """A command line that makes no sense; says what was expected and what was found."""


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        name: The word.
        module: Its face: ``SUMMARY``, ``EXAMPLES``, ``add_arguments(parser)`` and
            ``run(arguments)``; or ``run_rest(list)`` for a verb that takes every argument.
            ``more_help()``, where there is one, stands below the examples.
    """

    name: str
    module: ModuleType


VERBS = tuple(
    Verb(module.__name__.rpartition(".")[2], module)
    for module in (
        train,
        adapt,
        evaluate,
        explain,
        data,
        features,
        regimes,
        cache,
        doctor,
        ui,
        sync,
        runs,
    )
)


def run(argv: list[str]) -> int:
    """Carry out a command line.

    Args:
        argv: Arguments without the program's name. ``--debug`` may stand anywhere.

    Returns:
        The exit code: 0 done, 1 failed, 2 a mistake of the user, 130 interrupted.
    """
    debug = "--debug" in argv or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")
    arguments = [word for word in argv if word != "--debug"]
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt as error:
        complain(f"interrupted: {error}" if str(error) else "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # the reader went away, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # noqa: BLE001 - the one place where errors become messages
        return _report(error, debug=debug)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    first = [verb.module.EXAMPLES.splitlines()[0].partition("#") for verb in VERBS]
    lines = columns([(command.rstrip(), f"# {why.strip()}") for command, _, why in first])
    examples = "\n".join(map(_indent, lines.splitlines()))
    parser = argparse.ArgumentParser(
        prog="perennial",
        description="Train, judge and inspect trading agents on real market data.",
        epilog=f"examples:\n{examples}\n\n`perennial VERB --help` shows more of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        more: Callable[[], str] = getattr(verb.module, "more_help", str)
        shown = "examples:\n" + "\n".join(map(_indent, verb.module.EXAMPLES.splitlines()))
        face = verbs.add_parser(
            verb.name,
            help=verb.module.SUMMARY,
            description=f"{verb.module.SUMMARY[0].upper()}{verb.module.SUMMARY[1:]}.",
            epilog=f"{shown}\n\n{more()}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.module.add_arguments(face)
    return parser


def _dispatch(arguments: list[str]) -> int:
    verb = next((verb for verb in VERBS if arguments and verb.name == arguments[0]), None)
    rest: Callable[[list[str]], int] | None = getattr(
        verb.module if verb else None, "run_rest", None
    )
    if rest is not None and not {"-h", "--help"} & set(arguments[1:]):
        configure_from_arguments(arguments[1:])
        return rest(arguments[1:])
    try:
        parsed = build_parser().parse_args(arguments)
    except SystemExit as end:  # argparse has printed its help or its message
        return int(end.code or 0) if isinstance(end.code, int | None) else USER_ERROR
    configure_from_arguments([])
    module = next(verb.module for verb in VERBS if verb.name == parsed.verb)
    return int(module.run(parsed))


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        complain("".join(traceback.format_exception(error)).rstrip())
        return USER_ERROR if is_user_error(error) else FAILED
    from training.tracking.redact import Redactor  # noqa: PLC0415 - only after an error

    message = str(error).strip() or type(error).__name__
    if is_user_error(error):
        complain(Redactor().text(f"perennial: {message}"))
        return USER_ERROR
    name = type(error).__name__
    complain(Redactor().text(f"perennial: unexpected {name}: {message}"))
    complain("this is a defect; run the same command with --debug for the traceback")
    return FAILED


def is_user_error(error: Exception) -> bool:
    """Whether a message is enough: what was asked, or the machine, is at fault, not the program.

    These are the errors that our packages define, failures of the file system, configuration
    errors of Hydra and pydantic, other people's packages that are not installed, and
    ``ValueError`` and ``RuntimeError`` raised by our own lines.
    """
    if type(error).__module__.partition(".")[0] in _our_names():
        return True
    if isinstance(error, OSError):
        return True
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").partition(".")[0] not in _our_names()
    if type(error).__module__.partition(".")[0] in {"hydra", "omegaconf", "pydantic_core"}:
        return True
    return isinstance(error, ValueError | RuntimeError) and _raised_by_us(error)


def _our_names() -> frozenset[str]:
    from training.collisions import TOP_LEVEL_NAMES  # noqa: PLC0415 - only after an error

    return frozenset(TOP_LEVEL_NAMES)


def _raised_by_us(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).resolve().parents[2]
    if not frames or not Path(frames[-1].filename).is_relative_to(root):
        return False
    return Path(frames[-1].filename).relative_to(root).parts[0].removesuffix(".py") in _our_names()


def _indent(line: str) -> str:
    return f"  {line}"
