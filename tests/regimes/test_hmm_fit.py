"""Fits of Markov-switching models: the objective, recovery, robustness, and bad input."""

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from regimes import hmm_fit
from regimes.base import Array, Observations, RegimeError
from regimes.hmm import (
    GaussianHMM,
    GaussianHMMConfig,
    StudentHMM,
    StudentHMMConfig,
    SwitchingConfig,
    SwitchingRegression,
    SwitchingRegressionConfig,
    choose_num_regimes,
    held_out_log_likelihood,
)
from regimes.online import OnlineDetector, Schedule

DRIFT_K = np.array([0.0008, 0.0, -0.0015])
VOLATILITY_K = np.array([0.007, 0.011, 0.022])
STAY_K = np.array([0.992, 0.985, 0.97])
TRANSITION_KK = np.where(np.eye(3, dtype=bool), STAY_K[:, None], (1.0 - STAY_K[:, None]) / 2.0)
CONFIGS: list[SwitchingConfig] = [
    GaussianHMMConfig(),
    StudentHMMConfig(),
    SwitchingRegressionConfig(),
    SwitchingRegressionConfig(noise="student", nu=6.0),
]


def chain(bars: int, random: np.random.Generator, transition_KK: Array) -> NDArray[np.int64]:
    """Regimes k_{-1}, ..., k_{T-1}: entry t governs bar t."""
    sum_KK = np.cumsum(transition_KK, axis=1)
    regime_T = np.zeros(bars + 1, dtype=np.int64)
    for bar, uniform in enumerate(random.uniform(size=bars)):
        regime_T[bar + 1] = min(int(np.searchsorted(sum_KK[regime_T[bar]], uniform)), 2)
    return regime_T


def daily(bars: int, seed: int, nu: float = math.inf) -> tuple[Observations, NDArray[np.int64]]:
    """The market of the study: three regimes of drift and volatility."""
    random = np.random.default_rng(seed)
    regime_T = chain(bars, random, TRANSITION_KK)
    noise_T = random.normal(size=bars)
    if math.isfinite(nu):
        noise_T = random.standard_t(nu, size=bars) * math.sqrt((nu - 2.0) / nu)
    now_T = regime_T[:-1]
    return Observations.of(DRIFT_K[now_T] + VOLATILITY_K[now_T] * noise_T), regime_T[1:]


def accuracy(belief_TK: Array, regime_T: NDArray[np.int64], split: int) -> float:
    """Share of bars from `split` whose likeliest regime is right, labels matched before it."""
    likely_T = belief_TK.argmax(axis=1)
    maps = [np.array(order) for order in itertools.permutations(range(belief_TK.shape[1]))]
    best = max(maps, key=lambda map_K: (map_K[likely_T[:split]] == regime_T[:split]).mean())
    return float((best[likely_T[split:]] == regime_T[split:]).mean())


@pytest.mark.parametrize("nu", [math.inf, 4.0])
@pytest.mark.parametrize("regimes", [1, 2, 4])
def test_the_objective_never_falls(nu: float, regimes: int) -> None:
    random = np.random.default_rng(3)
    x_TM = random.normal(size=(600, 1))
    y_TD = random.standard_t(3, size=(600, 2)) + x_TM * [1.0, -1.0]
    y_TD[100:120] = np.nan
    sample = hmm_fit.Sample.of(Observations.of(y_TD, x_TM), regimes)
    prior = hmm_fit.StickyPrior(persistence_bars=50.0, bars=20.0)
    plan = hmm_fit.Search(regimes, nu, prior, restarts=3, max_iterations=60, tolerance=1e-300)
    for attempt in range(3):
        start = hmm_fit._starting_values(sample, plan, attempt, random)
        _, heights = hmm_fit.climb(sample, start, plan)
        assert len(heights) > (3 if regimes > 1 or math.isfinite(nu) else 1)
        assert np.diff(heights).min() > -1e-9 * abs(heights[-1])


