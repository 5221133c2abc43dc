"""The stylised-facts market: its facts against the real series, its law, its causality."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from markets import Bars
from markets.errors import MarketDataError
from markets.sources.packages import PackagesSource
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.stylised_facts import StylisedFacts, draw, play
from markets.synthetic.stylised_facts_fit import (
    calibrate,
    filtered,
    mean_correlation,
    range_ratio,
)
from markets.synthetic.stylised_facts_kernel import Draws
from markets.synthetic.stylised_facts_moments import downside, persistence_matrix
from markets.synthetic.stylised_facts_statistics import (
    ABSOLUTE_LAGS,
    LEVERAGE_LAGS,
    Fact,
    facts,
    intervals,
    relative_volume,
)

Real = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Log returns and volumes."""

MARKET = StylisedFacts()
ONE_REGIME = replace(
    MARKET,
    transition=((1.0,),),
    mean=(0.0,),
    omega=(1e-6,),
    arch=(0.05,),
    asymmetry=(0.1,),
    garch=(0.85,),
)
PATH_FIELDS = tuple(field.name for field in dataclasses.fields(MARKET.path(1, seed=0)))[1:]


@pytest.fixture(scope="module")
def training() -> Bars:
    """The span of the calibration: the NASDAQ Composite, 1999 to 2009."""
    return PackagesSource(dataset="nasdaq", end="2009-12-31").load().bars


@pytest.fixture(scope="module")
def real(training: Bars) -> Real:
    return np.diff(np.log(training.close[:, 0])), training.volume[1:, 0]


@pytest.fixture(scope="module")
def real_intervals(real: Real) -> dict[str, Fact]:
    return intervals(*real)


@pytest.fixture(scope="module")
def medians(real: Real) -> dict[str, float]:
    """Median facts of 1,000 paths of the real length, on seeds that calibrated nothing.

    Of 100 paths the median of a linear autocorrelation is uncertain by 0.004, of the size of some
    distances to the end of an interval.
    """
    paths = (MARKET.path(len(real[0]), seed=43_000_000 + number) for number in range(1000))
    found = [facts(path.return_TA[:, 0], path.volume_TA[:, 0]) for path in paths]
    return {name: float(np.median([each[name] for each in found])) for name in found[0]}


# Linear autocorrelation at lag 2 is left out: the index had -0.07 [-0.12, -0.01], the market none.
@pytest.mark.parametrize(
    "name",
    [
        "deviation",
        "kurtosis",
        "skewness",
        *(f"acf_abs_{lag}" for lag in ABSOLUTE_LAGS),
        *(f"leverage_{lag}" for lag in LEVERAGE_LAGS),
        *("acf_1", "acf_5", "acf_10"),
        "volume_volatility",
    ],
)
def test_fact_lies_inside_the_interval_of_the_real_series(
    name: str, medians: dict[str, float], real_intervals: dict[str, Fact]
) -> None:
    assert medians[name] in real_intervals[name]


def test_no_linear_autocorrelation(medians: dict[str, float]) -> None:
    for lag in (1, 2, 5, 10):
        assert abs(medians[f"acf_{lag}"]) < 0.02


def test_intervals_refuse_a_market_without_the_facts(
    real: Real, real_intervals: dict[str, Fact]
) -> None:
    """Independent normal returns fail: the intervals can tell."""
    rng = np.random.default_rng(0)
    flat = facts(rng.standard_normal(len(real[0])), rng.lognormal(size=len(real[0])))
    refused = [name for name in real_intervals if flat[name] not in real_intervals[name]]
    assert {"kurtosis", "acf_abs_1", "acf_abs_20", "leverage_1", "volume_volatility"} <= {*refused}


def test_within_a_bar_as_in_the_real_series(training: Bars) -> None:
    def figures(bars: Bars) -> tuple[float, float]:
        opening, close = np.log(bars.open[1:, 0]), np.log(bars.close[:, 0])
        gap, move = opening - close[:-1], np.diff(close)
        spread = np.log(bars.high[1:, 0] / bars.low[1:, 0])
        share = np.cov(gap, move)[0, 1] / move.var()
        return float(share), float(spread.mean() / np.abs(close[1:] - opening).mean())

    simulated = figures(MARKET.path(100_000, seed=1).bars)
    np.testing.assert_allclose(simulated, figures(training), rtol=0.04)


