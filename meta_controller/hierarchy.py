"""The hierarchical networks: options, controller and critic, and the decision that they make.

Dimensions: B samples, K options of which L learn, D outputs, R regimes, U bars, P account, M units
of a recurrent unit.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.encoder import MarketEncoder, NoEncoder
from agents.networks import FusionHead
from agents.options import (
    LearnedOption,
    OptionConfig,
    OptionCritic,
    OptionNetwork,
    OptionNetworkConfig,
)
from meta_controller.chain import propagate, without
from meta_controller.config import MetaControllerConfig
from meta_controller.controllers import make_controller


class Halves(NamedTuple):
    """The market's share of the first layers, for each of U bars."""

    options: tuple[Tensor, ...]
    gate: Tensor


class FirstLayers(NamedTuple):
    """First layers of trunk, experts and gate as one, H units: for acting under fixed weights."""

    market_UH: Tensor | None
    """The market's share, bias included, for each of U bars; None without market features."""
    bias_H: Tensor
    """Bias."""
    account_PH: Tensor
    """Weights of the account and what the recurrent unit gave."""
    sizes: tuple[int, ...]
    """Units of each of the networks."""
    cell: tuple[Tensor, ...]
    """The market's share of the recurrent unit, if there is one."""


class Inputs(NamedTuple):
    """What a decision depends on beside the market."""

    account_BP: Tensor
    """Account state."""
    belief_BR: Tensor
    """What the controller is fed of regimes."""
    previous_BK: Tensor
    """Weights before (one-hot for the option held); not read where an episode begins."""
    first_B: Tensor | None
    """Whether an episode begins, bool; None = nowhere."""
    hard_B: Tensor
    """Whether one option acts at a time, bool: the first is then drawn from the proposal."""
    injected_BKD: Tensor | None = None
    """Outputs of the options that do not learn (anything in the places of those that do)."""
    memory_B: Tensor | None = None
    """What the controller remembers, if it does."""
    hidden_BM: Tensor | None = None
    """State of the recurrent unit before, if there is one; not read where an episode begins."""
    fallback_BK: Tensor | None = None
    """Weights of the fallback under the belief, where they are known; None = they are computed."""


class Decision(NamedTuple):
    """Who acts in each of B states, and how each option would."""

    weights_BK: Tensor
    """Distribution of the option: weights of a blend, P(o | s, o') of a choice."""
    previous_BK: Tensor
    """Weights before it; where an episode begins, those of the fallback."""
    proposal_BK: Tensor
    """pi( . | s) of the controller."""
    fallback_BK: Tensor
    """C pi."""
    termination_BK: Tensor
    """beta."""
    deviation_BK: Tensor | None
    """g, the gate's logits; None without a gate."""
    outputs_BKD: Tensor
    """Outputs of every option; zeros where it failed."""
    failed_BK: Tensor | None
    """Options whose outputs are not finite; None where that was not asked."""
    hidden_BM: Tensor | None = None
    """State of the recurrent unit after it; None without one."""


