"""From an option agent's rollout to samples: values and advantages of both levels."""

import torch
from torch import Tensor

from agents.option_losses import responsibilities
from agents.option_returns import TwoLevels, arrival_value, charged, option_advantages
from agents.returns import generalised_advantages, next_state_values
from meta_controller.beliefs import BeliefSource
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic
from meta_controller.policy import InjectedOptions, one_hot_rows
from training.sb3.option_buffer import OptionBatch, OptionRollout


def alone(decision: Decision) -> Tensor:
    """Rows (B, K) in which the option of the likeliest regime acts alone, of those that can act."""
    able_BK = decision.fallback_BK
    if decision.failed_BK is not None:
        able_BK = able_BK.masked_fill(decision.failed_BK, -1.0)
    return one_hot_rows(able_BK.argmax(dim=1), able_BK)


class OptionSamples:
    """Evaluates the critic on a rollout and estimates the advantages of actions and options.

    Lanes that hold one option at a time have both levels' advantages over q; the others the plain
    ones over v(s, w).

    Args:
        rollout: T steps of N environments.
        net: options, controller and critic.
        features_TC: features of the market, on the network's device.
        beliefs: where the belief about regimes stands.
        injected: options that do not learn, which are asked in the states beyond the rollout.
        discount: gamma, 0 .. 1.
        trace: lambda, 0 .. 1.
        reward_scale: factor on the rewards, and on the cost of a switch.
    """

    def __init__(  # noqa: PLR0913 - a rollout, what it was played with, and keyword-only rates
        self,
        rollout: OptionRollout,
        net: OptionActorCritic,
        features_TC: Tensor,
        beliefs: BeliefSource,
        injected: InjectedOptions,
        *,
        discount: float,
        trace: float,
        reward_scale: float,
    ) -> None:
        self._rollout, self._net = rollout, net
        self._features_TC, self._beliefs, self._injected = features_TC, beliefs, injected
        self._settings = {"discount": discount, "trace": trace}
        self._scale = reward_scale
        device = features_TC.device
        self._bars_SN, self._account_SNP = rollout.split(rollout.observation_SNO, device)
        self._finals = rollout.split(rollout.final_observations(), device)
        # What the critic sees: the account, and the recurrent unit's state before if there is one.
        self._state_SNP = self._account_SNP
        if net.recurrent:
            self._remember()
        self._done_TN = torch.from_numpy(rollout.done_TN).to(device)
        self._terminated_TN = torch.from_numpy(rollout.terminated_TN).to(device)
        self._rewards_TN = torch.from_numpy(rollout.rewards_TN).to(device) * reward_scale
        self._executed_TNK = rollout.executed_TNK.to(device)
        self._previous_TNK = rollout.previous_TNK.to(device)

    def batch(self) -> tuple[OptionBatch, Tensor]:
        """Samples (B = T N, step by step), and the critic's values (B,) of them."""
        hard = self._rollout.hard
        advantages, choices, values = self._empty(), self._empty(), self._empty()
        if hard < self._rollout.num_envs:
            lanes = slice(hard, None)
            advantages[:, lanes], values[:, lanes] = self._blended(lanes)
        if hard:
            lanes = slice(0, hard)
            levels, values[:, lanes] = self._held(lanes)
            advantages[:, lanes], choices[:, lanes] = levels.low_TN, levels.high_TN
        return self._collect(advantages, advantages + values, choices), values.flatten()

    def _remember(self) -> None:
        """Join the recurrent unit's states to the accounts, in the rollout and beyond it."""
        rollout, net, device = self._rollout, self._net, self._features_TC.device
        # Where an episode ended in the last step the row is not read: its final state's value is.
        hidden_SNM = torch.cat([rollout.hidden_TNM, rollout.hidden_after_TNM[-1:]]).to(device)
        self._state_SNP = net.joined(self._account_SNP, hidden_SNM)
        hidden_EM = rollout.hidden_after_TNM[torch.from_numpy(rollout.done_TN)].to(device)
        self._finals = (self._finals[0], net.joined(self._finals[1], hidden_EM))

    def _empty(self) -> Tensor:
        return torch.zeros_like(self._rewards_TN)

    def _collect(self, advantages: Tensor, returns: Tensor, choices: Tensor) -> OptionBatch:
        rollout, device = self._rollout, self._features_TC.device

        def flat(tensor: Tensor) -> Tensor:
            return tensor.to(device).flatten(end_dim=1)

        hard_TN = rollout.hard_N.expand(rollout.num_steps, -1).contiguous()
        option_log_prob_BK = flat(rollout.option_log_prob_TNK)
        share_BK = option_log_prob_BK
        if rollout.spreads:
            share_BK = responsibilities(flat(rollout.chance_TNK), option_log_prob_BK)
        return OptionBatch(
            bars_B=self._bars_SN[:-1].flatten(),
            account_BP=self._account_SNP[:-1].flatten(end_dim=1),
            actions_BD=flat(rollout.actions_TND),
            log_prob_B=flat(rollout.log_prob_TN),
            advantages_B=advantages.flatten(),
            returns_B=returns.flatten(),
            previous_BK=flat(rollout.previous_TNK),
            executed_BK=flat(rollout.executed_TNK),
            first_B=flat(rollout.first_TN),
            hard_B=flat(hard_TN),
            belief_BR=flat(rollout.belief_TNR),
            fallback_BK=self._net.controller.fallback(flat(rollout.belief_TNR)),
            choice_log_prob_B=flat(rollout.choice_log_prob_TN),
            choice_advantages_B=choices.flatten(),
            injected_BKD=flat(rollout.injected_TNKD),
            share_BK=share_BK,
            option_log_prob_BK=option_log_prob_BK,
            hidden_BM=flat(rollout.hidden_TNM),
        )

    # -- blended lanes ------------------------------------------------------------------------

    def _blended(self, lanes: slice) -> tuple[Tensor, Tensor]:
        """Advantages (T, n) and values v(s, w before) (T, n) of the lanes."""
        done_TN = self._done_TN[:, lanes]
        # Where an episode began in the last step the row is not read: its final state's value is.
        previous_SNK = torch.cat([self._previous_TNK, self._executed_TNK[-1:]])[:, lanes]
        values_SN = self._v(self._bars_SN[:, lanes], self._state_SNP[:, lanes], previous_SNK)
        ended, weights_EK = self._final_rows(lanes)
        finals_E = self._v(self._finals[0][ended], self._finals[1][ended], weights_EK)
        advantages_TN = generalised_advantages(
            self._rewards_TN[:, lanes],
            values_SN[:-1],
            next_state_values(values_SN, done_TN, finals_E),
            self._terminated_TN[:, lanes],
            done_TN,
            **self._settings,
        )
        return advantages_TN, values_SN[:-1]

    def _v(self, bars: Tensor, state: Tensor, previous: Tensor) -> Tensor:
        net = self._net
        if not bars.numel():  # no episode ended
            return state.new_zeros(bars.shape)
        embedding, rows = net.critic_encoder.table(self._features_TC, bars.flatten())
        size = net.num_options
        flat = net.critic.state_values(
            embedding, rows, state.reshape(-1, net.state_size), previous.reshape(-1, size)
        )
        return flat.view(bars.shape)

    # -- lanes that hold one option at a time -------------------------------------------------

    def _held(self, lanes: slice) -> tuple[TwoLevels, Tensor]:
        """Advantages of both levels, and values q(s, o) (T, n), of the lanes."""
        rollout = self._rollout
        done_TN, executed_TNK = self._done_TN[:, lanes], self._executed_TNK[:, lanes]
        bars_SN, state_SNP = self._bars_SN[:, lanes], self._state_SNP[:, lanes]
        value_SNK = self._q(bars_SN, state_SNP)
        chosen_TN = (value_SNK[:-1] * executed_TNK).sum(dim=2)
        chance_TNK = rollout.chance_TNK.to(value_SNK.device)[:, lanes]
        arrival_TN = (chance_TNK * value_SNK[:-1]).sum(dim=2)
        beyond_N = self._arrival(bars_SN[-1], state_SNP[-1], executed_TNK[-1], value_SNK[-1])
        ended, weights_EK = self._final_rows(lanes)
        bars_E, state_EP = self._finals[0][ended], self._finals[1][ended]
        finals_E = self._arrival(bars_E, state_EP, weights_EK, self._q(bars_E, state_EP))
        arrival_SN = torch.cat([arrival_TN, beyond_N[None]])
        levels = option_advantages(
            charged(self._rewards_TN[:, lanes], self._switched(lanes), self._switch_cost()),
            chosen_TN,
            arrival_TN,
            next_state_values(arrival_SN, done_TN, finals_E),
            self._terminated_TN[:, lanes],
            done_TN,
            **self._settings,
        )
        return levels, chosen_TN

    def _switch_cost(self) -> float:
        return self._net.meta.terms.switch_cost * self._scale

    def _switched(self, lanes: slice) -> Tensor:
        """Whether another option acts than before; an episode's first is no switch."""
        held_TN = (self._executed_TNK * self._previous_TNK)[:, lanes].sum(dim=2) > 0.5
        return ~held_TN & ~self._rollout.first_TN.to(held_TN.device)[:, lanes]

    def _q(self, bars: Tensor, state: Tensor) -> Tensor:
        net = self._net
        if not bars.numel():
            return state.new_zeros(*bars.shape, net.num_options)
        embedding, rows = net.critic_encoder.table(self._features_TC, bars.flatten())
        flat = net.critic.option_values(embedding, rows, state.reshape(-1, net.state_size))
        return flat.view(*bars.shape, net.num_options)

    def _arrival(
        self, bars_E: Tensor, state_EP: Tensor, held_EK: Tensor, value_EK: Tensor
    ) -> Tensor:
        """v_high(s, o) (E,) of states that are not in the rollout, the option o before held."""
        net = self._net
        if not len(bars_E):
            return value_EK.new_zeros(0)
        embedding, rows = net.encoder.table(self._features_TC, bars_E)
        account_EP, hidden_EM = torch.split(state_EP, [net.account_size, net.recurrent], dim=1)
        observation_EO = torch.cat([bars_E[:, None].float(), account_EP], dim=1)
        inputs = Inputs(
            account_EP,
            self._beliefs.read(self._features_TC, bars_E, account_EP),
            held_EK,
            torch.zeros(len(bars_E), dtype=torch.bool, device=bars_E.device),
            torch.ones(len(bars_E), dtype=torch.bool, device=bars_E.device),
            self._injected.outputs(observation_EO.cpu().numpy()),
            hidden_BM=hidden_EM,
        )
        decision = net.decide(net.halves(embedding), rows, inputs)
        chance = decision.weights_BK
        if self._rollout.forced:
            chance = alone(decision)
        return arrival_value(chance, value_EK)

    def _final_rows(self, lanes: slice) -> tuple[Tensor, Tensor]:
        """Numbers of the final states of the lanes, and the weights after their last step."""
        numbers_TN = torch.full_like(self._done_TN, 0, dtype=torch.int64)
        numbers_TN[self._done_TN] = torch.arange(len(self._finals[0]), device=numbers_TN.device)
        ended_TN = self._done_TN[:, lanes]
        return numbers_TN[:, lanes][ended_TN], self._executed_TNK[:, lanes][ended_TN]
