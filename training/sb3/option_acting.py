"""Sampling the options and actions of a whole rollout: the market is encoded before it."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from agents.blending import blend
from agents.encoder import NoEncoder
from agents.losses import categorical_log_prob, gaussian_log_prob
from agents.option_losses import option_log_probs
from markets.synthetic.base import regimes_of
from meta_controller.beliefs import one_hot
from meta_controller.chain import draw_option
from meta_controller.hierarchy import Decision, FirstLayers, Inputs
from meta_controller.policy import one_hot_rows
from training.sb3.option_buffer import OptionRollout
from training.sb3.option_policy import OptionPolicy
from training.sb3.option_samples import alone
from training.sb3.vec_env import SimulatorVecEnv

_LEAST = 1e-12
"""Least probability of a chosen option inside a logarithm."""


class OptionSampler:
    """Draws options and actions of one rollout, under parameters that do not change meanwhile.

    Args:
        policy: whose actions.
        rollout: its observations are read, the rest is written.
        generator: source of all noise, on the CPU, so that every device draws the same.
        env: environments; read for the bars that observations can name, and for the true regimes
            where the controller is told.
        started_N: whether each lane begins an episode in the first step.
        forced: let the option of the likeliest regime act alone.
    """

    def __init__(
        self,
        policy: OptionPolicy,
        rollout: OptionRollout,
        generator: torch.Generator,
        env: SimulatorVecEnv,
        *,
        started_N: NDArray[np.bool_],
        forced: bool,
    ) -> None:
        self._policy, self._net, self._rollout, self._env = policy, policy.network, rollout, env
        self._device = policy.device
        self._features_TC = policy.features
        box = policy.action_space
        self._box = box if isinstance(box, spaces.Box) else None
        if self._box is not None:
            self._low = torch.as_tensor(self._box.low.ravel(), device=self._device)
            self._high = torch.as_tensor(self._box.high.ravel(), device=self._device)
        self._hard_N = rollout.hard_N.to(self._device)
        rollout.forced = forced
        rollout.failures_K.zero_()
        self._log_std_KD = self._net.log_std.detach()
        self._halves, self._first_bar = self._encode(env.rows)
        rollout.first_TN[0].copy_(torch.from_numpy(started_N))
        self._first_N = self._begun(started_N)
        self._carried_NK = rollout.carried_NK.to(self._device)
        self._table_TK = self._fallback_table()
        self._hidden_NM: Tensor | None = None
        if self._net.recurrent:
            self._hidden_NM = rollout.carried_hidden_NM.to(self._device)
        self._draw(generator)

    def sample(self, step: int) -> NDArray[Any]:
        """Actions of a step, clipped to the box: (N, D) float32, or (N,) int64 discrete."""
        rollout = self._rollout
        if step:
            rollout.first_TN[step].copy_(torch.from_numpy(rollout.done_TN[step - 1]))
            self._first_N = self._begun(rollout.done_TN[step - 1])
        observation = torch.from_numpy(rollout.observation_SNO[step]).to(self._device)
        decision, belief_NR, injected_NKD = self._decide(observation, step)
        chance_NK, executed_NK = self._execute(decision, step)
        self._keep(step, decision, chance_NK, executed_NK, belief_NR)
        if injected_NKD is not None:
            rollout.injected_TNKD[step].copy_(injected_NKD)
        self._carried_NK, self._hidden_NM = executed_NK, decision.hidden_BM
        output_ND = blend(decision.outputs_BKD, executed_NK, self._policy.blend_kind)
        self._output_TND[step].copy_(output_ND)
        actions = self._act(step, output_ND, executed_NK)
        if step == rollout.num_steps - 1:
            self._finish()
        if rollout.spreads:
            taken = rollout.actions_TND[step].to(self._device)
            log_std = None if self._box is None else self._log_std_KD
            each_NK = option_log_probs(decision.outputs_BKD, taken, log_std)
            rollout.option_log_prob_TNK[step].copy_(each_NK)
        return actions

    def _decide(self, observation: Tensor, step: int) -> tuple[Decision, Tensor, Tensor | None]:
        bars_N, account_NP = observation[:, 0].long(), observation[:, 1:]
        injected = self._policy.injected.outputs(self._rollout.observation_SNO[step])
        belief_NR = self._belief(bars_N, account_NP)
        inputs = Inputs(
            account_NP,
            belief_NR,
            self._carried_NK,
            self._first_N,
            self._hard_N,
            injected,
            hidden_BM=self._hidden_NM,
            fallback_BK=None if self._table_TK is None else self._table_TK.index_select(0, bars_N),
        )
        if self._halves is None:
            embedding, rows = self._net.encoder.table(self._features_TC, bars_N)
            return self._net.decide(self._net.halves(embedding), rows, inputs), belief_NR, injected
        decision = self._net.decide_acting(self._halves, bars_N - self._first_bar, inputs)
        return decision, belief_NR, injected

    def _begun(self, started_N: NDArray[np.bool_]) -> Tensor | None:
        """Lanes whose episode begins; None where none does, which is so in most steps."""
        return torch.as_tensor(started_N, device=self._device) if started_N.any() else None

    def _fallback_table(self) -> Tensor | None:
        """Weights of the fallback in all bars, where the belief is the market's."""
        controller = self._net.controller
        belief_TR = None if controller.told else self._policy.beliefs.table(self._features_TC)
        return None if belief_TR is None else controller.fallback(belief_TR)

    def _belief(self, bars_N: Tensor, account_NP: Tensor) -> Tensor:
        if self._net.controller.told:
            regimes = regimes_of(self._env.simulator.world_NS)
            return one_hot(regimes, self._net.num_regimes).to(self._device)
        return self._policy.beliefs.read(self._features_TC, bars_N, account_NP)

    def _execute(self, decision: Decision, step: int) -> tuple[Tensor, Tensor]:
        """The option's distribution, and what acts: itself, or one option drawn from it."""
        if self._rollout.forced:
            acts_NK = alone(decision)
            return acts_NK, acts_NK
        chance_NK = decision.weights_BK
        if not self._rollout.hard:
            return chance_NK, chance_NK
        drawn = one_hot_rows(draw_option(chance_NK, self._uniform_TN[step]), chance_NK)
        if self._rollout.hard == self._rollout.num_envs:
            return chance_NK, drawn
        return chance_NK, torch.where(self._hard_N[:, None], drawn, chance_NK)

    def _keep(
        self,
        step: int,
        decision: Decision,
        chance_NK: Tensor,
        executed_NK: Tensor,
        belief_NR: Tensor,
    ) -> None:
        rollout = self._rollout
        rollout.previous_TNK[step].copy_(decision.previous_BK)
        rollout.executed_TNK[step].copy_(executed_NK)
        rollout.belief_TNR[step].copy_(belief_NR)
        rollout.termination_TNK[step].copy_(decision.termination_BK)
        rollout.carried_NK.copy_(executed_NK)
        if rollout.hard:
            rollout.chance_TNK[step].copy_(chance_NK)
        if decision.hidden_BM is not None and self._hidden_NM is not None:
            before_NM = self._hidden_NM
            if self._first_N is not None:
                before_NM = before_NM.masked_fill(self._first_N[:, None], 0.0)
            rollout.hidden_TNM[step].copy_(before_NM)
            rollout.hidden_after_TNM[step].copy_(decision.hidden_BM)
            rollout.carried_hidden_NM.copy_(decision.hidden_BM)
        if step == rollout.num_steps - 1:
            rollout.outputs_NKD.copy_(decision.outputs_BKD)
        if decision.failed_BK is not None:
            rollout.failures_K += decision.failed_BK.sum(dim=0).cpu()

    def _finish(self) -> None:
        """What is not needed to act: log probabilities of all actions and choices at once."""
        rollout, device = self._rollout, self._device
        executed_TNK = rollout.executed_TNK.to(device)
        actions_BD = rollout.actions_TND.to(device).flatten(end_dim=1)
        output_BD = self._output_TND.flatten(end_dim=1)
        if self._box is None:
            log_prob_B = categorical_log_prob(actions_BD[:, 0].long(), output_BD)
        else:
            log_std_BD = executed_TNK.flatten(end_dim=1) @ self._log_std_KD
            log_prob_B = gaussian_log_prob(actions_BD, output_BD, log_std_BD)
        rollout.log_prob_TN.copy_(log_prob_B.view(rollout.log_prob_TN.shape))
        if not rollout.hard:  # what is executed is the distribution itself
            rollout.chance_TNK.copy_(executed_TNK)
            return
        chance_TN = (rollout.chance_TNK.to(device) * executed_TNK).sum(dim=2)
        chosen_TN = chance_TN.clamp_min(_LEAST).log()
        rollout.choice_log_prob_TN.copy_(torch.where(self._hard_N, chosen_TN, 0.0))

    def _act(self, step: int, output_ND: Tensor, executed_NK: Tensor) -> NDArray[Any]:
        rollout = self._rollout
        if self._box is None:
            # Gumbel's trick: the largest of logits less the log of exponential variates.
            choice = (output_ND - self._noise_TND[step]).argmax(dim=1)
            rollout.actions_TND[step].copy_(choice[:, None])
            chosen: NDArray[Any] = choice.cpu().numpy()
            return chosen
        log_std_ND = executed_NK @ self._log_std_KD
        sampled = torch.addcmul(output_ND, self._noise_TND[step], log_std_ND.exp())
        rollout.actions_TND[step].copy_(sampled)
        clipped: NDArray[Any] = torch.clamp(sampled, self._low, self._high).cpu().numpy()
        return clipped

    def _encode(self, rows: tuple[int, int]) -> tuple[FirstLayers | None, int]:
        encoder, rollout = self._net.encoder, self._rollout
        if isinstance(encoder, NoEncoder):
            return self._net.first_layers(encoder.encode_series(self._features_TC)), 0
        start, stop = max(0, rows[0] - encoder.config.window + 1), rows[1]
        visits = rollout.num_steps * rollout.num_envs
        if encoder.series_cost(stop - start) > encoder.window_cost(visits):
            return None, 0
        embedding_UE = encoder.encode_series(self._features_TC[start:stop])
        return self._net.first_layers(embedding_UE), start

    def _draw(self, generator: torch.Generator) -> None:
        rollout = self._rollout
        steps, envs = rollout.num_steps, rollout.num_envs
        if self._box is None:
            noise = torch.empty(steps, envs, rollout.outputs).exponential_(generator=generator)
            noise = noise.log_()
        else:
            noise = torch.randn(steps, envs, rollout.action_size, generator=generator)
        self._noise_TND = noise.to(self._device)
        self._output_TND = torch.empty(steps, envs, rollout.outputs, device=self._device)
        if rollout.hard:
            uniform = torch.rand(steps, envs, generator=generator)
            self._uniform_TN = uniform.to(self._device)
