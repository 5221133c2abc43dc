"""Options: K ways to act, when each ends, and what each is worth.

An option has an actor (its outputs: means, or logits) and a termination. Options that learn are
heads of a shared trunk or networks of their own; the others (rules, frozen agents) act by
themselves, and only their terminations and values are learned here.

Dimensions: B samples, K options of which L learn, D outputs, E embedding, P account.
"""

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from agents.encoder import EncoderConfig, MarketEncoder, NoEncoder
from agents.networks import FusionHead, make_encoder
from agents.recurrence import RecurrentUnit

_FROZEN = ConfigDict(extra="forbid")
Widths = tuple[Annotated[int, Field(ge=1)], ...]


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class LearnedOption:
    """An option that is trained."""

    kind: Literal["learned"] = "learned"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class RuleOption:
    """An option that follows a rule of `agents.rules`, without learning."""

    kind: Literal["rule"] = "rule"
    """Discriminator."""
    name: Literal["cash", "equal_weight", "inverse_volatility", "momentum", "mean_reversion"]
    """Which rule."""
    window: Annotated[int, Field(ge=2)] = 60
    """Bars that it looks back, at least 2 (cash and equal weight do not look back). Where fewer lie
    behind, momentum and mean reversion hold nothing, inverse volatility holds equal weights."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FrozenOption:
    """An option that is an agent trained before: the one of a run's chosen checkpoint.

    It is flat, or blends options under a controller that does not learn: an option has no memory.
    """

    kind: Literal["frozen"] = "frozen"
    """Discriminator."""
    run: str
    """Folder of the run. It must know the same assets, account and actions. What this run chooses
    checkpoints on it must not have learned on, and what is tested on it must neither have learned
    on nor been selected on. Features are scaled as it learned them."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Which of its agents; none takes its first."""


