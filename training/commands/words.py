"""Words of ``features plot`` and ``regimes plot``: a data set and values, wherever they stand."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace | int:
    """Parse, with positional words also behind options.

    Returns:
        The arguments, with ``dataset`` and ``values`` for an action that takes them; or the exit
        code, once help or a message was printed.
    """
    try:
        arguments, rest = parser.parse_known_args(words)
        takes_words = hasattr(arguments, "values")
        if strange := [word for word in rest if word.startswith("-") or not takes_words]:
            parser.error(f"unrecognized arguments: {' '.join(strange)}")
    except SystemExit as end:  # argparse has printed its message
        return end.code if isinstance(end.code, int) else 2
    if takes_words:
        first = [] if arguments.dataset is None else [arguments.dataset]
        arguments.dataset, arguments.values = _sorted([*first, *arguments.values, *rest])
    return arguments


def add_words(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare the data set and the values.

    Args:
        parser: of the action.
        what: the values belong to.
    """
    parser.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="an identifier, a data file or a YAML (us_stocks)",
    )
    parser.add_argument("values", nargs="*", metavar="KEY=VALUE", help=f"values of {what}")


def _sorted(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The data set, if there is one, and the values."""
    values = [word for word in words if "=" in word and not Path(word).exists()]
    datasets = [word for word in words if word not in values]
    if len(datasets) > 1:
        raise ValueError(
            f"{datasets[1]}: expected name=value beside the data set {datasets[0]}, found no value"
        )
    return (datasets[0] if datasets else None), values
