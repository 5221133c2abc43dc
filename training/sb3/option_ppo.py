"""PPO for an agent made of options: the same learner, with a rollout that knows who acted."""

import logging
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.encoder import EncodingPlan
from agents.policy import Policy
from meta_controller.beliefs import BeliefSource
from meta_controller.diagnostics import collapses, pairwise_distance
from training.sb3.option_acting import OptionSampler
from training.sb3.option_buffer import OptionBatch, OptionRollout
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_policy import OptionPolicy, blend_kind
from training.sb3.option_samples import OptionSamples
from training.sb3.option_update import OptionObjective, OptionWeights
from training.sb3.policy import MarketPolicy, action_outputs
from training.sb3.ppo import MarketPPO
from training.sb3.update import Learner, LossWeights
from training.sb3.vec_env import SimulatorVecEnv

_LOG = logging.getLogger(__name__)
_EARLY = 0.75
"""Part of the training that is left when collapses begin to be warned of."""


class OptionPPO(MarketPPO):
    """`MarketPPO` of options under a controller.

    Logged beside `MarketPPO`'s metrics: ``option/...`` (`meta_controller.diagnostics`) of every
    rollout. A collapse of the options is warned of once, in words.

    Args:
        env: environments with index observations.
        features_TC: features of the market, float32 (T, C): those of ``env.features``.
        agent: options, controller, networks and hyper-parameters.
        beliefs: where the belief about regimes stands in what is observed.
        num_regimes: R columns of the belief, or regimes of the market where the controller is told.
        injected: options that do not learn, by number.
        seed: of networks, noise, minibatches and environments.
        device: "cpu", "cuda" or "auto".
        tensorboard_log: folder of TensorBoard events, or None.
        verbose: SB3's verbosity, 0 .. 2.

    Raises:
        ValueError: as `MarketPPO`; or options and controller do not fit.
        TypeError: as `MarketPPO`.
    """

    policy_type: ClassVar[type[MarketPolicy]] = OptionPolicy
    policy: OptionPolicy
    rollout: OptionRollout

    def __init__(  # noqa: PLR0913 - one configuration, what the task gives, and SB3's own last
        self,
        env: SimulatorVecEnv,
        features_TC: NDArray[np.float32],
        *,
        agent: OptionAgentConfig,
        beliefs: BeliefSource,
        num_regimes: int,
        injected: Mapping[int, Policy] = MappingProxyType({}),
        seed: int = 0,
        device: str = "auto",
        tensorboard_log: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.agent = agent
        self._given = {
            "options": agent.options,
            "meta": agent.meta_controller,
            "beliefs": beliefs,
            "num_regimes": num_regimes,
            "injected": injected,
            "blend_kind": blend_kind(env.simulator.config.action),
        }
        self._warned: set[str] = set()
        super().__init__(
            env,
            features_TC,
            config=agent.ppo,
            policy=agent.policy,
            seed=seed,
            device=device,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
        )

    def policy_arguments(self) -> dict[str, Any]:
        """Options, controller and beliefs."""
        return self._given

    def make_rollout(self) -> OptionRollout:
        """What a rollout is kept in."""
        net, execution = self.policy.network, self.agent.meta_controller.execution
        shares = {"blended": 0.0, "hard": 1.0, "alternate": execution.hard_share}
        outputs = action_outputs(self.action_space)
        return OptionRollout(
            self.n_steps,
            self.n_envs,
            net.account_size,
            1 if self.policy.discrete else outputs,
            num_options=net.num_options,
            num_regimes=net.num_regimes,
            outputs=outputs,
            injects=net.injects,
            hard=round(shares[execution.mode] * self.n_envs),
        )

    def make_sampler(self) -> OptionSampler:  # type: ignore[override]  # the same face
        """What draws options and actions of the rollout that begins."""
        return OptionSampler(
            self.policy,
            self.rollout,
            self.generator,
            self.vec_env,
            started_N=np.asarray(self._last_episode_starts, dtype=np.bool_),
            forced=self.num_timesteps < self.agent.meta_controller.head_start,
        )

    def memory(self) -> dict[str, NDArray[Any]]:
        """The weights after the last step."""
        return {"weights": self.rollout.carried_NK.numpy()}

    def load_memory(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `memory`."""
        self.rollout.carried_NK.copy_(torch.from_numpy(memory["weights"]))

    def samples(self) -> tuple[OptionBatch, Tensor]:  # type: ignore[override]  # more columns
        """The rollout as samples with advantages, and the critic's values (B,) of them."""
        return OptionSamples(
            self.rollout,
            self.policy.network,
            self.policy.features,
            self.policy.beliefs,
            discount=self.gamma,
            trace=self.gae_lambda,
            reward_scale=self.config.reward_scale,
        ).batch()

    def learners(self, plan: EncodingPlan) -> list[Learner]:
        """The learners of an update: actor and critic, or both in one with a shared encoder."""
        config, net = self.config, self.policy.network
        progress, terms = self._current_progress_remaining, self.agent.meta_controller.terms
        weights = OptionWeights(
            LossWeights(self.clip_range(progress), config.entropy, config.value),  # type: ignore[operator]  # SB3 turns the number into a schedule
            terms,
            share=progress if terms.anneal else 1.0,
            forced=self.rollout.forced,
        )
        objective = OptionObjective(
            net, self.policy.features, plan, weights, self.policy.blend_kind
        )
        actor, critic = net.actor_parameters(), net.critic_parameters()
        limit, kl = config.max_grad_norm, config.target_kl
        if net.own_critic_encoder is None:
            return [Learner(self.optimizers["both"], objective.both, (actor, critic), limit, kl)]
        return [
            Learner(self.optimizers["actor"], objective.policy, (actor,), limit, kl),
            Learner(self.optimizers["critic"], objective.value, (critic,), limit),
        ]

    def _log_update(
        self, learners: list[Learner], values_B: Tensor, returns_B: Tensor, rates: dict[str, float]
    ) -> None:
        super()._log_update(learners, values_B, returns_B, rates)
        found = self.rollout.diagnose(self.agent.meta_controller.execution.beta_max)
        net = self.policy.network
        deviation = None if self.policy.discrete else net.log_std.detach()
        found["hellinger"] = pairwise_distance(self.rollout.outputs_NKD, deviation)
        for name, value in found.items():
            if math.isfinite(value):
                self.logger.record(f"option/{name}", value)
        if self.rollout.forced or self._current_progress_remaining > _EARLY:
            return
        for fault, words in collapses(found, self.agent.meta_controller).items():
            if fault not in self._warned:
                self._warned.add(fault)
                _LOG.warning("after %d steps: %s", self.num_timesteps, words)
