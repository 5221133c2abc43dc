"""Regime-switching GBM: the law of its paths, its filter, its bars, and what it refuses."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from markets.synthetic.base import Path
from markets.synthetic.layout import GOVERNED, REGIME, Block, block_start
from markets.synthetic.random import start_key
from markets.synthetic.regime_gbm import START_PRICE, RegimeGBM

PAIR: dict[str, Any] = {
    "drift": ((0.001, -0.0004), (-0.002, 0.0006)),
    "volatility": ((0.02, 0.01), (0.03, 0.05)),
    "correlation": ((1.0, 0.6), (0.6, 1.0)),
    "transition": ((0.95, 0.05), (0.1, 0.9)),
    "cost_bps": 0.0,
    "limit": 1.0,
}
"""Two assets."""


def log_returns(path: Path) -> NDArray[np.float64]:
    """Log returns (T - 1, A)."""
    change: NDArray[np.float64] = np.diff(np.log(path.world.close_NA), axis=0)
    return change


@pytest.fixture(scope="module")
def pair_path() -> Path:
    return RegimeGBM(**PAIR).path(60_000, seed=5)


def test_a_path_begins_at_one_price_and_regimes_govern_the_next_bar(pair_path: Path) -> None:
    state = pair_path.state_TS
    assert (pair_path.world.close_NA[0] == START_PRICE).all()
    assert np.array_equal(state[1:, GOVERNED], state[:-1, REGIME])
    close, previous = block_start(Block.CLOSE, 2), block_start(Block.PREVIOUS, 2)
    assert np.array_equal(state[1:, previous : previous + 2], state[:-1, close : close + 2])
    assert pair_path.world.signal_NF.shape == (60_000, 0)


def test_returns_follow_the_law_of_the_regime_that_governs_them(pair_path: Path) -> None:
    law = RegimeGBM(**PAIR).law
    regime, change = pair_path.world.regime_N[:-1], log_returns(pair_path)
    for k in (0, 1):
        mine = change[regime == k]
        error = law.volatility_KA[k] / np.sqrt(len(mine))
        assert (np.abs(mine.mean(axis=0) - law.log_drift_KA[k]) < 4.0 * error).all()
        assert mine.std(axis=0) == pytest.approx(law.volatility_KA[k], rel=0.03)
        assert np.corrcoef(mine.T)[0, 1] == pytest.approx(0.6, abs=0.03)
        left = pair_path.world.regime_N[1:][regime == k] != k
        assert left.mean() == pytest.approx((0.05, 0.1)[k], rel=0.1)


def test_drift_and_deviation_are_what_the_regime_gives(pair_path: Path) -> None:
    law = RegimeGBM(**PAIR).law
    regime = pair_path.world.regime_N
    expected = pair_path.world.close_NA * law.drift_KA[regime]
    assert pair_path.drift_TA == pytest.approx(expected, rel=1e-14)
    first = block_start(Block.DEVIATION, 2)
    assert np.array_equal(pair_path.state_TS[:, first : first + 2], law.volatility_KA[regime])
    relative = np.expm1(log_returns(pair_path))
    rest = relative - (pair_path.drift_TA / pair_path.world.close_NA)[:-1]
    error = relative.std(axis=0) / np.sqrt(len(rest))
    assert (np.abs(rest.mean(axis=0)) < 4.0 * error).all()


def test_covariance_is_that_of_simple_returns(pair_path: Path) -> None:
    stream = RegimeGBM(**PAIR).stream()
    relative = np.expm1(log_returns(pair_path))
    calm = relative[pair_path.world.regime_N[:-1] == 0]
    assert np.cov(calm.T) == pytest.approx(stream.covariance_KAA[0], rel=0.05)
    assert not stream.cost_KAA.any()
    assert not stream.additive
    assert stream.symbols == ("GBM0", "GBM1")


def hamilton(market: RegimeGBM, close_TA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filtered probabilities (T, K) of the next bar's regime, in plain NumPy."""
    law = market.law
    correlation = law.root_AA @ law.root_AA.T
    belief = [np.array([2.0, 1.0]) / 3.0]
    for change in np.diff(np.log(close_TA), axis=0):
        likelihood = np.empty(2)
        for k in (0, 1):
            deviation = np.diag(law.volatility_KA[k])
            covariance = deviation @ correlation @ deviation
            rest = change - law.log_drift_KA[k]
            exponent = -0.5 * rest @ np.linalg.solve(covariance, rest)
            likelihood[k] = np.exp(exponent) / np.sqrt(np.linalg.det(covariance))
        mass = belief[-1] * likelihood
        belief.append(mass @ law.transition_KK / mass.sum())
    return np.array(belief)


