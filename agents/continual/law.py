"""The law of an action in each of B states: what Fisher information and divergences are taken of.

Dimensions: B states, O alternatives (1, or the K options of which one acts), D outputs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from agents.losses import LOG_TWO_PI

_LEAST = 1e-12


class Draw(NamedTuple):
    """An action of each state, and the alternative that took it."""

    alternative_B: Tensor
    """int64, 0 .. O - 1."""
    action_BD: Tensor
    """Numbers (B, D), or the number of a discrete action (B, 1) as a float."""


@dataclass(frozen=True)
class ActionLaw:
    """P(o | s) and pi(a | s, o): which alternative acts, and how it does.

    A flat policy and a blend have one alternative; where one option acts at a time, there are K,
    and both levels are part of the law: log pi(o, a | s) = log P(o | s) + log pi(a | s, o).
    """

    choice_BO: Tensor
    """P(o | s), rows sum to 1."""
    output_BOD: Tensor
    """Means of Gaussian actions, or logits of discrete ones."""
    log_std_BOD: Tensor | None
    """Log standard deviations, (B or 1, O, D); None for discrete actions."""

    def detached(self) -> "ActionLaw":
        """The same numbers, cut off from what made them."""
        deviation = self.log_std_BOD
        return ActionLaw(
            self.choice_BO.detach(),
            self.output_BOD.detach(),
            None if deviation is None else deviation.detach(),
        )

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> Draw:
        """Draw an alternative and its action in each state.

        Args:
            generator: on the processor, wherever the law is: the same draws on every device.
        """
        chosen_B = _drawn(self.choice_BO, generator)
        rows = torch.arange(len(chosen_B), device=chosen_B.device)
        output_BD = self.output_BOD[rows, chosen_B]
        if self.log_std_BOD is None:
            number_B = _drawn(torch.softmax(output_BD, dim=1), generator)
            return Draw(chosen_B, number_B[:, None].float())
        deviation_BD = self.log_std_BOD.expand_as(self.output_BOD)[rows, chosen_B].exp()
        noise_BD = torch.randn(output_BD.shape, generator=generator).to(output_BD)
        return Draw(chosen_B, output_BD + deviation_BD * noise_BD)

    def log_prob(self, draw: Draw) -> Tensor:
        """Log probability of a draw, log P(o | s) + log pi(a | s, o), (B,)."""
        alternative_B1 = draw.alternative_B[:, None]
        each_BO = _log_probs(self.output_BOD, draw.action_BD, self.log_std_BOD)
        joint_BO = self.choice_BO.clamp_min(_LEAST).log() + each_BO
        return joint_BO.gather(1, alternative_B1).squeeze(1)

    def divergence(self, other: "ActionLaw") -> Tensor:
        r"""KL(self || other) of the joint law of alternative and action, nats, (B,).

        sum_o P(o) [ log P(o) / Q(o) + KL(pi_o || rho_o) ] (chain rule of the divergence)
        """
        choice_BO = self.choice_BO
        ratio_BO = choice_BO.clamp_min(_LEAST).log() - other.choice_BO.clamp_min(_LEAST).log()
        return (choice_BO * (ratio_BO + self._action_divergence(other))).sum(dim=1)

    def _action_divergence(self, other: "ActionLaw") -> Tensor:
        if self.log_std_BOD is None or other.log_std_BOD is None:
            mine = torch.log_softmax(self.output_BOD, dim=2)
            theirs = torch.log_softmax(other.output_BOD, dim=2)
            return (mine.exp() * (mine - theirs)).sum(dim=2)
        wider = other.log_std_BOD - self.log_std_BOD
        gap = (self.output_BOD - other.output_BOD).square() * torch.exp(-2.0 * other.log_std_BOD)
        return (wider + 0.5 * (torch.exp(-2.0 * wider) + gap - 1.0)).sum(dim=2)


def _drawn(chance_BO: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers drawn by their probabilities, int64 (B,)."""
    drawn_B1 = torch.multinomial(chance_BO.cpu(), 1, generator=generator)
    return drawn_B1.squeeze(1).to(chance_BO.device)


def _log_probs(output_BOD: Tensor, action_BD: Tensor, log_std_BOD: Tensor | None) -> Tensor:
    """Log probability of the action under each alternative, (B, O)."""
    if log_std_BOD is None:
        number_BO1 = action_BD.long()[:, None, :].expand(-1, output_BOD.shape[1], -1)
        return torch.log_softmax(output_BOD, dim=2).gather(2, number_BO1).squeeze(2)
    scaled_BOD = (action_BD[:, None, :] - output_BOD) * torch.exp(-log_std_BOD)
    return -(0.5 * scaled_BOD.square() + log_std_BOD + 0.5 * LOG_TWO_PI).sum(dim=2)
