"""``perennial regimes``: which detectors there are, and what one of them makes of a market."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.output import columns, complain, say
from training.commands.words import add_words, parsed

if TYPE_CHECKING:
    from training.regime_view import RegimeView

SUMMARY = "list the detectors of regimes and draw what one believes of a market"
EXAMPLES = """\
perennial regimes ls                                   # the detectors, with their papers
perennial regimes plot nasdaq                          # price by regime, beliefs, transitions
perennial regimes plot us_stocks --regime jump --symbols AAPL,IBM   # other detector, some symbols
perennial regimes plot nasdaq --regime hmm detector.num_regimes=2   # another value, as in train
perennial regimes plot nasdaq --refit-every 126 --train 0.3         # learns on, on the last bars
perennial regimes plot my.csv --out my.svg             # your file, into a drawing of this name
perennial regimes plot --from-run latest               # what the agents of a run saw"""

_MOST_REFUSALS = 12
"""Refused refits that are told one by one; ``--json`` has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="the detectors")
    ls.add_argument("--json", action="store_true", help="print JSON")
    plot = actions.add_parser(
        "plot",
        help="fit a detector on the first bars, filter over all, draw and describe",
        description="Fit a detector on the first bars only, filter forward over all of them, and\n"
        "show the market by regime, the beliefs, the transitions and a table. A bar's return\n"
        "belongs to the regime believed at its opening.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES.splitlines()[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(plot, "the detector's configuration, such as detector.num_regimes=2")
    plot.add_argument("--regime", metavar="NAME", help="detector, see `ls` (default: hmm)")
    plot.add_argument(
        "--train", type=float, metavar="SHARE", help="first bars that it is fitted on (0.5)"
    )
    plot.add_argument(
        "--refit-every", type=int, metavar="BARS", help="fit anew after so many (never)"
    )
    plot.add_argument("--symbols", metavar="A,B", help="only these, separated by commas (all)")
    plot.add_argument(
        "--from-run", metavar="RUN", help="a run's folder or `latest`: its data, split, detector"
    )
    plot.add_argument(
        "--out", type=Path, metavar="FILE", help=".png or .svg (regimes-DATASET-NAME.png)"
    )
    plot.add_argument("--json", action="store_true", help="print JSON")


def run_rest(words: list[str]) -> int:
    """Carry out ``ls`` or ``plot``; ``key=value`` words may stand anywhere behind the data set."""
    parser = argparse.ArgumentParser(prog="perennial regimes")
    add_arguments(parser)
    arguments = parsed(parser, words)
    if isinstance(arguments, int):
        return arguments
    return _ls(as_json=arguments.json) if arguments.action == "ls" else _plot(arguments)


def _ls(*, as_json: bool) -> int:
    from dataclasses import asdict  # noqa: PLC0415 - the help must answer at once

    from training.regime_catalog import entries  # noqa: PLC0415 - the same

    if as_json:
        say(json.dumps([asdict(entry) for entry in entries()], indent=2))
        return 0
    rows = [("NAME", "REGIMES (DEFAULT)", "WHAT IT IS", "AFTER")]
    for entry in entries():
        most = "" if entry.most is None else f"{entry.most}"
        name = entry.name if entry.same_as is None else f"{entry.name} (= {entry.same_as})"
        rows.append((name, most, entry.what, "; ".join(entry.sources)))
    say(columns(rows))
    say(
        "\nREGIMES is the most that it has; another: detector.num_regimes=2, of mixtures "
        "detector.max_components=3"
    )
    say("perennial regimes plot DATASET --regime NAME draws one; perennial train takes regime=NAME")
    return 0


def _plot(arguments: argparse.Namespace) -> int:
    from evaluation.regime_plots import figure_format, write_regime_figure  # noqa: PLC0415 - help

    if arguments.out is not None:
        figure_format(arguments.out)
    view = _view(arguments)
    path = arguments.out or Path(f"regimes-{view.label}-{view.name}.png")
    write_regime_figure(view.history, path)
    if arguments.json:
        say(json.dumps(_plain(view, path), indent=2, allow_nan=False))
    else:
        say("\n\n".join(_told(view)))
        say(f"\n{path}")
    for line in view.lost:
        complain(f"beware: the belief fell back: {line}")
    return 0


def _view(arguments: argparse.Namespace) -> "RegimeView":
    """Look at a data set or at a run, as asked for."""
    if arguments.from_run is not None:
        return _view_of_run(arguments)
    from markets.sources import catalog  # noqa: PLC0415 - the help must answer at once
    from markets.sources.config import changed, load_dataset  # noqa: PLC0415 - the same
    from training.regime_catalog import configured  # noqa: PLC0415 - the same
    from training.regime_view import first_share, require_share, view  # noqa: PLC0415 - the same

    dataset = arguments.dataset or "us_stocks"
    share = 0.5 if arguments.train is None else arguments.train
    require_share(share)
    name = arguments.regime or "hmm"
    words = list(arguments.values)
    if arguments.refit_every is not None:
        words.append(f"refit_every={arguments.refit_every}")
    config = configured(name, words)
    chosen = tuple(word for word in (arguments.symbols or "").split(",") if word)
    bars = load_dataset(changed(catalog.config_of(dataset), symbols=chosen or None)).bars
    label = Path(dataset).stem or "data"
    return view(bars, config, first_share(bars, share), label=label, name=name)


def _view_of_run(arguments: argparse.Namespace) -> "RegimeView":
    asked = {
        "DATASET": arguments.dataset,
        "--regime": arguments.regime,
        "--train": arguments.train,
        "--refit-every": arguments.refit_every,
        "--symbols": arguments.symbols,
    }
    others = [name for name, value in asked.items() if value is not None] + arguments.values
    if others:
        raise ValueError(
            f"--from-run: expected nothing but --out and --json beside it (the run says the rest), "
            f"found {', '.join(others)}"
        )
    from training.commands.runs import find_run  # noqa: PLC0415 - the help must answer at once
    from training.regime_view import view_of_run  # noqa: PLC0415 - the same

    return view_of_run(find_run(arguments.from_run))


def _told(view: "RegimeView") -> list[str]:
    """Paragraphs for people."""
    from evaluation.regime_summary import rows, table  # noqa: PLC0415 - the help must answer at once

    history, train = view.history, view.train
    first, last = view.date(0), view.date(len(history.ts_event) - 1)
    opening = (
        f"{view.label}: {len(history.ts_event):,} bars, {first} to {last}; {view.name} fitted on "
        f"{train.size:,} of them, {view.date(train.start)} to {view.date(train.stop - 1)}"
    )
    return [opening, columns(table(rows(history))), _transitions(view), *_refits(view)]


def _transitions(view: "RegimeView") -> str:
    history = view.history
    count = len(history.names) - int(history.gone)
    names = history.names[:count]
    body = [
        (name, *(f"{value:.3f}" for value in row_K[:count]))
        for name, row_K in zip(names, history.transition_KK, strict=False)
    ]
    return columns([("FROM \\ TO, A BAR", *names), *body])


def _refits(view: "RegimeView") -> list[str]:
    if not view.refits:
        return []
    refused = [event for event in view.refits if not event.accepted]
    agreed = [event.agreement for event in view.refits if event.accepted]
    told = f"refits: {len(agreed):,} accepted, {len(refused):,} refused (the old model stayed)"
    least = min((value for value in agreed if value is not None), default=None)
    if least is not None:
        told += f"; those accepted agree with the model before on at least {least:.0%} of the bars"
    if not refused:
        return [told]
    lines = [("REFUSED", "WHY"), *((view.date(e.bar), e.reason) for e in refused[-_MOST_REFUSALS:])]
    more = len(refused) - _MOST_REFUSALS
    return [told, columns(lines) + (f"\nand {more:,} before; --json has all" if more > 0 else "")]


def _plain(view: "RegimeView", path: Path) -> dict[str, object]:
    """All of it for programs; what is not known is null."""
    from dataclasses import asdict  # noqa: PLC0415 - the help must answer at once

    from evaluation.regime_summary import rows  # noqa: PLC0415 - the same

    history, train = view.history, view.train
    regimes = [
        {name: _finite(value) for name, value in asdict(row).items()} for row in rows(history)
    ]
    return {
        "data": view.label,
        "regime": view.name,
        "kind": view.kind,
        "bars": len(history.ts_event),
        "train": {
            "bars": train.size,
            "start": view.date(train.start),
            "end": view.date(train.stop - 1),
        },
        "regimes": regimes,
        "transition": [[_finite(value) for value in row] for row in history.transition_KK.tolist()],
        "refits": [
            {
                "date": view.date(event.bar),
                "bar": event.bar,
                "accepted": event.accepted,
                "agreement": event.agreement,
                "reason": event.reason,
            }
            for event in view.refits
        ],
        "fallen_back": list(view.lost),
        "figure": str(path),
    }


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