@pytest.mark.parametrize("nu", [math.inf, 4.0])
def test_a_fit_is_a_local_maximum_of_the_posterior(nu: float) -> None:
    observations, _ = daily(1500, seed=2)
    sample = hmm_fit.Sample.of(observations, 2)
    prior = hmm_fit.StickyPrior(persistence_bars=50.0, bars=20.0)
    plan = hmm_fit.Search(2, nu, prior, restarts=4, max_iterations=2000, tolerance=1e-12)
    best = hmm_fit.search(sample, plan, seed=0)

    def height(parameters: hmm_fit.Parameters) -> float:
        return hmm_fit.climb(sample, parameters, replace(plan, max_iterations=1))[1][0]

    top = height(best)
    step = 0.01
    leave_KK = np.array([[-step, step], [0.0, 0.0]]) * best.transition_KK[0, 1]
    for sign in (-1.0, 1.0):
        for regime in range(2):
            only_K11 = (np.arange(2) == regime)[:, None, None]
            shifted = best.loading_KDP + sign * step * only_K11
            assert height(replace(best, loading_KDP=shifted)) < top
            wider = best.scatter_KDD * (1.0 + sign * step * only_K11)
            assert height(replace(best, scatter_KDD=wider)) < top
        assert height(replace(best, transition_KK=best.transition_KK + sign * leave_KK)) < top


def test_true_parameters_are_found_again() -> None:
    observations, _ = daily(20_000, seed=1)
    model = GaussianHMMConfig().fit(observations)
    assert_allclose(model.volatility, VOLATILITY_K, rtol=0.05)
    assert_allclose(model.drift, DRIFT_K, atol=0.0006)
    assert_allclose(np.diag(model.transition), STAY_K, atol=0.006)


def test_true_loadings_are_found_again() -> None:
    random = np.random.default_rng(5)
    stay_KK = np.array([[0.98, 0.02], [0.03, 0.97]])
    regime_T = chain(6000, random, stay_KK)[:-1]
    loading_KM = np.array([[0.8, 0.0], [-0.5, 0.3]])
    x_TM = random.normal(size=(6000, 2)) * [1.0, 10.0] + [0.0, 5.0]
    noise_T = random.standard_t(5, size=6000) * math.sqrt(0.6)
    y_T = 0.1 + (loading_KM[regime_T] * x_TM).sum(axis=1) + np.array([0.5, 1.5])[regime_T] * noise_T
    config = SwitchingRegressionConfig(num_regimes=2, noise="student", nu_grid=(3.0, 5.0, 9.0))
    model = config.fit(Observations.of(y_T, x_TM))
    assert model.nu == 5.0
    assert_allclose(model.loading_KDP[:, 0, 1:], loading_KM, atol=0.06)
    assert_allclose(model.covariance_KDD[:, 0, 0], [0.25, 2.25], rtol=0.15)
    assert_allclose(np.diag(model.transition), [0.98, 0.97], atol=0.01)
    # Drift and volatility are those of y itself, the part that the regressors explain included.
    for regime in range(2):
        own_T = y_T[regime_T == regime]
        assert_allclose(model.drift[regime], own_T.mean(), atol=0.15)
        assert_allclose(model.volatility[regime], own_T.std(), rtol=0.1)


def test_close_to_the_oracle_on_daily_returns() -> None:
    gap = []
    for seed in range(4):
        observations, regime_T = daily(5000, seed=100 + seed)
        oracle = GaussianHMM.from_parameters(
            transition=TRANSITION_KK, mean=DRIFT_K, covariance=VOLATILITY_K**2
        )
        model = GaussianHMMConfig().fit(observations.rows(0, 2500))
        best = accuracy(oracle.filter(observations), regime_T, 2500)
        found = accuracy(model.filter(observations), regime_T, 2500)
        assert found > 0.8
        gap.append(best - found)
    assert np.mean(gap) < 0.025


def test_fat_tails_need_a_t_law() -> None:
    for seed in range(2):
        observations, regime_T = daily(5000, seed=200 + seed, nu=4.0)
        train, test = observations.rows(0, 2500), observations.rows(2500, 5000)
        student, normal = StudentHMMConfig().fit(train), GaussianHMMConfig().fit(train)
        assert student.nu <= 6.0
        gain_T = student.predictive_log_likelihood(test) - normal.predictive_log_likelihood(test)
        assert gain_T.mean() > 0.01
        assert (
            accuracy(student.filter(observations), regime_T, 2500)
            > accuracy(normal.filter(observations), regime_T, 2500) + 0.02
        )


def test_thin_tails_choose_a_nearly_normal_law() -> None:
    model = StudentHMMConfig().fit(daily(2500, seed=100)[0])
    assert model.nu >= 20.0


