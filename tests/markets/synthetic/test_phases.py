"""Phases of a stream of regimes: the start, what the filter believes, and what they are worth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from markets.synthetic.base import Path, SyntheticMarket
from markets.synthetic.chain import (
    SyntheticMarketError,
    discounted_law,
    pack_chain,
    stationary,
    update_belief,
)
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.moments import discounted_reward, optimal_rule, stationary_reward
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.phases import dominant, pooled, pure
from markets.synthetic.regime_gbm import RegimeGBM

Array = NDArray[np.float64]
Market = Callable[..., Any]

THREE = {
    GarleanuPedersen: GarleanuPedersen(transition=0.95),
    OrnsteinUhlenbeck: OrnsteinUhlenbeck(
        speed=(0.1, 0.3, 0.2), mean=(1.0, -2.0, 0.0), volatility=(1.0, 1.5, 0.7), transition=0.95
    ),
    RegimeGBM: RegimeGBM(
        drift=(0.0005, -0.001, 0.0002), volatility=(0.02, 0.04, 0.03), transition=0.95
    ),
}
"""Three regimes each."""
CYCLE = ((0.9, 0.1, 0.0), (0.0, 0.8, 0.2), (0.3, 0.0, 0.7))
"""Another chain, with another stationary law."""


@pytest.fixture(params=THREE.values(), ids=lambda market: market.kind)
def world(request: pytest.FixtureRequest) -> Any:
    return request.param


def same_prices(left: Path, right: Path) -> bool:
    pairs = (
        (left.world.regime_N, right.world.regime_N),
        (left.world.close_NA, right.world.close_NA),
        (left.world.signal_NF, right.world.signal_NF),
        (left.drift_TA, right.drift_TA),
    )
    return all(np.array_equal(one, other) for one, other in pairs)


def beliefs(path: Path) -> Array:
    assert path.world.belief_NK is not None
    return path.world.belief_NK


class TestStart:
    def test_the_first_regime_follows_it(self, world: Any) -> None:
        start_K = np.array([0.2, 0.0, 0.8])
        told = replace(world, start=tuple(start_K))
        first_N = [told.path(1, seed=1, lane=lane).world.regime_N[0] for lane in range(600)]
        share_K = np.bincount(first_N, minlength=3) / 600
        np.testing.assert_allclose(share_K, start_K, atol=0.06)

    def test_frozen_regimes_stay(self, world: Any) -> None:
        frozen = replace(world, start=(0.0, 1.0, 0.0), transition=1.0)
        for lane in range(20):
            path = frozen.path(200, seed=2, lane=lane)
            assert (path.world.regime_N == 1).all()
            assert (beliefs(path) == (0.0, 1.0, 0.0)).all(), "the true filter is certain"

    def test_the_filter_starts_from_it(self, world: Any) -> None:
        told = replace(world, start=(0.2, 0.0, 0.8), regime="belief")
        first_NK = np.array([beliefs(told.path(1, seed=1, lane=lane))[0] for lane in range(600)])
        # Prices of one market tell something at once: the mean over paths is the prior.
        np.testing.assert_allclose(first_NK.mean(axis=0), (0.2, 0.0, 0.8), atol=0.04)
        assert (first_NK[:, 1] == 0.0).all()

    def test_written_out_default_changes_nothing(self, world: Any) -> None:
        skewed = replace(world, transition=CYCLE, regime="belief")
        written = replace(skewed, start=tuple(stationary(np.array(CYCLE)).tolist()))
        one, other = (market.path(300, seed=4) for market in (skewed, written))
        assert np.array_equal(one.state_TS, other.state_TS)
        assert written.oracle("known").value == pytest.approx(skewed.oracle("known").value, 1e-11)

    @pytest.mark.parametrize(
        ("start", "message"),
        [
            ((0.5, 0.5), r"start: expected 3 probabilities \(one a regime, as in \w+\), found"),
            ((), r"start: expected 3 probabilities"),
            ((1.5, -0.5, 0.0), r"start\[0\]: expected a probability in \[0, 1\], found 1\.5"),
            ((0.0, -0.1, 1.1), r"start\[1\]: expected a probability in \[0, 1\], found -0\.1"),
            ((0.5, 0.5, float("nan")), r"start\[2\]: expected a probability .* found nan"),
            ((0.5, 0.5, 0.5), r"start: expected probabilities that sum to 1, found a sum of 1\.5"),
        ],
    )
    def test_what_is_no_law_is_refused(self, world: Any, start: Any, message: str) -> None:
        with pytest.raises((SyntheticMarketError, ValidationError), match=message):
            replace(world, start=start)

    def test_one_scale_for_all_starts(self, world: Any) -> None:
        told = replace(world, start=(0.0, 1.0, 0.0))
        assert told.holding_scale == world.holding_scale
        assert told.holding_limit == world.holding_limit


class TestBelievedTransition:
    @pytest.mark.parametrize("view", ["known", "belief", "hidden"])
    @pytest.mark.parametrize("believed", [0.6, 1.0, CYCLE])
    def test_prices_do_not_depend_on_it(self, world: Any, view: Any, believed: Any) -> None:
        true = replace(world, start=(0.1, 0.6, 0.3), regime=view)
        misled = replace(true, believed_transition=believed)
        for lane in range(3):
            paths = [market.path(300, seed=5, lane=lane) for market in (true, misled)]
            assert same_prices(*paths)
            assert not np.array_equal(beliefs(paths[0]), beliefs(paths[1]))
        again = misled.informed()
        assert again == true
        assert np.array_equal(again.path(300, seed=5).state_TS, true.path(300, seed=5).state_TS)
        assert true.informed() is true

    @pytest.mark.parametrize("believed", [0.6, 1.0, CYCLE])
    def test_the_filter_goes_by_it(self, world: Any, believed: Any) -> None:
        """Against Bayes' rule in plain numpy."""
        misled = replace(world, believed_transition=believed, start=(0.0, 0.0, 1.0))
        path = misled.path(150, seed=6)
        chain_KK = misled.chain.believed_KK
        belief_K = beliefs(path)[0]
        if not isinstance(world, OrnsteinUhlenbeck):
            np.testing.assert_allclose(belief_K, stationary(chain_KK), atol=1e-15)
        for bar, log_K in enumerate(log_likelihoods(world, path)):
            weight_K = belief_K * np.exp(log_K - log_K.max())
            belief_K = weight_K / weight_K.sum() @ chain_KK
            np.testing.assert_allclose(beliefs(path)[bar + 1], belief_K, atol=1e-9)

    def test_a_believed_truth_is_the_truth(self, world: Any) -> None:
        told = replace(world, believed_transition=world.transition, regime="belief")
        true = replace(world, regime="belief")
        assert np.array_equal(told.path(200, seed=1).state_TS, true.path(200, seed=1).state_TS)

    def test_features_have_the_scale_of_what_is_believed(self) -> None:
        """Else the scale would tell the phase."""
        markets: list[Any] = [THREE[GarleanuPedersen], THREE[OrnsteinUhlenbeck]]
        for market in markets:
            hidden = replace(market, regime="hidden", believed_transition=0.95, start=(1.0, 0, 0))
            fixed = replace(hidden, transition=CYCLE)
            bars = [market.path(2, seed=1) for market in (hidden, fixed)]
            # Before the chain has moved, both have made the same prices.
            assert np.array_equal(bars[0].world.close_NA, bars[1].world.close_NA)
            assert np.array_equal(bars[0].features_TC, bars[1].features_TC)

    def test_the_oracle_of_a_wrong_belief_is_refused_with_what_to_do(self, world: Any) -> None:
        misled = replace(world, believed_transition=0.5)
        with pytest.raises(SyntheticMarketError, match=r"believed_transition=0\.5; informed\(\)"):
            misled.oracle("belief")
        assert misled.oracle("known").value == world.oracle("known").value

    @pytest.mark.parametrize("market", [GarleanuPedersen, RegimeGBM])
    def test_the_price_of_not_knowing_is_the_true_filters(self, market: Market) -> None:
        assert market(believed_transition=0.6).price_of_not_knowing(
            num_paths=20
        ) == market().price_of_not_knowing(num_paths=20)

    @pytest.mark.parametrize(
        ("believed", "message"),
        [
            (1.5, r"believed_transition: expected a probability in \[0, 1\], found 1\.5"),
            (float("nan"), r"believed_transition: expected a probability .* found nan"),
            (((0.9, 0.1), (0.1, 0.9)), r"believed_transition: expected 3 regimes \(as in \w+\)"),
            (((0.9, 0.2, 0.0),) * 3, r"believed_transition\[0\]: .* found a sum of 1\.1"),
            (
                ((1.0, 0.0, 0.0), (0.1, 0.9, 0.0), (0.0, 0.1, 0.9)),
                r"believed_transition: expected a chain that comes back to every regime",
            ),
        ],
    )
    def test_what_is_no_chain_is_refused(self, world: Any, believed: Any, message: str) -> None:
        with pytest.raises((SyntheticMarketError, ValidationError), match=message):
            replace(world, believed_transition=believed)

    def test_a_filter_that_was_certain_of_the_wrong_regime_stays_finite(self) -> None:
        parameters_Q = np.array(pack_chain(np.eye(2)))
        state_S = np.array([1.0, 0.0, -5000.0, -1.0])
        update_belief(parameters_Q, 0, 2, state_S, 0, 2)
        assert state_S[:2].tolist() == [1.0, 0.0]

    def test_what_is_believed_does_not_look_ahead(self, world: Any) -> None:
        misled = replace(world, believed_transition=CYCLE, start=(0.3, 0.3, 0.4), regime="belief")
        assert np.array_equal(
            misled.path(60, seed=3).state_TS, misled.path(200, seed=3).state_TS[:60]
        )


