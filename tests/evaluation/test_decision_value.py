"""Decision values: the same accounts as the kernel's, and less with a worse belief."""

import numpy as np
import pytest
from scipy import stats

from envs.synthetic import MarketConfig, Problem
from evaluation.decision_value import Worlds, decide
from evaluation.optimality_scores import OptimalityConfig, measure
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

MARKETS: list[MarketConfig] = [
    GarleanuPedersen(regime="belief", transition=0.98),
    OrnsteinUhlenbeck(regime="belief"),
    RegimeGBM(regime="belief"),
]
BARS, PATHS, SEED = 300, 6, 5


def normal_nodes(count: int = 2000) -> np.ndarray:
    node_Q = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return np.asarray(node_Q / node_Q.std())


def worlds_of(market: MarketConfig) -> tuple[Worlds, np.ndarray]:
    """The paths that the kernel's stream plays, and the exact filter's beliefs."""
    paths = [market.path(BARS + 1, seed=SEED, lane=lane).world for lane in range(PATHS)]
    beliefs = [world.belief_NK for world in paths if world.belief_NK is not None]
    worlds = Worlds(
        regime_NT=np.stack([world.regime_N for world in paths]),
        close_NTA=np.stack([world.close_NA for world in paths]),
        signal_NTF=np.stack([world.signal_NF for world in paths]),
        node_Q=normal_nodes(),
    )
    return worlds, np.stack(beliefs)


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.kind)
def test_the_same_rewards_as_the_kernel(market: MarketConfig) -> None:
    worlds, belief_NTK = worlds_of(market)
    config = OptimalityConfig(episodes=PATHS, length=BARS, seed=SEED)
    scores = measure(market.oracle("belief"), Problem(market), config)
    assert scores.expected is not None
    decisions = decide(market, worlds, belief_NTK)
    np.testing.assert_allclose(decisions.mean, scores.expected.mean_E, rtol=2e-5, atol=5e-9)
    np.testing.assert_allclose(
        decisions.turnover_NT.mean(axis=1), scores.turnover_E, rtol=2e-3, atol=1e-9
    )


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.kind)
def test_a_worse_belief_is_worth_less(market: MarketConfig) -> None:
    worlds, belief_NTK = worlds_of(market)
    best = decide(market, worlds, belief_NTK).mean.mean()
    wrong = decide(market, worlds, belief_NTK[..., ::-1]).mean.mean()
    assert wrong < best


def test_beliefs_of_another_shape_are_refused() -> None:
    worlds, belief_NTK = worlds_of(MARKETS[2])
    with pytest.raises(ValueError, match=r"expected shape \(6, 301, 2\)"):
        decide(MARKETS[2], worlds, belief_NTK[:, :-1])
