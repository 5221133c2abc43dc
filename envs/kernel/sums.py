"""Sums over a lane's assets in one order, whatever the machine and whatever was compiled before.

A compiler that may re-associate a sum makes vector instructions of it, but in an order of its own:
it depends on the length of the machine's vectors, and even on the names that numba gave to
variables, which count what was compiled before. Here the order is fixed and as fast.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from envs.kernel.layout import MARKET_PADDING


def row_sum(values_E: NDArray[np.float64], first: int, width: int) -> float:
    """Return the sum of `width` numbers (1, or a multiple of 8) from `first`.

    In this order: s_i = v_i + v_{i+8} + v_{i+16} + ... for i < 8, then t_i = s_i + s_{i+4} for
    i < 4, then (t_0 + t_2) + (t_1 + t_3).
    """
    if width == 1:
        return float(values_E[first])
    partial = np.zeros(MARKET_PADDING)
    for start in range(first, first + width, MARKET_PADDING):
        partial += values_E[start : start + MARKET_PADDING]
    while partial.size > 1:
        partial = partial[: partial.size // 2] + partial[partial.size // 2 :]
    return float(partial[0])


def _typed_vector_sum(_context: Any, values: Any, _first: Any, _width: Any) -> Any:  # noqa: ANN401 - numba
    """Type and emit the sum of a multiple of 8 numbers behind a pointer."""

    def emit(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401 - LLVM
        pointer, first, width = arguments
        vector = ir.VectorType(ir.DoubleType(), MARKET_PADDING)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * MARKET_PADDING))
        step = ir.Constant(first.type, MARKET_PADDING)
        stop = builder.add(first, width)
        with cgutils.for_range_slice(builder, first, stop, step, inc=True) as (start, _):
            row = builder.bitcast(builder.gep(pointer, [start]), vector.as_pointer())
            partial = builder.fadd(builder.load(total), builder.load(row, align=8))
            builder.store(partial, total)
        return _folded(builder, builder.load(total))

    return types.float64(values, types.intp, types.intp), emit


def _folded(builder: Any, partial: Any) -> Any:  # noqa: ANN401 - LLVM
    """Emit the sum of a vector's numbers, halves upon each other."""
    size = MARKET_PADDING
    while size > 1:
        size //= 2
        nothing = ir.Constant(partial.type, ir.Undefined)
        lower, upper = (
            builder.shuffle_vector(
                partial,
                nothing,
                ir.Constant(ir.VectorType(ir.IntType(32), size), list(range(at, at + size))),
            )
            for at in (0, size)
        )
        partial = builder.fadd(lower, upper)
    return builder.extract_element(partial, ir.Constant(ir.IntType(32), 0))


_vector_sum = intrinsic(_typed_vector_sum)


def _compiled_row_sum(values_E: Any, first: Any, width: Any) -> Callable[..., float]:  # noqa: ANN401 - numba types
    del values_E, first, width
    return lambda values_E, first, width: (
        values_E[first] if width == 1 else _vector_sum(values_E, first, width)
    )


# Not strict: the two signatures are annotated for different readers, numba and mypy. Inlined before
# loops are optimised, so that the branch of one asset is gone by then.
overload(row_sum, strict=False, jit_options={"forceinline": True})(_compiled_row_sum)
