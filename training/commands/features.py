"""``perennial features``: what features there are, and how one of them looks on data."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.output import columns, say
from training.commands.words import add_words, parsed

if TYPE_CHECKING:
    from features.config import FeatureSpec
    from features.definition import Feature, Parameter

SUMMARY = "list the features, and show one of them on data"
EXAMPLES = """\
perennial features ls                                  # all of them by family
perennial features ls --family volatility --long       # one family, with its sources
perennial features ls --json                           # all that is known, for programs
perennial features plot rsi                            # on the embedded data, into rsi_14.png
perennial features plot macd us_stocks --symbols AAPL,IBM --last 500
perennial features plot macd nasdaq fast=6 slow=20 --out macd.svg
perennial features plot exogenous_level aapl_adjusted series=vix
perennial features plot my_feature my.csv --modules my_features    # yours, in my_features.py"""

_HEADER = ("NAME", "PARAMETERS", "UNIT", "WARM-UP", "STATE", "SCOPE", "INPUTS")
_BAR = ("open", "high", "low", "close", "volume")


class FeatureArgumentError(ValueError):
    """An argument of the command makes no sense; says what was expected and what was found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="name, parameters, unit, warm-up, state and inputs")
    ls.add_argument("--family", help="only this one, such as trend or volatility")
    ls.add_argument("--long", action="store_true", help="inputs in full, and sources")
    ls.add_argument("--json", action="store_true", help="a list for programs")
    plot = actions.add_parser("plot", help="price above, the feature below, into a file")
    plot.add_argument("name", metavar="NAME", help="of the feature, see `ls`")
    add_words(plot, "its parameters, such as window=20")
    plot.add_argument(
        "--symbols", metavar="A,B", help="only these, separated by commas (the first of the data)"
    )
    plot.add_argument(
        "--train",
        type=float,
        default=0.6,
        metavar="SHARE",
        help="first bars that count as training: their median, middle 90%% and distribution are "
        "drawn, and drift is measured from them (0.6)",
    )
    plot.add_argument("--last", type=int, metavar="BARS", help="draw the last so many only (all)")
    plot.add_argument("--out", type=Path, metavar="FILE", help=".png or .svg (its label.png)")
    for action in (ls, plot):
        action.add_argument(
            "--modules",
            nargs="+",
            default=[],
            metavar="MODULE",
            help="Python modules with features of your own, also of the current folder",
        )


def run_rest(words: list[str]) -> int:
    """Carry out ``ls`` or ``plot``; ``key=value`` words may stand anywhere behind the name."""
    parser = argparse.ArgumentParser(prog="perennial features")
    add_arguments(parser)
    arguments = parsed(parser, words)
    if isinstance(arguments, int):
        return arguments
    if arguments.modules:
        from training.own_modules import import_own  # noqa: PLC0415 - the help must answer at once

        import_own(arguments.modules)
    if arguments.action == "ls":
        return _ls(arguments.family, long=arguments.long, as_json=arguments.json)
    return _plot(arguments)


def _ls(family: str | None, *, long: bool, as_json: bool) -> int:
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
    header = (*_HEADER, "SOURCE") if long else _HEADER
    for name in families:
        rows = [_row(feature, long=long) for feature in chosen if feature.family == name]
        if rows:
            say(f"{name} ({len(rows)})\n{columns([header, *rows])}\n")
    say(
        f"{len(chosen)} features. STATE: none, fading (older bars matter ever less) or path (all\n"
        "bars since the first matter). INPUTS: O H L C V are open, high, low, close and volume;\n"
        "--long has them in full, and sources. perennial features plot NAME shows one."
    )
    return 0


def _row(feature: "Feature", *, long: bool) -> Sequence[str]:
    facts = feature.describe()
    text = (facts["name"], facts["parameters"], facts["unit"], facts["warmup"], _state(feature))
    if long:
        return (*text, facts["scope"], facts["inputs"], facts["source"])
    letters = "".join(name[0].upper() for name in feature.inputs if name in _BAR)
    others = [name for name in feature.inputs if name not in _BAR]
    return (*text, facts["scope"], ", ".join([letters, *others] if letters else others))


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
    bars = catalog.fetch(catalog.config_of(arguments.dataset or "us_stocks")).bars
    symbols = [name for name in (arguments.symbols or "").split(",") if name]
    spec = _spec(arguments.name, arguments.values)
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
    from features.config import FeatureSpec  # noqa: PLC0415 - the help must answer at once

    return FeatureSpec(name=name, parameters=dict(_parameter(word) for word in words))


def _parameter(word: str) -> tuple[str, "Parameter"]:
    """Name and value of a word; which names and values the feature takes it says itself."""
    import yaml  # noqa: PLC0415 - the help must answer at once

    name, _, text = word.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not name or not isinstance(value, int | float | str | bool):
        raise FeatureArgumentError(
            f"{name or word}: expected name=value with a number, a word or a truth value, "
            f"as window=14, found {word!r}"
        )
    return name, value
