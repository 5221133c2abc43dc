"""A mixture's emissions with a transition filter."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from regimes.base import Array, Observations, RegimeError
from regimes.mixture_sticky import StickyDPGMMConfig, StickyDPGMMModel
from tests.regimes.test_mixture import accuracy, three_regimes


def chain(seed: int = 0, bars: int = 3000) -> tuple[Array, Array]:
    """Returns of two regimes that are far apart, which stay with .98 and .95; and the regimes."""
    rng = np.random.default_rng(seed)
    regime_T = np.zeros(bars)
    for bar in range(1, bars):
        stay = 0.98 if regime_T[bar - 1] == 0.0 else 0.95
        regime_T[bar] = regime_T[bar - 1] if rng.random() < stay else 1.0 - regime_T[bar - 1]
    y_T = np.where(regime_T == 1.0, -0.05, 0.05) + 0.01 * rng.standard_normal(bars)
    return y_T, regime_T


def by_hand(model: StickyDPGMMModel, y_TD: Array) -> Array:
    """Filter, then predict, with the densities of scipy."""
    belief_K, belief_TK = model.start_K.copy(), []
    for y_D in y_TD:
        if np.isfinite(y_D).all():
            belief_K = belief_K * [
                multivariate_normal(mean_D, covariance_DE).pdf(y_D)
                for mean_D, covariance_DE in zip(model.mean_KD, model.covariance_KDE, strict=True)
            ]
        belief_K = belief_K @ model.transition_KK
        belief_K = belief_K / belief_K.sum()
        belief_TK.append(belief_K)
    return np.array(belief_TK)


def test_the_filter_is_the_forward_recursion() -> None:
    rng = np.random.default_rng(1)
    y_TD = np.where(rng.random(400) < 0.3, 0.03, 0.01)[:, None] * rng.standard_normal((400, 2))
    model = StickyDPGMMConfig(max_components=3).fit(Observations.of(y_TD))
    assert model.num_regimes >= 2
    y_TD[50:53] = np.nan
    seen = Observations.of(y_TD[:120])
    np.testing.assert_allclose(model.filter(seen), by_hand(model, seen.y_TD), atol=1e-12)


def test_without_persistence_the_belief_is_what_comes_next_of_any_bar() -> None:
    y_T, _ = chain()
    model = StickyDPGMMConfig(max_components=2).fit(Observations.of(y_T))
    rows_KK = np.tile(model.weight_K, (2, 1))
    careless = dataclasses.replace(model, transition_KK=rows_KK)
    belief_TK = careless.filter(Observations.of(y_T[:50]))
    np.testing.assert_allclose(belief_TK, np.tile(model.weight_K, (50, 1)), atol=1e-12)


def test_transitions_are_recovered() -> None:
    y_T, regime_T = chain()
    model = StickyDPGMMConfig(max_components=2, stickiness=0.0).fit(Observations.of(y_T))
    above = int(model.drift.argmax())
    stay_K = np.diagonal(model.transition)
    np.testing.assert_allclose(model.drift[[above, 1 - above]], [0.05, -0.05], atol=0.002)
    np.testing.assert_allclose(stay_K[[above, 1 - above]], [0.98, 0.95], atol=0.015)
    told_T = model.filter(Observations.of(y_T)).argmax(axis=1) == 1 - above
    assert (told_T == (regime_T == 1.0)).mean() > 0.99


def test_stickiness_keeps_regimes_longer() -> None:
    train = three_regimes(0).train
    free, sticky = (
        StickyDPGMMConfig(max_components=3, stickiness=kappa).fit(train) for kappa in (0.0, 500.0)
    )
    assert np.diagonal(sticky.transition).mean() > np.diagonal(free.transition).mean()
    np.testing.assert_array_equal(free.mean_KD, sticky.mean_KD)


def test_a_memory_helps_the_mixture() -> None:
    markets = [three_regimes(seed) for seed in range(2)]
    config = StickyDPGMMConfig(max_components=3)
    assert np.mean([accuracy(config.fit(market.train), market) for market in markets]) > 0.58


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_numbers_whose_squares_are_none_are_refused(size: float) -> None:
    y_T, _ = chain(bars=300)
    with pytest.raises(RegimeError, match="expected features that vary"):
        StickyDPGMMConfig().fit(Observations.of(size * y_T))


def test_emissions_that_are_no_covariances_are_refused() -> None:
    y_T, _ = chain(bars=300)
    model = StickyDPGMMConfig(max_components=2).fit(Observations.of(y_T))
    arrays = model.to_arrays()
    with pytest.raises(RegimeError, match="covariance_KDE"):
        StickyDPGMMModel.from_arrays({**arrays, "covariance_KDE": -arrays["covariance_KDE"]})
    with pytest.raises(RegimeError, match="expected 1 series, found 2"):
        model.advance(model.start(), np.zeros(2), np.zeros(0))
