"""Studies that can be stopped and gone on with: a line of JSON for each result."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


class Journal:
    """Results that are appended to a file, and looked up in it.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """What there is."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]

    def has(self, key: Row) -> bool:
        """Whether there is a result with all of these entries."""
        return bool(chosen(self.rows(), **key))

    def add(self, row: Row) -> None:
        """Append a result."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def missing(self, keys: Sequence[Row], worker: str = "0/1") -> Iterator[Row]:
        """The keys without a result, looked up one by one, so that workers can share a study.

        Args:
            keys: of all results that are wanted.
            worker: "i/n": every n-th of them, from the i-th on.

        Raises:
            ValueError: a worker that is not one of 0/n .. (n - 1)/n.
        """
        number, workers = worker_of(worker)
        for place, key in enumerate(keys):
            if place % workers == number and not self.has(key):
                yield key


def worker_of(words: str) -> tuple[int, int]:
    """Number and count of the workers in "i/n".

    Raises:
        ValueError: anything but 0/n .. (n - 1)/n.
    """
    parts = words.split("/")
    if len(parts) == 2 and all(part.isdecimal() for part in parts):
        number, workers = int(parts[0]), int(parts[1])
        if number < workers:
            return number, workers
    raise ValueError(f"worker: expected i/n with 0 <= i < n, found {words!r}")


def chosen(rows: Sequence[Row], **wanted: object) -> list[Row]:
    """The rows with these entries."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def by_seed(rows: Sequence[Row], figure: str, **wanted: object) -> dict[int, float]:
    """A figure of the rows with these entries, by seed and in its order."""
    found = {int(row["seed"]): float(row[figure]) for row in chosen(rows, **wanted)}
    return dict(sorted(found.items()))


def study_parser(
    description: str, *, steps: int, seeds: int, tables: bool = True
) -> argparse.ArgumentParser:
    """The command line that the studies share.

    Args:
        description: the module's docstring.
        steps: of a training, unless told otherwise.
        seeds: how many, unless told otherwise.
        tables: whether the study prints its own.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    if tables:
        parser.add_argument("--table", action="store_true", help="print the tables and stop")
    parser.add_argument("--steps", type=int, default=steps, help=f"of a training ({steps:,})")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"0 .. SEEDS - 1 ({seeds})")
    parser.add_argument("--seed", type=int, action="append", help="only this one, of any number")
    parser.add_argument("--worker", default="0/1", help="i/n: every n-th piece from the i-th on")
    parser.add_argument("--weights", type=Path, help="folder of the trained weights")
    parser.add_argument("--output", type=Path, help="file of the results, if not the record's")
    return parser


def seeds_of(given: argparse.Namespace) -> list[int]:
    """Which seeds the command line asks for."""
    return given.seed or list(range(given.seeds))