def test_the_filter_is_bayes_rule_on_the_prices_so_far(pair_path: Path) -> None:
    market = RegimeGBM(**PAIR)
    close, belief = pair_path.world.close_NA[:300].copy(), pair_path.world.belief_NK
    assert belief is not None
    assert belief[:300] == pytest.approx(hamilton(market, close), abs=1e-12)
    assert np.array_equal(market.path(200, seed=5).state_TS, pair_path.state_TS[:200])


def test_the_filter_knows_nothing_of_the_future() -> None:
    # Other random numbers after bar 60 are another future; what is believed up to there is one.
    market = RegimeGBM(**PAIR, regime="belief")
    stream, (begin, advance) = market.stream(), market.compiled()
    histories = []
    for other in (1, 2):
        state_S, rows = np.zeros(stream.state_size), []
        key = np.uint64(begin(stream.parameters_Q, state_S, np.uint64(start_key(1, 0, 0))))
        for bar in range(120):
            rows.append(state_S.copy())
            if bar == 60:
                key = np.uint64(start_key(7, other, 0))
            key = np.uint64(advance(stream.parameters_Q, state_S, np.uint64(key)))
        histories.append(market.world(np.array(rows)))
    first, second = (world.belief_NK for world in histories)
    assert first is not None
    assert second is not None
    assert np.array_equal(first[:61], second[:61])
    assert (first[61:] != second[61:]).all()


def test_the_filter_is_calibrated() -> None:
    market = RegimeGBM()
    paths = [market.path(2_000, seed=9, lane=lane) for lane in range(60)]
    belief = np.stack([path.world.belief_NK[:, 1] for path in paths])  # type: ignore[index]
    volatile = np.stack([path.world.regime_N == 1 for path in paths])
    edges = np.quantile(belief, np.linspace(0.0, 1.0, 9))
    for low, high in pairwise(edges):
        inside = (belief >= low) & (belief < high)
        # The bars of a lane are dependent: the error is over lanes.
        miss = ((volatile - belief) * inside).sum(axis=1) / inside.mean(axis=1).mean()
        assert abs(miss.mean()) < 4.0 * miss.std() / np.sqrt(len(miss))
    assert belief[volatile].mean() > 0.75


@pytest.mark.parametrize(
    ("view", "names"),
    [
        ("known", ("regime_0", "regime_1", "return_GBM")),
        ("belief", ("belief_0", "belief_1", "return_GBM")),
        ("hidden", ("return_GBM",)),
    ],
)
def test_features_show_the_view_and_the_last_return(view: Any, names: tuple[str, ...]) -> None:
    market = RegimeGBM(regime=view)
    path = market.path(200, seed=1)
    assert market.stream().feature_names == names
    assert path.features_TC.shape == (200, len(names))
    scaled = np.concatenate([[0.0], log_returns(path)[:, 0] / 0.03])
    assert path.features_TC[:, -1] == pytest.approx(scaled, abs=1e-6)
    if view == "known":
        assert np.array_equal(path.features_TC[:, :2], np.eye(2)[path.world.regime_N])
    if view == "belief":
        assert path.features_TC[:, :2] == pytest.approx(path.world.belief_NK, abs=1e-6)


def test_views_and_filters_leave_the_prices_alone() -> None:
    closes = [
        RegimeGBM(regime=view).path(100, seed=2, belief=belief).world.close_NA
        for view in ("known", "belief", "hidden")
        for belief in (False, True)
    ]
    assert all(np.array_equal(close, closes[0]) for close in closes)
    assert RegimeGBM().path(3, seed=2, belief=False).world.belief_NK is None
    other = RegimeGBM().path(100, seed=2, lane=1)
    assert not np.array_equal(other.world.close_NA[1:], closes[0][1:])


