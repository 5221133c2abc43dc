"""Proximal policy optimisation over the compiled simulator, behind Stable-Baselines3's face."""

import math
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.continual.protocol import Remedy
from agents.encoder import EncodingPlan
from agents.losses import explained_variance
from agents.networks import PolicyConfig
from agents.options import OptionNetworkConfig
from training.runtime import raise_malloc_thresholds
from training.sb3.acting import Sampler
from training.sb3.assembly import check_environment, make_optimizers, operation_threads, stream
from training.sb3.buffer import Batch, Rollout
from training.sb3.config import PPOConfig
from training.sb3.policy import MarketPolicy, action_outputs
from training.sb3.samples import advantage_samples
from training.sb3.update import Learner, Losses, LossWeights, Objective, run_learners
from training.sb3.vec_env import Finished, SimulatorVecEnv

__all__ = ["MarketPPO", "PPOConfig"]


class MarketPPO(PPO):
    """PPO with SB3's ``learn``, callbacks, ``predict``, logger and TensorBoard, made for speed.

    Paper: Schulman et al. 2017, arXiv:1707.06347. What differs from SB3's PPO:

    * each bar is encoded once per parameter version while collecting, and once per gradient step;
    * values and log probabilities of a rollout are computed after it, in large batches;
    * actor and critic are clipped by their own gradient norms, and updated side by side;
    * ``target_kl`` is looked at once an epoch, and stops the actor only;
    * step sizes of an update are those of its rollout's beginning, so that the last is not 0;
    * all randomness comes from one ``torch.Generator`` and the simulator's seed, never from the
      global ones, so that a checkpoint resumes with the same bits.

    Logged beside SB3's metrics: ``time/share_environment``, ``share_policy``, ``share_update`` and
    ``share_bookkeeping`` of the learner's wall time so far; ``train/gradient_norm_actor`` and
    ``_critic``, the largest of an update's minibatches before clipping.

    Args:
        env: environments with index observations.
        features_TC: features of the market that the simulator plays, float32 (T, C): those of
            ``env.features``.
        config: hyper-parameters.
        policy: networks.
        seed: seed of networks, action noise and minibatches, and of the environments.
        device: "cpu", "cuda" or "auto".
        tensorboard_log: folder of TensorBoard events, or None.
        verbose: SB3's verbosity, 0 .. 2.

    Raises:
        ValueError: the minibatch does not divide the rollout, or the encoder looks further back
            than the environment guarantees.
        TypeError: another kind of environment, or window observations.
    """

    policy: MarketPolicy
    policy_type: ClassVar[type[MarketPolicy]] = MarketPolicy
    """The policy that SB3 builds."""

    def __init__(  # noqa: PLR0913 - two configurations and SB3's own last four
        self,
        env: SimulatorVecEnv,
        features_TC: NDArray[np.float32],
        *,
        config: PPOConfig | None = None,
        policy: PolicyConfig | OptionNetworkConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        tensorboard_log: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.config = config or PPOConfig()
        check_environment(env, self.config, (policy or PolicyConfig()).encoder.window)
        raise_malloc_thresholds()
        self.warned: set[str] = set()
        """Names of the warnings that were given; a checkpoint carries them."""
        self.stop_requested = False
        """Set it (from a signal handler, say) to end ``learn`` at the next update boundary."""
        self.remedy: Remedy | None = None
        """What keeps earlier phases of a stream from being forgotten (`agents.continual`)."""
        self.rate_factor = 1.0
        """Factor on both learning rates, beside their schedule."""
        self.peaks: dict[str, float] = {}
        """Largest gradient norms of actor and critic before clipping, and largest value loss of a
        minibatch, since it was last emptied; a checkpoint carries them."""
        self.at_update_boundary = True
        """Whether the state now is one that an uninterrupted run passes through between updates."""
        super().__init__(
            self.policy_type,
            env,
            learning_rate=self._learning_rate,
            n_steps=self.config.steps,
            batch_size=self.config.minibatch,
            n_epochs=self.config.epochs,
            gamma=self.config.discount,
            gae_lambda=self.config.trace,
            clip_range=self.config.clip_range,
            ent_coef=self.config.entropy,
            vf_coef=self.config.value,
            max_grad_norm=self.config.max_grad_norm,
            target_kl=self.config.target_kl,
            policy_kwargs={
                "features_TC": features_TC,
                "config": policy or PolicyConfig(),
                "network_seed": stream(seed, "network"),
                **self.policy_arguments(),
            },
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
        )

    def policy_arguments(self) -> dict[str, Any]:
        """What the policy is made of beside features, networks and seed."""
        return {}

    def _learning_rate(self, progress_remaining: float) -> float:
        return self.config.learning_rate * (progress_remaining if self.config.anneal else 1.0)

    def _setup_model(self) -> None:
        with operation_threads(self.config.threads):
            super()._setup_model()
        net = self.policy.net
        if self.config.noise_final is not None:
            net.log_std.requires_grad_(False)  # noqa: FBT003 - torch's signature
        self.generator = torch.Generator().manual_seed(stream(self.seed or 0, "noise"))
        self.optimizers = make_optimizers(net)
        self.rollout = self.make_rollout()
        self.seconds = dict.fromkeys(("environment", "policy", "update", "total"), 0.0)

    def make_rollout(self) -> Rollout:
        """What a rollout is kept in."""
        width = 1 if self.policy.discrete else action_outputs(self.action_space)
        return Rollout(self.n_steps, self.n_envs, self.policy.net.account_size, width)

    def make_sampler(self) -> Sampler:
        """What draws the actions of the rollout that begins."""
        return Sampler(self.policy, self.rollout, self.generator, self.vec_env.rows)

    def memory(self) -> dict[str, NDArray[Any]]:
        """What acting remembers from one rollout to the next, for an exact resume."""
        return {}

    def load_memory(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `memory`."""
        del memory

    def identity(self) -> dict[str, str]:
        """What weights must share with this learner to mean the same, beside their shapes."""
        outputs = action_outputs(self.action_space)
        actions = f"one of {outputs}" if self.policy.discrete else f"{outputs} numbers"
        return {"agent": "flat", "actions": actions}

    @property
    def vec_env(self) -> SimulatorVecEnv:
        """The environments."""
        assert isinstance(self.env, SimulatorVecEnv)  # noqa: S101 - checked in the constructor
        return self.env

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the environments; the global generators, which SB3 would seed, are left alone."""
        if seed is not None:
            self.action_space.seed(seed)
            self.vec_env.seed(seed)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        began = num_timesteps - self.n_steps * self.n_envs
        super()._update_current_progress_remaining(began, total_timesteps)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PPO",
        reset_num_timesteps: bool = True,  # noqa: FBT001, FBT002 - SB3's signature
        progress_bar: bool = False,  # noqa: FBT001, FBT002 - SB3's signature
    ) -> Self:
        """Train, in whole rollouts, until ``total_timesteps`` environment steps are taken."""
        with operation_threads(self.config.threads):
            return super().learn(
                total_timesteps,
                callback,
                log_interval,
                tb_log_name,
                reset_num_timesteps,
                progress_bar,
            )

    # -- collection ---------------------------------------------------------------------------

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: object,
        n_rollout_steps: int,
    ) -> bool:
        """Play a rollout; returns False when a callback or ``stop_requested`` ended it."""
        del env, rollout_buffer  # SB3 hands over its own; ours are typed
        callback.on_rollout_start()
        if self.stop_requested:
            return False
        began = time.perf_counter()
        self.at_update_boundary = False
        self.policy.set_training_mode(mode=False)
        with torch.no_grad():
            complete = self._play(callback, n_rollout_steps)
        if complete:
            callback.on_rollout_end()
        self.seconds["total"] += time.perf_counter() - began
        return complete

    def _play(self, callback: BaseCallback, num_steps: int) -> bool:
        rollout, seconds, clock = self.rollout, self.seconds, time.perf_counter
        assert isinstance(self._last_obs, np.ndarray)  # noqa: S101 - observations are flat
        rollout.reset(self._last_obs)
        self._set_noise()
        began = clock()
        sampler = self.make_sampler()
        seconds["policy"] += clock() - began
        for step in range(num_steps):
            began = clock()
            actions = sampler.sample(step)
            acted = clock()
            finished = self.vec_env.advance(actions, rollout.observation_SNO[step + 1])
            stepped = clock()
            seconds["policy"] += acted - began
            seconds["environment"] += stepped - acted
            self._record(step, finished)
            if not self._report(callback, actions, finished):
                return False
        self._last_obs = rollout.observation_SNO[num_steps].copy()
        return True

    def _record(self, step: int, finished: Finished | None) -> None:
        rollout, env = self.rollout, self.vec_env
        rollout.rewards_TN[step] = env.reward_N
        rollout.terminated_TN[step] = env.terminated_N
        rollout.done_TN[step] = env.done_N
        self._last_obs = rollout.observation_SNO[step + 1]
        self._last_episode_starts = env.done_N
        self.num_timesteps += self.n_envs
        if finished is not None:
            rollout.finals.append(finished.final_observation_EO)
            assert self.ep_info_buffer is not None  # noqa: S101 - made by SB3 before learning
            self.ep_info_buffer.extend(finished.episodes)

    def _report(
        self, callback: BaseCallback, actions: NDArray[Any], finished: Finished | None
    ) -> bool:
        env = self.vec_env
        callback.update_locals(
            {
                "self": self,
                "new_obs": self._last_obs,
                "actions": actions,
                "rewards": env.reward_N,
                "dones": env.done_N,
                "infos": env.infos(finished),
            }
        )
        return callback.on_step()

    # -- update -------------------------------------------------------------------------------

    def train(self) -> None:
        """Update the networks on the collected rollout.

        Raises:
            FloatingPointError: the update diverged.
        """
        began = time.perf_counter()
        self.policy.set_training_mode(mode=True)
        with torch.no_grad():
            batch, values_B = self.samples()
        rates = self._set_learning_rates()
        plan = self.policy.net.encoder.plan(batch.bars_B, self.batch_size)
        permutations = [
            torch.randperm(len(values_B), generator=self.generator).to(self.device)
            for _ in range(self.n_epochs)
        ]
        learners = self.learners(plan)
        if self.remedy is not None:
            self.remedy.progress(min(self.num_timesteps / self._total_timesteps, 1.0))
        run_learners(
            learners, batch, permutations, self.batch_size, concurrent=self.config.concurrent
        )
        self._n_updates += self.n_epochs
        self.at_update_boundary = True
        self._keep_peaks(learners)
        self._log_update(learners, values_B, batch.returns_B, rates)
        elapsed = time.perf_counter() - began
        self.seconds["update"] += elapsed
        self.seconds["total"] += elapsed

    def samples(self) -> tuple[Batch, Tensor]:
        """The rollout as samples with advantages, and the critic's values (B,) of them."""
        return advantage_samples(
            self.rollout,
            self.policy.net,
            self.policy.features,
            discount=self.gamma,
            trace=self.gae_lambda,
            reward_scale=self.config.reward_scale,
        )

    def objective(self, plan: EncodingPlan) -> Losses:
        """The losses of an update.

        Args:
            plan: how the rollout's bars are encoded.
        """
        return Objective(
            self.policy.net,
            self.policy.features,
            plan,
            self.loss_weights(),
            discrete=self.policy.discrete,
        )

    def loss_weights(self) -> LossWeights:
        """Weights and ranges of PPO's losses now."""
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]  # SB3 turns the number into a schedule
        return LossWeights(clip, self.config.entropy, self.config.value)

    def learners(self, plan: EncodingPlan) -> list[Learner]:
        """The learners of an update: actor and critic, or both in one with a shared encoder.

        Args:
            plan: how the rollout's bars are encoded.
        """
        config, net, losses = self.config, self.policy.net, self.objective(plan)
        actor, critic = net.actor_parameters(), net.critic_parameters()
        limit, kl = config.max_grad_norm, config.target_kl
        if net.own_critic_encoder is None:
            both = (actor, critic)
            return [Learner(self.optimizers["both"], losses.both, both, limit, kl, self.remedy)]
        return [
            Learner(self.optimizers["actor"], losses.policy, (actor,), limit, kl, self.remedy),
            Learner(self.optimizers["critic"], losses.value, (critic,), limit),
        ]

    def _set_learning_rates(self) -> dict[str, float]:
        progress = self._current_progress_remaining if self.config.anneal else 1.0
        progress *= self.rate_factor
        rates = {
            "actor": self.config.learning_rate * progress,
            "critic": self.config.critic_learning_rate * progress,
        }
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rates[group["role"]]
        return rates

    def _set_noise(self) -> None:
        last = self.config.noise_final
        if last is None:
            return
        first = self.policy.net.config.log_std_init
        done = self.num_timesteps / self._total_timesteps
        self.policy.net.log_std.detach().fill_(first + (last - first) * min(done, 1.0))

    def _keep_peaks(self, learners: list[Learner]) -> None:
        """Look for larger ones among an update's gradient norms and value losses, and log them."""
        norms = [norm for learner in learners for norm in learner.largest_norms()]
        found = dict(zip(("gradient_norm_actor", "gradient_norm_critic"), norms, strict=True))
        for name, value in found.items():
            self.logger.record(f"train/{name}", value)
        losses = [learner.largest("value_loss") for learner in learners]
        found["value_loss"] = next(loss for loss in losses if loss is not None)
        for name, value in found.items():  # what is not a number is the largest
            self.peaks[name] = float(np.maximum(self.peaks.get(name, 0.0), value))

    def _log_update(
        self, learners: list[Learner], values_B: Tensor, returns_B: Tensor, rates: dict[str, float]
    ) -> None:
        record = self.logger.record
        for learner in learners:
            for name, value in learner.means().items():
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"train/{name}: expected a finite number, found {value} after "
                        f"{self.num_timesteps} steps; lower the learning rates or reward_scale"
                    )
                record(f"train/{name}", value)
        record("train/explained_variance", float(explained_variance(values_B, returns_B)))
        record("train/learning_rate", rates["actor"])
        record("train/critic_learning_rate", rates["critic"])
        if not self.policy.discrete:
            record("train/std", float(self.policy.log_std.detach().exp().mean()))
        for name, value in self.remedy.figures().items() if self.remedy is not None else ():
            record(f"continual/{name}", value)
        record("train/n_updates", self._n_updates, exclude="tensorboard")

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log, with the shares of the wall time so far."""
        for name, share in self.time_shares().items():
            self.logger.record(f"time/share_{name}", share)
        super().dump_logs(iteration)

    def time_shares(self) -> dict[str, float]:
        """Shares of the learner's wall time: environment, policy, update, bookkeeping (sum 1)."""
        total = self.seconds["total"]
        names = ("environment", "policy", "update")
        shares = {name: self.seconds[name] / total if total else 0.0 for name in names}
        return shares | {"bookkeeping": 1.0 - sum(shares.values()) if total else 0.0}

    def save(self, *args: object, **kwargs: object) -> None:
        """Refused: SB3's archive is pickled. Use ``training.sb3.snapshot`` and a checkpoint store.

        Raises:
            TypeError: always.
        """
        del args, kwargs
        raise TypeError(
            "MarketPPO.save: SB3's archives are pickled and do not resume exactly; "
            "write training.sb3.snapshot.capture(model) to a training.checkpoint.CheckpointStore"
        )

    @classmethod
    def load(cls, *args: object, **kwargs: object) -> Self:
        """Refused, as ``save`` is. Build a model and use ``training.sb3.snapshot.restore``.

        Raises:
            TypeError: always.
        """
        del args, kwargs
        raise TypeError(
            "MarketPPO.load: SB3's archives are pickled; build the model and call "
            "training.sb3.snapshot.restore(model, training.checkpoint.load(path))"
        )
