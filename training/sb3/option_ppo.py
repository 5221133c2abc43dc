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
from agents.losses import explained_variance
from agents.policy import Policy
from evaluation.option_scores import holdings_share
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
from training.sb3.update import Learner
from training.sb3.vec_env import SimulatorVecEnv

_LOG = logging.getLogger(__name__)
_EARLY = 0.75
"""Part of the training that is left when collapses begin to be warned of."""


class OptionPPO(MarketPPO):
    """`MarketPPO` of options under a controller.

    Logged beside `MarketPPO`'s metrics: ``option/...`` (`meta_controller.diagnostics`) of every
    rollout, where both executions alternate of the blended lanes, and ``option/hard/...`` of the
    others; ``option/holdings_disruption``, the part of the last step's trades that the controller
    caused, over the gross limit; ``option/explained_variance_<k>`` of the critic where option k
    acted alone; and ``option/failures_<k>``, the rows in which an option that does not learn gave
    no finite output.
    The first failure of an option is warned of, and from a quarter of the training on each kind of
    collapse, once.

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
        ValueError: as `MarketPPO`; options and controller do not fit; or too few environments to
            alternate.
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
        net = self.policy.network
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
            hard=self._hard_lanes(),
            spreads=self.agent.meta_controller.terms.all_options > 0.0,
            recurrent=net.recurrent,
        )

    def _hard_lanes(self) -> int:
        execution = self.agent.meta_controller.execution
        if execution.mode != "alternate":
            return self.n_envs if execution.mode == "hard" else 0
        lanes = round(execution.hard_share * self.n_envs)
        if not 0 < lanes < self.n_envs:
            raise ValueError(
                "meta_controller.execution.hard_share: expected 1 .. N - 1 of the N = "
                f"{self.n_envs} environments to alternate, found {execution.hard_share} of them, "
                f"which is {lanes}"
            )
        return lanes

    def identity(self) -> dict[str, str]:
        """Options, gate, execution, actions and memory."""
        net, controller = self.policy.network, self.agent.meta_controller.controller
        gate = f"{controller.kind} over {net.num_regimes} regimes"
        return super().identity() | {
            "agent": "options",
            "options": str(net.num_options),
            "learned options": ", ".join(str(option) for option in net.options.learned) or "none",
            "execution": self.agent.meta_controller.execution.mode,
            "gate": gate if net.controller.learns else "none",
            "blend": self.policy.blend_kind,
            "recurrent": str(net.recurrent),
        }

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
        """The weights after the last step, and the recurrent unit's state if there is one."""
        memory = {"weights": self.rollout.carried_NK.numpy()}
        if self.policy.network.recurrent:
            memory["hidden"] = self.rollout.carried_hidden_NM.numpy()
        return memory

    def load_memory(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `memory`."""
        self.rollout.carried_NK.copy_(torch.from_numpy(memory["weights"]))
        if self.policy.network.recurrent:
            self.rollout.carried_hidden_NM.copy_(torch.from_numpy(memory["hidden"]))

    def samples(self) -> tuple[OptionBatch, Tensor]:  # type: ignore[override]  # more columns
        """The rollout as samples with advantages, and the critic's values (B,) of them."""
        return OptionSamples(
            self.rollout,
            self.policy.network,
            self.policy.features,
            self.policy.beliefs,
            self.policy.injected,
            discount=self.gamma,
            trace=self.gae_lambda,
            reward_scale=self.config.reward_scale,
        ).batch()

    def objective(self, plan: EncodingPlan) -> OptionObjective:
        """The losses of an update."""
        progress, terms = self._current_progress_remaining, self.agent.meta_controller.terms
        weights = OptionWeights(
            self.loss_weights(),
            terms,
            share=progress if terms.anneal else 1.0,
            forced=self.rollout.forced,
        )
        net, features = self.policy.network, self.policy.features
        return OptionObjective(net, features, plan, weights, self.policy.blend_kind)

    def _log_update(
        self, learners: list[Learner], values_B: Tensor, returns_B: Tensor, rates: dict[str, float]
    ) -> None:
        super()._log_update(learners, values_B, returns_B, rates)
        rollout, net = self.rollout, self.policy.network
        beta_max = self.agent.meta_controller.execution.beta_max
        # Where both executions alternate, the blend is judged, and warned of.
        blended = slice(rollout.hard if rollout.hard < rollout.num_envs else 0, None)
        found = rollout.diagnose(beta_max, blended)
        found["holdings_disruption"] = self._holdings_disruption(blended)
        deviation = None if self.policy.discrete else net.log_std.detach()
        found["hellinger"] = pairwise_distance(rollout.outputs_NKD, deviation)
        logged = found | self._explained(values_B, returns_B) | self._failures()
        if blended.start:
            held = rollout.diagnose(beta_max, slice(0, rollout.hard))
            logged |= {f"hard/{name}": value for name, value in held.items()}
        for name, value in logged.items():
            if math.isfinite(value):
                self.logger.record(f"option/{name}", value)
        if self.rollout.forced or self._current_progress_remaining > _EARLY:
            return
        for fault, words in collapses(found, self.agent.meta_controller).items():
            if fault not in self.warned:
                self.warned.add(fault)
                _LOG.warning("after %d steps: %s", self.num_timesteps, words)

    def _holdings_disruption(self, lanes: slice) -> float:
        """Mean of the last step's; nan where an episode began in all lanes, or of share numbers."""
        rollout = self.rollout
        outputs_NKD = rollout.outputs_NKD[lanes]
        if self.policy.discrete:
            outputs_NKD = outputs_NKD.argmax(dim=2, keepdim=True)
        action = self.vec_env.simulator.config.action
        share_NKA = holdings_share(outputs_NKD.double().numpy(), action)
        moved_NK = rollout.executed_TNK[-1, lanes] - rollout.previous_TNK[-1, lanes]
        going_N = ~rollout.first_TN[-1, lanes].numpy()
        caused_NA = np.einsum("nk,nka->na", moved_NK.double().numpy(), share_NKA)[going_N]
        return 0.5 * float(np.abs(caused_NA).sum(axis=1).mean()) if len(caused_NA) else math.nan

    def _explained(self, values_B: Tensor, returns_B: Tensor) -> dict[str, float]:
        """Explained variance of q(s, o) by option, where it acted alone; none seen, none told."""
        rollout, found = self.rollout, {}
        lanes = slice(0, rollout.hard)
        values, returns = (x.cpu().view(rollout.rewards_TN.shape) for x in (values_B, returns_B))
        for option in range(rollout.num_options if rollout.hard else 0):
            acted_TN = rollout.executed_TNK[:, lanes, option] > 0.5
            if int(acted_TN.sum()) > 1:
                share = explained_variance(values[:, lanes][acted_TN], returns[:, lanes][acted_TN])
                found[f"explained_variance_{option}"] = float(share)
        return found

    def _failures(self) -> dict[str, float]:
        """Rows of the rollout in which each option failed; the first ones are warned of."""
        net = self.policy.network
        if not net.injects:
            return {}
        counts = {
            option: int(count)
            for option, count in enumerate(self.rollout.failures_K)
            if option not in net.options.learned
        }
        for option, count in counts.items():
            if count and f"failure {option}" not in self.warned:
                self.warned.add(f"failure {option}")
                _LOG.warning(
                    "option %d gave outputs that are not finite in %d of %d rows; its weight goes "
                    "to the fallback",
                    option,
                    count,
                    self.rollout.rewards_TN.size,
                )
        return {f"failures_{option}": float(count) for option, count in counts.items()}
