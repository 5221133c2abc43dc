"""Calls compiled steps of features by their address: every feature of every asset in one call.

A step is a C function of four pointers (see `features.step`). Called through its address it costs
a few nanoseconds, where a call from Python costs more than the step itself.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

import markets.compiled  # noqa: F401 - finds a folder for machine code before any is compiled

__all__ = ["SIGNATURE", "drive", "sweep"]

Array = NDArray[np.float64]
Numba = Any  # numba's compiler has no annotations

_POINTER = types.CPointer(types.float64)
SIGNATURE = types.void(_POINTER, _POINTER, _POINTER, _POINTER)
"""Of a step: state, inputs of the bar, parameters, values to be written."""


@intrinsic  # type: ignore[untyped-decorator]
def _call(
    typing: Numba, address: Numba, state: Numba, bar: Numba, parameters: Numba, out: Numba
) -> Numba:
    del typing, address, state, bar, parameters, out
    signature = types.void(types.intp, _POINTER, _POINTER, _POINTER, _POINTER)

    def generate(context: Numba, builder: Numba, _: Numba, arguments: Numba) -> Numba:
        pointer = ir.DoubleType().as_pointer()
        function = ir.FunctionType(ir.VoidType(), [pointer] * 4).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), list(arguments[1:]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def _place(typing: Numba, array: Numba, index: Numba) -> Numba:
    del typing, index
    signature = _POINTER(array, types.intp)

    def generate(context: Numba, builder: Numba, chosen: Numba, arguments: Numba) -> Numba:
        values = context.make_array(chosen.args[0])(context, builder, arguments[0])
        return builder.gep(values.data, [arguments[1]])

    return signature, generate


@numba.njit(  # type: ignore[untyped-decorator]
    "void(intp[::1], intp[:,::1], intp[:,::1], float64[::1], boolean[:,::1], float64[:,:,::1],"
    " float64[:,::1], float64[::1], float64[:,::1])",
    cache=True,
    error_model="numpy",
)
def drive(  # noqa: PLR0913, PLR0917 - compiled code takes arrays, by place
    address_F: NDArray[np.intp],
    place_F3: NDArray[np.intp],
    input_FI: NDArray[np.intp],
    parameters_P: Array,
    present_TA: NDArray[np.bool_],
    bar_TAN: Array,
    state_AS: Array,
    scratch_I: Array,
    out_AK: Array,
) -> None:
    """Take in T bars of A assets with F steps.

    Args:
        address_F: addresses of the steps.
        place_F3: where in the state, the parameters and the values each step's own begin.
        input_FI: which of the N inputs each step reads, -1 after the last.
        parameters_P: parameters of all steps, one after the other.
        present_TA: which assets have a bar; the others keep their state and their values.
        bar_TAN: the N inputs of each asset's bar.
        state_AS: state of all steps, changed.
        scratch_I: room for one step's inputs.
        out_AK: values of each asset's last bar, written.
    """
    for asset in range(present_TA.shape[1]):
        for row in range(present_TA.shape[0]):
            if not present_TA[row, asset]:
                continue
            for step in range(len(address_F)):
                for position in range(input_FI.shape[1]):
                    column = input_FI[step, position]
                    if column >= 0:
                        scratch_I[position] = bar_TAN[row, asset, column]
                _call(
                    address_F[step],
                    _place(state_AS, asset * state_AS.shape[1] + place_F3[step, 0]),
                    _place(scratch_I, 0),
                    _place(parameters_P, place_F3[step, 1]),
                    _place(out_AK, asset * out_AK.shape[1] + place_F3[step, 2]),
                )


@numba.njit(  # type: ignore[untyped-decorator]
    "void(intp, float64[:,::1], float64[::1], float64[::1], float64[:,::1])",
    cache=True,
    error_model="numpy",
)
def sweep(address: int, bar_TI: Array, parameters_P: Array, state_S: Array, out_TK: Array) -> None:
    """Take in T bars of one asset with one step.

    Args:
        address: address of the step.
        bar_TI: its inputs, a row for each bar.
        parameters_P: its parameters.
        state_S: its state, changed.
        out_TK: values, written.
    """
    for bar in range(len(bar_TI)):
        _call(
            address,
            _place(state_S, 0),
            _place(bar_TI, bar * bar_TI.shape[1]),
            _place(parameters_P, 0),
            _place(out_TK, bar * out_TK.shape[1]),
        )
