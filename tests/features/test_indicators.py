"""The score of a volume, by hand."""

import math

import numpy as np
import pytest

from features.indicators import volume


def test_volume_zscore() -> None:
    # Window (1, 2, 6): mean 3, deviation sqrt(14/3); the newest lies 3 above.
    score = 3.0 / math.sqrt(14.0 / 3.0)
    values_T = np.array([1.0, 2.0, 6.0])
    assert volume.volume_zscore(values_T, window=3)[-1] == pytest.approx(score, rel=1e-14)
    assert volume.volume_zscore(np.zeros(5), window=3)[-1] == 0.0