def test_defaults_are_the_recorded_calibration() -> None:
    recorded = json.loads(Path("experiments/stylised_facts/calibration.json").read_text())
    assert StylisedFacts(**recorded) == MARKET


def test_defaults_are_a_good_account_of_the_real_series(real: Real) -> None:
    """Likelihood far above one regime's constant variance; and moved parameters lower it."""
    return_T, _ = real
    value = filtered(MARKET, return_T).log_likelihood
    constant = stats.norm.logpdf(return_T, return_T.mean(), return_T.std()).sum()
    assert value > constant + 500.0
    assert value > filtered(replace(MARKET, degrees_of_freedom=3.0), return_T).log_likelihood
    assert value > filtered(replace(MARKET, jump_probability=0.1), return_T).log_likelihood


def test_calibration_runs_on_another_series(training: Bars) -> None:
    """Two evaluations: every step is done, and what is exact is exact."""
    market = calibrate(training.rows(0, 1500), evaluations=2)
    assert market.persistence < 1.0
    assert market.setup.variance_K[0] < market.setup.variance_K[1]
    assert 0.0 < market.overnight_share < 1.0
    assert 2.5 <= market.degrees_of_freedom <= 60.0


def test_calibration_refuses_what_it_cannot_use(training: Bars) -> None:
    with pytest.raises(SyntheticMarketError, match=r"at least 500 bars, found \['IXIC'\] and 400"):
        calibrate(training.rows(0, 400))
    late = PackagesSource(dataset="nasdaq", start="2014-01-01").load().bars
    with pytest.raises(SyntheticMarketError, match="a volume in every bar, found none in row 341"):
        calibrate(late)
    with pytest.raises(SyntheticMarketError, match="two symbols"):
        mean_correlation(training)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"garch": (0.99, 0.99), "asymmetry": (0.1, 0.1)}, r"persistence .* expected < 1, found 1"),
        ({"jump_probability": 1.5}, "jump_probability"),
        ({"jump_probability": -0.1}, "jump_probability"),
        ({"jump_probability": 0.5, "jump_mean": 3.0}, r"variance of jumps below 1 .* found 2\."),
        ({"transition": ((0.9, 0.2), (0.1, 0.9))}, r"transition\[0\]: .* sum to 1"),
        ({"transition": ((1.1, -0.1), (0.1, 0.9))}, r"transition\[0, 0\]: expected a probability"),
        ({"transition": ((1.0,),)}, "transition"),
        ({"omega": (1e-6,)}, "omega"),
        ({"omega": (1e-6, 0.0)}, "omega"),
        ({"degrees_of_freedom": 2.0}, "degrees_of_freedom"),
        ({"overnight_share": 1.2}, "overnight_share"),
        ({"assets": 3, "correlation": -0.6}, "positive definite matrix, found .* eigenvalue -0.2"),
        ({"assets": 2, "correlation": ((1.0, 0.2), (0.3, 1.0))}, "symmetric"),
        ({"assets": 2, "correlation": ((1.0,),)}, r"expected shape \(2, 2\), found \(1, 1\)"),
        ({"volume_persistence": 1.0}, "volume_persistence"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    # pydantic hands a SyntheticMarketError on as its own ValueError.
    with pytest.raises(ValueError, match=message):
        StylisedFacts(**changes)


def test_paths_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SyntheticMarketError, match="num_bars >= 1"):
        MARKET.path(0, seed=0)
    with pytest.raises(SyntheticMarketError, match="seed >= 0, found 1 and -1"):
        MARKET.path(1, seed=-1)
    with pytest.raises(SyntheticMarketError, match=r"400 bars end before 2262, found 2261-01-01"):
        _ = replace(MARKET, start="2261-01-01").path(400, seed=0).bars
    with pytest.raises(MarketDataError, match="expected at least 170 returns, found 100"):
        facts(np.ones(100), np.ones(100))


def test_same_seed_same_bits_and_another_seed_another_path() -> None:
    first, second, other = (MARKET.path(50, seed=seed) for seed in (7, 7, 8))
    assert first.bars == second.bars
    assert first.bars != other.bars


