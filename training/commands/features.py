"""``perennial features``: what features there are, and how one of them looks on data."""

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.output import columns, say

if TYPE_CHECKING:
    from features.config import FeatureSpec
    from features.definition import Feature

SUMMARY = "list the features, and show one of them on data"
EXAMPLES = """\
perennial features ls                                  # all of them by family
perennial features ls --family volatility --json       # one family, for programs
perennial features plot rsi                            # on the embedded data, into rsi_14.png
perennial features plot macd --data us_stocks --symbols AAPL,IBM --last 500
perennial features plot macd --parameters fast=6 slow=20 --out macd.svg
perennial features plot exogenous_level --parameters series=vix --data aapl_adjusted"""

_HEADER = ("NAME", "PARAMETERS", "UNIT", "WARM-UP", "STATE", "SCOPE", "INPUTS", "SOURCE")


class FeatureArgumentError(ValueError):
    """An argument of the command makes no sense; says what was expected and what was found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="name, parameters, unit, warm-up, state, inputs and source")
    ls.add_argument("--family", help="only this one, such as trend or volatility")
    ls.add_argument("--json", action="store_true", help="a list for programs")
    plot = actions.add_parser("plot", help="price above, the feature below, into a file")
    plot.add_argument("name", help="of the feature")
    plot.add_argument("--data", default="us_stocks", help="an identifier, a data file or a YAML")
    plot.add_argument("--symbols", help="only these, separated by commas; default: the first")
    plot.add_argument(
        "--parameters", nargs="+", default=[], metavar="K=V", help="such as window=20"
    )
    plot.add_argument("--out", type=Path, help="a .png or .svg file; default: its label.png")
    plot.add_argument("--last", type=int, help="draw the last so many bars only")
    plot.add_argument("--train", type=float, default=0.6, help="share of training rows (0.6)")
    for action in (ls, plot):
        action.add_argument(
            "--modules", nargs="+", default=[], help="Python modules with features of your own"
        )


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``ls`` or ``plot``."""
    for module in arguments.modules:
        importlib.import_module(module)
    if arguments.action == "ls":
        return _ls(arguments.family, as_json=arguments.json)
    return _plot(arguments)


def _ls(family: str | None, *, as_json: bool) -> int:
    from features import catalogue  # noqa: PLC0415 - the help must answer at once

    known = catalogue()
    families = sorted({feature.family for feature in known})
    if family is not None and family not in families:
        raise FeatureArgumentError(
            f"family: expected one of {', '.join(families)}, found {family!r}"
        )
    chosen = [feature for feature in known if family in {None, feature.family}]
    if as_json:
        facts = [{**feature.describe(), "state": _state(feature)} for feature in chosen]
        say(json.dumps(facts, indent=1))
        return 0
    rows = [_row(feature) for feature in chosen]
    widths = columns([_HEADER, *rows]).splitlines()
    lines = dict(zip([feature.name for feature in chosen], widths[1:], strict=True))
    for name in families:
        members = [feature for feature in chosen if feature.family == name]
        if members:
            say(f"{name} ({len(members)})\n{widths[0]}")
            say("\n".join(lines[feature.name] for feature in members) + "\n")
    say(
        f"{len(chosen)} features. STATE: none, fading (older bars matter ever less) or path (all\n"
        "bars since the first matter). perennial features plot NAME shows one."
    )
    return 0


def _row(feature: "Feature") -> Sequence[str]:
    facts = feature.describe()
    text = (facts["name"], facts["parameters"], facts["unit"], facts["warmup"], _state(feature))
    return (*text, facts["scope"], facts["inputs"], facts["source"])


def _state(feature: "Feature") -> str:
    if feature.path_dependent:
        return "path"
    return "fading" if feature.carries_state else "none"


def _plot(arguments: argparse.Namespace) -> int:
    from evaluation.drawing import to_png, to_svg  # noqa: PLC0415 - the help must answer at once
    from evaluation.feature_plots import feature_figure, feature_history  # noqa: PLC0415
    from features import indicators  # noqa: F401, PLC0415 - declares the features
    from markets.atomic import write_whole  # noqa: PLC0415
    from markets.published import PackagedSeriesConfig  # noqa: PLC0415
    from markets.sources import catalog  # noqa: PLC0415
    from markets.sources.packaged_series import PACKAGED_SERIES  # noqa: PLC0415

    if arguments.last is not None and arguments.last < 2:
        raise FeatureArgumentError(f"last: expected 2 bars or more, found {arguments.last}")
    if not 0.0 < arguments.train <= 1.0:
        raise FeatureArgumentError(
            f"train: expected a share within (0, 1], found {arguments.train}"
        )
    if arguments.out is not None and arguments.out.suffix not in {".png", ".svg"}:
        raise FeatureArgumentError(f"out: expected a .png or .svg file, found {arguments.out}")
    bars = catalog.fetch(catalog.config_of(arguments.data)).bars
    symbols = [name for name in (arguments.symbols or "").split(",") if name]
    spec = _spec(arguments.name, arguments.parameters)
    packaged = {name: PackagedSeriesConfig(series=name) for name in PACKAGED_SERIES}  # type: ignore[arg-type] # its keys
    history = feature_history(bars, spec, train=arguments.train, exogenous=packaged).of(
        symbols or [bars.symbols[0]]
    )
    out = arguments.out or Path(f"{history.title}.png")
    if out.suffix == ".svg":
        write_whole(
            out, to_svg(lambda: feature_figure(history, last=arguments.last), name="feature")
        )
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        to_png(lambda: feature_figure(history, last=arguments.last), out)
    say(str(out))
    return 0


def _spec(name: str, words: Sequence[str]) -> "FeatureSpec":
    import yaml  # noqa: PLC0415 - the help must answer at once

    from features.config import FeatureSpec  # noqa: PLC0415 - the same

    if wrong := [word for word in words if "=" not in word]:
        raise FeatureArgumentError(f"parameters: expected NAME=VALUE, found {wrong[0]!r}")
    pairs = (word.partition("=") for word in words)
    return FeatureSpec(
        name=name, parameters={key: yaml.safe_load(value) for key, _, value in pairs}
    )
