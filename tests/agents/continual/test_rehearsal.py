"""How many environments play earlier regimes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.continual.config import RehearsalConfig
from agents.continual.flat import FlatFunction
from agents.continual.protocol import Experience
from agents.continual.rehearsal import Rehearsal
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig


def make(share: float = 1.0 / 3.0) -> Rehearsal:
    config = PolicyConfig(encoder=EncoderConfig(), hidden=(3,))
    net = ActorCritic(config, 0, 2, 1, generator=torch.Generator().manual_seed(0))
    return Rehearsal(RehearsalConfig(share=share), FlatFunction(net, torch.empty(0, 0)))


def end(remedy: Rehearsal, phase: int, regime: int) -> None:
    remedy.consolidate(Experience(phase, regime, {}, torch.Generator()))


@pytest.mark.parametrize(
    ("share", "num_envs", "seen", "expected"),
    [
        (1 / 3, 12, (), {}),
        (1 / 3, 12, (0,), {0: 4}),
        (1 / 3, 12, (2, 0), {2: 2, 0: 2}),
        (1 / 3, 16, (2, 0), {2: 3, 0: 2}),  # 5.33 of 16
        (0.5, 5, (1,), {1: 3}),  # 2.5
        (0.1, 4, (0, 1, 2), {0: 1, 1: 1, 2: 1}),
        (0.01, 2, (0,), {0: 1}),
        (0.99, 8, (0, 1), {0: 4, 1: 3}),
    ],
)
def test_lanes_by_hand(
    share: float, num_envs: int, seen: tuple[int, ...], expected: dict[int, int]
) -> None:
    assert make(share).lanes(num_envs, seen) == expected


@given(
    st.floats(0.001, 0.999),
    st.integers(2, 200),
    st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True),
)
def test_lanes_are_even_and_never_all(share: float, num_envs: int, seen: list[int]) -> None:
    if num_envs <= len(seen):
        with pytest.raises(ValueError, match=f"at least {len(seen) + 1} environments"):
            make(share).lanes(num_envs, seen)
        return
    found = make(share).lanes(num_envs, seen)
    assert list(found) == seen
    assert min(found.values()) >= 1
    assert max(found.values()) - min(found.values()) <= 1
    assert sum(found.values()) < num_envs
    if len(seen) <= share * num_envs <= num_envs - 1:
        assert abs(sum(found.values()) - share * num_envs) <= 0.5


def test_a_regime_twice() -> None:
    with pytest.raises(ValueError, match=r"each earlier regime once, found \[1, 1\]"):
        make().lanes(8, (1, 1))


def test_it_remembers_the_order_in_which_regimes_ended() -> None:
    remedy = make()
    for phase, regime in enumerate((2, 0, 2, 1)):
        end(remedy, phase, regime)
    assert list(remedy.regimes) == [2, 0, 1]
    assert remedy.figures() == {"regimes": 3.0}
    again = make()
    again.load_state(remedy.state())
    end(again, 4, 5)
    assert list(again.regimes) == [2, 0, 1, 5]
    assert again.lanes(12, again.regimes) == {2: 1, 0: 1, 1: 1, 5: 1}


@pytest.mark.parametrize("state", [{}, {"owner": torch.zeros(2)}, {"regimes": torch.zeros(2, 2)}])
def test_the_state_of_another_remedy(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="rehearsal: expected the state regimes"):
        make().load_state(state)


def test_it_adds_nothing_to_the_loss() -> None:
    remedy = make()
    end(remedy, 0, 0)
    assert remedy.penalty() is None
    assert remedy.played_as(0) == {}
