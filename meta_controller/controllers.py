"""Controllers: the policy over options, behind one face.

A controller proposes weights pi( . | s) and says with which probability each option ends; the
chain (`meta_controller.chain`) makes of both what is executed. Those with a gate learn both. Of the
others the options end at once (beta = 1: what is proposed is executed), or with beta_max when they
are capped.

Dimensions: B samples, K options, R regimes, U bars, E embedding, P account.
"""

import math

import torch
from torch import Tensor, nn

from agents.networks import FusionHead
from meta_controller.config import (
    ControllerConfig,
    ExecutionConfig,
    FixedController,
    FreeController,
    MetaControllerConfig,
    MultiplicativeWeightsController,
    ResidualController,
)
from meta_controller.regime_map import Fallback


class Controller(nn.Module):
    """What all controllers share: the fallback, and terminations that do not learn.

    Args:
        execution: the largest probability of an ending.
        fallback: regime-proportional weights.
    """

    learns = False
    """Whether gate and terminations are trained."""
    told = False
    """Whether it is fed the true regime in place of the belief."""
    remembers = False
    """Whether it learns while it acts, from payoffs."""

    def __init__(self, execution: ExecutionConfig, fallback: Fallback) -> None:
        super().__init__()
        self.fallback = fallback
        self.num_options = fallback.num_options
        self.beta_max: float | Tensor = execution.beta_max
        self.constant: float | Tensor = execution.beta_max if execution.capped else 1.0

    def gate_half(self, embedding_UE: Tensor) -> Tensor:
        """The market's share of the gate's first layer; nothing without a gate."""
        return embedding_UE

    def deviation(self, half: Tensor, rows_B: Tensor, account_BP: Tensor) -> Tensor | None:
        """The gate's logits g (B, K); None without a gate."""
        del half, rows_B, account_BP
        return None

    def deviation_from_joined(self, joined_BI: Tensor) -> Tensor | None:
        """The same for [embedding, account] of each state."""
        del joined_BI
        return None

    def first_layer(self) -> nn.Linear | None:
        """The gate's first layer; None without a gate."""
        return None

    def deviation_from_first(self, first_BH: Tensor) -> Tensor | None:
        """The same from the outputs of the gate's first layer."""
        del first_BH
        return None

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """pi( . | s), rows on the simplex.

        Args:
            fallback_BK: weights of the fallback under what the controller is fed.
            deviation_BK: the gate's logits; None without a gate.
            memory_BK: what it remembers of each account; None without a memory.
        """
        del deviation_BK, memory_BK
        return fallback_BK

    def termination(self, logits_BK: Tensor) -> Tensor:
        """beta, (B, K): probability that each option ends."""
        return self.constant * torch.ones_like(logits_BK)

    def start(self, num_envs: int) -> Tensor | None:
        """Memory of fresh accounts (N, K); None without a memory."""
        del num_envs
        return None

    def learn(self, memory_NK: Tensor, payoff_NK: Tensor) -> Tensor:
        """Memory after a bar.

        Args:
            memory_NK: before it.
            payoff_NK: what each option would have earned in it, in units of the reward.
        """
        del payoff_NK
        return memory_NK


