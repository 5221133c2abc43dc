"""The jump model against its package, and its statistics against pandas."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regimes.base import Array, Observations, RegimeError
from regimes.jump import JumpConfig, JumpModel
from tests.regimes.test_mixture import accuracy, three_regimes

SHU = JumpConfig(
    volatility_half_lives=(), downside_half_lives=(10.0,), sortino_half_lives=(20.0, 60.0)
)
"""The statistics of Shu, Yu & Mulvey (2024)."""


def package_model(*arguments: object, **settings: object) -> Any:
    """The package's model; its import is left to `regimes.jump`, which undoes what it does."""
    from jumpmodels.jump import JumpModel as PackageModel

    return PackageModel(*arguments, **settings)


def online(model: JumpModel, config: JumpConfig, features_TF: Array) -> Array:
    """Beliefs of the package's own online prediction with the model's centres."""
    package = package_model(
        model.num_regimes, config.penalty, cont=config.continuous, grid_size=1.0 / config.grid
    )
    package.check_jump_penalty_mx()
    package.centers_, package.feat_weights = model.mean_KF, None
    belief_TK: Array = package.predict_proba_online(features_TF)
    return belief_TK


@pytest.mark.parametrize(
    "config",
    [JumpConfig(), JumpConfig(penalty=0.0), SHU, JumpConfig(continuous=True, num_starts=1)],
    ids=["volatility", "free", "downside", "continuous"],
)
def test_every_bar_has_the_label_of_the_package(config: JumpConfig) -> None:
    market = three_regimes(0, bars=3000)
    model = config.fit(market.observations.rows(0, 1000))
    expected = online(model, config, model.features(market.observations))
    np.testing.assert_array_equal(model.filter(market.observations), expected)


def test_a_fresh_fit_is_the_package_s() -> None:
    train = three_regimes(1).observations.rows(0, 1000)
    model = JumpConfig(num_starts=3).fit(train, seed=5)
    features_NF = model.features(train)[5:]
    with np.errstate(invalid="ignore"):
        package = package_model(3, 5.0, random_state=5, n_init=3).fit(features_NF)
    np.testing.assert_allclose(
        np.sort(model.mean_KF, axis=0), np.sort(package.centers_, axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(features_NF.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(features_NF.std(axis=0), 1.0, rtol=1e-12)


def test_statistics_are_exponentially_weighted_means() -> None:
    y_T = three_regimes(2).observations.y_TD[:400, 0]
    config = JumpConfig(
        volatility_half_lives=(4.0,), downside_half_lives=(10.0,), sortino_half_lives=(20.0,)
    )
    model = config.fit(Observations.of(y_T))
    series = pd.Series(y_T / y_T.std())
    loss = series.clip(upper=0.0) ** 2
    down = np.sqrt(loss.ewm(halflife=20.0).mean())
    raw_TF = np.stack(
        [
            np.log(np.sqrt((series**2).ewm(halflife=4.0).mean())),
            np.log(np.sqrt(loss.ewm(halflife=10.0).mean()).clip(lower=1e-3)),
            series.ewm(halflife=20.0).mean() / down.clip(lower=1e-3),
        ],
        axis=1,
    )
    raw_TF = np.clip(raw_TF, model.lower_F, model.upper_F)
    expected = (raw_TF - model.centre_F) / model.spread_F
    found = model.features(Observations.of(y_T))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_bars_without_an_observation_change_nothing() -> None:
    market = three_regimes(0)
    model = JumpConfig().fit(market.observations.rows(0, 1000))
    y_T = market.observations.y_TD[:300, 0]
    gaps_T = np.insert(y_T, 100, [np.nan] * 7)
    whole, broken = (model.filter(Observations.of(values)) for values in (y_T, gaps_T))
    np.testing.assert_array_equal(np.delete(broken, np.s_[100:107], axis=0), whole)
    np.testing.assert_array_equal(broken[100:107], np.tile(whole[99], (7, 1)))


def test_the_larger_the_penalty_the_fewer_the_switches() -> None:
    market = three_regimes(0)
    switches = []
    for penalty in (0.0, 5.0, 50.0):
        belief_TK = JumpConfig(penalty=penalty).fit(market.train).filter(market.observations)
        switches.append(int((np.diff(belief_TK.argmax(axis=1)) != 0).sum()))
        assert set(np.unique(belief_TK[1:])) == {0.0, 1.0}
    assert switches[0] > switches[1] > switches[2] > 0


@pytest.mark.parametrize("continuous", [False, True])
def test_regimes_that_stay_empty_are_dropped(continuous: bool) -> None:
    y_T = 0.01 * np.random.default_rng(0).standard_normal(300)
    config = JumpConfig(penalty=1e9, continuous=continuous, num_starts=1)
    model = config.fit(Observations.of(y_T))
    assert model.num_regimes < 3
    belief_TK = model.filter(Observations.of(y_T))
    np.testing.assert_allclose(belief_TK.sum(axis=1), 1.0)


def test_known_regimes_are_named_as_well_as_measured_before() -> None:
    """Volatility statistics: .80 in the research's table."""
    markets = [three_regimes(seed) for seed in range(3)]
    assert np.mean([accuracy(JumpConfig().fit(market.train), market) for market in markets]) > 0.7


def test_a_warm_fit_begins_at_the_centres_and_keeps_their_order() -> None:
    market = three_regimes(0)
    before = JumpConfig().fit(market.train).permuted(np.array([1, 2, 0]))
    after = JumpConfig().fit(market.observations.rows(100, 2600), warm=before)
    # Closer to each of the old centres, in old units, than to any other.
    raw_KF = after.centre_F + after.spread_F * after.mean_KF
    old_KF = before.centre_F + before.spread_F * before.mean_KF
    assert np.array_equal(np.abs(raw_KF - old_KF.T).argmin(axis=1), [0, 1, 2])


def test_the_import_leaves_the_warnings_of_numpy_alone() -> None:
    text = "import numpy as n; a = n.geterr(); import regimes.jump; assert a == n.geterr()"
    subprocess.run([sys.executable, "-c", text], check=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"volatility_half_lives": ()}, "expected at least one half-life"),
        ({"continuous": True, "num_regimes": 5}, "expected <= 4 for a continuous model, found 5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        JumpConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("unit", 0.0, "expected a unit and spreads > 0"),
        ("decay_F", [1.0], "decay_F: expected values in"),
        ("vertex_NK", 2.0 * np.eye(3), "vertex_NK: expected probabilities"),
    ],
)
def test_stored_fields_that_make_no_sense_are_refused(name: str, value: object, words: str) -> None:
    arrays = JumpConfig().fit(three_regimes(0).observations.rows(0, 500)).to_arrays()
    with pytest.raises(RegimeError, match=words):
        JumpModel.from_arrays({**arrays, name: np.array(value)})