def log_likelihoods(world: Any, path: Path) -> Array:
    """Of each bar under each regime, up to a constant: (T - 1, K)."""
    close_T = path.world.close_NA[:, 0]
    if isinstance(world, GarleanuPedersen):
        mean_TK = path.world.signal_NF[:-1] @ world.system.loading_KAS[:, 0].T
        z_TK = np.diff(close_T)[:, None] - mean_TK
        deviation_K: Array = np.ones(world.num_regimes)
    elif isinstance(world, OrnsteinUhlenbeck):
        speed_K, mean_K = np.array(world.speed), np.array(world.mean)
        z_TK = np.diff(close_T)[:, None] - speed_K * (mean_K - close_T[:-1, None])
        deviation_K = np.array(world.volatility)
    else:
        z_TK = np.diff(np.log(close_T))[:, None] - world.law.log_drift_KA[:, 0]
        deviation_K = world.law.volatility_KA[:, 0]
    return np.asarray(-0.5 * (z_TK / deviation_K) ** 2 - np.log(deviation_K))


class TestValues:
    @pytest.mark.parametrize("regime", [0, 1, 2])
    def test_a_pure_phase_is_the_market_of_its_regime_alone(self, world: Any, regime: int) -> None:
        names = {
            "garleanu_pedersen": ("loadings",),
            "ornstein_uhlenbeck": ("speed", "mean", "volatility"),
            "regime_gbm": ("drift", "volatility"),
        }[world.kind]
        parts = {name: (getattr(world, name)[regime],) for name in names}
        alone = replace(world, transition=1.0, **parts)
        exact = 1e-10 if isinstance(world, GarleanuPedersen) else 2e-4
        found = pure(world, regime).oracle("known").value
        assert found == pytest.approx(alone.oracle("known").value, rel=exact)
        assert found != pytest.approx(world.oracle("known").value, rel=0.01)

    @pytest.mark.parametrize(("market", "regime"), [(OrnsteinUhlenbeck, 1), (RegimeGBM, 1)])
    def test_certainty_makes_hidden_regimes_known(self, market: Market, regime: int) -> None:
        phase = pure(market(discount=0.95), regime).informed()
        known, belief = phase.oracle("known").value, phase.oracle("belief").value
        assert belief == pytest.approx(known, rel=2e-3)

    @pytest.mark.parametrize("market", THREE.values(), ids=lambda market: market.kind)
    @pytest.mark.parametrize("free", [False, True], ids=["costs", "free"])
    def test_a_known_start_is_worth_the_mean_of_certain_ones(self, market: Any, free: bool) -> None:
        if free:
            if not isinstance(market, RegimeGBM):
                pytest.skip("costs are part of the market")
            market = replace(market, cost_bps=0.0)
        start_K = np.array([0.5, 0.2, 0.3])
        worlds = [replace(market, start=tuple(row)) for row in np.eye(3).tolist()]
        each_K = np.array([world.oracle("known").value for world in worlds])
        mixed = replace(market, start=tuple(start_K.tolist())).oracle("known").value
        assert np.ptp(each_K) > 0.02 * abs(mixed)
        assert mixed == pytest.approx(start_K @ each_K, rel=1e-9)
        from_stationary = stationary(market.chain.transition_KK) @ each_K
        assert market.oracle("known").value == pytest.approx(from_stationary, rel=1e-4)

    def test_the_linear_market_by_brute_force(self) -> None:
        """Bar by bar: what the oracle earns, by second moments that carry the law of k_t."""
        start_K, chain_KK = np.array([0.7, 0.0, 0.3]), np.array(CYCLE)
        market = GarleanuPedersen(
            loadings=((0.3,), (-0.2,), (0.1,)),
            reversion=((0.1,), (0.3,), (0.2,)),
            covariance=(((1.0,),), ((2.0,),), ((1.5,),)),
            discount=0.9,
            transition=CYCLE,
            start=tuple(start_K.tolist()),
        )
        system = market.system
        rule = optimal_rule(system, market.riccati)
        carry_K, gain_K = rule.carry_KAA[:, 0, 0], rule.gain_KAS[:, 0, 0]
        load_K, keep_K = system.loading_KAS[:, 0, 0], system.persistence_KS[:, 0]
        risk_K, cost_K = system.covariance_KAA[:, 0, 0], system.cost_KAA[:, 0, 0]
        # E[x x 1{k}], E[x f 1{k}], E[f f 1{k}] before the trade, and P(k).
        held_K, cross_K, signal_K, law_K = np.zeros(3), np.zeros(3), start_K, start_K
        total = 0.0
        for bar in range(400):
            after_K = carry_K**2 * held_K + 2 * carry_K * gain_K * cross_K + gain_K**2 * signal_K
            mixed_K = carry_K * cross_K + gain_K * signal_K
            less_K = carry_K - 1.0
            trade_K = less_K**2 * held_K + 2 * less_K * gain_K * cross_K + gain_K**2 * signal_K
            reward_K = load_K * mixed_K - 0.5 * risk_K * after_K - 0.5 * cost_K * trade_K
            total += 0.1 * 0.9**bar * reward_K.sum()
            fresh_K = keep_K**2 * signal_K + (1.0 - keep_K**2) * law_K
            held_K, cross_K = after_K @ chain_KK, (keep_K * mixed_K) @ chain_KK
            signal_K, law_K = fresh_K @ chain_KK, law_K @ chain_KK
        assert market.oracle("known").value == pytest.approx(total, rel=1e-12)
        assert discounted_reward(system, rule) == pytest.approx(total, rel=1e-11)
        anywhere = replace(system, start_K=None)
        assert discounted_reward(anywhere, rule) != pytest.approx(total, rel=1e-2)
        # In the long run the start is forgotten.
        forgotten = stationary_reward(anywhere, rule)
        assert stationary_reward(system, rule) == pytest.approx(forgotten, rel=1e-10)

    def test_a_blind_rule_goes_by_the_long_run_from_the_start(self) -> None:
        phase = pure(THREE[GarleanuPedersen], 1)
        blind: Any = phase.rules()["blind"]
        assert blind.value == pytest.approx(phase.oracle("known").value, rel=1e-10)

    def test_where_a_discounted_life_is_spent(self) -> None:
        chain_KK, start_K = np.array(CYCLE), np.array([0.0, 1.0, 0.0])
        law_K, total_K = start_K, np.zeros(3)
        for bar in range(600):
            total_K += 0.05 * 0.95**bar * law_K
            law_K = law_K @ chain_KK
        np.testing.assert_allclose(discounted_law(chain_KK, start_K, 0.95), total_K, atol=1e-12)
        np.testing.assert_array_equal(discounted_law(chain_KK, None, 0.95), stationary(chain_KK))
        np.testing.assert_array_equal(discounted_law(np.eye(3), start_K, 1.0), start_K)


