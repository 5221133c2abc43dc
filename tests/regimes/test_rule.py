"""The rule of four regimes, against plain numpy."""

import numpy as np
import pytest

from regimes.base import Array, Observations, RegimeError
from regimes.rule import NAMES, RuleConfig, RuleModel

QUICK = RuleConfig(volatility_window=5, return_window=10)


def seasons(bars: int = 200) -> Array:
    """Sideways, up, down, wild: `bars` bars each."""
    rng = np.random.default_rng(0)
    drift_T = np.repeat([0.0, 0.01, -0.01, 0.0], bars)
    deviation_T = np.repeat([0.002, 0.002, 0.002, 0.05], bars)
    return drift_T + deviation_T * rng.standard_normal(4 * bars)


def test_each_season_has_its_name() -> None:
    y_T = seasons()
    config = RuleConfig(
        volatility_window=10, return_window=20, crisis_quantile=0.7, band_quantile=0.3
    )
    model = config.fit(Observations.of(y_T))
    told_T = np.array(model.names)[model.filter(Observations.of(y_T)).argmax(axis=1)]
    for season, name in enumerate(NAMES):
        within = told_T[200 * season + 40 : 200 * season + 200]
        assert (within == name).mean() > 0.8, name
    assert model.names[-1] == "crisis"
    drift = dict(zip(model.names, model.drift, strict=True))
    assert drift["bull"] == pytest.approx(0.01, abs=0.002)
    assert drift["bear"] == pytest.approx(-0.01, abs=0.002)


def test_the_rule_is_the_table_of_its_docstring() -> None:
    y_T = seasons(60)
    model = QUICK.fit(Observations.of(y_T))
    unit_T = (y_T - y_T.mean()) / y_T.std()
    rows = range(9, len(y_T))
    volatility_T = np.array([np.log(unit_T[row - 4 : row + 1].std()) for row in rows])
    mean_T = np.array([unit_T[row - 9 : row + 1].mean() for row in rows])
    limit, band = np.quantile(volatility_T, 0.85), np.quantile(np.abs(mean_T), 0.4)
    expected_T = np.select(
        [volatility_T > limit, mean_T > band, mean_T < -band],
        ["crisis", "bull", "bear"],
        "sideways",
    )
    belief_TK = model.filter(Observations.of(y_T))
    assert set(np.unique(belief_TK[9:])) == {0.0, 1.0}
    assert np.array_equal(np.array(model.names)[belief_TK[9:].argmax(axis=1)], expected_T)
    np.testing.assert_array_equal(belief_TK[:9], np.tile(model.start_K, (9, 1)))


def test_descriptors_weigh_a_bar_by_the_belief_before_it() -> None:
    y_T = seasons(60)
    model = QUICK.fit(Observations.of(y_T))
    weight_NK = model.filter(Observations.of(y_T))[:-1]
    # Beliefs before the fit was described began with quarters instead of shares.
    weight_NK[:9] = 0.25
    share_K = weight_NK.sum(axis=0) + 1.0
    drift_K = (weight_NK.T @ y_T[1:] + y_T.mean()) / share_K
    np.testing.assert_allclose(model.drift, drift_K, rtol=1e-12)
    squares_K = (weight_NK * (y_T[1:, None] - drift_K) ** 2).sum(axis=0) + y_T.var()
    np.testing.assert_allclose(model.volatility, np.sqrt(squares_K / share_K), rtol=1e-12)


def test_a_refit_keeps_the_order_of_the_names() -> None:
    before = QUICK.fit(Observations.of(seasons())).permuted(np.array([2, 0, 3, 1]))
    after = QUICK.fit(Observations.of(seasons()[100:]), warm=before)
    assert after.names == before.names


def test_a_regime_that_never_occurs_looks_like_the_sample() -> None:
    y_T = 0.01 * np.random.default_rng(1).standard_normal(300)
    model = RuleConfig(band_quantile=0.999).fit(Observations.of(y_T))
    rare = model.names.index("bear")
    assert 0.001 < model.volatility[rare] < 0.03
    assert sorted(model.names) == sorted(NAMES)


def test_stored_codes_and_windows_are_checked() -> None:
    arrays = QUICK.fit(Observations.of(seasons())).to_arrays()
    with pytest.raises(RegimeError, match="code_K: expected 0, 1, 2, 3"):
        RuleModel.from_arrays({**arrays, "code_K": np.zeros(4)})
    with pytest.raises(RegimeError, match="limits_P: expected four"):
        RuleModel.from_arrays({**arrays, "limits_P": np.ones(3)})
    with pytest.raises(ValueError, match="return_window: expected >= volatility_window = 30"):
        RuleConfig(volatility_window=30, return_window=20)