OptionConfig = Annotated[LearnedOption | RuleOption | FrozenOption, Field(discriminator="kind")]
"""What an option is."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class OptionNetworkConfig:
    """Networks of an agent made of options."""

    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    """Market encoder of options and gate (the critic's is a second one when it has its own)."""
    hidden: Annotated[Widths, Field(min_length=1)] = (64, 64)
    """Widths of the trunk, which terminations share, and option heads where they are `heads`."""
    experts: Literal["heads", "networks"] = "heads"
    """`heads`: a linear head on the trunk for each learned option; `networks`: a network each."""
    expert_hidden: Widths = (32, 32)
    """Widths of an expert network; none makes it linear. Not read for `heads`."""
    linear_path: bool = False
    """Add a linear map of all inputs to the outputs of each learned option."""
    recurrent: Annotated[int, Field(ge=0)] = 0
    """Units M of a gated recurrent unit over what is observed, whose state is carried from bar to
    bar beside the weights; options, gate and critic see it. 0 = none. Gradients reach one bar back
    only (`agents.recurrence`)."""
    critic_hidden: Annotated[Widths, Field(min_length=1)] = (64, 64)
    """Widths of the critic."""
    critic_encoder: Literal["own", "shared"] = "own"
    """"own": the critic has an encoder of its own; "shared": both losses train one encoder."""
    log_std_init: Annotated[float, Field(ge=-5.0, le=2.0)] = -0.5
    """Initial log standard deviation of every option's actions, -5 .. 2."""
    output_gain: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Gain of the options' last layers: near 0 the first actions are near the middle, 0 .. 1."""


class ExpertBank(nn.Module):
    """K multilayer perceptrons over [embedding (E), account (P)], computed side by side.

    Args:
        embedding: width E of the market embedding; 0 = none.
        account_size: numbers P of the account state.
        hidden: widths of each network's hidden layers; none makes it linear.
        outputs: width D of each output.
        num_experts: K.
        linear_path: add a linear map of the inputs to the outputs.
        output_gain: gain of the last layers' orthogonal initialisation.
        generator: source of the initial weights.
    """

    def __init__(  # noqa: PLR0913 - keyword-only sizes of one network
        self,
        embedding: int,
        account_size: int,
        *,
        hidden: Widths,
        outputs: int,
        num_experts: int,
        linear_path: bool,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embedding, self.num_experts, self.outputs = embedding, num_experts, outputs
        sizes = (*hidden, outputs)
        linear = linear_path and bool(hidden)
        self._split = (num_experts * sizes[0], num_experts * outputs if linear else 0)
        self.fusion = nn.Linear(embedding + account_size, sum(self._split))
        gains = [math.sqrt(2.0)] * len(hidden) + [output_gain]
        inputs = embedding + account_size
        self.rectify = nn.ReLU()  # a module, so that hidden units can be looked at from outside
        blocks = [orthogonal(sizes[0], inputs, gains[0], generator) for _ in range(num_experts)]
        if linear:
            blocks += [
                orthogonal(outputs, inputs, output_gain, generator) for _ in range(num_experts)
            ]
        with torch.no_grad():
            self.fusion.weight.copy_(torch.cat(blocks))
            self.fusion.bias.zero_()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for (into, out), gain in zip(itertools.pairwise(sizes), gains[1:], strict=True):
            experts = [orthogonal(out, into, gain, generator).T for _ in range(num_experts)]
            self.weights.append(nn.Parameter(torch.stack(experts)))
            self.biases.append(nn.Parameter(torch.zeros(num_experts, 1, out)))

    def rows(self, experts: tuple[int, ...]) -> list[slice]:
        """Rows of the first layer that belong to some of the experts: hidden, and linear path."""
        starts, owned = (0, self._split[0]), []
        for start, size in zip(starts, self._split, strict=True):
            each = size // self.num_experts
            owned += [slice(start + e * each, start + (e + 1) * each) for e in experts if each]
        return owned

    def market_half(self, embedding_UE: Tensor) -> Tensor:
        """The market's share of the first layer, bias included, for each of U bars."""
        return functional.linear(
            embedding_UE, self.fusion.weight[:, : self.embedding], self.fusion.bias
        )

    def from_market_half(self, half_UH: Tensor, rows_B: Tensor, account_BP: Tensor) -> Tensor:
        """Outputs (B, K, D) for row ``rows`` of ``half = market_half(embedding)``."""
        if self.embedding:
            weight = self.fusion.weight[:, self.embedding :]
            first = torch.addmm(half_UH.index_select(0, rows_B), account_BP, weight.T)
        else:
            first = self.fusion(account_BP)
        return self.from_first(first)

    def from_first(self, first_BH: Tensor) -> Tensor:
        """Outputs (B, K, D) from those of the first layer."""
        main, skipped = torch.split(first_BH, list(self._split), dim=1)
        width = self._split[0] // self.num_experts
        hidden = main.view(len(first_BH), self.num_experts, width).transpose(0, 1)
        return self._after_first(hidden, skipped)

    def from_joined(self, joined_BI: Tensor) -> Tensor:
        """Outputs (B, K, D) for [embedding, account].

        The same function as through the market's half, arranged for gradients: hidden units and
        linear path are products of their own, which need not be put together on the way back.
        """
        weight, bias, main = self.fusion.weight, self.fusion.bias, self._split[0]
        if joined_BI.requires_grad:
            hidden_BH = functional.linear(joined_BI, weight[:main], bias[:main])
            width = main // self.num_experts
            hidden_KBH = hidden_BH.view(len(joined_BI), self.num_experts, width).transpose(0, 1)
        else:  # each expert's hidden units lie together; a gradient of the inputs would be K times
            hidden_KBH = torch.baddbmm(
                bias[:main].view(self.num_experts, 1, -1),
                joined_BI.expand(self.num_experts, -1, -1),
                weight[:main].view(self.num_experts, -1, weight.shape[1]).mT,
            )
        skipped = hidden_KBH
        if self._split[1]:
            skipped = functional.linear(joined_BI, weight[main:], bias[main:])
        return self._after_first(hidden_KBH, skipped)

    def _after_first(self, hidden_KBH: Tensor, skipped: Tensor) -> Tensor:
        for weight, bias in zip(self.weights, self.biases, strict=True):
            active_KBH = self.rectify(hidden_KBH)
            if weight.shape[2] == 1:  # a batched product with a single column is slow
                hidden_KBH = (active_KBH * weight.mT).sum(dim=2, keepdim=True) + bias
            else:
                hidden_KBH = torch.baddbmm(bias, active_KBH, weight)
        outputs = hidden_KBH.transpose(0, 1)
        if self._split[1]:
            outputs = outputs + skipped.view(outputs.shape)
        return outputs


class OptionNetwork(nn.Module):
    """Trunk, outputs of the learned options, and terminations of all options.

        h = trunk(z, account);  beta_k = beta_max sigmoid(b_k(h)) for all K options
        mu_k = head_k(h), or a network's of its own, for the L learned ones

    With a recurrent unit, account means [account, m] where m = unit(z, account, m before).

    Args:
        config: sizes.
        num_features: features C of a bar; 0 = everything is in the account.
        account_size: numbers P of the account state.
        outputs: D, action dimensions (continuous) or number of actions (discrete).
        learned: numbers of the options that learn, of 0 .. K - 1.
        num_options: K.
        termination_bias: initial value of every b_k.
        continuous: True gives each option a log standard deviation (D,) that does not depend on
            the state.
        generator: source of the initial weights.
    """

    def __init__(  # noqa: PLR0913 - keyword-only sizes of one network
        self,
        config: OptionNetworkConfig,
        num_features: int,
        account_size: int,
        *,
        outputs: int,
        learned: tuple[int, ...],
        num_options: int,
        termination_bias: float,
        continuous: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_options, self.outputs, self.learned = num_options, outputs, learned
        self.num_features, self.account_size = num_features, account_size
        self.encoder: MarketEncoder | NoEncoder = make_encoder(
            config.encoder, num_features, generator
        )
        self.embedding = config.encoder.embedding if num_features else 0
        heads = len(learned) * outputs if config.experts == "heads" else 0
        self.cell: RecurrentUnit | None = None
        if config.recurrent:
            self.cell = RecurrentUnit(self.embedding, account_size, config.recurrent, generator)
        state_size = account_size + config.recurrent
        self.trunk = FusionHead(
            self.embedding,
            state_size,
            config.hidden,
            heads + num_options,
            output_gain=config.output_gain,
            generator=generator,
        )
        with torch.no_grad():
            self.trunk.output.bias[heads:] = termination_bias
        self.bank: ExpertBank | None = None
        # Networks are the experts; beside heads, a bank without hidden layers is their linear path.
        own = config.experts == "networks"
        if learned and (own or config.linear_path):
            self.bank = ExpertBank(
                self.embedding,
                state_size,
                hidden=config.expert_hidden if own else (),
                outputs=outputs,
                num_experts=len(learned),
                linear_path=config.linear_path,
                output_gain=config.output_gain,
                generator=generator,
            )
        self.heads = heads
        log_std = torch.full((num_options, outputs), config.log_std_init)
        self.log_std = nn.Parameter(log_std, requires_grad=continuous)

    def halves(self, embedding_UE: Tensor) -> tuple[Tensor, ...]:
        """The market's share of the first layers, for each of U bars."""
        parts = (self.trunk, self.bank, self.cell)
        return tuple(part.market_half(embedding_UE) for part in parts if part is not None)

    def remember(
        self, halves: tuple[Tensor, ...], rows_B: Tensor, account_BP: Tensor, hidden_BM: Tensor
    ) -> Tensor:
        """States (B, M) of the recurrent unit after the bars, from those before.

        Raises:
            ValueError: states of another shape.
        """
        assert self.cell is not None  # noqa: S101 - asked for when it was made
        expected = (len(account_BP), self.cell.hidden_size)
        if hidden_BM.shape != expected:
            raise ValueError(
                f"hidden: expected {expected} of the recurrent unit, found {tuple(hidden_BM.shape)}"
            )
        return self.cell.from_market_half(halves[-1], rows_B, account_BP, hidden_BM)

    def from_halves(
        self, halves: tuple[Tensor, ...], rows_B: Tensor, account_BP: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs (B, L, D) of the learned options and logits (B, K) of the terminations.

        Args:
            halves: result of ``halves``.
            rows_B: row of the halves for each sample, int64.
            account_BP: account state of each sample, and after it what `remember` gave.
        """
        trunk_BO = self.trunk.from_market_half(halves[0], rows_B, account_BP)
        experts = None
        if self.bank is not None:
            experts = self.bank.from_market_half(halves[1], rows_B, account_BP)
        return self._split_trunk(trunk_BO, experts)

    def from_first(self, trunk_BH: Tensor, bank_BH: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `from_halves`, from the outputs of the first layers."""
        experts = None
        if self.bank is not None and bank_BH is not None:
            experts = self.bank.from_first(bank_BH)
        return self._split_trunk(self.trunk.from_first(trunk_BH), experts)

    def from_joined(self, joined_BI: Tensor) -> tuple[Tensor, Tensor]:
        """As `from_halves`, for [embedding, account and what `remember` gave] of each sample."""
        experts = None if self.bank is None else self.bank.from_joined(joined_BI)
        return self._split_trunk(self.trunk.from_joined(joined_BI), experts)

    def _split_trunk(self, trunk_BO: Tensor, experts_BLD: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.heads:
            if experts_BLD is None:
                experts_BLD = trunk_BO.new_zeros(len(trunk_BO), 0, self.outputs)
            return experts_BLD, trunk_BO
        head, logits_BK = torch.split(trunk_BO, [self.heads, self.num_options], dim=1)
        head_BLD = head.view(len(trunk_BO), len(self.learned), self.outputs)
        return (head_BLD if experts_BLD is None else head_BLD + experts_BLD), logits_BK

    def assemble(self, learned_BLD: Tensor, injected_BKD: Tensor | None) -> Tensor:
        """Outputs (B, K, D): those of the learned options in their places among the injected."""
        if injected_BKD is None:
            return learned_BLD
        outputs = injected_BKD.clone()
        if self.learned:
            outputs[:, list(self.learned)] = learned_BLD
        return outputs


class OptionCritic(nn.Module):
    """Values: v(s, w) of blended execution under the weights w before, and q(s, o) of each option.

    Args:
        config: sizes.
        num_features: features C of a bar.
        account_size: numbers P of the account state.
        num_options: K.
        state_value: whether v is wanted.
        option_values: whether q is wanted.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        config: OptionNetworkConfig,
        num_features: int,
        account_size: int,
        *,
        num_options: int,
        state_value: bool,
        option_values: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        own = config.critic_encoder == "own"
        self.own_encoder = make_encoder(config.encoder, num_features, generator) if own else None
        width = config.encoder.embedding if num_features else 0

        def head(inputs: int, outputs: int) -> FusionHead:
            return FusionHead(
                width, inputs, config.critic_hidden, outputs, output_gain=1.0, generator=generator
            )

        self.state_value = head(account_size + num_options, 1) if state_value else None
        self.option_value = head(account_size, num_options) if option_values else None

    def state_values(
        self, embedding_UE: Tensor, rows_B: Tensor, account_BP: Tensor, weights_BK: Tensor
    ) -> Tensor:
        """Values v(s, w) of states under the weights w before, (B,)."""
        assert self.state_value is not None  # noqa: S101 - asked for when it was made
        joined = torch.cat([account_BP, weights_BK], dim=1)
        half = self.state_value.market_half(embedding_UE)
        return self.state_value.from_market_half(half, rows_B, joined).squeeze(1)

    def option_values(self, embedding_UE: Tensor, rows_B: Tensor, account_BP: Tensor) -> Tensor:
        """Values q(s, o) of every option, (B, K)."""
        assert self.option_value is not None  # noqa: S101 - asked for when it was made
        half = self.option_value.market_half(embedding_UE)
        return self.option_value.from_market_half(half, rows_B, account_BP)


def orthogonal(rows: int, columns: int, gain: float, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix times ``gain`` (Saxe et al. 2014, arXiv:1312.6120)."""
    return nn.init.orthogonal_(torch.empty(rows, columns), gain, generator)
