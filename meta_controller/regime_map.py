"""The fallback: weights of options in proportion to the belief about regimes."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def default_map(num_options: int, num_regimes: int) -> Tensor:
    """C (K, R): regime r to option r; several options share a regime, or several regimes one.

    Columns sum to 1. With more options than regimes, the options r, r + R, r + 2 R ... share
    regime r evenly; with fewer, option k serves the regimes k, k + K, ...
    """
    options, regimes = torch.arange(num_options)[:, None], torch.arange(num_regimes)
    if num_regimes == 0:
        return torch.zeros(num_options, 0)
    if num_options >= num_regimes:
        map_KR = (options % num_regimes == regimes).float()
    else:
        map_KR = (regimes % num_options == options).float()
    return map_KR / map_KR.sum(dim=0, keepdim=True)


def checked_map(rows: Sequence[Sequence[float]], num_options: int, num_regimes: int) -> Tensor:
    """C (K, R) as configured.

    Raises:
        ValueError: another shape, or a regime without an option.
    """
    shape = (len(rows), *{len(row) for row in rows})
    if shape != (num_options, num_regimes):
        raise ValueError(
            f"regime_map: expected {num_options} rows of {num_regimes} numbers (options, regimes), "
            f"found {[len(row) for row in rows]} numbers in {len(rows)} rows"
        )
    map_KR = torch.tensor(rows, dtype=torch.float32)
    empty = (map_KR.sum(dim=0) <= 0.0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"regime_map: expected an option for each regime, found none for {empty}")
    return map_KR


class Fallback(nn.Module):
    """w = C pi, normalised: regime-proportional weights, without learning.

    Rows without a usable belief (all zeros, or not finite) get uniform weights; so does everything
    where nothing is known of regimes (R = 0). Probabilities below 0 (rounding) count as 0.

    Args:
        num_options: K.
        num_regimes: R.
        map_KR: C; None = `default_map`.

    Raises:
        ValueError: a map of another shape, or a regime without an option.
    """

    map_KR: Tensor

    def __init__(
        self,
        num_options: int,
        num_regimes: int,
        map_KR: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.num_options, self.num_regimes = num_options, num_regimes
        if map_KR is not None:
            table = checked_map(map_KR, num_options, num_regimes)
        else:
            table = default_map(num_options, num_regimes)
        self.register_buffer("map_KR", table, persistent=False)

    def forward(self, belief_BR: Float[Tensor, "B R"]) -> Float[Tensor, "B K"]:
        """Weights of the options, rows on the simplex."""
        if self.num_regimes == 0:
            return belief_BR.new_full((len(belief_BR), self.num_options), 1.0 / self.num_options)
        weights_BK = belief_BR.clamp_min(0.0) @ self.map_KR.T
        total_B1 = weights_BK.sum(dim=1, keepdim=True)
        usable_B1 = (total_B1 > 0.0) & (total_B1 < math.inf)  # neither where it is not a number
        return torch.where(usable_B1, weights_BK / total_B1, 1.0 / self.num_options)
