"""Rollouts of an agent made of options: who acted, beside what was done."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from meta_controller.diagnostics import Trace, diagnose
from training.sb3.buffer import Rollout


class OptionBatch(NamedTuple):
    """Samples of a rollout, one row each, contiguous. What does not apply is zero."""

    bars_B: Tensor
    """Decision bar, int64."""
    account_BP: Tensor
    """Account state, float32."""
    actions_BD: Tensor
    """Sampled actions before clipping, float32 (discrete: the number of the action)."""
    log_prob_B: Tensor
    """Their log probability under the executed weights when they were sampled."""
    advantages_B: Tensor
    """Of the action: generalised advantages, not standardised."""
    returns_B: Tensor
    """What the critic fits."""
    previous_BK: Tensor
    """Weights before, one-hot for the option held; the fallback's where an episode began."""
    executed_BK: Tensor
    """Weights that acted, one-hot for the option chosen."""
    first_B: Tensor
    """Whether an episode began, bool."""
    hard_B: Tensor
    """Whether one option acted, bool."""
    belief_BR: Tensor
    """What the controller was fed."""
    fallback_BK: Tensor
    """Weights of the fallback under it."""
    choice_log_prob_B: Tensor
    """Log probability of the option that was chosen, 0 in a blend."""
    choice_advantages_B: Tensor
    """Of the option chosen: generalised advantages, not standardised."""
    injected_BKD: Tensor
    """Outputs of options that do not learn; (B, 0, 0) without any."""
    share_BK: Tensor
    """P(o | s, o', a) of every option; (B, 0) where only the one that acted is trained."""
    option_log_prob_BK: Tensor
    """Log probability of the action under every option alone; (B, 0) likewise."""
    hidden_BM: Tensor
    """State of the recurrent unit before, zeros where an episode began; (B, 0) without one."""


@dataclass
class OptionRollout(Rollout):
    """T steps of N environments with the options' part, refilled in place.

    Args:
        num_steps: T.
        num_envs: N.
        account_size: numbers P of the account state.
        action_size: numbers D of an action.
        num_options: K.
        num_regimes: R columns of the belief.
        outputs: numbers of an option's outputs.
        injects: whether some options do not learn.
        hard: the first so many lanes hold one option at a time.
        spreads: whether the log probability of an action is kept for every option.
        recurrent: units M of the recurrent unit; 0 = none.
    """

    num_options: int
    num_regimes: int
    outputs: int
    injects: bool
    hard: int
    spreads: bool
    recurrent: int = 0
    previous_TNK: Tensor = field(init=False)
    """Weights before the step; the fallback's where an episode began."""
    chance_TNK: Tensor = field(init=False)
    """Distribution of the option: what was executed in a blend, P(o | s, o') of a choice."""
    executed_TNK: Tensor = field(init=False)
    """What was executed, one-hot for an option chosen."""
    first_TN: Tensor = field(init=False)
    belief_TNR: Tensor = field(init=False)
    choice_log_prob_TN: Tensor = field(init=False)
    injected_TNKD: Tensor = field(init=False)
    option_log_prob_TNK: Tensor = field(init=False)
    termination_TNK: Tensor = field(init=False)
    """Probability that each option ends."""
    outputs_NKD: Tensor = field(init=False)
    """Outputs of every option in the last step."""
    carried_NK: Tensor = field(init=False)
    """Weights after the last step that was played: where the next begins."""
    hidden_TNM: Tensor = field(init=False)
    """State of the recurrent unit before the step; zeros where an episode began."""
    hidden_after_TNM: Tensor = field(init=False)
    """The same after it."""
    carried_hidden_NM: Tensor = field(init=False)
    """The same after the last step that was played."""
    forced: bool = field(init=False, default=False)
    """Whether the options of the likeliest regimes acted alone (the head start)."""
    failures_K: Tensor = field(init=False)
    """Rows in which each option's outputs were not finite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (self.num_steps, self.num_envs)
        self.previous_TNK = torch.zeros(*shape, self.num_options)
        self.chance_TNK = torch.zeros(*shape, self.num_options)
        self.executed_TNK = torch.zeros(*shape, self.num_options)
        self.first_TN = torch.zeros(shape, dtype=torch.bool)
        self.belief_TNR = torch.zeros(*shape, self.num_regimes)
        self.choice_log_prob_TN = torch.zeros(shape)
        injected = (self.num_options, self.outputs) if self.injects else (0, 0)
        self.injected_TNKD = torch.zeros(*shape, *injected)
        self.option_log_prob_TNK = torch.zeros(*shape, self.num_options if self.spreads else 0)
        self.termination_TNK = torch.zeros(*shape, self.num_options)
        self.outputs_NKD = torch.zeros(self.num_envs, self.num_options, self.outputs)
        self.carried_NK = torch.zeros(self.num_envs, self.num_options)
        self.hidden_TNM = torch.zeros(*shape, self.recurrent)
        self.hidden_after_TNM = torch.zeros(*shape, self.recurrent)
        self.carried_hidden_NM = torch.zeros(self.num_envs, self.recurrent)
        self.failures_K = torch.zeros(self.num_options, dtype=torch.int64)

    def diagnose(self, beta_max: float, lanes: slice = slice(None)) -> dict[str, float]:
        """Figures of who acted, by name.

        Args:
            beta_max: largest probability of an ending.
            lanes: of which lanes.
        """
        trace = Trace(
            self.executed_TNK[:, lanes],
            self.previous_TNK[:, lanes],
            self.first_TN[:, lanes],
            self.belief_TNR[:, lanes],
            self.termination_TNK[:, lanes],
        )
        return diagnose(trace, beta_max)

    @property
    def hard_N(self) -> Tensor:  # noqa: N802 - lanes
        """Lanes that hold one option at a time, bool."""
        return torch.arange(self.num_envs) < self.hard
