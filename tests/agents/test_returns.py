"""Generalised advantages: by hand, by identities, and against Stable-Baselines3."""

from typing import Any

import numpy as np
import pytest
import torch
from beartype import beartype
from gymnasium import spaces
from jaxtyping import TypeCheckError, jaxtyped
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer

from agents.returns import generalised_advantages, next_state_values


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def flags(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_golden_by_hand() -> None:
    # gamma 0.5, lambda 0.5. Step 1 is truncated at a state worth 8, step 2 terminates.
    advantages = generalised_advantages(
        column(1.0, 2.0, 3.0),
        column(4.0, 6.0, 10.0),
        column(6.0, 8.0, 100.0),
        flags(0, 0, 1),
        flags(0, 1, 1),
        discount=0.5,
        trace=0.5,
    )
    # delta: 1 + 3 - 4 = 0;  2 + 4 - 6 = 0;  3 + 0 - 10 = -7.  No trace crosses an end.
    assert advantages[:, 0].tolist() == [0.0, 0.0, -7.0]
    later = generalised_advantages(
        column(1.0, 2.0),
        column(4.0, 6.0),
        column(6.0, 8.0),
        flags(0, 0),
        flags(0, 0),
        discount=0.5,
        trace=0.5,
    )
    # delta_1 = 0; delta_0 = 0; with V(s_1) = 7 instead: delta_1 = -1, delta_0 = 1 + 3.5 - 4 = .5.
    assert later[:, 0].tolist() == [0.0, 0.0]
    moved = generalised_advantages(
        column(1.0, 2.0),
        column(4.0, 7.0),
        column(7.0, 8.0),
        flags(0, 0),
        flags(0, 0),
        discount=0.5,
        trace=0.5,
    )
    assert moved[:, 0].tolist() == [0.5 + 0.25 * -1.0, -1.0]


def random_trajectories(seed: int, steps: int = 40, envs: int = 6) -> tuple[NDArray[Any], ...]:
    random = np.random.default_rng(seed)
    rewards, values = random.normal(size=(2, steps, envs))
    last = random.normal(size=envs)
    terminated = random.random((steps, envs)) < 0.05
    truncated = (random.random((steps, envs)) < 0.1) & ~terminated
    done = terminated | truncated
    return rewards, values, last, terminated, done, random.normal(size=int(done.sum()))


@pytest.mark.parametrize("seed", range(5))
def test_lambda_one_is_monte_carlo_minus_value(seed: int) -> None:
    rewards, values, last, terminated, done, finals = random_trajectories(seed)
    discount = 0.9
    following = next_state_values(
        torch.tensor(np.vstack([values, last])), torch.tensor(done), torch.tensor(finals)
    )
    advantages = generalised_advantages(
        torch.tensor(rewards),
        torch.tensor(values),
        following,
        torch.tensor(terminated),
        torch.tensor(done),
        discount=discount,
        trace=1.0,
    )
    expected = np.empty_like(rewards)
    for lane in range(rewards.shape[1]):
        for step in range(len(rewards)):
            total, weight, now = 0.0, 1.0, step
            while True:
                total += weight * rewards[now, lane]
                weight *= discount
                if done[now, lane] or now == len(rewards) - 1:
                    total += weight * following[now, lane].item() * (not terminated[now, lane])
                    break
                now += 1
            expected[step, lane] = total - values[step, lane]
    np.testing.assert_allclose(advantages.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_lambda_zero_is_the_temporal_difference(seed: int) -> None:
    rewards, values, last, terminated, done, finals = map(torch.tensor, random_trajectories(seed))
    following = next_state_values(torch.vstack([values, last[None]]), done, finals)
    advantages = generalised_advantages(
        rewards, values, following, terminated, done, discount=0.9, trace=0.0
    )
    expected = rewards + 0.9 * following * ~terminated - values
    torch.testing.assert_close(advantages, expected)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_stable_baselines(seed: int) -> None:
    rewards, values, last, terminated, done, finals = random_trajectories(seed)
    steps, envs = rewards.shape
    box = spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(steps, box, box, "cpu", gae_lambda=0.95, gamma=0.99, n_envs=envs)
    following = next_state_values(
        torch.tensor(np.vstack([values, last])), torch.tensor(done), torch.tensor(finals)
    ).numpy()
    starts = np.ones(envs)
    for step in range(steps):  # SB3 adds the bootstrap of a truncated episode to its last reward
        truncated = done[step] & ~terminated[step]
        buffer.add(
            np.zeros((envs, 1)),
            np.zeros((envs, 1)),
            rewards[step] + 0.99 * following[step] * truncated,
            starts,
            torch.tensor(values[step]),
            torch.zeros(envs),
        )
        starts = done[step].astype(float)
    buffer.compute_returns_and_advantage(torch.tensor(last), done[-1])
    advantages = generalised_advantages(
        torch.tensor(rewards),
        torch.tensor(values),
        torch.tensor(following),
        torch.tensor(terminated),
        torch.tensor(done),
        discount=0.99,
        trace=0.95,
    )
    np.testing.assert_allclose(advantages.numpy(), buffer.advantages, atol=1e-5)


def test_final_values_go_to_their_ends_in_order_of_time_and_lane() -> None:
    values = torch.arange(6.0).reshape(3, 2)
    done = torch.tensor([[False, True], [True, False]])
    following = next_state_values(values, done, torch.tensor([70.0, 80.0]))
    assert following.tolist() == [[2.0, 70.0], [80.0, 5.0]]
    assert values[1, 1] == 3.0


def test_shapes_are_checked() -> None:
    wrong = torch.zeros(3, 2)
    checked = jaxtyped(typechecker=beartype)(generalised_advantages)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3, 1), wrong, wrong, wrong > 1, wrong > 1, discount=0.9, trace=0.9)