@pytest.mark.parametrize("config", CONFIGS)
def test_units_do_not_matter(config: SwitchingConfig) -> None:
    observations, _ = daily(1000, seed=4)
    other = Observations.of(observations.y_TD * 1e4 + 7.0)
    model, rescaled = config.fit(observations), config.fit(other)
    assert_allclose(rescaled.volatility, model.volatility * 1e4, rtol=1e-6)
    assert_allclose(rescaled.drift, model.drift * 1e4 + 7.0, rtol=1e-6)
    assert_allclose(rescaled.filter(other), model.filter(observations), atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_same_seed_same_bits_and_regimes_by_volatility(config: SwitchingConfig) -> None:
    observations, _ = daily(1000, seed=5)
    one, two = config.fit(observations, seed=3), config.fit(observations, seed=3)
    for name, array in one.to_arrays().items():
        assert_array_equal(array, two.to_arrays()[name])
    assert (np.diff(one.volatility) >= 0.0).all()
    assert_array_equal(type(one).from_arrays(one.to_arrays()).transition, one.transition)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_warm_fit_keeps_the_order_of_regimes(config: SwitchingConfig) -> None:
    observations, _ = daily(2500, seed=6)
    cold = config.fit(observations.rows(0, 2000))
    turned = cold.permuted(np.array([2, 0, 1]))
    warm = config.fit(observations.rows(250, 2250), warm=turned)
    assert_array_equal(np.argsort(warm.volatility), np.argsort(turned.volatility))
    assert warm.nu == cold.nu
    straight = config.fit(observations.rows(250, 2250), warm=cold)
    assert_allclose(warm.volatility, straight.volatility[[2, 0, 1]], rtol=1e-6)
    # Nothing new, nothing changes.
    again = config.fit(observations.rows(0, 2000), warm=cold)
    assert_allclose(again.volatility, cold.volatility, rtol=0.02)


def test_a_warm_fit_may_begin_at_impossible_transitions() -> None:
    observations, _ = daily(2000, seed=7)
    start = GaussianHMM.from_parameters(
        transition=np.eye(3), mean=np.zeros(3), covariance=VOLATILITY_K**2
    )
    model = GaussianHMMConfig(warm_iterations=300).fit(observations, warm=start)
    assert np.diag(model.transition).max() < 0.9999
    assert (model.transition > 0.0).all()


def test_the_prior_lengthens_regimes() -> None:
    observations = Observations.of(noise(500))
    free, sticky, frozen = (
        GaussianHMMConfig(num_regimes=2, persistence_bars=bars, prior_bars=weight).fit(observations)
        for bars, weight in ((2.0, 1e-3), (50.0, 1e9), (1e6, 1e-3))
    )
    assert_allclose(np.diag(sticky.transition), 0.98, atol=1e-5)
    assert np.diag(free.transition).min() < 0.98
    assert (frozen.transition > 0.0).all()
    assert np.isfinite(frozen.filter(observations)).all()


def test_the_number_of_regimes_that_foresees_best() -> None:
    random = np.random.default_rng(8)
    regime_T = chain(2000, random, np.array([[0.98, 0.02], [0.02, 0.98]]))[:-1]
    two = Observations.of(np.array([-2.0, 2.0])[regime_T] + random.normal(size=2000))
    config = GaussianHMMConfig(prior_bars=50.0)
    assert choose_num_regimes(two, (3, 1, 2), config) == 2
    assert choose_num_regimes(Observations.of(random.normal(size=2000)), (1, 2), config) == 1
    # One normal regime foresees independent noise as well as its entropy allows.
    score = held_out_log_likelihood(
        Observations.of(random.normal(size=20_000)), GaussianHMMConfig(num_regimes=1)
    )
    assert_allclose(score, -0.5 * math.log(2.0 * math.pi * math.e), atol=0.03)
    with pytest.raises(RegimeError, match="at least one number"):
        choose_num_regimes(two, (), config)


@pytest.mark.parametrize("config", CONFIGS)
def test_choices_read_the_span_in_order(config: SwitchingConfig) -> None:
    # What is fitted must not know the part that it is judged by.
    observations, _ = daily(1200, seed=9)
    y_TD = observations.y_TD.copy()
    y_TD[900:] = np.random.default_rng(0).normal(size=(300, 1))
    fitted = replace(config, restarts=2).fit(observations.rows(0, 900))
    expected = fitted.predictive_log_likelihood(Observations.of(y_TD))[900:].mean()
    found = held_out_log_likelihood(Observations.of(y_TD), replace(config, restarts=2))
    assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_single_regime_in_the_training_span_fits(config: SwitchingConfig) -> None:
    observations = Observations.of(np.random.default_rng(1).normal(size=400) * 0.01)
    model = config.fit(observations)
    belief_TK = model.filter(observations)
    assert np.isfinite(belief_TK).all()
    assert (model.volatility > 0.0).all()
    assert (model.transition > 0.0).all()
    assert_allclose(belief_TK @ model.volatility, 0.01, rtol=0.5)


def test_regimes_without_bars_stay_finite() -> None:
    random = np.random.default_rng(1)
    y_T = np.where(np.arange(600) < 300, 0.0, random.normal(size=600))
    y_T[10] = 1e-9
    model = GaussianHMMConfig(num_regimes=6).fit(Observations.of(y_T))
    assert np.isfinite(model.filter(Observations.of(y_T))).all()
    # However alike the bars of a regime, its volatility is not 0.
    assert model.volatility[0] > 5e-3


@pytest.mark.parametrize("config", CONFIGS)
def test_gaps_and_outliers_in_the_training_span(config: SwitchingConfig) -> None:
    observations, regime_T = daily(3000, seed=10)
    y_TD = observations.y_TD.copy()
    clean = config.fit(observations).filter(observations)
    y_TD[[50, 51, 52, 700]] = np.nan
    y_TD[1000] = 1e6 * VOLATILITY_K[2]
    model = config.fit(Observations.of(y_TD))
    spoilt = model.filter(Observations.of(y_TD))
    assert np.isfinite(spoilt).all()
    # One of three regimes is lost to the outlier, the others keep to the rest.
    assert accuracy(spoilt, regime_T, 1500) > accuracy(clean, regime_T, 1500) - 0.1
    assert model.volatility[1] < 0.03


def test_a_crash_takes_no_regime_of_a_t_law() -> None:
    observations, regime_T = daily(3000, seed=10)
    y_TD = observations.y_TD.copy()
    y_TD[1000] = -100.0 * VOLATILITY_K[2]
    model = StudentHMMConfig(nu=6.0).fit(Observations.of(y_TD))
    assert_allclose(model.volatility, VOLATILITY_K, rtol=0.2)
    assert accuracy(model.filter(Observations.of(y_TD)), regime_T, 1500) > 0.85


def test_regressors_may_be_missing_where_the_series_are() -> None:
    x_TM = noise(600)
    y_TD = x_TM + np.random.default_rng(3).normal(size=(600, 1))
    y_TD[100:110], x_TM[105] = np.nan, np.nan
    model = SwitchingRegressionConfig(num_regimes=1).fit(Observations.of(y_TD, x_TM))
    kept = np.isfinite(y_TD[:, 0])
    slope = np.polyfit(x_TM[kept, 0], y_TD[kept, 0], 1)[0]
    # The prior is worth one bar, and draws to no slope.
    assert_allclose(model.loading_KDP[0, 0, 1], slope, rtol=0.01)
    belief_TK = model.filter(Observations.of(y_TD, x_TM))
    assert_array_equal(belief_TK, np.ones((600, 1)))


def noise(bars: int, width: int = 1) -> Array:
    return np.random.default_rng(2).normal(size=(bars, width))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(500, 0.1), "series 0: .*constant column around 0.1"),
        (np.column_stack([noise(500), np.zeros(500)]), "series 1: .*constant"),
        (noise(40), "expected at least 60 bars .* for 3 regimes, found 40"),
        (np.full(500, np.nan), "60 bars .* found 0"),
        (noise(0), "60 bars .* found 0"),
        (noise(500) @ [[1.0, 2.0]], "collinear ones: series 0, series 1"),
        (
            noise(500, 2) @ [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]],
            "collinear ones: series 0, series 1, ",
        ),
        (1e200 * noise(500), "series 0: expected numbers within 1e.100"),
        (1e-200 * noise(500), "series 0: .*constant"),
    ],
)
def test_unfit_series(config: SwitchingConfig, y: Array, message: str) -> None:
    with pytest.raises(RegimeError, match=message):
        config.fit(Observations.of(y))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((500, 1)), "regressor 0: .*constant column around 1"),
        (noise(500) @ [[1.0, -1.0]], "collinear ones: regressor 0, regressor 1"),
        (3.0 * noise(500) + 1.0, "collinear ones: regressor 0, series 0"),
    ],
)
def test_unfit_regressors(x: Array, message: str) -> None:
    with pytest.raises(RegimeError, match=message):
        SwitchingRegressionConfig().fit(Observations.of(noise(500), x))


