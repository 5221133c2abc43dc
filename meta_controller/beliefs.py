"""Where a controller finds the belief about regimes in what an agent observes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NAME = re.compile(r"^(?:regime|belief)_\d+$")


@dataclass(frozen=True)
class BeliefSource:
    """The columns that hold probabilities of regimes."""

    place: Literal["account", "features"]
    """`features`: of the market's table, by bar; `account`: of the account state, where a stream's
    features stand."""
    columns: tuple[int, ...]
    """Their numbers, (R,); none where nothing is told of regimes."""

    @classmethod
    def find(cls, names: Sequence[str], place: Literal["account", "features"]) -> "BeliefSource":
        """The columns called `regime_<r>` or `belief_<r>`, in the order of r.

        Args:
            names: of all columns of the place.
            place: where they are.
        """
        found = [
            (int(name.rsplit("_", 1)[1]), i) for i, name in enumerate(names) if _NAME.match(name)
        ]
        return cls(place, tuple(i for _, i in sorted(found)))

    def read(self, features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
        """Beliefs (B, R)."""
        if not self.columns:
            return account_BP.new_zeros(len(account_BP), 0)
        first, last = self.columns[0], self.columns[-1] + 1
        table = account_BP if self.place == "account" else features_TC
        if self.columns == tuple(range(first, last)):
            part = table[:, first:last]
        else:
            part = table[:, list(self.columns)]
        return part if self.place == "account" else part.index_select(0, bars_B)

    def table(self, features_TC: Tensor) -> Tensor | None:
        """Beliefs of all bars (T, R) where they are the market's, else None."""
        if self.place == "account" or not self.columns:
            return None
        return features_TC[:, list(self.columns)].contiguous()


def one_hot(regime_N: Sequence[int] | NDArray[np.int64], num_regimes: int) -> Tensor:
    """Beliefs (N, R) that are certain."""
    return torch.nn.functional.one_hot(torch.as_tensor(regime_N), num_regimes).float()
