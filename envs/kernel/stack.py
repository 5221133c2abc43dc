"""Scratch arrays on the stack, which the compiler knows to overlap with nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray


def _typed_stack_array(_context: Any, size: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401 - numba
    """Type and emit an `alloca` behind a pointer."""
    result = types.CPointer(types.float64)

    def emit(context: Any, builder: Any, _signature: Any, values: Any) -> Any:  # noqa: ANN401 - LLVM
        data = builder.alloca(context.get_value_type(types.float64), size=values[0])
        data.align = 64
        return data

    return result(size), emit


stack_array: Callable[[int], NDArray[np.float64]] = intrinsic(_typed_stack_array)
"""Return an uninitialised scratch array of doubles that lives as long as the kernel call.

Loops over arrays that may overlap are compiled with checks, or not to vector instructions at all;
a stack array needs neither. In Python its equal is `numpy.empty`.
"""