def test_too_few_bars_to_choose_by() -> None:
    with pytest.raises(RegimeError, match=r"first three quarters .* at least 60 .* found 53"):
        StudentHMMConfig().fit(Observations.of(noise(70)))
    assert isinstance(StudentHMMConfig(nu=5.0).fit(Observations.of(noise(70))), StudentHMM)


@pytest.mark.parametrize(
    ("warm", "message"),
    [
        (
            StudentHMM.from_parameters(
                transition=TRANSITION_KK, mean=DRIFT_K, covariance=VOLATILITY_K, nu=4.0
            ),
            "expected a gaussian_hmm model, found student_hmm",
        ),
        (
            GaussianHMM.from_parameters(transition=[[1.0]], mean=[0.0], covariance=[1.0]),
            r"= \(3, 1, 0\), found \(1, 1, 0\)",
        ),
    ],
)
def test_a_model_that_is_no_beginning(
    warm: GaussianHMM | StudentHMM | SwitchingRegression, message: str
) -> None:
    with pytest.raises(RegimeError, match=message):
        GaussianHMMConfig().fit(Observations.of(noise(500)), warm=warm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scatter_KDD": -np.ones((2, 1, 1))}, "not positive definite"),
        ({"loading_KDP": np.full((2, 1, 1), np.nan)}, "diverged, the objective is nan"),
    ],
)
def test_a_climb_that_diverges_says_so(change: dict[str, Array], message: str) -> None:
    sample = hmm_fit.Sample.of(Observations.of(noise(500)), 2)
    prior = hmm_fit.StickyPrior(persistence_bars=50.0, bars=20.0)
    plan = hmm_fit.Search(2, math.inf, prior, restarts=1, max_iterations=5, tolerance=1e-6)
    good = hmm_fit.search(sample, plan, seed=0)
    with pytest.raises(RegimeError, match=message):
        hmm_fit.climb(sample, replace(good, **change), plan)  # type: ignore[arg-type]


