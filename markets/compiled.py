"""Typed doors to numba, so that compiled code stays under `mypy --strict`."""

from collections.abc import Callable
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
