"""``perennial evaluate``: judge a trained run again."""

import argparse

SUMMARY = "judge a trained run out of sample against the baselines and write its report"
EXAMPLES = """\
perennial evaluate runs/NAME       # ledgers, metrics and report of a run, anew
perennial evaluate latest          # the run that was started last
perennial evaluate runs/adapt-NAME # what perennial adapt has left: on held-out new bars, and before
perennial evaluate latest --controller uniform    # its options, under another controller
perennial evaluate latest --execution sampled     # one option at a time instead of their blend"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="the run's folder, or `latest`")
    parser.add_argument(
        "--controller",
        metavar="NAME",
        help=(
            "judge trained options under multiplicative_weights, fallback, uniform or fixed:K "
            "instead; written to evaluation-NAME/, so that the run's own judgement is kept"
        ),
    )
    parser.add_argument(
        "--execution",
        metavar="WAY",
        help=(
            "judge trained options under another execution instead: blended (all act, by their "
            "weights), sampled (one acts at a time, drawn by its weight; so are runs with "
            "execution.mode=hard judged) or mode (one at a time, the likeliest); written to "
            "evaluation-WAY/"
        ),
    )
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)


def run_rest(arguments: list[str]) -> int:
    """Hand over to :func:`training.evaluate.main`, with ``latest`` resolved."""
    from training.collisions import guard  # noqa: PLC0415 - the help must answer at once
    from training.commands.runs import find_run  # noqa: PLC0415 - the same
    from training.tracking.redact import install_log_redaction  # noqa: PLC0415 - the same

    if not arguments:
        raise ValueError("evaluate: expected a run, found none; `perennial runs ls` lists them")
    guard()
    install_log_redaction()
    words = [str(find_run(arguments[0])), *arguments[1:]]
    from training.evaluate import main  # noqa: PLC0415 - heavy, and only once the names are ours

    return main(words)
