"""The policy of options and controller as a pure function of its parameters, for remedies.

Dimensions: B states, K options of which L learn, D outputs, R regimes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from agents.blending import BlendKind, blend
from agents.continual.law import ActionLaw
from agents.continual.protocol import States, Tensors, trained_parameters
from agents.encoder import MarketEncoder
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic

_TERMINATIONS = "options.trunk.output."
_BANK = "options.bank."


class _Call(nn.Module):
    """The decision as a module's call, which `torch.func.functional_call` can be given."""

    def __init__(self, net: OptionActorCritic) -> None:
        super().__init__()
        self.net = net

    def forward(self, features_TC: Tensor, bars_B: Tensor, inputs: Inputs) -> Decision:
        """Decide in B states, every window by itself: what one does depends on no other."""
        encoder = self.net.encoder
        if isinstance(encoder, MarketEncoder):
            embedding = encoder.encode_bars(features_TC, bars_B)
        else:
            embedding = inputs.account_BP.new_empty(len(bars_B), 0)
        rows = torch.arange(len(bars_B), device=bars_B.device)
        return self.net.decide(self.net.halves(embedding), rows, inputs)


class OptionFunction:
    """`OptionActorCritic`'s policy for remedies (`agents.continual.protocol.PolicyFunction`).

    A blend is one law; where one option acts at a time, the option is part of the law. Where a
    training alternates, the law is the blend's: both executions have the same parameters.

    States: `bars`, `account`, `belief`, `previous` (weights before), `first`, and where there are
    any `injected` (outputs of options that do not learn) and `hidden` (recurrent state before).

    Args:
        net: the networks.
        features_TC: features of the market that the states' bars number, (T, C).
        kind: how outputs blend.
    """

    def __init__(self, net: OptionActorCritic, features_TC: Tensor, kind: BlendKind) -> None:
        self._net, self._features_TC, self._kind = net, features_TC, kind
        self._holds = net.meta.execution.mode == "hard"
        self._call = _Call(net)
        self._parameters = trained_parameters(net, net.actor_parameters(), net.log_std)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Encoder, trunk, options, terminations and gate."""
        return self._parameters

    def part(self, group: str) -> Tensors:
        """Masks of `all`, `trunk`, `heads`, `head:k` or `gate`.

        Raises:
            ValueError: another group, an option that does not learn, or the gate of a controller
                that does not.
        """
        kind, _, number = group.partition(":")
        learned = self._net.options.learned
        chosen = tuple(range(len(learned)))
        if kind == "head":
            if not number.isdecimal() or int(number) not in learned:
                raise ValueError(
                    f"protect: expected head:k of an option that learns {learned}, found {group!r}"
                )
            chosen = (learned.index(int(number)),)
        elif group not in ("all", "trunk", "heads", "gate"):
            raise ValueError(
                f"protect: expected all, trunk, heads, head:k or gate, found {group!r}"
            )
        elif group == "gate" and not self._net.controller.learns:
            raise ValueError(
                "protect: expected parts that learn, found 'gate' with the controller "
                f"{self._net.meta.controller.kind!r}, whose gate and terminations do not"
            )
        masks = {}
        for name, parameter in self._parameters.items():
            mask = torch.zeros_like(parameter, dtype=torch.bool)
            self._fill(mask, name, kind, chosen)
            if mask.any():
                masks[name] = mask
        return masks

    def _fill(self, mask: Tensor, name: str, kind: str, experts: tuple[int, ...]) -> None:
        """Set what belongs to a part; `experts` are places among the options that learn."""
        if kind == "all":
            mask[...] = True
        elif name.startswith(_TERMINATIONS):  # rows of the heads, and after them of terminations
            first = self._net.options.heads
            if kind == "gate":
                mask[first:] = True
            elif kind in ("heads", "head"):
                for expert in experts:
                    start = expert * self._net.outputs
                    mask[start : min(start + self._net.outputs, first)] = True
        elif name.startswith(_BANK):
            if kind in ("heads", "head"):
                self._fill_bank(mask, name.removeprefix(_BANK), experts)
        elif name.startswith("controller."):
            mask[...] = kind == "gate"
        else:
            mask[...] = kind == "trunk"

    def _fill_bank(self, mask: Tensor, name: str, experts: tuple[int, ...]) -> None:
        bank = self._net.options.bank
        assert bank is not None  # noqa: S101 - its parameter was named
        if name.startswith("fusion."):
            for rows in bank.rows(experts):
                mask[rows] = True
        else:
            mask[list(experts)] = True

    def law(self, parameters: Tensors, states: States) -> ActionLaw:
        """The blend's law, or that of options and their actions."""
        given = {f"net.{name}": tensor for name, tensor in parameters.items()}
        rows = len(states["bars"])
        inputs = Inputs(
            states["account"],
            states["belief"],
            states["previous"],
            states["first"],
            torch.full((rows,), self._holds, device=states["bars"].device),
            states.get("injected"),
            hidden_BM=states.get("hidden"),
        )
        decision: Decision = torch.func.functional_call(
            self._call, given, (self._features_TC, states["bars"], inputs)
        )
        log_std = self._net.log_std.detach() if self._net.continuous else None
        weights_BK = decision.weights_BK
        if self._holds:
            deviations = None if log_std is None else log_std[None]
            return ActionLaw(weights_BK, decision.outputs_BKD, deviations)
        output_BD = blend(decision.outputs_BKD, weights_BK, self._kind)
        blended = None if log_std is None else (weights_BK @ log_std)[:, None, :]
        return ActionLaw(weights_BK.new_ones(rows, 1), output_BD[:, None, :], blended)

    def belief(self, states: States) -> Tensor | None:
        """What the controller is fed of regimes."""
        return states["belief"] if self._net.num_regimes else None
