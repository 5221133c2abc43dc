"""Typed doors to numba, so that compiled code stays under `mypy --strict`.

numba keeps machine code beside its source, or in the user's cache folder. Where neither can be
written (a read-only installation without a home) it would refuse to compile at all: there, and only
there, this module's import gives it a folder of the user's own under the system's temporary one.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Compiled(Protocol[P, R_co]):
    """A compiled function that remembers the Python function it was compiled from."""

    @property
    def py_func(self) -> Callable[P, R_co]:
        """The Python function."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the compiled function."""
        ...


def kernel(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile an entry point with strict IEEE arithmetic and cache its machine code on disk."""
    return cast(
        "Compiled[P, R_co]",
        numba.njit(cache=True, error_model="numpy", _nrt=False)(function),
    )


def separate(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile a rare or simple stage on its own, which keeps the compilation of kernels short."""
    return cast(
        "Compiled[P, R_co]",
        numba.njit(error_model="numpy", _nrt=False)(function),
    )


def exact(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile a formula without loops, inlined, with strict IEEE arithmetic."""
    return cast(
        "Compiled[P, R_co]",
        numba.njit(forceinline=True, error_model="numpy", _nrt=False)(function),
    )


def _private_folder() -> Path:
    """A folder for machine code that no other user can write, the same at the next start."""
    user = os.getuid() if hasattr(os, "getuid") else ""
    folder = Path(tempfile.gettempdir()) / f"perennial-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix=folder.name))
    # Machine code is run as it is found: a folder or a link that somebody else laid is not used.
    # Where there are no numbers of users, the temporary folder is the user's own.
    private = user == "" or (found.st_uid == user and not found.st_mode & 0o022)
    if stat.S_ISDIR(found.st_mode) and private and os.access(folder, os.W_OK):
        return folder
    return Path(tempfile.mkdtemp(prefix=folder.name))


def _find_room_for_machine_code() -> None:
    """Let numba look for a folder; name one, for child processes too, if it finds none."""
    try:
        FunctionCache(_private_folder)
    except RuntimeError:
        folder = str(_private_folder())
        os.environ["NUMBA_CACHE_DIR"] = folder  # read again before each compilation
        numba.config.CACHE_DIR = folder


_find_room_for_machine_code()
