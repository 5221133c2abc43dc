"""``perennial explain``: which option acted in a bar, why, and what each other would have done."""

import argparse
import json

from training.commands.output import say

SUMMARY = "tell which option of an agent acted in a bar, why, and what the others would have done"
EXAMPLES = """\
perennial explain latest                          # the last bar of the run that was started last
perennial explain runs/NAME --at 2020-03-16       # a day of recorded data, or the bar before it
perennial explain runs/NAME --seed 3 --all        # another agent of the run, every asset
perennial explain runs/NAME --episode 7 --at 120  # a market with a known answer: path and bar
perennial explain runs/NAME --json                # all numbers, for programs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's folder, or `latest`")
    parser.add_argument(
        "--at",
        metavar="DATE",
        help="day or time (ISO 8601, UTC) of recorded data: the last bar at or before it; number "
        "of the bar on a market with a known answer (default: the last bar)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the agent (the first)")
    parser.add_argument(
        "--episode", type=int, metavar="N", help="judged path of a market with a known answer (0)"
    )
    parser.add_argument("--all", action="store_true", help="show every asset")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Explain a bar."""
    from training.collisions import guard  # noqa: PLC0415 - the help must answer at once
    from training.commands.runs import find_run  # noqa: PLC0415 - the same

    guard()
    from training.commands.explain_text import plain, told  # noqa: PLC0415 - heavy, and only once
    from training.explain import explain  # noqa: PLC0415 - the names are ours

    found = explain(
        find_run(arguments.run), at=arguments.at, seed=arguments.seed, episode=arguments.episode
    )
    if arguments.json:
        say(json.dumps(plain(found), indent=2, allow_nan=False))
    else:
        say("\n\n".join(told(found, every=arguments.all)))
    return 0