class TestPhases:
    def test_a_pure_phase(self, world: Any) -> None:
        phases = [pure(world, regime) for regime in range(3)]
        for regime, phase in enumerate(phases):
            assert (phase.path(400, seed=1).world.regime_N == regime).all()
            assert phase.believed_transition == world.transition
            assert phase.stream().feature_names == world.stream().feature_names
            assert phase.stream().state_size == world.stream().state_size
        # The filter goes on as before: it is sure of nothing for good.
        belief_TK = beliefs(phases[1].path(400, seed=1))
        assert (belief_TK.max(axis=1) < 0.99).all()
        assert belief_TK[:, 1].mean() > belief_TK[:, 0].mean()

    @pytest.mark.parametrize("share", [0.8, 0.5, 1 / 3])
    @pytest.mark.parametrize("persistence", [None, 0.97])
    def test_a_dominant_phase(self, world: Any, share: float, persistence: float | None) -> None:
        phase = dominant(world, 2, share, persistence=persistence)
        chain_KK = phase.chain.transition_KK
        law_K = stationary(chain_KK)
        np.testing.assert_allclose(law_K, [(1 - share) / 2, (1 - share) / 2, share], atol=1e-12)
        np.testing.assert_allclose(law_K @ chain_KK, law_K, atol=1e-12)
        assert law_K @ np.diag(chain_KK) == pytest.approx(persistence or 0.95, abs=1e-12)
        assert phase.start is None
        assert phase.believed_transition == world.transition

    def test_a_dominant_regime_governs_its_share_of_the_bars(self) -> None:
        phase = dominant(THREE[GarleanuPedersen], 0, 0.8, persistence=0.9)
        regime_N = np.concatenate(
            [phase.path(1500, seed=1, lane=lane).world.regime_N for lane in range(20)]
        )
        np.testing.assert_allclose(
            np.bincount(regime_N) / len(regime_N), (0.8, 0.1, 0.1), atol=0.02
        )

    def test_a_pooled_filter_is_one_for_all(self, world: Any) -> None:
        phases = pooled([dominant(world, regime) for regime in range(3)])
        (believed,) = {phase.believed_transition for phase in phases}
        chains = [phase.chain.transition_KK for phase in phases]
        np.testing.assert_allclose(believed, np.mean(chains, axis=0), atol=1e-15)
        np.testing.assert_allclose(stationary(np.array(believed)), 1 / 3, atol=1e-12)
        assert len({phase.transition for phase in phases}) == 3

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (lambda world: pure(world, 3), "regime: expected a number below 3, found 3"),
            (lambda world: pure(world, -1), "regime: expected an integer .* found -1"),
            (lambda world: dominant(world, 3), "regime: expected a number below 3, found 3"),
            (lambda world: dominant(world, 0, 1.0), r"share: expected .* found 1\.0; pure\(\)"),
            (lambda world: dominant(world, 0, 0.3), r"share: expected .* found 0\.3"),
            (lambda world: dominant(world, 0, float("nan")), "share: expected .* found nan"),
            (
                lambda world: dominant(world, 0, persistence=0.5),
                r"persistence: expected a number in \[0\.66, 1\) for a share of 0\.8, found 0\.5",
            ),
            (
                lambda world: dominant(replace(world, transition=1.0), 0),
                "persistence: .* found the market's own, 1",
            ),
            (lambda _: pooled([]), "pooled: expected markets of one kind .* found none"),
            (
                lambda _: pooled([OrnsteinUhlenbeck(), GarleanuPedersen()]),
                r"pooled: .*\('GarleanuPedersen', 3\), \('OrnsteinUhlenbeck', 2\)",
            ),
            (
                lambda _: dominant(GarleanuPedersen(loadings=((0.2,),), reversion=(0.1,)), 0),
                "dominant: expected a market of several regimes, found 1",
            ),
        ],
    )
    def test_phases_that_make_no_sense_are_refused(
        self, made: Callable[[SyntheticMarket], object], message: str
    ) -> None:
        with pytest.raises(SyntheticMarketError, match=message):
            made(THREE[GarleanuPedersen])
