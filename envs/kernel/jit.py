"""Typed doors to numba, so that the kernel stays under `mypy --strict`."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

import numba

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
    """Compile an entry point and cache its machine code on disk."""
    return cast("Compiled[P, R_co]", numba.njit(cache=True)(function))


def inlined(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile a part of a kernel, inlined where it is called and cached with its caller only.

    Sums over assets may be re-associated and contracted, which makes them vector instructions.
    The order of a sum depends on the number of assets but not on the number of environments:
    lanes are never vectorised together, and a test compares them bit for bit.
    """
    return cast(
        "Compiled[P, R_co]",
        numba.njit(forceinline=True, fastmath={"reassoc", "contract", "nsz"})(function),
    )


def exact(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile a part of a kernel, inlined, with strict IEEE arithmetic."""
    return cast("Compiled[P, R_co]", numba.njit(forceinline=True)(function))


def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCE_DIGEST = _source_digest()
"""Hash of the kernel's sources. numba notices changes in the file of a cached function only; entry
points close over this value, so that a change in any file of the kernel compiles them anew."""
