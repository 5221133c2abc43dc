"""The flat policy as a pure function of its parameters."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from agents.continual.law import ActionLaw
from agents.continual.protocol import States, Tensors, trained_parameters
from agents.encoder import MarketEncoder
from agents.networks import ActorCritic

ReadBelief = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Belief (B, R) of features (T, C), bars (B,) and account (B, P)."""


class _Call(nn.Module):
    """The actor's call as a module's, which `torch.func.functional_call` can be given."""

    def __init__(self, net: ActorCritic) -> None:
        super().__init__()
        self.net = net

    def forward(self, features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
        """Outputs (B, D), every window by itself: what one state does depends on no other."""
        encoder = self.net.encoder
        rows = torch.arange(len(account_BP), device=account_BP.device)
        if isinstance(encoder, MarketEncoder):
            half = self.net.actor.market_half(encoder.encode_bars(features_TC, bars_B))
        else:
            half = account_BP.new_empty(0, 0)
        return self.net.actor.from_market_half(half, rows, account_BP)


class FlatFunction:
    """`ActorCritic`'s policy for remedies (`agents.continual.protocol.PolicyFunction`).

    Args:
        net: the networks.
        features_TC: features of the market that the states' bars number, (T, C).
        discrete: whether actions are numbers of alternatives.
        belief: reads what the states tell of regimes; None = nothing.
    """

    def __init__(
        self,
        net: ActorCritic,
        features_TC: Tensor,
        *,
        discrete: bool = False,
        belief: ReadBelief | None = None,
    ) -> None:
        self._net, self._features_TC = net, features_TC
        self._discrete, self._belief = discrete, belief
        self._call = _Call(net)
        self._parameters = trained_parameters(net, net.actor_parameters(), net.log_std)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Encoder and actor."""
        return self._parameters

    def part(self, group: str) -> Tensors:
        """Masks of `all`, `trunk`, `heads` or `head:0` (the last layer).

        Raises:
            ValueError: another group; a flat policy has no gate and one head.
        """
        groups = ("all", "trunk", "heads", "head:0")
        if group not in groups:
            raise ValueError(
                f"protect: expected one of {', '.join(groups)} of a flat policy, found {group!r}"
            )
        head = group.startswith("head")
        return {
            name: torch.ones_like(parameter, dtype=torch.bool)
            for name, parameter in self._parameters.items()
            if group == "all" or name.startswith("actor.output.") == head
        }

    def law(self, parameters: Tensors, states: States) -> ActionLaw:
        """One alternative; its deviations do not depend on the state."""
        given = {f"net.{name}": tensor for name, tensor in parameters.items()}
        inputs = (self._features_TC, states["bars"], states["account"])
        output_BD = torch.func.functional_call(self._call, given, inputs)
        log_std = self._net.log_std.detach()
        return ActionLaw(
            choice_BO=output_BD.new_ones(len(output_BD), 1),
            output_BOD=output_BD[:, None, :],
            log_std_BOD=None if self._discrete else log_std[None, None, :],
        )

    def belief(self, states: States) -> Tensor | None:
        """What the states tell of regimes."""
        if self._belief is None:
            return None
        return self._belief(self._features_TC, states["bars"], states["account"])
