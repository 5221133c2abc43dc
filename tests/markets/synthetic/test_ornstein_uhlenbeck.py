"""The Ornstein-Uhlenbeck market: its law, its filter, and its oracle on simulated paths."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from markets.synthetic.band_policies import BandOracle
from markets.synthetic.base import Information, Solution, World
from markets.synthetic.chain import SyntheticMarketError, stationary
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck

Array = NDArray[np.float64]
LANES, BARS = 1_500, 800

FROZEN = ((1.0, 0.0), (0.0, 1.0))
THREE = ((1.0, 0.5, 0.2), (0.5, 1.0, 0.0), (0.2, 0.0, 1.0))


def simulate(
    market: OrnsteinUhlenbeck, policy: Solution, worlds: list[World], drift_TNA: Array
) -> Array:
    """Return (1 - delta) sum_t delta^t E[reward_t | state at t] of each lane from a flat start."""
    variance_K = np.array(market.volatility) ** 2
    holding_NA = np.zeros(worlds[0].close_NA.shape)
    total_N = np.zeros(len(holding_NA))
    for bar, (world, drift_NA) in enumerate(zip(worlds, drift_TNA, strict=True)):
        target_NA = policy.target(world, holding_NA)
        correlated_NA = target_NA @ market.shock_correlation
        risk_N = (target_NA * correlated_NA).sum(axis=1) * variance_K[world.regime_N]
        cost_N = market.cost * np.abs(target_NA - holding_NA).sum(axis=1)
        reward_N = (target_NA * drift_NA).sum(axis=1) - 0.5 * market.risk_aversion * risk_N - cost_N
        total_N += market.discount**bar * reward_N
        holding_NA = target_NA
    return (1.0 - market.discount) * total_N


def play(market: OrnsteinUhlenbeck, lanes: int, bars: int) -> tuple[list[World], Array]:
    """Return the worlds of many lanes bar by bar, and their drifts (T, N, A)."""
    paths = [market.path(bars, seed=20, lane=lane) for lane in range(lanes)]
    regime_TN = np.stack([path.world.regime_N for path in paths], axis=1)
    close_TNA = np.stack([path.world.close_NA for path in paths], axis=1)
    belief_TNK = np.stack(
        [path.world.belief_NK for path in paths if path.world.belief_NK is not None], axis=1
    )
    worlds = [
        World(regime_TN[bar], close_TNA[bar], np.zeros((lanes, 0)), belief_TNK[bar])
        for bar in range(bars)
    ]
    return worlds, np.stack([path.drift_TA for path in paths], axis=1)


@pytest.fixture(scope="module")
def market() -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck()


@pytest.fixture(scope="module")
def played(market: OrnsteinUhlenbeck) -> tuple[list[World], Array]:
    return play(market, LANES, BARS)


def standard_error(sample_N: Array) -> float:
    return float(sample_N.std(ddof=1) / np.sqrt(len(sample_N)))


@pytest.mark.parametrize("information", ["known", "belief"])
def test_dynamic_programming_tells_what_simulation_finds(
    market: OrnsteinUhlenbeck, played: tuple[list[World], Array], information: Information
) -> None:
    oracle = market.oracle(information)
    found_N = simulate(market, oracle, *played)
    assert abs(found_N.mean() - oracle.value) < 3.0 * standard_error(found_N)
    assert standard_error(found_N) < 0.015 * oracle.value


PERTURBATIONS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "wider": lambda low, high: (low - 0.3, high + 0.3),
    "narrower": lambda low, high: (
        np.minimum(low + 0.3, 0.5 * (low + high)),
        np.maximum(high - 0.3, 0.5 * (low + high)),
    ),
    "higher": lambda low, high: (low + 0.3, high + 0.3),
    "lower": lambda low, high: (low - 0.3, high - 0.3),
    "flatter": lambda low, high: (0.9 * low, 0.9 * high),
    "steeper": lambda low, high: (1.1 * low, 1.1 * high),
}


@pytest.mark.parametrize("information", ["known", "belief"])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_other_band_is_worse(
    market: OrnsteinUhlenbeck,
    played: tuple[list[World], Array],
    information: Information,
    name: str,
) -> None:
    oracle = market.oracle(information)
    low_RI, high_RI = PERTURBATIONS[name](oracle.solution.low_RI, oracle.solution.high_RI)
    other = replace(oracle, solution=oracle.solution._replace(low_RI=low_RI, high_RI=high_RI))
    worlds, drift_TNA = played
    part = slice(0, 400)
    lost_N = simulate(market, oracle, worlds[part], drift_TNA[part])
    lost_N -= simulate(market, other, worlds[part], drift_TNA[part])
    assert lost_N.mean() > 3.0 * standard_error(lost_N) > 0.0


def test_rules_are_ordered(market: OrnsteinUhlenbeck, played: tuple[list[World], Array]) -> None:
    oracle_N = simulate(market, market.oracle("known"), *played)
    value = {name: simulate(market, rule, *played).mean() for name, rule in market.rules().items()}
    assert value["do_nothing"] == 0.0
    assert value["myopic"] == pytest.approx(0.173, abs=0.02)
    assert value["myopic"] < value["continuous_band"] < oracle_N.mean()


def test_rules_of_a_hidden_regime_act_on_the_belief(
    market: OrnsteinUhlenbeck, played: tuple[list[World], Array]
) -> None:
    hidden = replace(market, regime="hidden")
    oracle_N = simulate(market, hidden.oracle("belief"), *played)
    for name, rule in hidden.rules().items():
        assert simulate(market, rule, *played).mean() < oracle_N.mean(), name
        if name != "do_nothing":
            assert rule.information == "belief"
            with pytest.raises(SyntheticMarketError, match=r"stream\(belief=True\)"):
                rule.target(played[0][0]._replace(belief_NK=None), np.zeros((LANES, 1)))


def test_documented_values(market: OrnsteinUhlenbeck) -> None:
    """The figures of the class's docstring; the difference is the price of not knowing."""
    assert market.oracle("known").value == pytest.approx(0.323, abs=5e-4)
    assert market.oracle("belief").value == pytest.approx(0.240, abs=5e-4)


