"""Arithmetic that compiles to single, vectorisable instructions.

The built-in minimum and maximum also order NaN, and numba's square root also sets errno.
"""

import math
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic, overload

from envs.kernel.jit import exact


def root(value: float) -> float:
    """Return the square root of a number >= 0."""
    return math.sqrt(value)


def _typed_root(_context: Any, value: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401 - numba
    """Type and emit `llvm.sqrt`."""

    def emit(_target: Any, builder: Any, _signature: Any, values: Any) -> Any:  # noqa: ANN401 - LLVM
        function = builder.module.declare_intrinsic("llvm.sqrt", [values[0].type])
        return builder.call(function, values)

    return types.float64(value), emit


_root = intrinsic(_typed_root)


def _compiled_root(value: Any) -> Callable[[float], float]:  # noqa: ANN401 - a numba type
    del value
    return lambda value: _root(value)  # noqa: PLW0108 - numba compiles this function


# Not strict: the two signatures are annotated for different readers, numba and mypy.
overload(root, strict=False)(_compiled_root)


@exact
def larger(first: float, second: float) -> float:
    """Return the larger of two numbers that are not NaN."""
    return first if first > second else second  # noqa: FURB136 - see the module


@exact
def smaller(first: float, second: float) -> float:
    """Return the smaller of two numbers that are not NaN."""
    return first if first < second else second  # noqa: FURB136 - see the module
