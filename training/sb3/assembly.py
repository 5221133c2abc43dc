"""What a learner is put together from: checks, optimisers, named streams of randomness."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from agents.networks import ActorCritic
from training.sb3.config import PPOConfig
from training.sb3.vec_env import SimulatorVecEnv


@contextmanager
def operation_threads(threads: int) -> Iterator[None]:
    """Let each torch operation use so many threads, and restore the number afterwards.

    The bits of a matrix product or a decomposition depend on it: with 1 they do not depend on the
    machine's cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stream(seed: int, name: str) -> int:
    """Seed of a named stream of random numbers, independent of the other names' streams."""
    state = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return int(state[0])


def make_optimizers(net: ActorCritic) -> dict[str, torch.optim.Optimizer]:
    """Adam for the actor and for the critic, or one for both where they share the encoder."""
    actor = {"params": net.actor_parameters(), "role": "actor"}
    critic = {"params": net.critic_parameters(), "role": "critic"}
    if net.own_critic_encoder is None:
        return {"both": torch.optim.Adam([actor, critic], eps=1e-5, fused=True)}
    return {
        "actor": torch.optim.Adam([actor], eps=1e-5, fused=True),
        "critic": torch.optim.Adam([critic], eps=1e-5, fused=True),
    }


def check_environment(env: object, config: PPOConfig, window: int) -> None:
    """Refuse an environment that does not fit the configuration.

    Args:
        env: what the learner was given.
        config: its hyper-parameters.
        window: bars that the encoder looks back, where there are features to encode.

    Raises:
        TypeError: another kind of environment, or window observations.
        ValueError: the minibatch does not divide the rollout, or the encoder looks further back
            than the environment guarantees.
    """
    if not isinstance(env, SimulatorVecEnv):
        raise TypeError(f"env: expected a SimulatorVecEnv, found {type(env).__name__}")
    if env.observation_kind != "index":
        raise TypeError(
            f"env: expected index observations, found {env.observation_kind!r}; "
            "SB3's own PPO takes windows"
        )
    history = env.simulator.config.observation.window
    if env.features.size and window > history:
        raise ValueError(
            f"policy.encoder.window: must be <= the environment's observation.window = {history} "
            f"(bars known before an episode starts), was {window}"
        )
    samples = config.steps * env.num_envs
    if samples % config.minibatch:
        raise ValueError(
            f"minibatch: must divide steps * environments = {config.steps} * {env.num_envs} "
            f"= {samples}, was {config.minibatch}"
        )
