"""Typed doors to numba, so that the kernel stays under `mypy --strict`."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

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
    """Compile an entry point with strict IEEE arithmetic and cache its machine code on disk."""
    return cast(
        "Compiled[P, R_co]",
        numba.njit(cache=True, error_model="numpy", _nrt=False)(function),
    )


def summing_kernel(function: Callable[P, R_co]) -> Compiled[P, R_co]:
    """Compile an entry point whose sums over assets may be re-associated, and cache it.

    The sums then become vector instructions. Their order depends on the number of assets, never
    on the number of environments: a test compares lanes bit for bit.
    """
    return cast(
        "Compiled[P, R_co]",
        numba.njit(cache=True, error_model="numpy", _nrt=False, fastmath={"reassoc", "nsz"})(
            function
        ),
    )


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


def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCE_DIGEST = _source_digest()
"""Hash of the kernel's sources. numba notices changes in the file of a cached function only; entry
points close over this value, so that a change in any file of the kernel compiles them anew."""
