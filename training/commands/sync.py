"""``perennial sync``: send what the tracking store did not take while a run went on."""

import argparse

from training.commands.output import say

SUMMARY = "send a run's journal to MLflow: what an absent or locked store did not take"
EXAMPLES = """\
perennial sync runs/NAME                             # to the store that the run was started with
perennial sync runs/NAME --uri http://127.0.0.1:5000 # to another one as well
perennial sync latest                                # the run that was started last"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", nargs="+", metavar="RUN", help="a run's folder, or `latest`")
    parser.add_argument(
        "--uri", help="tracking store; default: MLFLOW_TRACKING_URI, then the run's"
    )


def run(arguments: argparse.Namespace) -> int:
    """Send each run; nothing is sent twice."""
    from training.commands.runs import find_run  # noqa: PLC0415 - the help must answer at once
    from training.tracking.mlflow_store import TrackingError  # noqa: PLC0415 - the same
    from training.tracking.sync import sync_journals  # noqa: PLC0415 - the same

    for word in arguments.run:
        folder = find_run(word)
        try:
            count = sync_journals(folder, arguments.uri)
        except (FileNotFoundError, TrackingError):
            raise
        except Exception as error:
            raise TrackingError(
                f"{folder}: the tracking store does not take the journal: "
                f"{(str(error).splitlines() or [type(error).__name__])[0]}"
            ) from error
        say(f"{folder}: {f'{count} records sent' if count else 'nothing left to send'}")
    return 0