def test_a_falling_objective_is_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter(range(0, -10_000, -100))
    monkeypatch.setattr(hmm_fit, "_log_prior", lambda *_: float(next(falling)))
    with pytest.raises(RegimeError, match=r"all 6 starting values diverged; .*objective fell"):
        GaussianHMMConfig().fit(Observations.of(noise(500)))


@pytest.mark.parametrize("config", [GaussianHMMConfig(), StudentHMMConfig()])
def test_a_fit_of_ten_years_takes_a_part_of_a_second(config: SwitchingConfig) -> None:
    observations, _ = daily(2500, seed=11)
    config.fit(observations)
    begin = time.process_time()
    config.fit(observations)
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("config", CONFIGS)
def test_configurations_are_checked_and_written_as_json(config: SwitchingConfig) -> None:
    adapter = TypeAdapter(type(config))
    assert adapter.validate_json(adapter.dump_json(config)) == config
    assert config.capacity == 3
    for fault in ({"num_regimes": 0}, {"persistence_bars": 1.0}, {"restarts": 0}, {"hidden": 3}):
        with pytest.raises(ValidationError):
            adapter.validate_python(fault)
    if not isinstance(config, GaussianHMMConfig):
        with pytest.raises(ValidationError, match="greater than 2"):
            adapter.validate_python({"nu": 2.0})


def test_nearly_collinear_series_say_what_they_say_one_by_one() -> None:
    random = np.random.default_rng(12)
    scale_T = np.repeat([0.006, 0.02, 0.006, 0.02], 200)
    first_T = scale_T * random.standard_normal(800)
    second_T = scale_T * random.standard_normal(800)
    apart = np.stack([first_T, second_T], axis=1)
    close = np.stack([first_T, 2.0 * first_T + 1e-4 * second_T], axis=1)
    config = GaussianHMMConfig(num_regimes=2, restarts=2)
    one, two = (
        config.fit(Observations.of(y_TD)).filter(Observations.of(y_TD)) for y_TD in (apart, close)
    )
    np.testing.assert_allclose(one, two, atol=0.02)


@pytest.mark.parametrize("kind", [GaussianHMMConfig, StudentHMMConfig])
def test_a_regime_that_left_the_window_stays_what_it_was(
    kind: type[GaussianHMMConfig | StudentHMMConfig],
) -> None:
    random = np.random.default_rng(13)
    scale_T = np.repeat(
        [0.006, 0.03, 0.006, 0.03, 0.006, 0.03, 0.006], [300, 150, 300, 150, 100, 150, 1500]
    )
    y_T = scale_T * random.standard_normal(len(scale_T))
    online = OnlineDetector(kind(num_regimes=2), Schedule(every=125, window=800))
    online.fit(y_T[:1000], until=1000)
    before = online.model.volatility
    online.filter(y_T)
    assert len(online.events) == 13
    assert all(event.accepted for event in online.events), online.events
    assert online.ids == (0, 1)
    np.testing.assert_allclose(online.model.volatility, before, rtol=0.15)
    assert online.filter(0.03 * random.standard_normal(30))[10:, 1].mean() > 0.9