def test_bars_are_ordinary_bars_with_the_truth_beside_them() -> None:
    market = RegimeGBM(**PAIR)
    made = market.bars(3_000, seed=4, start="2001-01-01")
    path = market.path(3_001, seed=4)
    bars = made.bars
    assert np.array_equal(bars.close, path.world.close_NA[1:])
    assert np.array_equal(bars.open, path.world.close_NA[:-1])
    assert np.array_equal(made.regime_T, path.world.regime_N[:-1])
    assert np.array_equal(made.belief_TK, path.world.belief_NK[1:])  # type: ignore[index]
    days = pd.DatetimeIndex(bars.ts_event)
    assert (days.day_of_week < 5).all()
    assert str(days[0].date()) == "2001-01-01"
    assert (made.spread_bps_TA > 0.0).all()
    for quantity in (bars.volume, made.spread_bps_TA):
        ratio = quantity[made.regime_T == 1].mean(axis=0) / quantity[made.regime_T == 0].mean(
            axis=0
        )
        assert ratio == pytest.approx([1.5, 5.0], rel=0.1)
    assert made.bars == market.bars(3_000, seed=4, start="2001-01-01").bars


def test_the_range_of_a_bar_is_that_of_a_brownian_path() -> None:
    # E[(log high / low)^2] = 4 log 2 s^2 without drift (Parkinson, 1980), for dependent extremes;
    # each extreme alone: E[log(high / open)^2] = s^2.
    made = RegimeGBM(drift=(0.0,), volatility=(0.02,), transition=((1.0,),)).bars(
        40_000, seed=1, start="1970-01-01"
    )
    for extreme in (made.bars.high, made.bars.low):
        square = np.log(extreme / made.bars.open) ** 2
        assert square.mean() == pytest.approx(0.02**2, rel=0.04)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volatility": (0.02, 0.0)}, r"volatility\[1\]: expected > 0, found 0.0"),
        ({"volatility": (0.02, float("nan"))}, r"volatility\[1\]: expected finite"),
        ({"drift": (0.001, -1.0)}, r"drift\[1\]: expected > -1, found -1.0"),
        ({"volatility": (0.01,)}, "volatility: expected 2 entries, found 1"),
        (
            {"drift": (0.001,), "volatility": (0.01,)},
            r"transition: expected 1 regimes \(as in drift\), found 2; a number, the probability",
        ),
        ({"drift": ((0.001, 0.0), (0.0,))}, r"one number of assets >= 1, found \[1, 2\]"),
        ({"transition": ((0.9, 0.2), (0.1, 0.9))}, r"transition\[0\]: .* found a sum of 1.1"),
        ({"transition": ((0.9, 0.1), (1.0,))}, "transition: expected rows of one length"),
        ({"correlation": ((1.0, 1.2), (1.2, 1.0))}, "correlation: expected positive definite"),
        ({"correlation": ((1.0, 0.2), (0.3, 1.0))}, "correlation: expected a symmetric"),
        ({"correlation": ((2.0,),)}, "correlation: expected a diagonal of 1"),
        ({"cost_bps": -1.0}, r"cost_bps: expected a number in \[0, 1000\]"),
        ({"cost_bps": float("nan")}, "cost_bps: expected"),
        ({"cost_bps": 900.0, "limit": 6.0}, "6 that was traded at 900 basis points"),
        ({"limit": 0.0}, "limit: expected a number finite and > 0"),
        ({"discount": 1.0}, r"discount: expected a number in \(0, 1\)"),
        ({"bars_per_year": 0.0}, "bars_per_year: expected"),
        ({"volatility": (0.02, 0.2)}, r"limit: with volatility\[1\] = 0.2 .* ruins"),
        ({"regime": "seen"}, "regime"),
        ({"hopes": 1}, "hopes"),
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegimeGBM(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_bars": 0}, "expected num_bars >= 1"),
        ({"spread_bps": -1.0}, "spread_bps >= 0"),
        ({"start": "soon"}, "start: expected a date, found 'soon'"),
        ({"start": "2262-04-01"}, "expected days up to 2262-04-11"),
    ],
)
def test_impossible_bars_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegimeGBM().bars(**{"num_bars": 10, "seed": 0, **change})


def test_the_probability_of_staying_is_a_transition() -> None:
    short = RegimeGBM(transition=0.98)
    assert short.law.transition_KK == pytest.approx(RegimeGBM().law.transition_KK, abs=1e-15)
    one = RegimeGBM(drift=(0.001,), volatility=(0.01,), transition=0.98)
    assert np.array_equal(one.law.transition_KK, [[1.0]])


def test_parameters_may_come_as_lists() -> None:
    lists = RegimeGBM(drift=[0.00048, -0.00096], transition=[[0.98, 0.02], [0.02, 0.98]])  # type: ignore[arg-type]
    assert lists.transition == ((0.98, 0.02), (0.02, 0.98))
    assert (lists.num_assets, lists.num_regimes) == (1, 2)
