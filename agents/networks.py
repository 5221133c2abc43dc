"""Actor and critic over the market encoder, with the account joined late.

The first layer of a head is linear in the joined vector [embedding, account], so its market half
depends on the bar only: it is computed once per bar (``FusionHead.market_half``), and a sample
costs a row look-up and a product with its few account numbers. This is the same function as the
plain network, arranged for speed. Without market features (`NoEncoder`) a head is the plain
multilayer perceptron over the account.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from agents.encoder import EncoderConfig, MarketEncoder, NoEncoder, initialise


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PolicyConfig:
    """Networks of the flat agent."""

    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    """Market encoder of the actor (and of the critic, a second one, when it has its own); there is
    none where the market has no shared features."""
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (64, 64)
    """Widths of the layers after the account has joined, actor and critic each."""
    critic_encoder: Literal["own", "shared"] = "own"
    """"own": the critic has an encoder of its own; "shared": both losses train one encoder."""
    log_std_init: Annotated[float, Field(ge=-5.0, le=2.0)] = -0.5
    """Initial log standard deviation of the actions, the same in every state, -5 .. 2."""
    output_gain: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Gain of the actor's last layer: near 0 the first actions are near the middle, 0 .. 1."""


class FusionHead(nn.Module):
    """Multilayer perceptron over [embedding (E), account (P)].

    Args:
        embedding: width E of the market embedding; 0 = none, bars and market halves are not read.
        account_size: numbers P of the account state.
        hidden: widths of the hidden layers, at least one; rectified linear units.
        outputs: width of the output.
        output_gain: gain of the last layer's orthogonal initialisation.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        embedding: int,
        account_size: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.fusion = nn.Linear(embedding + account_size, hidden[0])
        self.trunk = nn.ModuleList(
            nn.Linear(width, following) for width, following in itertools.pairwise(hidden)
        )
        self.output = nn.Linear(hidden[-1], outputs)
        for layer in (self.fusion, *self.trunk):
            assert isinstance(layer, nn.Linear)  # noqa: S101 - ModuleList forgets its element type
            initialise(layer, gain=math.sqrt(2.0), generator=generator)
        initialise(self.output, gain=output_gain, generator=generator)

    def forward(self, embedding_BE: Tensor, account_BP: Tensor) -> Tensor:
        """Plain form: outputs (B, outputs) for embeddings and accounts of equal rows."""
        return self.from_joined(torch.cat([embedding_BE, account_BP], dim=1))

    def from_joined(self, joined_BI: Tensor) -> Tensor:
        """Outputs (B, outputs) for [embedding, account], which several heads may share."""
        return self.from_first(self.fusion(joined_BI))

    def market_half(self, embedding_UE: Tensor) -> Tensor:
        """The market's share of the first layer, bias included, for each of U bars: (U, hidden)."""
        weight = self.fusion.weight[:, : self.embedding]
        return functional.linear(embedding_UE, weight, self.fusion.bias)

    def from_market_half(self, half_UH: Tensor, rows_B: Tensor, account_BP: Tensor) -> Tensor:
        """Equal to ``forward(embedding[rows], account)`` for ``half = market_half(embedding)``.

        Args:
            half_UH: result of ``market_half``.
            rows_B: row of ``half_UH`` for each sample, int64.
            account_BP: account state of each sample.

        Returns:
            Outputs (B, outputs).
        """
        if not self.embedding:
            return self.from_first(self.fusion(account_BP))
        weight = self.fusion.weight[:, self.embedding :]
        market_BH = half_UH.index_select(0, rows_B)
        return self.from_first(torch.addmm(market_BH, account_BP, weight.T))

    def from_first(self, hidden: Tensor) -> Tensor:
        """Outputs (B, outputs) from those of the first layer, which are overwritten."""
        # In place: the linear layers' gradients do not need their outputs, and memory is the limit.
        for layer in self.trunk:
            hidden = layer(functional.relu_(hidden))
        output: Tensor = self.output(functional.relu_(hidden))
        return output


class ActorCritic(nn.Module):
    """Actor (action means or logits) and critic (state value) over market and account.

    Args:
        config: sizes.
        num_features: features C of a bar; 0 = everything is in the account, nothing is encoded.
        account_size: numbers P of the account state.
        outputs: action dimensions (continuous) or number of actions (discrete).
        continuous: True gives a state-independent log standard deviation, a parameter (outputs,).
        generator: source of the initial weights.
    """

    def __init__(
        self,
        config: PolicyConfig,
        num_features: int,
        account_size: int,
        outputs: int,
        *,
        continuous: bool = True,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_features = num_features
        self.account_size = account_size
        self.encoder = make_encoder(config.encoder, num_features, generator)
        own = config.critic_encoder == "own"
        self.own_critic_encoder = (
            make_encoder(config.encoder, num_features, generator) if own else None
        )
        width = config.encoder.embedding if num_features else 0
        self.actor = FusionHead(
            width,
            account_size,
            config.hidden,
            outputs,
            output_gain=config.output_gain,
            generator=generator,
        )
        self.critic = FusionHead(
            width, account_size, config.hidden, 1, output_gain=1.0, generator=generator
        )
        log_std = torch.full((outputs,), config.log_std_init)
        self.log_std = nn.Parameter(log_std, requires_grad=continuous)

    @property
    def critic_encoder(self) -> MarketEncoder | NoEncoder:
        """The critic's encoder, its own or the shared one."""
        return self.own_critic_encoder if self.own_critic_encoder is not None else self.encoder

    def actor_parameters(self) -> list[nn.Parameter]:
        """Parameters that the policy loss trains: encoder, actor head, log standard deviation."""
        parameters = [*self.encoder.parameters(), *self.actor.parameters()]
        return parameters + [p for p in (self.log_std,) if p.requires_grad]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the value loss trains."""
        own = self.own_critic_encoder
        return [*(own.parameters() if own is not None else ()), *self.critic.parameters()]

    def act(self, features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
        """Action means or logits (B, outputs) for index observations."""
        embedding, rows = self.encoder.table(features_TC, bars_B)
        return self.actor.from_market_half(self.actor.market_half(embedding), rows, account_BP)

    def value(self, features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
        """State values (B,) for index observations."""
        embedding, rows = self.critic_encoder.table(features_TC, bars_B)
        half = self.critic.market_half(embedding)
        return self.critic.from_market_half(half, rows, account_BP).squeeze(1)

    def act_windows(self, windows_BWC: Tensor, account_BP: Tensor) -> Tensor:
        """Action means or logits (B, outputs) for window observations."""
        output: Tensor = self.actor(self.encoder.encode_windows(windows_BWC), account_BP)
        return output

    def value_windows(self, windows_BWC: Tensor, account_BP: Tensor) -> Tensor:
        """State values (B,) for window observations."""
        embedding = self.critic_encoder.encode_windows(windows_BWC)
        value: Tensor = self.critic(embedding, account_BP)
        return value.squeeze(1)


def make_encoder(
    config: EncoderConfig, num_features: int, generator: torch.Generator
) -> MarketEncoder | NoEncoder:
    """An encoder of the market's features, or none where there are none."""
    return MarketEncoder(config, num_features, generator) if num_features else NoEncoder()