class OptionActorCritic(nn.Module):
    """Actor (options and controller) and critic over market and account.

    Args:
        network: sizes of the options' networks and of the critic's.
        meta: the controller and its execution.
        options: what each option is.
        num_features: features C of a bar; 0 = everything is in the account.
        account_size: numbers P of the account state.
        outputs: D, action dimensions (continuous) or number of actions (discrete).
        num_regimes: R columns of the belief; 0 = none.
        continuous: whether actions are Gaussian.
        generator: source of the initial weights.

    Raises:
        ValueError: no option, or a controller that does not fit.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts of one composition
        self,
        network: OptionNetworkConfig,
        meta: MetaControllerConfig,
        options: tuple[OptionConfig, ...],
        *,
        num_features: int,
        account_size: int,
        outputs: int,
        num_regimes: int,
        continuous: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if not options:
            raise ValueError("options: expected at least one, found none")
        execution = meta.execution
        self.config, self.meta = network, meta
        self.num_features, self.account_size = num_features, account_size
        self.recurrent = network.recurrent
        self.state_size = account_size + network.recurrent
        self.num_options, self.num_regimes, self.outputs = len(options), num_regimes, outputs
        learned = tuple(k for k, each in enumerate(options) if isinstance(each, LearnedOption))
        odds = execution.initial_termination / (execution.beta_max - execution.initial_termination)
        self.options = OptionNetwork(
            network,
            num_features,
            account_size,
            outputs=outputs,
            learned=learned,
            num_options=len(options),
            termination_bias=math.log(odds),
            continuous=continuous,
            generator=generator,
        )
        self.controller = make_controller(
            meta,
            num_options=len(options),
            num_regimes=num_regimes,
            embedding=self.options.embedding,
            account_size=self.state_size,
            generator=generator,
        )
        self.critic = OptionCritic(
            network,
            num_features,
            self.state_size,
            num_options=len(options),
            state_value=execution.mode != "hard",
            option_values=execution.mode != "blended",
            generator=generator,
        )
        self.continuous = continuous
        self.injects = len(learned) < len(options)

    @property
    def encoder(self) -> MarketEncoder | NoEncoder:
        """The actor's encoder."""
        return self.options.encoder

    @property
    def own_critic_encoder(self) -> MarketEncoder | NoEncoder | None:
        """The critic's encoder, None where it shares the actor's."""
        return self.critic.own_encoder

    @property
    def critic_encoder(self) -> MarketEncoder | NoEncoder:
        """The critic's encoder, its own or the shared one."""
        return self.encoder if self.critic.own_encoder is None else self.critic.own_encoder

    @property
    def log_std(self) -> Tensor:
        """Log standard deviations (K, D) of the options' actions."""
        return self.options.log_std

    def actor_parameters(self) -> list[nn.Parameter]:
        """Parameters that the policy loss trains."""
        parts = [*self.options.parameters(), *self.controller.parameters()]
        return [parameter for parameter in parts if parameter.requires_grad]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the value loss trains."""
        own = self.critic.own_encoder
        heads: list[FusionHead | None] = [self.critic.state_value, self.critic.option_value]
        used = [*(own.parameters() if own is not None else ())]
        return used + [p for head in heads if head is not None for p in head.parameters()]

    def blank(self, rows: int) -> Tensor | None:
        """States of the recurrent unit where episodes begin, zeros (rows, M); None without one."""
        return self.log_std.new_zeros(rows, self.recurrent) if self.recurrent else None

    def joined(self, account: Tensor, hidden: Tensor | None) -> Tensor:
        """[account, state of the recurrent unit] (..., P + M); the account alone without one.

        The critic sees the state before the bar, which is stored: its loss trains no unit.
        """
        if not self.recurrent:
            return account
        assert hidden is not None  # noqa: S101 - whoever acts carries it
        return torch.cat([account, hidden], dim=-1)

    def halves(self, embedding_UE: Tensor) -> Halves:
        """The market's share of the first layers of options and gate."""
        return Halves(self.options.halves(embedding_UE), self.controller.gate_half(embedding_UE))

    def decide(
        self, halves: Halves, rows_B: Tensor, inputs: Inputs, *, isolate: bool = False
    ) -> Decision:
        """Decide in B states.

        Where an episode begins, a blend by a learned controller starts at the fallback's weights;
        a choice, and what does not learn, starts at the proposal.

        Args:
            halves: of the bars.
            rows_B: row of the halves for each state, int64.
            inputs: what it depends on beside the market.
            isolate: take the weight of options whose outputs are not finite, as is always done
                where some are injected.

        Raises:
            ValueError: there is a recurrent unit, and its state before is missing or misshapen.
        """
        hidden_BM = self._remember(halves.options, rows_B, inputs)
        state_BP = self.joined(inputs.account_BP, hidden_BM)
        learned = self.options.from_halves(halves.options, rows_B, state_BP)
        deviation_BK = self.controller.deviation(halves.gate, rows_B, state_BP)
        return self._conclude(inputs, learned, deviation_BK, hidden_BM, isolate=isolate)

    @torch.no_grad()
    def first_layers(self, embedding_UE: Tensor) -> FirstLayers:
        """The first layers as one, of the present weights and for each of U bars."""
        options, width = self.options, self.options.embedding
        parts = (options.trunk, options.bank)
        layers = [part.fusion for part in parts if part is not None]
        gate = self.controller.first_layer()
        layers += [gate] if gate is not None else []
        weight_HI = torch.cat([layer.weight for layer in layers])
        bias_H = torch.cat([layer.bias for layer in layers])
        cell = options.cell
        return FirstLayers(
            functional.linear(embedding_UE, weight_HI[:, :width], bias_H) if width else None,
            bias_H,
            weight_HI[:, width:].T.contiguous(),
            tuple(layer.out_features for layer in layers),
            () if cell is None else (cell.market_half(embedding_UE),),
        )

    @torch.no_grad()
    def decide_acting(self, layers: FirstLayers, rows_B: Tensor, inputs: Inputs) -> Decision:
        """`decide`, where the weights did not change since `first_layers`: the form for acting.

        Args:
            layers: result of `first_layers`.
            rows_B: row of each state's bar, int64; not read without market features.
            inputs: what it depends on beside the market.

        Raises:
            ValueError: as `decide`.
        """
        hidden_BM = self._remember(layers.cell, rows_B, inputs)
        state_BP = self.joined(inputs.account_BP, hidden_BM)
        market = layers.bias_H
        if layers.market_UH is not None:
            market = layers.market_UH.index_select(0, rows_B)
        first_BH = torch.addmm(market, state_BP, layers.account_PH)
        trunk, *others = torch.split(first_BH, list(layers.sizes), dim=1)
        bank = others.pop(0) if self.options.bank is not None else None
        learned = self.options.from_first(trunk, bank)
        deviation_BK = self.controller.deviation_from_first(others[0]) if others else None
        return self._conclude(inputs, learned, deviation_BK, hidden_BM, isolate=False)

    def decide_joined(self, embedding_BE: Tensor | None, inputs: Inputs) -> Decision:
        """`decide`, where every state has a row of its own: the form for gradients.

        Samples of few bars in common cost less when they are joined to what is observed once for
        all networks than when each network's half of the market is looked up.

        Args:
            embedding_BE: market embedding of each state; None without market features.
            inputs: what it depends on beside the market.

        Raises:
            ValueError: as `decide`.
        """
        account_BP, hidden_BM = inputs.account_BP, None
        if self.recurrent:
            market = account_BP.new_empty(0, 0) if embedding_BE is None else embedding_BE
            rows = torch.arange(len(account_BP), device=account_BP.device)
            hidden_BM = self._remember(self.options.halves(market), rows, inputs)
        joined_BI = self.joined(account_BP, hidden_BM)
        if embedding_BE is not None:
            joined_BI = torch.cat([embedding_BE, joined_BI], dim=1)
        learned = self.options.from_joined(joined_BI)
        deviation_BK = self.controller.deviation_from_joined(joined_BI)
        return self._conclude(inputs, learned, deviation_BK, hidden_BM, isolate=False)

    def _conclude(
        self,
        inputs: Inputs,
        learned: tuple[Tensor, Tensor],
        deviation_BK: Tensor | None,
        hidden_BM: Tensor | None,
        *,
        isolate: bool,
    ) -> Decision:
        """The decision, from outputs of learned options, logits of terminations, and the gate's."""
        controller = self.controller
        learned_BLD, logits_BK = learned
        outputs_BKD = self.options.assemble(learned_BLD, inputs.injected_BKD)
        fallback_BK = inputs.fallback_BK
        if fallback_BK is None:
            fallback_BK = controller.fallback(inputs.belief_BR)
        proposal_BK = controller.propose(fallback_BK, deviation_BK, inputs.memory_B)
        termination_BK = controller.termination(logits_BK)
        previous_BK = inputs.previous_BK
        if inputs.first_B is not None:
            previous_BK = torch.where(inputs.first_B[:, None], fallback_BK, previous_BK)
        weights_BK = propagate(previous_BK, termination_BK, proposal_BK)
        if inputs.first_B is not None:
            start_BK = proposal_BK
            if controller.learns:
                start_BK = torch.where(inputs.hard_B[:, None], proposal_BK, fallback_BK)
            weights_BK = torch.where(inputs.first_B[:, None], start_BK, weights_BK)
        failed_BK = None
        if isolate or inputs.injected_BKD is not None:
            failed_BK = ~torch.isfinite(outputs_BKD).all(dim=2)
            outputs_BKD = outputs_BKD.masked_fill(failed_BK[..., None], 0.0)
            weights_BK = without(weights_BK, failed_BK, fallback_BK)
        return Decision(
            weights_BK,
            previous_BK,
            proposal_BK,
            fallback_BK,
            termination_BK,
            deviation_BK,
            outputs_BKD,
            failed_BK,
            hidden_BM,
        )

    def _remember(
        self, halves: tuple[Tensor, ...], rows_B: Tensor, inputs: Inputs
    ) -> Tensor | None:
        """State of the recurrent unit after the bars, from zeros where an episode begins."""
        if not self.recurrent:
            return None
        if inputs.hidden_BM is None:
            raise ValueError(
                f"hidden: expected {(len(rows_B), self.recurrent)} of the recurrent unit, found "
                "none"
            )
        before_BM = inputs.hidden_BM
        if inputs.first_B is not None:
            before_BM = before_BM.masked_fill(inputs.first_B[:, None], 0.0)
        return self.options.remember(halves, rows_B, inputs.account_BP, before_BM)
