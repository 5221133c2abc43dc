"""Phases of a stream of regimes, played on the kernel: values, paths, and who is judged by whom."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.bootstrap import BootstrapConfig
from evaluation.optimality import OptimalityConfig, judge_optimality, measure, reference_of
from evaluation.optimality_report import write_optimality_report
from evaluation.optimality_states import FeatureMap
from markets.synthetic.base import Information
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.phases import dominant, pooled, pure
from markets.synthetic.regime_gbm import RegimeGBM
from tests.evaluation.test_optimality import Reader

CONFIG = OptimalityConfig(episodes=160, bootstrap=BootstrapConfig(resamples=300))
MARKET = GarleanuPedersen(
    loadings=((0.3, 0.0), (-0.2, 0.3)),
    cost=3.0,
    discount=0.95,
    transition=0.95,
    regime="belief",
)
MISLED = pooled([dominant(MARKET, regime) for regime in range(2)])[0]


class Believer(Reader):
    """Acts as the optimum would, on the belief that it is shown."""

    def __init__(self, problem: Problem) -> None:
        told = replace(problem, world=problem.world.informed())
        super().__init__(told, information="belief")


@pytest.mark.parametrize("information", ["known", "belief"])
@pytest.mark.parametrize(
    "world",
    [
        GarleanuPedersen(discount=0.95, transition=0.95, start=(0.1, 0.0, 0.9)),
        OrnsteinUhlenbeck(discount=0.95, transition=0.95, start=(0.1, 0.9)),
        RegimeGBM(discount=0.95, cost_bps=2.0, volatility=(0.02, 0.03), start=(1.0, 0.0)),
    ],
    ids=lambda world: world.kind,
)
def test_the_oracle_earns_its_value_from_the_start(world: Any, information: Information) -> None:
    oracle = world.oracle(information)
    scores = measure(oracle, Problem(world), OptimalityConfig(episodes=6000, length=250))
    earned_E = scores.earned.discounted_E
    error = earned_E.std() / np.sqrt(len(earned_E))
    if oracle.value is None:
        assert isinstance(world, GarleanuPedersen)
        gap, gap_error = world.price_of_not_knowing(num_paths=1000)
        known = world.oracle("known").value
        assert known is not None
        value, error = known - gap, float(np.hypot(error, gap_error))
    else:
        value = oracle.value
    assert abs(earned_E.mean() - value) < 3.0 * error + 5e-4 * abs(value)
    elsewhere = replace(world, start=None).oracle("known").value
    assert abs(elsewhere - world.oracle("known").value) > 4.0 * error, "the start must matter"


@pytest.mark.parametrize("world", [MISLED, pure(OrnsteinUhlenbeck(), 1), pure(RegimeGBM(), 0)])
@pytest.mark.parametrize("view", ["known", "belief", "hidden"])
def test_the_kernel_plays_the_path(world: Any, view: Any) -> None:
    problem = Problem(replace(world, regime=view, start=(0.3, 0.7)))
    simulator = Simulator(problem.stream(belief=True), problem.trading(), 3, seed=5)
    paths = [problem.world.path(40, seed=5, lane=lane) for lane in range(3)]
    for bar in range(40):
        played_NS = np.stack([path.state_TS[bar] for path in paths])
        np.testing.assert_array_equal(simulator.world_NS, played_NS)
        simulator.step(np.zeros((3, 1)))


def test_agents_are_judged_by_the_optimum_of_the_true_filter() -> None:
    problem = Problem(MISLED, trade_size=MISLED.holding_limit)
    found = judge_optimality({0: Believer(problem)}, problem, CONFIG)
    assert reference_of(MISLED) == found.reference == "belief"
    assert not found.missing
    informed = Problem(MISLED.informed())
    best_E = measure(informed.world.oracle("belief"), informed, CONFIG).earned.discounted_E
    np.testing.assert_array_equal(found.oracles["belief"].earned.discounted_E, best_E)
    rows = {row.name: row.ratio for row in found.table if row.kind != "seed"}
    assert rows["oracle_belief"].estimate == 1.0
    # The agent plays the same paths, and loses what its filter's wrong chain costs it.
    assert 0.5 < rows["agent"].estimate < 0.97
    told = Problem(informed.world, trade_size=MISLED.holding_limit)
    assert judge_optimality({0: Believer(told)}, told, CONFIG).ratio.estimate > 0.999


def test_a_solution_can_be_told_what_agents_are_shown() -> None:
    problem = Problem(MISLED, trade_size=MISLED.holding_limit)
    oracle = MISLED.informed().oracle("belief")
    best, misled = (measure(oracle, problem, CONFIG, misled=flag) for flag in (False, True))
    believer = measure(Believer(problem), problem, CONFIG)
    np.testing.assert_allclose(
        misled.earned.discounted_E, believer.earned.discounted_E, rtol=1e-3, atol=1e-6
    )
    assert misled.earned.discounted_E.mean() < 0.97 * best.earned.discounted_E.mean()


@pytest.mark.parametrize("view", ["known", "belief"])
def test_a_pure_phase_has_a_report(view: Any, tmp_path: Path) -> None:
    problem = Problem(replace(pure(MARKET, 1), regime=view))
    agent = Believer(problem)
    found = judge_optimality({0: agent}, problem, CONFIG)
    write_optimality_report(tmp_path / "report.html", found)
    assert len(found.slices) > 0
    assert np.isfinite([row.value.estimate for row in found.table]).all()


def test_features_are_mapped_in_regimes_that_a_phase_never_visits() -> None:
    world = replace(pure(MARKET, 1), regime="known")
    states = replace(world, start=(0.5, 0.5)).path(200, seed=1)
    other = FeatureMap(world).features(states.world)
    shown = np.array([name.startswith("regime") for name in world.stream().feature_names])
    np.testing.assert_allclose(other[:, shown], states.features_TC[:, shown], atol=1e-6)
    lone = replace(world, start=(1.0, 0.0)).path(50, seed=1)
    mapped = FeatureMap(world).features(lone.world)
    np.testing.assert_allclose(mapped[:, shown], lone.features_TC[:, shown], atol=1e-6)
