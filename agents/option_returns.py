"""Advantages of the two levels of an agent that holds one option at a time (DAC).

Source: Zhang & Whiteson 2019, "DAC: The Double Actor-Critic Architecture for Learning Options",
arXiv:1904.12691: the options' process is two augmented Markov decision processes over one critic
q(s, o). In the high one, the state is (s, o before) and the action is the option o; in the low
one, the state is (s, o) and the action is the trade.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from agents.returns import generalised_advantages


class TwoLevels(NamedTuple):
    """Advantages of both levels, and what the critic fits."""

    low_TN: Tensor
    """Of the action, given the option."""
    high_TN: Tensor
    """Of the option, given the option before."""
    returns_TN: Tensor
    """Target of q(s_t, o_t): low advantage + q."""


def option_advantages(  # noqa: PLR0913 - the columns of a rollout
    rewards_TN: Float[Tensor, "T N"],
    option_value_TN: Float[Tensor, "T N"],
    arrival_value_TN: Float[Tensor, "T N"],
    next_arrival_TN: Float[Tensor, "T N"],
    terminated_TN: Bool[Tensor, "T N"],
    done_TN: Bool[Tensor, "T N"],
    *,
    discount: float,
    trace: float,
) -> TwoLevels:
    r"""Generalised advantages of both levels.

        delta_low_t  = r_t + gamma (1 - terminated_t) v_high(s', o_t) - q(s_t, o_t)
        delta_high_t = r_t + gamma (1 - terminated_t) v_high(s', o_t) - v_high(s_t, o_{t-1})

    each accumulated with (gamma lambda)^l inside an episode. A truncated episode bootstraps from
    its final state, a terminated one does not.

    Args:
        rewards_TN: reward of step t, the switching cost taken off.
        option_value_TN: q(s_t, o_t).
        arrival_value_TN: v_high(s_t, o_{t-1}) = sum_o P(o | s_t, o_{t-1}) q(s_t, o).
        next_arrival_TN: v_high(s', o_t) of the state that step t led to, the final one where an
            episode ended; ignored where terminated.
        terminated_TN: the episode ended inside the task.
        done_TN: the episode ended, for whatever reason.
        discount: gamma, 0 .. 1.
        trace: lambda, 0 .. 1.
    """

    def level(values_TN: Tensor) -> Tensor:
        return generalised_advantages(
            rewards_TN,
            values_TN,
            next_arrival_TN,
            terminated_TN,
            done_TN,
            discount=discount,
            trace=trace,
        )

    low_TN = level(option_value_TN)
    return TwoLevels(low_TN, level(arrival_value_TN), low_TN + option_value_TN)


def arrival_value(
    probability_BK: Float[Tensor, "B K"], option_value_BK: Float[Tensor, "B K"]
) -> Float[Tensor, " B"]:
    """v_high = sum_o P(o | s, o before) q(s, o)."""
    return (probability_BK * option_value_BK).sum(dim=1)


def charged(
    rewards_TN: Float[Tensor, "T N"], switched_TN: Bool[Tensor, "T N"], cost: float
) -> Float[Tensor, "T N"]:
    """Rewards less the deliberation cost of every switch (Harb et al. 2018, arXiv:1709.04571)."""
    return rewards_TN - cost * switched_TN.to(rewards_TN.dtype)
