"""How the kernel's parts are compiled, beside the doors of `markets.compiled`."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import numba

import markets.compiled
from markets.compiled import Compiled, P, R_co, exact, kernel, separate

__all__ = [
    "Compiled",
    "entry_point",
    "exact",
    "hashed_sources",
    "inlined",
    "kernel",
    "separate",
    "source_digest",
]


def entry_point(
    compiled: Compiled[..., R_co], arguments: tuple[object, ...]
) -> Callable[..., R_co]:
    """Return the machine code for arguments of these types, past the dispatch by type.

    The dispatch looks at each argument of each call, which doubles the time of a call with one
    environment. The caller must always pass arguments of the same types.
    """
    signature = tuple(numba.typeof(argument) for argument in arguments)
    dispatcher: Any = compiled
    dispatcher.compile(signature)
    return cast("Callable[..., R_co]", dispatcher.overloads[signature].entry_point)


def inlined(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile a stage of a kernel as a part of its caller's text.

    The whole kernel is then optimised at once: loops see constants and each other's arrays.
    """
    return cast("Compiled[P, R_co]", numba.njit(inline="always")(function))


@cache
def source_digest(*, synthetic: bool) -> str:
    """Return a hash of the sources that an entry point is compiled from.

    numba notices changes in the file of a cached function only; entry points close over this
    value, so that a change in any of these files compiles them anew.

    Args:
        synthetic: Whether it plays synthetic markets, so that their sources count too.
    """
    digest = hashlib.sha256()
    for path in hashed_sources(synthetic=synthetic):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def hashed_sources(*, synthetic: bool) -> list[Path]:
    """Return the files that compiled code is in, in a fixed order; see `source_digest`.

    Of synthetic markets these are the generators: solvers beside them may change freely.
    """
    markets_folder = Path(markets.compiled.__file__).parent
    folder = markets_folder / "synthetic"
    files = [
        *sorted(Path(__file__).parent.glob("*.py")),
        markets_folder / "compiled.py",
        folder / "random.py",
        folder / "layout.py",
    ]
    if synthetic:
        files += [folder / "chain.py", *sorted(folder.glob("*_stream.py"))]
    return files
