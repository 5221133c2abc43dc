"""A feature's step: its newest value from its state and the new bar, compiled.

The step is what a stream runs at each bar, and for features that no library has it is the whole
definition: the batch form is the same step, bar after bar. A step is a function ::

    @step(state=lambda horizon: ring_size(horizon + 1))
    def momentum_step(state, bar, parameters, out):
        horizon = int(parameters[0])
        ring_push(state, 0, horizon + 1, bar[0])
        out[0] = math.log(bar[0] / ring_lag(state, 0, horizon + 1, horizon))

with ``state`` zeros at the asset's first bar, ``bar`` its inputs in the order of the feature's
positional parameters, ``parameters`` the keyword-only ones as floats in their order, and ``out``
one value for each column. Parameters that are text, such as the name of a published series, are
left out, and a time is a float (to 256 ns). Arrays are C pointers in compiled code: no length, no
slices, nothing checks an index; a division by zero gives infinity or NaN, as in numpy.
`features.blocks` has the parts that steps are made of. Values before the warm-up may be anything;
they are never read.

Dimensions: T bars of one asset, I inputs, P parameters, S numbers of state, K columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba.core import sigutils
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numpy.typing import NDArray

from features.fingerprint import fingerprint
from features.step_driver import SIGNATURE, sweep

__all__ = ["Pointer", "Step", "step"]

Array = NDArray[np.float64]
Pointer = NDArray[np.float64]
"""In compiled code a pointer to float64; plain Python may pass an array."""
StepFunction = Callable[[Pointer, Pointer, Pointer, Pointer], None]
Numba = Any  # numba's compiler has no annotations
_OPTIONS = {"error_model": "numpy"}


@dataclass(frozen=True)
class Step:
    """A compiled step."""

    function: StepFunction
    """The Python function."""
    state: Callable[..., int]
    """Of the feature's parameters: numbers of state, S."""

    @cached_property
    def compiled(self) -> Numba:
        """Its compiled form, from the cache on disk where neither it nor its parts changed."""
        code: Numba = CFunc(self.function, sigutils.normalize_signature(SIGNATURE), {}, _OPTIONS)
        code._cache = _StepCache(self.function)  # noqa: SLF001 - numba has no door for it
        code.compile()
        return code

    @property
    def address(self) -> int:
        """Address of the compiled form, valid in this process."""
        return int(self.compiled.address)

    def batch(
        self, inputs: Sequence[NDArray[Any]], columns: int = 1, **parameters: float
    ) -> tuple[Array, ...]:
        """Run the step over an asset's own bars.

        Args:
            inputs: arrays (T,) in the order of the step's ``bar``.
            columns: number of values of a bar, K.
            parameters: by name, in the order of the feature's signature.

        Returns:
            K arrays (T,).
        """
        bar_TI = np.ascontiguousarray(np.stack(inputs, axis=1), dtype=np.float64)
        out_TK = np.full((len(bar_TI), columns), np.nan)
        sweep(
            self.address,
            bar_TI,
            np.array(list(parameters.values()), np.float64),
            np.zeros(max(1, self.state(**parameters))),
            out_TK,
        )
        return tuple(np.ascontiguousarray(out_TK[:, column]) for column in range(columns))


class _StepCache(FunctionCache):  # type: ignore[misc]
    """Machine code on disk, keyed by the step's code and that of the parts that it calls.

    numba's own key knows the step's file only: after a change in `features.blocks` it would go on
    with the old machine code.
    """

    def _index_key(self, sig: Numba, codegen: Numba) -> tuple[Numba, ...]:
        return (*super()._index_key(sig, codegen), fingerprint(self._py_func))


def step(state: Callable[..., int] | int) -> Callable[[StepFunction], Step]:
    """Make a function a step, compiled at its first use; see the module's text.

    Args:
        state: numbers of state, or a function of the feature's parameters that tells it.
    """
    size = state if callable(state) else (lambda **_: state)

    def declare(function: StepFunction) -> Step:
        return Step(function, size)

    return declare
