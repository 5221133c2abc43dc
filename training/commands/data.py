"""``perennial data``: what data there is, whether it is sound, and how to get it."""

import argparse
from pathlib import Path

from training.commands.output import columns, say

SUMMARY = "list, check and fetch market data"
EXAMPLES = """\
perennial data ls                                    # data sets and sources, with their traps
perennial data check us_stocks                       # an embedded data set: SHA-256, faults, gaps
perennial data check my.csv --calendar XNYS          # your file, against a calendar's sessions
perennial data check my.yaml                         # a file with a column mapping
perennial data fetch us_stocks                       # load it, print its manifest
perennial data fetch kind=yfinance symbols=[AAPL,MSFT] start=2010-01-04   # into the local store"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="data sets and sources")
    ls.add_argument("--long", action="store_true", help="with licences, traps and how to select")
    check = actions.add_parser("check", help="look for faults, gaps and suspicious moves")
    check.add_argument("dataset", nargs="+", help="an identifier, a data file or folder, or a YAML")
    check.add_argument("--symbols", help="only these, separated by commas")
    check.add_argument("--calendar", help="exchange_calendars name to look for gaps against")
    fetch = actions.add_parser("fetch", help="load data, downloading what is not there yet")
    fetch.add_argument("dataset", nargs="+", help="an identifier, a YAML, or name=value words")
    fetch.add_argument("--store", type=Path, help="folder of the local store")


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``ls``, ``check`` or ``fetch``; a data set with faults gives exit code 1."""
    if arguments.action == "ls":
        return _ls(long=arguments.long)
    if arguments.action == "check":
        return _check(arguments.dataset, arguments.symbols, arguments.calendar)
    return _fetch(arguments.dataset, arguments.store)


def _ls(*, long: bool) -> int:
    from markets.sources import catalog  # noqa: PLC0415 - the help must answer at once

    entries = catalog.list_datasets()
    if long:
        say("\n\n".join(str(entry) for entry in entries))
        return 0
    rows = [("ID", "SESSIONS", "SPAN", "GOOD FOR")]
    for entry in entries:
        span = f"{entry.span[0]} to {entry.span[1]}" if entry.span else "yours to choose"
        good_for = entry.good_for if entry.available else f"{entry.good_for} (not installed)"
        rows.append((entry.id, f"{entry.rows:,}" if entry.rows else "", span, good_for))
    say(columns(rows))
    say("\n--long shows licences, what is wrong with each, and how to select it")
    return 0


def _check(datasets: list[str], symbols: str | None, calendar: str | None) -> int:
    from markets.sources import catalog  # noqa: PLC0415 - the help must answer at once

    chosen = [name for name in (symbols or "").split(",") if name] or None
    sound = True
    for dataset in datasets:
        report = catalog.check(dataset, symbols=chosen, calendar=calendar)
        say(str(report))
        sound = sound and report.ok
    return 0 if sound else 1


def _fetch(words: list[str], store: Path | None) -> int:
    import yaml  # noqa: PLC0415 - the help must answer at once

    from markets.sources import catalog  # noqa: PLC0415 - the same
    from markets.sources.config import parse_config  # noqa: PLC0415 - the same

    if all("=" in word for word in words):
        pairs = (word.removeprefix("data.").partition("=") for word in words)
        fields = {name: yaml.safe_load(value) for name, _, value in pairs}
        configs = [parse_config(fields, "fetch")]
    else:
        configs = [catalog.config_of(word) for word in words]
    for config in configs:
        dataset = catalog.fetch(config, store)
        bars = dataset.bars
        say(f"{dataset.manifest.dataset}: {bars.num_bars:,} bars of {', '.join(bars.symbols)}")
        say(dataset.manifest.to_json())
    return 0
