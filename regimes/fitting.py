"""Fits whose result can be used, and what a usable belief is."""

import numpy as np
from numpy.typing import NDArray

from regimes.base import Array, DetectorConfig, Observations, RegimeError, RegimeModel

__all__ = ["fit_model", "probabilities"]

_ROUNDING = 1e-6


def probabilities(belief: Array) -> NDArray[np.bool_]:
    """Whether rows are probabilities: finite, >= 0, summing to 1 but for rounding."""
    # A NaN fails both comparisons, an infinity the second.
    total = belief.sum(axis=-1)
    return np.asarray((belief >= 0.0).all(axis=-1) & (np.abs(total - 1.0) <= _ROUNDING))


def fit_model(
    config: DetectorConfig,
    train: Observations,
    *,
    warm: RegimeModel | None = None,
    seed: int = 0,
) -> RegimeModel:
    """Fit a model, and refuse one that cannot be used.

    Raises:
        RegimeError: as `DetectorConfig.fit`, or a model without finite moments, or with more
            regimes than the capacity.
    """
    try:
        model = config.fit(train, warm=warm, seed=seed)
    except RegimeError:
        raise
    except (ValueError, ArithmeticError) as error:
        raise RegimeError(f"{config.kind}: the fit diverged: {error}") from error
    regimes = model.num_regimes
    if not 1 <= regimes <= config.capacity:
        raise RegimeError(
            f"{config.kind}: expected 1 to {config.capacity} regimes (capacity), found {regimes}"
        )
    drift_K, volatility_K = model.drift, model.volatility
    if not (np.isfinite(drift_K).all() and np.isfinite(volatility_K).all() and volatility_K.all()):
        raise RegimeError(
            f"{config.kind}: the fit diverged: expected finite drifts and volatilities > 0, found "
            f"{drift_K} and {volatility_K}"
        )
    return model
