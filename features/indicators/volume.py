r"""Volume: how much is traded, and on which side.

Dimensions: T bars of the asset. Values before the warm-up are NaN.
"""

from features.registry import Array, Window, feature
from features.rolling import rolling_zscore

__all__ = [
    "volume_zscore",
]


@feature(
    unit="standard deviations",
    warmup=lambda window: window - 1,
    source="Gervais, Kaniel and Mingelgrin (2001), The High-Volume Return Premium, JF 56(3)",
)
def volume_zscore(volume_T: Array, *, window: Window = 21) -> Array:
    r"""Volume against its own window, :math:`(V_t - \bar V_t) / s_t`; 0 if all are equal."""
    return rolling_zscore(volume_T, window)