def test_what_the_band_does_not_depend_on_is_not_solved_again(market: OrnsteinUhlenbeck) -> None:
    solution = market.oracle("belief").solution
    for view in ("belief", "hidden"):
        assert replace(market, regime=view).oracle("belief").solution is solution
    known = market.oracle("known").solution
    assert replace(market, assets=3, regime="hidden").oracle("known").solution is known


def test_not_knowing_has_the_price_that_the_oracles_tell(market: OrnsteinUhlenbeck) -> None:
    known, belief = market.oracle("known").value, market.oracle("belief").value
    assert market.price_of_not_knowing() == (known - belief, 0.0)


def test_the_probability_of_staying_is_a_transition() -> None:
    short = OrnsteinUhlenbeck(transition=0.9)
    long = replace(short, transition=((0.9, 0.1), (0.1, 0.9)))
    np.testing.assert_allclose(short.spread.transition_KK, long.spread.transition_KK)
    one = OrnsteinUhlenbeck(speed=(0.1,), mean=(0.0,), volatility=(1.0,), transition=0.9)
    np.testing.assert_array_equal(one.spread.transition_KK, [[1.0]])


def test_oracle_is_solved_once_and_shows_its_band(market: OrnsteinUhlenbeck) -> None:
    oracle = market.oracle("known")
    assert oracle.solution is OrnsteinUhlenbeck().oracle("known").solution
    price_N = np.linspace(-6.0, 4.0, 50)
    for regime in (0, 1):
        low_N, high_N = oracle.band(regime, price_N)
        assert np.all(high_N - low_N > 0.5)
        assert np.all(np.diff(low_N) <= 0.0)
        assert np.all(np.diff(high_N) <= 0.0)
    for position in (-8.0, 0.0, 8.0):
        world = World(np.zeros(50, dtype=np.int64), price_N[:, None], np.zeros((50, 0)), None)
        target_NA = oracle.target(world, np.full((50, 1), position))
        low_N, high_N = oracle.band(0, price_N)
        np.testing.assert_array_equal(target_NA[:, 0], np.clip(position, low_N, high_N))


