"""A feature's two forms, batch and step, side by side on a market with every kind of quiet."""

import numpy as np

from features.definition import Array, BoundFeature
from features.registry import lookup

HALT = slice(700, 1400)
COUNT = 2000


def quiet_market(seed: int = 0) -> dict[str, Array]:
    """A random walk of 2,000 bars: 700 of one price and no volume, and some without volume."""
    rng = np.random.default_rng(seed)
    close_T = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, COUNT)))
    open_T = close_T * np.exp(rng.normal(0.0, 0.01, COUNT))
    high_T = np.maximum(open_T, close_T) * np.exp(rng.exponential(0.005, COUNT))
    low_T = np.minimum(open_T, close_T) * np.exp(-rng.exponential(0.005, COUNT))
    volume_T = rng.lognormal(12.0, 0.5, COUNT)
    for price_T in (open_T, high_T, low_T, close_T):
        price_T[HALT] = close_T[HALT.start]
    volume_T[HALT] = 0.0
    volume_T[100:150] = 0.0
    return {"open": open_T, "high": high_T, "low": low_T, "close": close_T, "volume": volume_T}


def bound(name: str, **parameters: float) -> BoundFeature:
    return lookup(name).bind(parameters)


def batch(feature: BoundFeature, series: dict[str, Array]) -> Array:
    """Values (T, columns) of the function, unmasked."""
    inputs = [series[name] for name in feature.feature.inputs]
    values = feature.feature.function(*inputs, **feature.parameters)
    return np.stack(values if feature.feature.outputs else (values,), axis=1)


def stepped(feature: BoundFeature, series: dict[str, Array]) -> Array:
    """Values (T, columns) of the step from the first bar on."""
    step = feature.feature.step
    assert step is not None
    inputs = [series[name] for name in feature.feature.inputs]
    parameters = {key: float(value) for key, value in feature.parameters.items()}
    sizes = {key: int(value) for key, value in parameters.items() if value.is_integer()}
    return np.stack(step.batch(inputs, len(feature.columns), **(parameters | sizes)), axis=1)


def assert_both_forms_agree(feature: BoundFeature) -> None:
    """Equal from the first bar to the last; a value exactly from the warm-up on."""
    for seed in range(2):
        series = quiet_market(seed)
        one_TK, other_TK = batch(feature, series), stepped(feature, series)
        for values_TK in (one_TK, other_TK):
            assert np.isnan(values_TK[: feature.warmup]).all()
            assert np.isfinite(values_TK[feature.warmup :]).all()
        np.testing.assert_allclose(one_TK, other_TK, rtol=1e-9, atol=1e-15)


def assert_memory_is_enough(feature: BoundFeature) -> None:
    """The last bars give the value of full history, in a halt and after it too."""
    series = quiet_market()
    whole_TK = batch(feature, series)
    for last in (*range(600, COUNT, 150), HALT.stop - 1, HALT.stop + 5):
        tail = {
            name: values[max(0, last + 1 - feature.memory) : last + 1]
            for name, values in series.items()
        }
        np.testing.assert_allclose(batch(feature, tail)[-1], whole_TK[last], rtol=1e-9, atol=1e-12)
