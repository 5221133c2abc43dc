"""PPO's losses of an agent made of options: of its actions, of its choices, of its values."""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.blending import BlendKind, blend
from agents.encoder import EncodingPlan
from agents.losses import (
    approximate_kl,
    categorical_entropy,
    categorical_log_prob,
    clip_fraction,
    clipped_surrogate,
    gaussian_entropy,
    gaussian_log_prob,
    squared_value_error,
    standardised,
)
from agents.option_losses import (
    all_options_surrogate,
    balance_loss,
    option_log_probs,
    squared_hellinger,
    squared_hellinger_categorical,
    standardised_by_option,
)
from meta_controller.chain import ending
from meta_controller.config import TermsConfig
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic
from training.sb3.option_buffer import OptionBatch
from training.sb3.update import Losses, LossWeights

Stats = dict[str, Tensor]


class OptionWeights(NamedTuple):
    """Weights of the losses in one update."""

    ppo: LossWeights
    terms: TermsConfig
    share: float
    """Of the balance and anchor terms that is left, 0 .. 1."""
    forced: bool
    """Whether the executed weights were given (the head start), so that no choice is learned."""


class OptionObjective(Losses):
    """Losses of the networks on a batch.

    Blended rows have one clipped surrogate of the action under w, recomputed from the stored
    weights before with present parameters (one step deep), as the recurrent unit's state is from
    the stored one before. Rows that hold one option have two: of the action given the option, and
    of the option given the one before.

    Args:
        net: options, controller and critic.
        features_TC: features of the market.
        plan: how the rollout's bars are encoded.
        weights: of the losses.
        kind: how outputs blend.
    """

    def __init__(
        self,
        net: OptionActorCritic,
        features_TC: Tensor,
        plan: EncodingPlan,
        weights: OptionWeights,
        kind: BlendKind,
    ) -> None:
        super().__init__((net.encoder, net.critic_encoder), features_TC, plan)
        self._net, self._weights, self._kind = net, weights, kind
        mode = net.meta.execution.mode
        self._blends, self._holds = mode != "hard", mode != "blended"

    # -- actor --------------------------------------------------------------------------------

    def _policy(self, batch: OptionBatch, embedding: Tensor, rows: Tensor) -> tuple[Tensor, Stats]:
        net = self._net
        inputs = Inputs(
            batch.account_BP,
            batch.belief_BR,
            batch.previous_BK,
            batch.first_B,
            batch.hard_B,
            batch.injected_BKD if net.injects else None,
            hidden_BM=batch.hidden_BM,
            fallback_BK=batch.fallback_BK,
        )
        decision = net.decide_joined(self._each(embedding, rows), inputs)
        loss, stats = self._action_loss(batch, decision)
        if self._holds and not self._weights.forced:
            choice, choice_stats = self._choice_loss(batch, decision)
            loss, stats = loss + choice, stats | choice_stats
        terms, term_stats = self._terms(batch, decision)
        return loss + terms, stats | term_stats

    def _each(self, embedding: Tensor, rows: Tensor) -> Tensor | None:
        """A row of the embedding for each sample; None without market features."""
        if not self._net.num_features:
            return None
        return embedding if self._plan.path == "window" else embedding.index_select(0, rows)

    def _action_loss(self, batch: OptionBatch, decision: Decision) -> tuple[Tensor, Stats]:
        net, weights = self._net, self._weights.ppo
        executed = batch.executed_BK
        if self._blends and not self._weights.forced:
            executed = decision.weights_BK
            if self._holds:
                executed = torch.where(batch.hard_B[:, None], batch.executed_BK, executed)
        output = blend(decision.outputs_BKD, executed, self._kind)
        if self._kind == "categorical" or not net.continuous:
            log_prob = categorical_log_prob(batch.actions_BD[:, 0].long(), output)
            entropy = categorical_entropy(output).mean()
        else:
            log_std = executed @ self._log_std()
            log_prob = gaussian_log_prob(batch.actions_BD, output, log_std)
            entropy = gaussian_entropy(log_std).mean()
        log_ratio = log_prob - batch.log_prob_B
        advantages = self._standardised(batch)
        surrogate = clipped_surrogate(log_ratio, advantages, weights.clip_range)
        if self._weights.terms.all_options > 0.0 and self._holds:
            surrogate = surrogate + self._spread(batch, decision, log_ratio, advantages)
        fixed = log_ratio.detach()
        stats = {
            "policy_gradient_loss": surrogate.detach(),
            "entropy_loss": -entropy.detach(),
            "approx_kl": approximate_kl(fixed),
            "clip_fraction": clip_fraction(fixed, weights.clip_range),
        }
        return surrogate - weights.entropy * entropy, stats

    def _log_std(self) -> Tensor:
        """Log deviations (K, D); those of injected options are not trained."""
        log_std, learned = self._net.log_std, list(self._net.options.learned)
        if not self._net.injects:
            return log_std
        trained = torch.zeros(len(log_std), 1, dtype=torch.bool, device=log_std.device)
        trained[learned] = True
        return torch.where(trained, log_std, log_std.detach())

    def _standardised(self, batch: OptionBatch) -> Tensor:
        """Advantages of the action; where both kinds of rows are mixed, each by its own scale."""
        if not (self._blends and self._holds):
            return self._scaled(batch.advantages_B, batch.executed_BK)
        scaled = torch.empty_like(batch.advantages_B)
        for rows in (batch.hard_B, ~batch.hard_B):
            scaled[rows] = self._scaled(batch.advantages_B[rows], batch.executed_BK[rows])
        return scaled

    def _scaled(self, advantages_B: Tensor, executed_BK: Tensor) -> Tensor:
        if self._weights.terms.advantages == "option":
            return standardised_by_option(advantages_B, executed_BK)
        return standardised(advantages_B)

    def _spread(
        self, batch: OptionBatch, decision: Decision, log_ratio_B: Tensor, advantages_B: Tensor
    ) -> Tensor:
        """What training all options that could have acted adds to training the one that did."""
        rows = batch.hard_B if self._blends else slice(None)
        clip, part = self._weights.ppo.clip_range, self._weights.terms.all_options
        gain_B = advantages_B[rows]
        if not len(gain_B):
            return advantages_B.new_zeros(())
        log_prob_BK = option_log_probs(
            decision.outputs_BKD[rows],
            batch.actions_BD[rows],
            self._log_std() if self._net.continuous else None,
        )
        log_ratio_BK = log_prob_BK - batch.option_log_prob_BK[rows]
        every = all_options_surrogate(log_ratio_BK, gain_B, batch.share_BK[rows], clip)
        alone = clipped_surrogate(log_ratio_B[rows], gain_B, clip)
        return part * (every - alone) * (len(gain_B) / len(advantages_B))

    def _choice_loss(self, batch: OptionBatch, decision: Decision) -> tuple[Tensor, Stats]:
        rows = batch.hard_B if self._blends else slice(None)
        chance = (decision.weights_BK * batch.executed_BK).sum(dim=1)[rows]
        if not len(chance):
            return chance.sum(), {}
        log_ratio = chance.clamp_min(1e-12).log() - batch.choice_log_prob_B[rows]
        advantages = standardised(batch.choice_advantages_B[rows])
        share = len(log_ratio) / len(batch.hard_B)
        clip = self._weights.ppo.clip_range
        loss = clipped_surrogate(log_ratio, advantages, clip) * share
        fixed = log_ratio.detach()
        stats = {
            "choice_gradient_loss": loss.detach(),
            "choice_approx_kl": approximate_kl(fixed),
            "choice_clip_fraction": clip_fraction(fixed, clip),
        }
        return loss, stats

    def _terms(self, batch: OptionBatch, decision: Decision) -> tuple[Tensor, Stats]:
        terms, left = self._weights.terms, self._weights.share
        loss = decision.weights_BK.new_zeros(())
        stats: Stats = {}
        if terms.diversity > 0.0 and self._net.num_options > 1:
            distance = self._distance(decision)
            loss, stats["diversity"] = loss - terms.diversity * distance, distance.detach()
        if self._weights.forced:  # the others are of choices, of which none is learned
            return loss, stats
        if terms.balance * left > 0.0:
            balance = balance_loss(decision.weights_BK)
            loss, stats["balance_loss"] = loss + terms.balance * left * balance, balance.detach()
        if terms.termination > 0.0 and self._blends:
            ended = ending(decision.previous_BK, decision.termination_BK)
            # An episode's first blend is the fallback's: nothing ended there.
            price = torch.where(batch.hard_B | batch.first_B, 0.0, ended).mean()
            loss, stats["termination_loss"] = loss + terms.termination * price, price.detach()
        if terms.anchor * left > 0.0 and decision.deviation_BK is not None:
            anchor = decision.deviation_BK.square().mean()
            loss, stats["anchor_loss"] = loss + terms.anchor * left * anchor, anchor.detach()
        return loss, stats

    def _distance(self, decision: Decision) -> Tensor:
        if not self._net.continuous:
            return squared_hellinger_categorical(decision.outputs_BKD).mean()
        return squared_hellinger(decision.outputs_BKD, self._net.log_std.detach()).mean()

    # -- critic -------------------------------------------------------------------------------

    def _value(self, batch: OptionBatch, embedding: Tensor, rows: Tensor) -> tuple[Tensor, Stats]:
        critic = self._net.critic
        state = self._net.joined(batch.account_BP, batch.hidden_BM)
        parts = []
        if self._blends:
            parts.append(critic.state_values(embedding, rows, state, batch.previous_BK))
        if self._holds:
            value_BK = critic.option_values(embedding, rows, state)
            parts.append((value_BK * batch.executed_BK).sum(dim=1))
        values = parts[0] if len(parts) == 1 else torch.where(batch.hard_B, parts[1], parts[0])
        error = squared_value_error(values, batch.returns_B)
        return self._weights.ppo.value * error, {"value_loss": error.detach()}
