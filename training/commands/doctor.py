"""``perennial doctor``: is this machine ready, and what to do where it is not."""

import argparse
from pathlib import Path

from training.commands.output import say

SUMMARY = "check Python, packages, threads, disk, stores, names and data, and say how to mend them"
EXAMPLES = """\
perennial doctor                   # exit code 1 when something has to be mended
perennial doctor --json            # for programs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--uri", help="tracking store; default: MLFLOW_TRACKING_URI or mlflow.db")


def run(arguments: argparse.Namespace) -> int:
    """Run the checks and print them."""
    from training.doctor import diagnose, render, to_json  # noqa: PLC0415 - help answers at once

    checks = diagnose(arguments.runs, arguments.uri)
    say(to_json(checks) if arguments.json else render(checks))
    return 1 if any(check.status == "fail" for check in checks) else 0
