"""``perennial adapt``: learn on from a run on new bars, keep the result where it does no harm."""

import argparse
from pathlib import Path

from training.commands.output import say

SUMMARY = "learn on from a run on new bars, and keep the result only where nothing is lost by it"
EXAMPLES = """\
perennial adapt latest --data new_bars/           # a folder of files with bars that came since
perennial adapt runs/NAME --data us_stocks --steps 50000      # a data group, and how long
perennial adapt runs/NAME --data new.csv --episode 21         # shorter episodes: a sharper gate
perennial adapt runs/NAME --data new.csv --gate.tolerance 0.2 --gate.floor 0.0001
perennial adapt runs/NAME --data new.csv --into runs/FOLDER   # go on with an interrupted one"""

GATE = {
    "tolerance": "share of the gain over cash that an update may lose in a regime (0.05)",
    "floor": "loss that is tolerated besides, log growth a bar (0)",
    "alpha": "probability of accepting an update that loses more (0.05)",
    "risk": "where worse tails and drawdowns count: none, earlier, all (all)",
    "risk_tolerance": "share by which they may be worse (0.1)",
    "improvement": "asked on the new bars: none, not_worse or better (not_worse)",
    "episodes": "held-out episodes of each regime, at most (256)",
    "resamples": "of the bootstrap (100000)",
}
"""Settings of the gate that the command line takes."""


def more_help() -> str:
    """What happens, in a few lines."""
    return (
        "The newest bars of NEW, those after the run's data, are a new phase: the first of them\n"
        "are learned from, the last share (--holdout) is judged on. The result is accepted where\n"
        "a loss beyond the tolerance is ruled out on held-out bars of the run's phases (of its\n"
        "validation span where it has none) and of the new one; else the old checkpoint stays,\n"
        "and the reason is told. The run itself is never changed. A 5 % loss takes many episodes\n"
        "to see: what the gate can see is told before anything is learned."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="folder of a run on recorded data, or of an earlier result; or `latest`",
    )
    parser.add_argument(
        "--data",
        metavar="NEW",
        required=True,
        help="a data group (us_stocks, ...), or a file or folder, read as the run's own files are",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="environment steps of a seed (a tenth of the run's)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="adapt this agent of the run alone (all, each judged)"
    )
    parser.add_argument(
        "--holdout", type=float, default=0.3, metavar="SHARE", help="of the new bars (0.3)"
    )
    parser.add_argument(
        "--episode", type=int, metavar="BARS", help="length of episodes (the run's)"
    )
    for name, meaning in GATE.items():
        parser.add_argument(f"--gate.{name}", metavar="VALUE", help=meaning)
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="of the result (runs/adapt-...)"
    )
    parser.add_argument(
        "--force", action="store_true", help="go on where no update can be accepted"
    )


def run(arguments: argparse.Namespace) -> int:
    """Adapt a run."""
    from training.collisions import guard  # noqa: PLC0415 - the help must answer at once
    from training.commands.runs import find_run  # noqa: PLC0415 - the same
    from training.tracking.redact import install_log_redaction  # noqa: PLC0415 - the same

    guard()
    install_log_redaction()
    from training.continual.adapt import adapt  # noqa: PLC0415 - heavy, only once
    from training.continual.adapt_request import Request  # noqa: PLC0415 - the same

    given = vars(arguments)
    request = Request(
        run=find_run(arguments.run),
        data=arguments.data,
        steps=arguments.steps,
        seed=arguments.seed,
        holdout=arguments.holdout,
        episode=arguments.episode,
        gate={name: given[f"gate.{name}"] for name in GATE if given[f"gate.{name}"] is not None},
    )
    adapt(request, into=arguments.into, force=arguments.force, tell=say)
    return 0