def test_certainty_bounds_the_belief_band(market: OrnsteinUhlenbeck) -> None:
    """At the ends of the belief both know the regime now, but only one of them later."""
    known, belief = market.oracle("known"), market.oracle("belief")
    price_N = np.linspace(-5.0, 4.0, 30)
    for regime in (0, 1):
        for found, bound in zip(
            belief.band(float(regime), price_N), known.band(regime, price_N), strict=True
        ):
            assert np.abs(found - bound).max() < 1.0
        np.testing.assert_allclose(
            belief.frictionless(float(regime), price_N), known.frictionless(regime, price_N)
        )


def test_stationary_moments_of_a_path() -> None:
    market = OrnsteinUhlenbeck(
        speed=(0.3,), mean=(2.0,), volatility=(0.5,), transition=((1.0,),), cost=0.0
    )
    path = market.path(200_000, seed=3)
    close_T = path.world.close_NA[:, 0]
    variance = 0.5**2 / (1.0 - 0.7**2)
    # The mean of an AR(1) has the standard error s sqrt((2 - kappa) / (kappa T)).
    assert close_T.mean() == pytest.approx(2.0, abs=4 * (variance * 1.7 / 0.3 / 2e5) ** 0.5)
    assert close_T.var() == pytest.approx(variance, rel=0.02)
    assert np.corrcoef(close_T[:-1], close_T[1:])[0, 1] == pytest.approx(0.7, abs=0.01)
    assert path.features_TC[:, :2].std(axis=0) == pytest.approx([1.0, 1.0], rel=0.02)
    assert path.features_TC[:, 0].mean() == pytest.approx(0.0, abs=0.02)


def test_bars_obey_their_regime() -> None:
    market = OrnsteinUhlenbeck(assets=3, correlation=THREE)
    path = market.path(100_000, seed=4)
    close_TA, regime_T = path.world.close_NA, path.world.regime_N
    for regime, volatility in enumerate(market.volatility):
        bars = np.flatnonzero(regime_T[:-1] == regime)
        expected_TA = market.speed[regime] * (market.mean[regime] - close_TA[bars])
        np.testing.assert_allclose(path.drift_TA[bars], expected_TA)
        shock_TA = (close_TA[bars + 1] - close_TA[bars] - expected_TA) / volatility
        np.testing.assert_allclose(shock_TA.mean(axis=0), 0.0, atol=0.03)
        np.testing.assert_allclose(np.cov(shock_TA.T), THREE, atol=0.03)
    stayed = regime_T[1:] == regime_T[:-1]
    assert stayed[regime_T[:-1] == 0].mean() == pytest.approx(0.98, abs=0.003)
    assert stayed[regime_T[:-1] == 1].mean() == pytest.approx(0.96, abs=0.004)


def test_starts_are_stationary_within_their_regime() -> None:
    market = OrnsteinUhlenbeck(transition=FROZEN)
    starts = [market.path(1, seed=5, lane=lane) for lane in range(4_000)]
    close_N = np.array([start.world.close_NA[0, 0] for start in starts])
    regime_N = np.array([start.world.regime_N[0] for start in starts])
    assert regime_N.mean() == pytest.approx(0.5, abs=0.03)
    for regime in (0, 1):
        part_N = close_N[regime_N == regime]
        speed, volatility = market.speed[regime], market.volatility[regime]
        deviation = volatility / (1.0 - (1.0 - speed) ** 2) ** 0.5
        assert part_N.mean() == pytest.approx(market.mean[regime], abs=4 * deviation / 2_000**0.5)
        assert part_N.std() == pytest.approx(deviation, rel=0.07)


