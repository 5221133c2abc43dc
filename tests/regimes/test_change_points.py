"""Run-length posterior against brute force, truncation, the alarm, and the map to regimes."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from regimes.base import Array, Observations, RegimeError
from regimes.change_points import BOCPDConfig, BOCPDModel
from tests.regimes.test_mixture import accuracy, three_regimes


def log_marginal(y_n: Array, kappa_0: float, alpha_0: float, beta_0: float) -> float:
    """Log marginal likelihood of a run under a normal-inverse-gamma prior of mean 0.

    Murphy (2007), Conjugate Bayesian analysis of the Gaussian distribution, (95).
    """
    bars = len(y_n)
    if bars == 0:
        return 0.0
    kappa, alpha = kappa_0 + bars, alpha_0 + 0.5 * bars
    spread = 0.5 * ((y_n - y_n.mean()) ** 2).sum()
    beta = beta_0 + spread + 0.5 * kappa_0 * bars * y_n.mean() ** 2 / kappa
    return (
        math.lgamma(alpha)
        - math.lgamma(alpha_0)
        + alpha_0 * math.log(beta_0)
        - alpha * math.log(beta)
        + 0.5 * math.log(kappa_0 / kappa)
        - 0.5 * bars * math.log(2.0 * math.pi)
    )


def by_enumeration(y_T: Array, hazard: float, kappa_0: float, alpha_0: float) -> Array:
    """Posterior of the run length after the last bar: the sum over all change points."""
    weight_R = np.zeros(len(y_T) + 1)
    for change_T in itertools.product([False, True], repeat=len(y_T)):
        ends = [0, *(bar + 1 for bar, changes in enumerate(change_T) if changes), len(y_T)]
        log_weight = sum(math.log(hazard if changes else 1.0 - hazard) for changes in change_T)
        for first, last in itertools.pairwise(ends):
            log_weight += log_marginal(y_T[first:last], kappa_0, alpha_0, alpha_0 - 1.0)
        weight_R[ends[-1] - ends[-2]] += math.exp(log_weight)
    return np.asarray(weight_R / weight_R.sum())


def with_windows(y_T: Array, longest: int, hazard: float, kappa_0: float, alpha_0: float) -> Array:
    """Run-length posterior where a run of `longest` bars or more is known by its last bars."""
    run_R = np.zeros(longest + 1)
    run_R[0] = 1.0
    for bar, value in enumerate(y_T):
        density_R = np.zeros(longest + 1)
        for bars in range(min(longest, bar) + 1):
            y_n = y_T[bar - bars : bar]
            kappa, alpha = kappa_0 + bars, alpha_0 + 0.5 * bars
            mean = y_n.sum() / kappa
            beta = alpha_0 - 1.0 + 0.5 * ((y_n**2).sum() - kappa * mean**2)
            scale = math.sqrt(beta * (kappa + 1.0) / (alpha * kappa))
            density_R[bars] = student_t.pdf(value, 2.0 * alpha, mean, scale)
        grown_R = run_R * density_R * (1.0 - hazard)
        ended = hazard * (run_R * density_R).sum()
        run_R = np.concatenate(([ended], grown_R[:-1]))
        run_R[-1] += grown_R[-1]
        run_R /= run_R.sum()
    return run_R


def bare(longest: int, hazard: float, kappa: float, alpha: float) -> BOCPDModel:
    """A model in units of the series, with a map of one regime."""
    return BOCPDModel(
        start_K=np.ones(1),
        drift_K=np.zeros(1),
        volatility_K=np.ones(1),
        transition_KK=np.ones((1, 1)),
        centre=np.array(0.0),
        scale=np.array(1.0),
        hazard=np.array(hazard),
        kappa=np.array(kappa),
        alpha=np.array(alpha),
        longest=np.array(float(longest)),
        offset_K=np.zeros(1),
        mean_KF=np.zeros((1, 2)),
        root_KFF=np.eye(2)[None],
    )


def after(model: BOCPDModel, y_T: Array) -> Array:
    """State after the series."""
    state_S = model.start()
    model.filter(Observations.of(y_T), state_S)
    return state_S


@pytest.mark.parametrize("bars", [1, 2, 5, 11])
def test_run_lengths_are_those_of_all_change_points(bars: int) -> None:
    rng = np.random.default_rng(bars)
    y_T = rng.standard_normal(bars) * np.where(np.arange(bars) < 6, 0.5, 4.0)
    model = bare(20, 0.1, 0.7, 1.5)
    found_R = model.run_probabilities(after(model, y_T))
    expected_R = by_enumeration(y_T, 0.1, 0.7, 1.5)
    np.testing.assert_allclose(found_R[: bars + 1], expected_R, atol=1e-12)
    assert (found_R[bars + 1 :] == 0.0).all()


def test_longer_runs_are_known_by_their_last_bars_and_no_probability_is_lost() -> None:
    y_T = np.random.default_rng(0).standard_normal(60)
    y_T[40:] *= 3.0
    model = bare(8, 0.02, 2.0, 2.0)
    for bars in (5, 30, 44, 60):
        found_R = model.run_probabilities(after(model, y_T[:bars]))
        np.testing.assert_allclose(found_R, with_windows(y_T[:bars], 8, 0.02, 2.0, 2.0), atol=1e-12)
        assert found_R.sum() == pytest.approx(1.0, abs=1e-14)


def test_a_break_raises_the_alarm_and_shortens_the_run() -> None:
    rng = np.random.default_rng(1)
    y_T = np.concatenate([0.3 * rng.standard_normal(200), 3.0 * rng.standard_normal(30)])
    model = bare(300, 0.01, 10.0, 2.0)
    alarm_T, length_T = model.trace(Observations.of(y_T), within=10)
    assert alarm_T[:9] == pytest.approx(1.0)
    assert alarm_T[100:200].max() < 0.5
    assert length_T[190:200].min() > 60.0
    assert alarm_T[203:208].min() > 0.95
    assert length_T[209] < 15.0
    assert alarm_T[-1] < 0.5 < model.alarm(after(model, y_T), 31)


def test_a_run_that_begins_is_told() -> None:
    model = bare(20, 0.1, 1.0, 2.0)
    assert model.alarm(model.start(), 1) == 1.0
    assert model.expected_run(model.start()) == 0.0
    assert model.alarm(after(model, np.array([0.1])), 1) == pytest.approx(0.1, abs=1e-15)
    for within in (0, 21):
        with pytest.raises(RegimeError, match=f"within: expected 1 to 20 bars, found {within}"):
            model.alarm(model.start(), within)


def test_the_map_finds_regimes_that_are_far_apart() -> None:
    rng = np.random.default_rng(2)
    wild_T = (np.arange(2000) // 200) % 2
    y_T = np.where(wild_T == 1, 0.03, 0.006) * rng.standard_normal(2000)
    model = BOCPDConfig(num_regimes=2).fit(Observations.of(y_T))
    np.testing.assert_allclose(model.volatility, [0.006, 0.03], rtol=0.35)
    told_T = model.filter(Observations.of(y_T)).argmax(axis=1)
    assert (told_T == wild_T).mean() > 0.93


def test_known_regimes_are_named_as_well_as_measured_before() -> None:
    """With a map that was shown the true labels the research's table has .825."""
    markets = [three_regimes(seed) for seed in range(3)]
    scores = [accuracy(BOCPDConfig().fit(market.train), market) for market in markets]
    assert np.mean(scores) > 0.78


def test_a_warm_fit_keeps_the_map_s_order() -> None:
    market = three_regimes(0)
    before = BOCPDConfig().fit(market.train).permuted(np.array([2, 0, 1]))
    after_all = BOCPDConfig().fit(market.observations.rows(125, 2625), warm=before)
    assert np.array_equal(np.argsort(after_all.volatility), np.argsort(before.volatility))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hazard", 1.0, "expected a hazard in"),
        ("alpha", 1.0, "alpha > 1"),
        ("longest", 0.0, "longest: expected a whole number in"),
        ("longest", 1.5, "longest: expected a whole number in"),
    ],
)
def test_stored_fields_that_make_no_sense_are_refused(name: str, value: float, words: str) -> None:
    arrays = bare(5, 0.1, 1.0, 2.0).to_arrays()
    with pytest.raises(RegimeError, match=words):
        BOCPDModel.from_arrays({**arrays, name: np.array(value)})