def test_longer_path_begins_with_the_shorter() -> None:
    market = replace(MARKET, assets=3)
    short, long = market.path(123, seed=5), market.path(1000, seed=5)
    for name in PATH_FIELDS:
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:123], name)


def test_nothing_depends_on_later_numbers() -> None:
    """Replace every random number after bar t by noise: all up to t stays, bit for bit."""
    market, bar = replace(MARKET, assets=2), 60
    draws, noise = draw(market, 100, 1), draw(market, 100, 2)
    mixed = Draws(
        draws.start,
        *(
            np.concatenate([kept[: bar + 1], changed[bar + 1 :]])
            for kept, changed in zip(draws[1:], noise[1:], strict=True)
        ),
    )
    before, after = play(market, draws, 10), play(market, mixed, 10)
    known = bar + 1 - 10
    for name in PATH_FIELDS:
        np.testing.assert_array_equal(getattr(before, name)[:known], getattr(after, name)[:known])
    assert not np.array_equal(before.close_TA[known], after.close_TA[known])


def test_bars_are_ordinary_and_the_truth_is_read_only() -> None:
    path = replace(MARKET, assets=2).path(500, seed=3)
    bars = path.bars
    assert bars.symbols == ("SYN0", "SYN1")
    assert bars.bars_per_year == pytest.approx(252.0)
    gap = np.log(bars.open[1:] / bars.close[:-1])
    assert (np.abs(gap) > 0.0).all()
    assert (path.spread_TA > 0.0).all()
    for name in PATH_FIELDS:
        assert not getattr(path, name).flags.writeable


def test_conditional_volatility_is_that_of_the_next_return() -> None:
    path = MARKET.path(200_000, seed=11)
    mean_T = np.array(MARKET.mean)[path.regime_T[:-1]]
    shock_T = (path.return_TA[1:, 0] - mean_T) / path.volatility_TA[:-1, 0]
    assert shock_T.mean() == pytest.approx(0.0, abs=0.01)
    assert shock_T.var() == pytest.approx(1.0, abs=0.02)
    falling = downside(
        MARKET.degrees_of_freedom,
        MARKET.jump_probability,
        MARKET.jump_mean,
        MARKET.jump_deviation,
    )
    assert np.mean(shock_T**2 * (shock_T < 0.0)) == pytest.approx(falling, abs=0.012)
    assert path.jump_T.mean() == pytest.approx(MARKET.jump_probability, rel=0.1)
    stays = (np.diff(path.regime_T) == 0)[path.regime_T[:-1] == 0].mean()
    assert stays == pytest.approx(MARKET.transition[0][0], abs=1e-3)


def test_stationary_variance_of_one_regime_is_gjr_garchs() -> None:
    """omega / (1 - alpha - gamma / 2 - beta) where innovations are symmetric, by hand."""
    market = replace(ONE_REGIME, jump_probability=0.0)
    assert market.persistence == pytest.approx(0.95)
    assert market.deviation**2 == pytest.approx(1e-6 / 0.05)


def test_persistence_of_equal_regimes_is_that_of_one() -> None:
    matrix = persistence_matrix(np.array(MARKET.transition), np.full(2, 0.1), np.full(2, 0.85))
    assert np.abs(np.linalg.eigvals(matrix)).max() == pytest.approx(0.95)


def test_recursion_by_hand() -> None:
    """The variance of the third bar from the second return, without jumps and warm-up."""
    market = replace(ONE_REGIME, jump_probability=0.0)
    path = play(market, draw(market, 3, 0), 0)
    shock = path.return_TA[1, 0]
    slope = 0.15 if shock < 0.0 else 0.05
    expected = 1e-6 + slope * shock**2 + 0.85 * path.volatility_TA[0, 0] ** 2
    assert path.volatility_TA[1, 0] ** 2 == pytest.approx(expected, rel=1e-12)


