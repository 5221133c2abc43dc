"""The policy behind SB3's interface."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from tests.training.sb3.scenarios import make_env, small_policy
from training.sb3.policy import MarketPolicy, ObservationKind, action_outputs


def make(observation: ObservationKind) -> tuple[MarketPolicy, NDArray[np.float32]]:
    env = make_env(observation=observation)
    space: Any = env.observation_space
    policy = MarketPolicy(
        space,
        env.action_space,
        lambda _: 1e-3,
        features_TC=env.features,
        config=small_policy(output_gain=1.0),
        observation=observation,
        network_seed=2,
    )
    return policy, env.reset()


def test_index_and_window_policies_are_the_same_function() -> None:
    (index, index_rows), (window, window_rows) = make("index"), make("window")
    action, _ = index.predict(index_rows, deterministic=True)
    np.testing.assert_allclose(
        action, window.predict(window_rows, deterministic=True)[0], atol=1e-6
    )
    values = [
        p.predict_values(torch.tensor(r)) for p, r in ((index, index_rows), (window, window_rows))
    ]
    assert values[0].shape == (8, 1)
    torch.testing.assert_close(values[0], values[1], atol=1e-6, rtol=1e-6)


def test_forward_and_evaluate_agree() -> None:
    policy, rows = make("index")
    with torch.no_grad():
        actions, values, log_prob = policy(torch.tensor(rows))
        again, evaluated, entropy = policy.evaluate_actions(torch.tensor(rows), actions)
    torch.testing.assert_close(again, values)
    torch.testing.assert_close(evaluated, log_prob)
    assert entropy is not None
    assert entropy.shape == (8,)


def test_seed_decides_the_weights() -> None:
    first, second = make("index")[0], make("index")[0]
    for left, right in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert left.equal(right)


def test_refusals() -> None:
    env = make_env()
    features = env.features

    def build(space: Any, **more: Any) -> MarketPolicy:
        return MarketPolicy(space, env.action_space, lambda _: 1e-3, features_TC=features, **more)

    with pytest.raises(ValueError, match="expected more than 1 numbers"):
        build(spaces.Box(0.0, 1.0, (1,)))
    with pytest.raises(ValueError, match="use_sde"):
        build(env.observation_space, use_sde=True)
    with pytest.raises(ValueError, match="expected Box or Discrete"):
        action_outputs(spaces.MultiBinary(3))
    with pytest.raises(TypeError, match="expected one flat tensor"):
        build(env.observation_space, config=small_policy()).predict_values({})
