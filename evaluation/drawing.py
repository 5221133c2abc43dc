"""Figures without global state: a style, an SVG that follows the page's theme, and a PNG.

Figures are drawn with `matplotlib.figure.Figure` alone (never pyplot), inside a context that
restores every setting. Colours are Okabe and Ito's, which people with any common colour vision can
tell apart. In an inline SVG each of them becomes a CSS variable, so that a page can be light or
dark; a PNG keeps them, on white.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["COLOURS", "PALETTE", "bare", "style", "to_png", "to_svg", "write_pngs"]

COLOURS: Final = {
    "ink": "#1b1f24",
    "muted": "#6a737e",
    "grid": "#dfe2e6",
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "vermilion": "#d55e00",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "yellow": "#d9c400",
    "grey": "#9aa1a9",
}
"""Colours by their name; `ink`, `muted` and `grid` are for text, ticks and rules."""

PALETTE: Final = ("orange", "green", "purple", "sky", "vermilion", "yellow", "blue")
"""Order in which the assets of a portfolio are coloured."""

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "timezone": "UTC",
    "svg.fonttype": "none",
    "svg.hashsalt": "perennial",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}

_PROCESS: Final = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "date.epoch"})
"""Settings of the process and its windows, which no figure depends on or may change."""


@contextmanager
def style() -> Iterator[None]:
    """The project's figure style on matplotlib's defaults; every setting is restored at the end.

    Settings that another library has changed in this process do not show.
    """
    with mpl.rc_context():
        mpl.rcParams.update(
            {key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if key not in _PROCESS}
        )
        mpl.rcParams.update(_STYLE)
        yield


def bare(axes: Axes, *, left: bool = False) -> None:
    """Take away the frame of a panel but its base line (and its left side, if wanted)."""
    axes.spines["left"].set_visible(left)
    axes.tick_params(axis="y", length=0)


def to_svg(draw: Callable[[], Figure], *, name: str) -> str:
    """Draw a figure as an SVG element for a page, the same bytes for the same data.

    Args:
        draw: makes the figure; called inside the style.
        name: prefix of the element ids, which must be unique in a page.

    Returns:
        One `<svg>` element whose colours are CSS variables `--<colour>` (see `COLOURS`).
    """
    with style():
        figure = draw()
        FigureCanvasSVG(figure)
        buffer = io.StringIO()
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    return _inlined(buffer.getvalue(), name)


def to_png(draw: Callable[[], Figure], path: Path, *, dots_per_inch: int = 120) -> None:
    """Draw a figure on white into a PNG file.

    Args:
        draw: makes the figure; called inside the style.
        path: the file; its folder must exist.
        dots_per_inch: resolution.

    Raises:
        OSError: the file cannot be written.
    """
    with style():
        figure = draw()
        FigureCanvasAgg(figure)
        figure.savefig(
            path, format="png", dpi=dots_per_inch, facecolor="white", metadata={"Software": None}
        )


def write_pngs(folder: Path, figures: Mapping[str, Callable[[], Figure]]) -> list[Path]:
    """Draw figures on white into `NAME.png` each; returns the files, in the given order.

    Args:
        folder: made if it is missing.
        figures: what makes each figure, by name.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, path in paths.items():
        to_png(figures[name], path)
    return list(paths.values())


def _inlined(document: str, name: str) -> str:
    """The `<svg>` element alone, with ids of its own and the page's colours."""
    element = document[document.index("<svg") :].strip()
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    # Groups carry ids such as axes_1 that every figure repeats and nothing refers to.
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = re.sub(r' (width|height)="[\d.]+pt"', "", element, count=2)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", element)
    element = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', element)
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element)
    element = element.replace("xlink:href", "href")
    for colour, code in COLOURS.items():
        element = element.replace(code, f"var(--{colour})")
    return element
