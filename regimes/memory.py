"""The last bars that a detector has seen."""

import numpy as np
from numpy.typing import ArrayLike

from regimes.base import Observations

__all__ = ["Memory"]


class Memory:
    """The last bars, in the order of time.

    Args:
        capacity: bars that are kept.
        like: observations with the same series and regressors.
    """

    def __init__(self, capacity: int, like: Observations) -> None:
        self.capacity = capacity
        self._end = 0
        # Twice the capacity: it moves to the front only once in `capacity` bars.
        self._y_TD = np.empty((2 * capacity, like.y_TD.shape[1]))
        self._x_TM = np.empty((2 * capacity, like.x_TM.shape[1]))

    def __len__(self) -> int:
        return min(self._end, self.capacity)

    def extend(self, rows: Observations) -> None:
        """Add bars."""
        # More than the capacity would be forgotten at once.
        rows = rows.rows(max(len(rows) - self.capacity, 0), len(rows))
        end = self._end + len(rows)
        if end > len(self._y_TD):
            kept = self.capacity
            for array in (self._y_TD, self._x_TM):
                array[:kept] = array[self._end - kept : self._end].copy()
            self._end, end = kept, kept + len(rows)
        self._y_TD[self._end : end] = rows.y_TD
        self._x_TM[self._end : end] = rows.x_TM
        self._end = end

    def append(self, y: ArrayLike, x: ArrayLike | None) -> None:
        """Add a bar that a detector has taken in."""
        if not self.capacity:
            return
        row_1M = np.zeros((1, 0)) if x is None else np.array(x, np.float64).reshape(1, -1)
        self.extend(Observations(np.array(y, np.float64).reshape(1, -1), row_1M))

    def observations(self) -> Observations:
        """The bars, copied."""
        rows = slice(self._end - len(self), self._end)
        return Observations(self._y_TD[rows].copy(), self._x_TM[rows].copy())