@pytest.mark.parametrize("assets", [1, 3])
def test_belief_is_the_bayes_filter(assets: int) -> None:
    market = OrnsteinUhlenbeck(assets=assets, correlation=THREE if assets == 3 else None)
    world = market.path(300, seed=6).world
    chain_KK, speed_K = np.array(market.transition), np.array(market.speed)
    mean_K, precision_AA = np.array(market.mean), np.linalg.inv(market.shock_correlation)

    def density(error_KA: Array, deviation_K: Array) -> Array:
        squared_K = np.einsum("ka,ab,kb->k", error_KA, precision_AA, error_KA) / deviation_K**2
        density_K: Array = np.exp(-0.5 * squared_K) / deviation_K**assets
        return density_K

    close_TA = world.close_NA
    belief_K = stationary(chain_KK) * density(close_TA[0] - mean_K[:, None], market.price_deviation)
    expected_TK = [belief_K / belief_K.sum()]
    for before_A, after_A in pairwise(close_TA):
        drift_KA = speed_K[:, None] * (mean_K[:, None] - before_A)
        belief_K = expected_TK[-1] * density(
            after_A - before_A - drift_KA, np.array(market.volatility)
        )
        expected_TK.append(chain_KK.T @ belief_K / belief_K.sum())
    assert world.belief_NK is not None
    np.testing.assert_allclose(world.belief_NK, expected_TK, atol=1e-12)


def test_belief_is_calibrated() -> None:
    world = OrnsteinUhlenbeck().path(300_000, seed=7).world
    assert world.belief_NK is not None
    second_T = world.belief_NK[:, 1]
    for low in np.arange(0.1, 0.9, 0.2):
        inside_T = (second_T >= low) & (second_T < low + 0.2)
        frequency = (world.regime_N[inside_T] == 1).mean()
        assert frequency == pytest.approx(second_T[inside_T].mean(), abs=0.02)


def test_views_of_the_regime() -> None:
    path = OrnsteinUhlenbeck().path(50, seed=8)
    np.testing.assert_array_equal(path.features_TC[:, 2:], np.eye(2)[path.world.regime_N])
    hidden = OrnsteinUhlenbeck(regime="hidden")
    assert hidden.stream().feature_names == ("spread_0.deviation", "spread_0.last_change")
    shown = OrnsteinUhlenbeck(regime="belief").stream().feature_names[2:]
    assert shown == ("belief_0", "belief_1")
    seen = OrnsteinUhlenbeck(regime="belief").path(50, seed=8, belief=False)
    assert seen.world.belief_NK is not None
    np.testing.assert_allclose(seen.features_TC[:, 2:], seen.world.belief_NK, rtol=1e-6)
    for other in (hidden.path(50, seed=8), seen):
        np.testing.assert_array_equal(other.features_TC[:, :2], path.features_TC[:, :2])
        np.testing.assert_array_equal(other.world.regime_N, path.world.regime_N)
    change_T = np.diff(path.world.close_NA[:, 0])
    ratio_T = path.features_TC[1:, 1] / change_T
    np.testing.assert_allclose(ratio_T, ratio_T[0], rtol=1e-5)
    assert path.features_TC[0, 1] == 0.0


def test_episodes_differ_and_repeat(market: OrnsteinUhlenbeck) -> None:
    first = market.path(20, seed=1, lane=2, episode=3)
    np.testing.assert_array_equal(
        first.state_TS, market.path(20, seed=1, lane=2, episode=3).state_TS
    )
    assert not np.array_equal(
        first.world.close_NA, market.path(20, seed=1, lane=2, episode=4).world.close_NA
    )
    without = market.path(20, seed=1, lane=2, episode=3, belief=False)
    assert without.world.belief_NK is None
    np.testing.assert_array_equal(first.world.close_NA, without.world.close_NA)


