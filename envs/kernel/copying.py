"""Windows of features, copied by the C library's memcpy."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from envs.kernel.jit import Compiled, kernel, source_digest


def copy_block(
    out: NDArray[np.float32], out_start: int, source: NDArray[np.float32], start: int, size: int
) -> None:
    """Copy `size` numbers between two contiguous flat arrays; one memcpy where compiled."""
    out[out_start : out_start + size] = source[start : start + size]


def _typed_memcpy(
    _context: Any,  # noqa: ANN401 - numba's typing context has no type
    out: Any,  # noqa: ANN401 - a numba type
    out_start: Any,  # noqa: ANN401 - a numba type
    source: Any,  # noqa: ANN401 - a numba type
    start: Any,  # noqa: ANN401 - a numba type
    size: Any,  # noqa: ANN401 - a numba type
) -> tuple[Any, Callable[..., Any]]:
    """Type and emit `llvm.memcpy`: numba's own loop copies at a third of the bandwidth."""
    signature = types.void(out, out_start, source, start, size)

    def emit(context: Any, builder: Any, typed: Any, values: Any) -> Any:  # noqa: ANN401 - LLVM
        target = context.make_array(typed.args[0])(context, builder, values[0])
        origin = context.make_array(typed.args[2])(context, builder, values[2])
        itemsize = context.get_abi_sizeof(context.get_data_type(typed.args[0].dtype))
        cgutils.raw_memcpy(
            builder,
            builder.gep(target.data, [values[1]]),
            builder.gep(origin.data, [values[3]]),
            values[4],
            itemsize,
        )
        return context.get_dummy_value()

    return signature, emit


_memcpy = intrinsic(_typed_memcpy)


def _compiled_copy_block(
    out: Any,  # noqa: ANN401 - a numba type
    out_start: Any,  # noqa: ANN401 - a numba type
    source: Any,  # noqa: ANN401 - a numba type
    start: Any,  # noqa: ANN401 - a numba type
    size: Any,  # noqa: ANN401 - a numba type
) -> Callable[..., None]:
    del out, out_start, source, start, size

    def implementation(
        out: NDArray[np.float32], out_start: int, source: NDArray[np.float32], start: int, size: int
    ) -> None:
        _memcpy(out, out_start, source, start, size)

    return implementation


# Not strict: the two signatures are annotated for different readers, numba and mypy.
overload(copy_block, strict=False)(_compiled_copy_block)


@cache
def build_gather() -> Compiled[..., None]:
    """Return the compiled copy of every lane's window and account into one row of the output.

    Returns:
        A function of (features_S flat, row size C, window W, plane_NO, out_S flat): lane i's
        row gets feature rows bar - W + 1 .. bar, oldest first, then the account.
    """
    digest = source_digest(synthetic=False)

    @kernel
    def gather_windows(
        features_S: NDArray[np.float32],
        columns: int,
        window: int,
        plane_NO: NDArray[np.float32],
        plane_S: NDArray[np.float32],
        out_S: NDArray[np.float32],
    ) -> None:
        digest  # noqa: B018 - a free variable: part of the key of numba's cache
        block = window * columns
        account = plane_NO.shape[1] - 1
        width = block + account
        for lane in range(plane_NO.shape[0]):
            bar = int(plane_NO[lane, 0])
            start = (bar - window + 1) * columns
            copy_block(out_S, lane * width, features_S, start, block)
            copy_block(out_S, lane * width + block, plane_S, lane * (account + 1) + 1, account)

    return gather_windows
