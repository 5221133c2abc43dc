"""Several simulators side by side: every lane is what it is alone."""

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.joined import JoinedSimulator
from envs.simulator import Simulator
from envs.synthetic import Problem
from markets.synthetic.garleanu_pedersen import GarleanuPedersen

BASE = GarleanuPedersen()
OTHER = GarleanuPedersen(transition=0.5)


def simulator(
    world: GarleanuPedersen,
    lanes: int,
    offset: int,
    autoreset: Literal["same_step", "disabled"] = "same_step",
) -> Simulator:
    problem = Problem(world, episode_length=5, measure=BASE)
    return Simulator(
        problem.stream(), problem.trading(), lanes, seed=3, autoreset=autoreset, lane_offset=offset
    )


def joined() -> JoinedSimulator:
    return JoinedSimulator([simulator(BASE, 3, 0), simulator(OTHER, 2, 3)])


def play(simulator: Any, actions_TND: NDArray[np.float64]) -> list[NDArray[Any]]:
    seen = []
    for actions_ND in actions_TND:
        simulator.step(actions_ND)
        seen += [simulator.reward_N.copy(), simulator.truncated_N | simulator.terminated_N]
        seen += [simulator.observe_index(), simulator.observe_index(final=True)]
        seen.append(simulator.world_NS.copy())
    return seen


def actions(steps: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (steps, 5, 1))


def test_lanes_are_what_they_are_alone() -> None:
    together = play(joined(), actions(12))
    parts = [
        play(simulator(BASE, 3, 0), actions(12)[:, :3]),
        play(simulator(OTHER, 2, 3), actions(12)[:, 3:]),
    ]
    for both, first, second in zip(together, *parts, strict=True):
        np.testing.assert_array_equal(both, np.concatenate([first, second]))


def test_no_two_lanes_play_one_path() -> None:
    world_NS = joined().world_NS
    assert len(np.unique(world_NS, axis=0)) == 5


def test_goes_on_bit_for_bit() -> None:
    first, second = joined(), joined()
    play(first, actions(7))
    second.load_state_dict(first.state_dict())
    for left, right in zip(play(first, actions(6)), play(second, actions(6)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_chosen_lanes_are_reset() -> None:
    parts = [simulator(BASE, 3, 0, "disabled"), simulator(OTHER, 2, 3, "disabled")]
    both = JoinedSimulator(parts)
    for actions_ND in actions(5):
        both.step(actions_ND)
    assert both.ended_N.all()
    both.reset([1, 4])
    np.testing.assert_array_equal(both.ended_N, [True, False, True, True, False])
    out_NO = np.full((5, parts[0].account_size + 1), np.nan, np.float32)
    np.testing.assert_array_equal(both.observe_index(out_NO), both.observe_index())
    both.reset(seed=9)
    assert not both.ended_N.any()
    assert [set(part.seed_N) for part in parts] == [{9}, {9}]


def test_parts_of_other_rules_are_refused() -> None:
    own = Problem(OTHER, episode_length=5)
    stranger = Simulator(own.stream(), own.trading(), 2, seed=0)
    with pytest.raises(ValueError, match=r"expected the action .* of the first, found"):
        JoinedSimulator([simulator(BASE, 3, 0), stranger])
    hidden = Problem(GarleanuPedersen(regime="belief"), episode_length=5, measure=BASE)
    other = Simulator(hidden.stream(), hidden.trading(), 2, seed=0)
    with pytest.raises(ValueError, match="expected the features"):
        JoinedSimulator([simulator(BASE, 3, 0), other])
    with pytest.raises(ValueError, match="at least one simulator"):
        JoinedSimulator([])