def test_independent_assets_are_as_many_problems() -> None:
    one, two = OrnsteinUhlenbeck(), OrnsteinUhlenbeck(assets=2)
    assert two.oracle("known").value == 2.0 * one.oracle("known").value
    world = two.path(30, seed=9).world
    target_NA = two.oracle("known").target(world, np.zeros((30, 2)))
    for asset in range(2):
        alone = world._replace(close_NA=world.close_NA[:, [asset]])
        np.testing.assert_array_equal(
            one.oracle("known").target(alone, np.zeros((30, 1))), target_NA[:, [asset]]
        )


def test_correlated_assets_have_rules_but_no_oracle() -> None:
    market = OrnsteinUhlenbeck(assets=3, correlation=THREE)
    with pytest.raises(SyntheticMarketError, match="independent shocks"):
        market.oracle("known")
    world = market.path(40, seed=10).world
    target_NA = market.rules()["myopic"].target(world, np.zeros((40, 3)))
    inside = np.all(np.abs(target_NA) < market.limit, axis=1)
    variance_K = np.array(market.volatility) ** 2
    drift_NA = market.path(40, seed=10).drift_TA
    risk_NA = (
        market.risk_aversion
        * variance_K[world.regime_N, None]
        * (target_NA @ market.shock_correlation)
    )
    np.testing.assert_allclose(risk_NA[inside], drift_NA[inside])


@pytest.mark.parametrize(
    ("assets", "regimes"), [(2, 2), (1, 3)], ids=["several assets", "three regimes"]
)
def test_no_belief_oracle(assets: int, regimes: int) -> None:
    market = OrnsteinUhlenbeck(
        assets=assets,
        speed=(0.1, 0.2, 0.3)[:regimes],
        mean=(0.0,) * regimes,
        volatility=(1.0,) * regimes,
        transition=tuple(map(tuple, np.eye(regimes).tolist())),
    )
    assert isinstance(market.oracle("known"), BandOracle)
    with pytest.raises(SyntheticMarketError, match="one asset and at most two regimes"):
        market.oracle("belief")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"speed": (0.0, 0.3)}, "speed"),
        ({"speed": (0.1, 2.0)}, "speed"),
        ({"speed": (0.1, float("nan"))}, "speed"),
        ({"speed": ()}, "speed"),
        ({"mean": (0.0, float("nan"))}, "mean"),
        ({"mean": (0.0,)}, "mean: expected 2 entries, found 1"),
        ({"volatility": (1.0, 0.0)}, "volatility"),
        ({"volatility": (1.0, float("inf"))}, "volatility"),
        ({"transition": ((0.9, 0.2), (0.1, 0.9))}, r"transition\[0\]: expected .* sum to 1"),
        ({"transition": ((1.1, -0.1), (0.1, 0.9))}, r"transition\[0, 0\]"),
        (
            {"transition": ((1.0,),)},
            r"transition: expected 2 regimes \(as in speed\), found 1; a numb",
        ),
        ({"transition": ((0.9, 0.1), (1.0,))}, "transition: expected rows of one length"),
        ({"transition": 1.1}, r"transition: expected a probability in \[0, 1\], found 1.1"),
        ({"assets": 2, "correlation": ((1.0, 0.1), (1.0,))}, "correlation: expected rows of one"),
        ({"cost": -0.1}, "cost"),
        ({"cost": float("nan")}, "cost"),
        ({"risk_aversion": -1.0}, "risk_aversion"),
        ({"limit": 0.0}, "limit"),
        ({"discount": 1.0}, "discount"),
        ({"assets": 0}, "assets"),
        ({"regime": "guessed"}, "regime"),
        ({"correlation": THREE}, r"correlation: expected shape \(1, 1\)"),
        ({"assets": 2, "correlation": ((1.0, 1.0), (1.0, 1.0))}, "positive definite"),
        ({"assets": 2, "correlation": ((1.0, 0.5), (0.4, 1.0))}, "symmetric"),
        (
            {"assets": 2, "correlation": ((2.0, 0.5), (0.5, 2.0))},
            "correlation: expected a diagonal of 1",
        ),
        ({"impact": 1.0}, "impact"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OrnsteinUhlenbeck(**bad)  # type: ignore[arg-type]
