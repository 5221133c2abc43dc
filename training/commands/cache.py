"""``perennial cache``: what the feature cache holds, and how to empty it."""

import argparse
import json
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from training.commands.output import columns, say

if TYPE_CHECKING:
    from features.cache.entry import Kept, Store

SUMMARY = "show or empty the cache of computed features"
EXAMPLES = """\
perennial cache info                        # entries and bytes by data set
perennial cache clear                       # remove everything; it is computed again when needed
perennial cache clear --older-than 30d      # only what nobody used for 30 days
perennial cache info --redis                # of the server in $PERENNIAL_REDIS_URL"""

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class CacheArgumentError(ValueError):
    """An argument of the command makes no sense; says what was expected and what was found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = actions.add_parser("info", help="entries, bytes and last use by data set")
    info.add_argument("--json", action="store_true", help="an object for programs")
    clear = actions.add_parser("clear", help="remove entries, without asking")
    clear.add_argument("--older-than", help="only those not used for so long: 12h, 30d, 2w")
    for action in (info, clear):
        action.add_argument("--path", help="folder; default: $PERENNIAL_CACHE or the user's cache")
        action.add_argument("--redis", action="store_true", help="a Redis server, not the disk")
        action.add_argument("--url", help="its address; default: $PERENNIAL_REDIS_URL")


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``info`` or ``clear``."""
    store = _store(arguments)
    if arguments.action == "info":
        return _info(store.kept(), as_json=arguments.json)
    seconds = _duration(arguments.older_than) if arguments.older_than else 0.0
    which = f" not used for {arguments.older_than}" if arguments.older_than else ""
    # Before anything is gone: who sees another place than the one that was meant can still stop it.
    say(f"removing entries{which} of {store.kept().place}")
    count, nbytes = store.clear(seconds)
    say(f"removed {count:,} entries, {size(nbytes)}")
    return 0


def _store(arguments: argparse.Namespace) -> "Store":
    from features.cache.config import CacheConfig  # noqa: PLC0415 - the help must answer at once
    from features.cache.store import store_of  # noqa: PLC0415 - the same

    config = CacheConfig(path=arguments.path)
    if arguments.redis or arguments.url:
        config = CacheConfig(kind="redis", url=arguments.url)
    store = store_of(config)
    assert store is not None, "both kinds have a store"  # noqa: S101 - none is not asked for
    return store


def _info(kept: "Kept", *, as_json: bool) -> int:
    if as_json:
        facts = {**asdict(kept), "entries": kept.entries, "nbytes": kept.nbytes}
        say(json.dumps(facts, indent=1))
        return 0
    say(f"place    {kept.place}")
    say(f"entries  {kept.entries:,}")
    say(
        f"size     {size(kept.nbytes)} (features.cache.cap_bytes is {size(kept.cap_bytes)}"
        " unless a run says otherwise)"
    )
    if kept.data:
        rows = [("DATA", "ENTRIES", "SIZE", "LAST USED", "WHAT")]
        rows += [
            (
                info.data[:12],
                f"{info.entries:,}",
                size(info.nbytes),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(info.last_used)),
                info.description,
            )
            for info in kept.data
        ]
        say(f"\n{columns(rows)}")
    return 0


def size(nbytes: int) -> str:
    """Bytes for people: 1.5 MiB."""
    number, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024.0:
            break
        number, unit = number / 1024.0, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|min|h|d|w)", text)
    if match is None:
        raise CacheArgumentError(
            f"older-than: expected a time such as 12h, 30d or 2w, found {text!r}"
        )
    return float(match[1]) * _SECONDS[match[2]]