class GatedController(Controller):
    """A controller whose gate and terminations are trained.

    Args:
        execution: the largest probability of an ending.
        fallback: regime-proportional weights.
        hidden: widths of the gate.
        embedding: width E of the market embedding.
        account_size: P.
        generator: source of the initial weights.
    """

    learns = True

    def __init__(
        self,
        execution: ExecutionConfig,
        fallback: Fallback,
        *,
        hidden: tuple[int, ...],
        embedding: int,
        account_size: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(execution, fallback)
        self.gate = FusionHead(
            embedding,
            account_size,
            hidden,
            self.num_options,
            output_gain=0.0,
            generator=generator,
        )

    def gate_half(self, embedding_UE: Tensor) -> Tensor:
        """The market's share of the gate's first layer."""
        return self.gate.market_half(embedding_UE)

    def deviation(self, half: Tensor, rows_B: Tensor, account_BP: Tensor) -> Tensor:
        """The gate's logits g (B, K), zero at the start of the training."""
        return self.gate.from_market_half(half, rows_B, account_BP)

    def deviation_from_joined(self, joined_BI: Tensor) -> Tensor:
        """The same for [embedding, account] of each state."""
        return self.gate.from_joined(joined_BI)

    def first_layer(self) -> nn.Linear:
        """The gate's first layer."""
        return self.gate.fusion

    def deviation_from_first(self, first_BH: Tensor) -> Tensor:
        """The same from the outputs of the gate's first layer, which are overwritten."""
        return self.gate.from_first(first_BH)

    def termination(self, logits_BK: Tensor) -> Tensor:
        """beta_max sigmoid(b)."""
        return self.beta_max * torch.sigmoid(logits_BK)

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """Softmax of the gate's logits: nothing is known of the regimes' meaning."""
        del fallback_BK, memory_BK
        assert deviation_BK is not None  # noqa: S101 - a gated controller has one
        return distribution(deviation_BK)


class ResidualGate(GatedController):
    """pi = softmax(log max(C pi, floor) + g): the floored fallback, and what is learned beyond."""

    floor = 0.01

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """The floored fallback, tilted by the gate."""
        del memory_BK
        assert deviation_BK is not None  # noqa: S101 - a gated controller has one
        return distribution(fallback_BK.clamp_min(self.floor).log() + deviation_BK)


class Told(Controller):
    """The fallback of the true regime: an upper reference."""

    told = True


class Fixed(Controller):
    """Always one option."""

    option = 0

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """One-hot."""
        del deviation_BK, memory_BK
        chosen = torch.zeros_like(fallback_BK)
        chosen[:, self.option] = 1.0
        return chosen


class Uniform(Controller):
    """Always the mean of all options."""

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """1 / K each."""
        del deviation_BK, memory_BK
        return torch.full_like(fallback_BK, 1.0 / self.num_options)


class MultiplicativeWeights(Controller):
    """Fixed-share Hedge on what every option would have earned; see its configuration.

    Memory: log weights (K) and the running least and largest payoff (2), one row an account. A bar
    is scaled by the range up to and with it, which is causal, for its weights were chosen before;
    a bar with a range of zero teaches nothing.
    """

    remembers = True
    rate = 0.5
    share = 0.01

    def start(self, num_envs: int) -> Tensor:
        """Even weights, and no range yet: (N, K + 2)."""
        device = self.fallback.map_KR.device
        memory = torch.zeros(num_envs, self.num_options + 2, device=device)
        memory[:, -2], memory[:, -1] = math.inf, -math.inf
        return memory

    def propose(
        self, fallback_BK: Tensor, deviation_BK: Tensor | None, memory_BK: Tensor | None
    ) -> Tensor:
        """The weights so far."""
        del deviation_BK
        if memory_BK is None:
            return torch.full_like(fallback_BK, 1.0 / self.num_options)
        return torch.softmax(memory_BK[:, : self.num_options], dim=1)

    def learn(self, memory_NK: Tensor, payoff_NK: Tensor) -> Tensor:
        """One update; payoffs that are not finite count as the worst that is known."""
        finite_NK = torch.isfinite(payoff_NK)
        low_N1 = torch.where(finite_NK, payoff_NK, math.inf).amin(dim=1, keepdim=True)
        high_N1 = torch.where(finite_NK, payoff_NK, -math.inf).amax(dim=1, keepdim=True)
        low_N1 = torch.minimum(low_N1, memory_NK[:, -2:-1])
        high_N1 = torch.maximum(high_N1, memory_NK[:, -1:])
        gain_NK = self.scaled(payoff_NK, finite_NK, low_N1, high_N1)
        # In logarithms: exp(rate) alone may overflow.
        tilted_NK = memory_NK[:, : self.num_options] + self.rate * gain_NK
        shared_NK = torch.log_softmax(tilted_NK, dim=1)
        if self.share > 0.0:
            even = torch.full_like(shared_NK, math.log(self.share / self.num_options))
            kept = math.log1p(-self.share) if self.share < 1.0 else -math.inf
            shared_NK = torch.logaddexp(shared_NK + kept, even)
        return torch.cat([shared_NK, low_N1, high_N1], dim=1)

    @staticmethod
    def scaled(payoff_NK: Tensor, finite_NK: Tensor, low_N1: Tensor, high_N1: Tensor) -> Tensor:
        """Payoffs in 0 .. 1 of the range so far, this bar included; 0 where there is no range."""
        width_N1 = high_N1 - low_N1
        known_N1 = torch.isfinite(width_N1) & (width_N1 > 0.0)
        gain_NK = (payoff_NK - low_N1) / torch.where(known_N1, width_N1, 1.0)
        return torch.where(known_N1 & finite_NK, gain_NK, 0.0)


def distribution(logits_BK: Tensor) -> Tensor:
    """Softmax of each row, summed across columns: rows of a few numbers are slow one by one."""
    return torch.softmax(logits_BK.T, dim=0).T


_PLAIN = {
    "fallback": Controller,
    "oracle": Told,
    "uniform": Uniform,
    "fixed": Fixed,
    "multiplicative_weights": MultiplicativeWeights,
}


def make_controller(
    config: MetaControllerConfig,
    *,
    num_options: int,
    num_regimes: int,
    embedding: int,
    account_size: int,
    generator: torch.Generator,
) -> Controller:
    """The controller of a configuration.

    Args:
        config: which, and how it is executed.
        num_options: K.
        num_regimes: R columns of the belief that it is fed; 0 = none.
        embedding: width E of the market embedding.
        account_size: P.
        generator: source of the initial weights of a gate.

    Raises:
        ValueError: a map or an option's number that does not fit.
    """
    fallback = Fallback(num_options, num_regimes, config.regime_map)
    chosen: ControllerConfig = config.controller
    if isinstance(chosen, ResidualController | FreeController):
        residual = isinstance(chosen, ResidualController)
        gated = (ResidualGate if residual else GatedController)(
            config.execution,
            fallback,
            hidden=chosen.hidden,
            embedding=embedding,
            account_size=account_size,
            generator=generator,
        )
        if isinstance(chosen, ResidualController) and isinstance(gated, ResidualGate):
            gated.floor = chosen.floor
        return gated
    made: Controller = _PLAIN[chosen.kind](config.execution, fallback)
    if isinstance(chosen, FixedController) and isinstance(made, Fixed):
        if chosen.option >= num_options:
            raise ValueError(
                f"controller.option: expected one of 0 .. {num_options - 1}, was {chosen.option}"
            )
        made.option = chosen.option
    if isinstance(chosen, MultiplicativeWeightsController) and isinstance(
        made, MultiplicativeWeights
    ):
        made.rate, made.share = chosen.rate, chosen.share
    return made
