"""Branches pay what the very step would have paid, and leave no trace in the original."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.branching import Branches
from envs.config import EpisodeConfig, LogReturnReward, SimplexAction
from envs.simulator import Simulator
from tests.envs.kernel.markets import random_market
from tests.envs.kernel.streams import LENGTH, MARKETS, rules
from tests.envs.kernel.test_reference import full_config

LANES, OPTIONS = 5, 3


def open_accounts(name: str, **options: Any) -> Simulator:
    given: dict[str, Any] = {"seed": 3, "autoreset": "next_step", "record_terms": True} | options
    if name == "table":
        config = full_config(SimplexAction(), "next_open", LogReturnReward())
        short = replace(config, episode=replace(config.episode, length=LENGTH))
        return Simulator(random_market(1, 300, 3), short, LANES, **given)
    return Simulator(MARKETS[name].stream(), rules(MARKETS[name]), LANES, **given)


def draw(rng: np.random.Generator, simulator: Simulator) -> NDArray[np.float64]:
    return rng.uniform(-0.3, 1.2, (LANES, OPTIONS, simulator.action_size))


@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("name", ["table", *MARKETS])
def test_a_branch_is_the_step_of_a_copy_and_the_original_stays(name: str, expected: bool) -> None:
    if expected and name == "table":
        with pytest.raises(ValueError, match="expected: expected False on a recorded market"):
            Branches(open_accounts(name), expected=True)
        return
    simulator = open_accounts(name)
    branches, rng = Branches(simulator, expected=expected), np.random.default_rng(0)
    ended = 0
    for _ in range(2 * LENGTH + 3):  # over two ends, and the resets after them
        ended += int(simulator.ended_N.sum())
        actions_NKD = draw(rng, simulator)
        before = simulator.state_dict()
        paid_NK = branches.payoffs(actions_NKD)
        after = simulator.state_dict()
        assert all(before[key].tobytes() == after[key].tobytes() for key in before)
        assert paid_NK.dtype == np.float64
        for option in range(OPTIONS):
            twin = copy.deepcopy(simulator)
            twin.step(actions_NKD[:, option])
            wanted_N = twin.expected_N if expected else twin.reward_N
            assert paid_NK[:, option].tobytes() == wanted_N.tobytes()
        simulator.step(actions_NKD[:, 0])
        if not expected:
            assert paid_NK[:, 0].tobytes() == simulator.reward_N.tobytes()
    assert ended == 2 * LANES


def test_paths_do_not_depend_on_how_often_they_are_looked_ahead() -> None:
    looked, plain = open_accounts("regime_gbm"), open_accounts("regime_gbm")
    branches, rng = Branches(looked), np.random.default_rng(1)
    for _ in range(5):
        actions_NKD = draw(rng, looked)
        branches.payoffs(actions_NKD)
        branches.payoffs(actions_NKD[:, ::-1])
        looked.step(actions_NKD[:, 1])
        plain.step(actions_NKD[:, 1])
        assert looked.world_NS.tobytes() == plain.world_NS.tobytes()


def test_any_dtype_and_number_of_alternatives() -> None:
    simulator = open_accounts("table")
    branches = Branches(simulator)
    weights = np.full((LANES, 1, 3), 0.25, np.float32)
    one, two = branches.payoffs(weights), branches.payoffs(np.repeat(weights, 2, axis=1))
    assert one.shape == (LANES, 1)
    assert two.tolist() == np.repeat(one, 2, axis=1).tolist()
    assert branches.payoffs(np.zeros((LANES, 0, 3))).shape == (LANES, 0)


def test_refuses_what_a_step_refuses() -> None:
    simulator = open_accounts("table", autoreset="disabled")
    branches = Branches(simulator)
    for shape in ((LANES, 3), (LANES + 1, 2, 3), (LANES, 2, 4)):
        with pytest.raises(ValueError, match=r"actions: expected shape \(5, K, 3\), found"):
            branches.payoffs(np.zeros(shape))
    with pytest.raises(ValueError, match="expected a finite number in lane 0, found nan"):
        branches.payoffs(np.full((LANES, 2, 3), np.nan))
    for _ in range(LENGTH):
        simulator.step(np.zeros((LANES, 3)))
    with pytest.raises(RuntimeError, match="expected a running episode, found an ended one"):
        branches.payoffs(np.zeros((LANES, 2, 3)))


def test_a_ruined_lane_pays_its_ruin_once() -> None:
    market = random_market(2, 300, 1)
    config = full_config(SimplexAction(), "next_open", LogReturnReward())
    ruinous = replace(
        config, episode=EpisodeConfig(length=None, random_start=False, ruin_fraction=0.999)
    )
    simulator = Simulator(market, ruinous, 2, seed=0, autoreset="next_step")
    branches = Branches(simulator)
    while not simulator.terminated_N.any():
        paid_NK = branches.payoffs(np.ones((2, 2, 1)))
        simulator.step(np.ones((2, 1)))
        assert paid_NK[:, 0].tolist() == simulator.reward_N.tolist()
    assert branches.payoffs(np.ones((2, 2, 1))).tolist() == [[0.0, 0.0], [0.0, 0.0]]
