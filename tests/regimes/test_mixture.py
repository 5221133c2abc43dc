"""Dirichlet-process mixtures: scikit-learn's responsibilities, trailing statistics, warm fits."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.mixture import BayesianGaussianMixture
from threadpoolctl import threadpool_info, threadpool_limits

from regimes.base import Array, Observations, RegimeError, RegimeModel
from regimes.mixture import DPGMMConfig, DPGMMModel
from regimes.mixture_fit import TOLERANCE, MixtureSettings, fitted_components
from regimes.trailing import quiet_fit, window_features

TRAIN = 2500


@dataclass(frozen=True)
class Market:
    """Daily returns whose regime is known."""

    observations: Observations
    regime_T: NDArray[np.int64]

    @property
    def train(self) -> Observations:
        return self.observations.rows(0, TRAIN)


def three_regimes(seed: int, bars: int = 2 * TRAIN) -> Market:
    """Calm, usual and wild: drifts .0008, 0, -.0015, deviations .007, .011, .022."""
    rng = np.random.default_rng(seed)
    stay_K, regime_T = np.array([0.992, 0.985, 0.97]), np.zeros(bars, np.int64)
    for bar in range(1, bars):
        before = regime_T[bar - 1]
        others = [regime for regime in range(3) if regime != before]
        stays = rng.random() < stay_K[before]
        regime_T[bar] = before if stays else rng.choice(others)
    drift_K, deviation_K = np.array([0.0008, 0.0, -0.0015]), np.array([0.007, 0.011, 0.022])
    return_T = drift_K[regime_T] + deviation_K[regime_T] * rng.standard_normal(bars)
    return Market(Observations.of(return_T), regime_T)


def accuracy(model: RegimeModel, market: Market) -> float:
    """Share of the bars after the training span whose regime is named rightly.

    Regimes are matched one to one on the training span; those left over go where they fit best.
    """
    belief_TK = model.filter(market.observations)
    shared_KJ = np.array(
        [belief_TK[:TRAIN][market.regime_T[:TRAIN] == true].sum(axis=0) for true in range(3)]
    ).T
    name_K = shared_KJ.argmax(axis=1)
    own_n, true_n = linear_sum_assignment(-shared_KJ)
    name_K[own_n] = true_n
    told_T = name_K[belief_TK[TRAIN:].argmax(axis=1)]
    return float((told_T == market.regime_T[TRAIN:]).mean())


def test_beliefs_are_the_responsibilities_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scale_N = np.where(rng.random(600) < 0.3, 0.03, 0.01)
    y_ND = scale_N[:, None] * rng.standard_normal((600, 2)) + 0.5
    model = DPGMMConfig(inputs="returns", max_components=4, least_weight=0.0).fit(
        Observations.of(y_ND), seed=3
    )
    points_NF = (y_ND - y_ND.mean(axis=0)) / y_ND.std(axis=0)
    theirs = BayesianGaussianMixture(
        n_components=4,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.1,
        n_init=2,
        max_iter=1000,
        tol=TOLERANCE,
        random_state=3,
    ).fit(points_NF)
    deviation_K = np.sqrt(
        (theirs.covariances_ * np.outer(y_ND.std(axis=0), y_ND.std(axis=0))).mean(axis=(1, 2))
    )
    expected = theirs.predict_proba(points_NF)[:, np.argsort(deviation_K)]
    np.testing.assert_allclose(model.filter(Observations.of(y_ND)), expected, atol=1e-9)
    np.testing.assert_allclose(model.volatility, np.sort(deviation_K), rtol=1e-9)


def test_trailing_statistics_are_those_of_the_last_bars() -> None:
    y_ND = np.random.default_rng(1).standard_normal((80, 2))
    found = window_features(y_ND, np.array([5.0, 12.0]), 0.1, 2.0)
    mean_N = (y_ND.mean(axis=1) - 0.1) / 2.0
    assert found.shape == (80 - 11, 4)
    for row in (0, 1, 40, 68):
        last = mean_N[: row + 12]
        expected = [
            last[-5:].mean(),
            np.log(last[-5:].std()),
            last[-12:].mean(),
            np.log(last[-12:].std()),
        ]
        np.testing.assert_allclose(found[row], expected, rtol=1e-10, atol=1e-14)


def test_windows_that_are_not_full_leave_the_shares_as_the_belief() -> None:
    market = three_regimes(0)
    model = DPGMMConfig(fast_window=5, slow_window=30).fit(market.train)
    belief_TK = model.filter(market.observations.rows(0, 40))
    np.testing.assert_array_equal(belief_TK[:29], np.tile(model.start_K, (29, 1)))
    assert not np.array_equal(belief_TK[29], model.start_K)


def test_light_components_are_dropped_and_the_rest_share_everything() -> None:
    points_NF = three_regimes(0).observations.y_TD[:600] / 0.01
    settings = MixtureSettings(6, 0.1, 0.0, 1)
    every = fitted_components(points_NF, settings, None, 0)
    some = fitted_components(points_NF, dataclasses.replace(settings, least_weight=0.05), None, 0)
    heavy_K = every.weight_K >= 0.05
    assert 0 < heavy_K.sum() < len(every) == 6
    assert some.weight_K.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(some.mean_KF, every.mean_KF[heavy_K])


def test_two_regimes_that_are_far_apart_are_found() -> None:
    rng = np.random.default_rng(2)
    wild_T = (np.arange(1200) // 150) % 2
    y_T = np.where(wild_T == 1, 0.04, 0.005) * rng.standard_normal(1200)
    model = DPGMMConfig(inputs="returns", max_components=3).fit(Observations.of(y_T))
    assert model.num_regimes == 2
    np.testing.assert_allclose(model.volatility, [0.005, 0.04], rtol=0.15)
    trailing = DPGMMConfig(max_components=3).fit(Observations.of(y_T))
    told_T = trailing.filter(Observations.of(y_T)) @ trailing.volatility > 0.02
    assert (told_T == (wild_T == 1))[100:].mean() > 0.9


def test_the_baseline_does_as_the_baseline_does() -> None:
    """Far above the constant guess (.48), far under the sticky chains (.85)."""
    markets = [three_regimes(seed) for seed in range(2)]
    scores = [accuracy(DPGMMConfig().fit(market.train), market) for market in markets]
    assert 0.6 < np.mean(scores) < 0.8


def test_a_warm_fit_of_the_same_bars_stays_where_it_is() -> None:
    train = three_regimes(1).train
    before = DPGMMConfig(inputs="returns").fit(train)
    order_K = np.arange(before.num_regimes)[::-1].copy()
    after = DPGMMConfig(inputs="returns").fit(train, warm=before.permuted(order_K))
    kept = after.num_regimes
    assert kept == before.num_regimes
    np.testing.assert_allclose(after.volatility, before.volatility[order_K], rtol=0.03)


def test_a_warm_fit_cannot_begin_with_more_components_than_there_is_room_for() -> None:
    train = three_regimes(1).train
    before = DPGMMConfig(max_components=5).fit(train)
    with pytest.raises(RegimeError, match="expected <= 2 components, found 5"):
        DPGMMConfig(max_components=2).fit(train, warm=before)


def test_a_fit_gets_ten_times_the_iterations_and_then_says_so() -> None:
    points_NF = three_regimes(0).train.y_TD / 0.01
    hasty = BayesianGaussianMixture(n_components=3, max_iter=1, tol=1e-300, random_state=0)
    with pytest.raises(RegimeError, match="a mixture: expected to converge in 10 iterations"):
        quiet_fit(hasty, points_NF, "a mixture")
    patient = BayesianGaussianMixture(n_components=3, max_iter=20, random_state=0)
    assert quiet_fit(patient, points_NF, "a mixture").max_iter == 200


class Watched(BayesianGaussianMixture):  # type: ignore[misc]  # it has no annotations
    """A mixture that notes how many threads its fit may use."""

    def fit(self, points_NF: Array) -> "Watched":
        self.threads_ = most_threads()
        super().fit(points_NF)
        return self


def most_threads() -> int:
    return max(int(pool["num_threads"]) for pool in threadpool_info())


def test_a_fit_runs_on_one_thread_and_leaves_the_others_alone() -> None:
    with threadpool_limits(2):
        before = most_threads()
        found = quiet_fit(
            Watched(n_components=2, random_state=0), three_regimes(0).train.y_TD, "a mixture"
        )
        after = most_threads()
    assert (before, found.threads_, after) == (2, 1, 2)


def tiny() -> DPGMMModel:
    return DPGMMConfig(inputs="returns", max_components=2, least_weight=0.0).fit(
        three_regimes(0).observations.rows(0, 400)
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mean_KF", np.zeros(2), "mean_KF: expected 2 dimensions, found 1"),
        ("mean_KF", np.zeros((3, 1)), "mean_KF: expected K = 2, found 3"),
        ("mean_KF", np.full((2, 1), np.nan), "mean_KF: expected finite numbers"),
        ("volatility_K", np.zeros(2), "volatility_K: expected values > 0"),
        ("transition_KK", np.ones((2, 2)), "transition_KK: expected probabilities"),
        ("start_K", np.array([1.5, -0.5]), "start_K: expected probabilities"),
        ("standard_XF", np.zeros((2, 1)), "standard_XF: expected deviations > 0"),
        ("scale_P", np.zeros(2), "scale_P: expected a deviation > 0"),
        ("windows_W", np.zeros(3), "expected two windows"),
        ("root_KFG", np.ones((2, 1, 3)), "root_KFG: expected G = 1, found 3"),
    ],
)
def test_stored_fields_that_make_no_sense_are_refused(name: str, value: Array, words: str) -> None:
    with pytest.raises(RegimeError, match=words):
        DPGMMModel.from_arrays({**tiny().to_arrays(), name: value})


def test_what_compiled_code_would_overrun_is_refused() -> None:
    model = tiny()
    with pytest.raises(RegimeError, match="expected a state of 2 floats"):
        model.advance(np.zeros(1), np.zeros(1), np.zeros(0))
    with pytest.raises(RegimeError, match="expected 1 series, found 2"):
        model.advance(model.start(), np.zeros(2), np.zeros(0))
    with pytest.raises(RegimeError, match="expected a permutation of 2 regimes"):
        model.permuted(np.array([0, 0]))
    with pytest.raises(ValueError, match="read-only"):
        model.mean_KF[0, 0] = 1.0


def test_windows_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="slow_window: expected > fast_window = 20, found 20"):
        DPGMMConfig(fast_window=20, slow_window=20)