def test_filter_recovers_the_truth() -> None:
    """Where the regime is certain its variance is the path's; beliefs are calibrated."""
    single = replace(ONE_REGIME, jump_probability=0.0)
    path = single.path(3000, seed=2)
    found = filtered(single, path.return_TA[:, 0])
    np.testing.assert_allclose(
        np.sqrt(found.variance_TK[1000:, 0]), path.volatility_TA[1000:, 0], rtol=1e-6
    )
    path = MARKET.path(50_000, seed=4)
    belief_T = filtered(MARKET, path.return_TA[:, 0]).belief_TK[:, 1]
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        inside = (belief_T > low) & (belief_T < high)
        assert path.regime_T[inside].mean() == pytest.approx(belief_T[inside].mean(), abs=0.1)


def test_likelihood_of_one_regime_is_students() -> None:
    """Constant variance, no jumps: the density is scipy's."""
    market = replace(
        ONE_REGIME, arch=(0.0,), asymmetry=(0.0,), garch=(0.0,), omega=(4.0,), jump_probability=0.0
    )
    return_T = np.array([0.3, -1.0, 5.0])
    degrees = market.degrees_of_freedom
    scale = 2.0 * np.sqrt((degrees - 2.0) / degrees)
    expected = stats.t.logpdf(return_T, degrees, scale=scale).sum()
    assert filtered(market, return_T).log_likelihood == pytest.approx(expected, rel=1e-12)


def test_jumps_skew_and_fatten() -> None:
    plain = replace(ONE_REGIME, jump_probability=0.0, degrees_of_freedom=1000.0)
    jumpy = replace(plain, jump_probability=0.02, jump_mean=-3.0, jump_deviation=1.0)
    calm, rough = (
        facts(path.return_TA[:, 0], path.volume_TA[:, 0])
        for path in (plain.path(50_000, seed=0), jumpy.path(50_000, seed=0))
    )
    assert rough["kurtosis"] > calm["kurtosis"] + 1.0
    assert rough["skewness"] < calm["skewness"] - 0.2


def test_assets_move_together_as_told() -> None:
    matrix = ((1.0, 0.6, 0.0), (0.6, 1.0, 0.3), (0.0, 0.3, 1.0))
    path = replace(MARKET, assets=3, correlation=matrix).path(100_000, seed=0)
    shock_TA = path.return_TA[1:] / path.volatility_TA[:-1]
    # Sizes of jumps are correlated as told, but their mean comes to all assets in the same bars.
    common = MARKET.jump_probability * (1 - MARKET.jump_probability) * MARKET.jump_mean**2
    expected = common + (1.0 - common) * np.array(matrix)
    np.testing.assert_allclose(np.corrcoef(shock_TA.T), expected, atol=0.02)
    assert np.asarray(np.corrcoef(path.volatility_TA.T))[0, 2] > 0.1  # the regime is common


def test_range_of_brownian_motion_is_twice_its_move() -> None:
    assert range_ratio(1.0) == pytest.approx(2.0, rel=1e-6)
    assert range_ratio(0.0) == pytest.approx(1.0, rel=1e-6)


def test_relative_volume_looks_back_only_and_has_no_trend() -> None:
    volume_T = np.exp(0.1 * np.arange(100.0))
    relative_T = relative_volume(volume_T)
    np.testing.assert_allclose(relative_T[20:], 1.05)
    volume_T[60:] = 1.0
    np.testing.assert_array_equal(relative_volume(volume_T)[:60], relative_T[:60])


def test_facts_of_a_known_series() -> None:
    """r alternates between two sizes: hand-made kurtosis, autocorrelations of -1 and 1."""
    sign_T = np.where(np.arange(400) % 2 == 0, 1.0, -1.0)
    return_T = sign_T * np.where(np.arange(400) % 4 < 2, 1.0, 3.0)
    found = facts(return_T, np.linspace(1.0, 2.0, 400))
    # Second moment (1 + 9) / 2 = 5, fourth (1 + 81) / 2 = 41.
    assert found["deviation"] == pytest.approx(100.0 * np.sqrt(5.0), rel=1e-2)
    assert found["kurtosis"] == pytest.approx(41.0 / 25.0, rel=1e-2)
    assert found["acf_abs_10"] == pytest.approx(-1.0, abs=1e-2)
    assert found["acf_abs_20"] == pytest.approx(1.0, abs=1e-2)
