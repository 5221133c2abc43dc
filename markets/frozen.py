"""Read-only arrays that stay read-only in copies and in other processes."""

import dataclasses
from typing import Any

import numpy as np


class FrozenArrays:
    """Base of frozen dataclasses whose arrays must not be written.

    NumPy forgets that an array is read-only when it is pickled or deep-copied; this remembers it.
    Caches of the instance are left behind.
    """

    def __getstate__(self) -> dict[str, Any]:
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.__dict__.update(state)
