"""Why an option acted, in plain English: from the numbers of the decision alone.

Dimensions: T bars, K options, R regimes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.option_history import OptionHistory

Array = NDArray[np.float64]

GATED = ("residual", "free")
"""Controllers with a gate."""
_TELLING = 0.1
"""Differences of logits, and of beliefs, that are worth a word."""
_STILL = 0.005
"""Changes of a belief that two digits do not show."""
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Controls:
    """What decides beside the numbers of a bar."""

    controller: str
    """Kind of the controller."""
    hard: bool
    """Whether one option acts at a time."""
    beta_max: float
    """Largest probability of an ending under this controller."""
    map_KR: Array
    """Weight of each option in each regime, (K, R); (K, 0) where nothing is known of regimes."""


def reason(
    history: OptionHistory, controls: Controls, failed_K: NDArray[np.bool_] | None = None
) -> str:
    """Who acted in the last bar of a history and why, in a sentence or two.

    Args:
        history: of one account, from its beginning to the bar in question.
        controls: of the agent.
        failed_K: options whose outputs were not finite in the bar; None = none.
    """
    if len(history.names) == 1:
        return f"{history.names[0]} is the only option, so it acts in every bar."
    found = _Bar(history, controls)
    told = found.hard() if controls.hard else found.blended()
    if failed_K is None or not failed_K.any():
        return told
    names = ", ".join(history.names[option] for option in np.flatnonzero(failed_K))
    return f"{told} No finite output came from {names}, whose weight went to the others."


class _Bar:
    """The last bar of a history."""

    def __init__(self, history: OptionHistory, controls: Controls) -> None:
        self.history, self.controls = history, controls
        self.names = history.names
        self.weights_K, self.previous_K = history.weights_TK[-1], history.previous_TK[-1]
        self.proposal_K, self.fallback_K = history.proposal_TK[-1], history.fallback_TK[-1]
        self.ends_K, self.gate_K = history.termination_TK[-1], history.deviation_TK[-1]
        self.begins = len(history.times) == 1
        self.gated = controls.controller in GATED

    def blended(self) -> str:
        """All options act by their weights."""
        leader, proposed = _largest(self.weights_K), _largest(self.proposal_K)
        opening = f"{self.names[leader]} led ({self.weights_K[leader]:.2f})"
        if np.ptp(self.weights_K) < _TIE:
            opening = f"All options acted by the same weight ({self.weights_K[0]:.2f})"
        if self.begins:
            # A gate moves the weights from the second bar on.
            why = self.belief_for(leader) if self.gated else self.cause(leader)
            return f"{opening} because {why}; the account began in this bar."
        if self.proposal_K[leader] >= self.proposal_K[proposed] - _TIE:
            why = self.cause(leader)
        else:
            why = (
                f"it had led before ({self.previous_K[leader]:.2f}) and gives way slowly: the "
                f"controller proposed {self.names[proposed]} ({self.proposal_K[proposed]:.2f}), as "
                f"{self.cause(proposed)}"
            )
        return f"{opening} because {why}; {self.moved(leader)}."

    def moved(self, leader: int) -> str:
        """How far the weights followed the proposal."""
        ended = float(self.ends_K @ self.previous_K)
        change = 0.5 * float(np.abs(self.weights_K - self.previous_K).sum())
        return (
            f"its termination was {self.ends_K[leader]:.2f} (at most "
            f"{self.controls.beta_max:.2g}), {ended:.0%} of all weight was given anew, and the "
            f"weights moved by {change:.1%}"
        )

    def hard(self) -> str:
        """One option acts."""
        acting, before = _largest(self.weights_K), _largest(self.previous_K)
        name, drawn = self.names[acting], self.drawn(acting)
        if self.begins:
            return f"{name} acted: the account began in this bar, and it was drawn{drawn}."
        if acting != before:
            return (
                f"{name} took over from {self.names[before]}, whose termination was "
                f"{self.ends_K[before]:.2f}: when an option ends, {name} is drawn{drawn}."
            )
        others = self.history.weights_TK.argmax(axis=1) != acting
        bars = int(np.argmax(others[::-1])) if others.any() else len(others)
        stayed = 1.0 - self.ends_K[acting] * (1.0 - self.proposal_K[acting])
        return (
            f"{name} acted, as in the bar before (bar {bars} in a row), which had a chance of "
            f"{stayed:.2f}: its termination was {self.ends_K[acting]:.2f}, and when an option "
            f"ends, {name} is drawn{drawn}."
        )

    def drawn(self, option: int) -> str:
        """With which chance the controller draws an option, and why it has this chance."""
        favoured = _largest(self.proposal_K)
        chance = f" with a chance of {self.proposal_K[option]:.2f}"
        if self.proposal_K[option] >= self.proposal_K[favoured] - _TIE:
            return f"{chance}, the largest, because {self.cause(option)}"
        return (
            f"{chance}, although the controller favoured {self.names[favoured]} "
            f"({self.proposal_K[favoured]:.2f}) because {self.cause(favoured)}"
        )

    def cause(self, option: int) -> str:
        """What speaks for the option that the controller proposes most."""
        match self.controls.controller:
            case "fixed":
                favoured = self.names[_largest(self.proposal_K)]
                return f"the controller always takes {favoured}"
            case "uniform":
                return "the controller gives all options the same weight"
            case "multiplicative_weights":
                return "by its share of what options would have earned so far it is the best expert"
            case "free":
                return self.gate_for(option)
            case "residual":
                return self.both_for(option)
        return self.belief_for(option)

    def both_for(self, option: int) -> str:
        """The belief and the gate together."""
        if not self.told_of_regimes:
            return self.gate_for(option)
        if self.fallback_K[option] >= self.fallback_K.max() - _TIE:
            belief, tilt = self.belief_for(option), self.tilt(option)
            if abs(tilt) < _TELLING:
                return f"{belief} (the gate adds little)"
            side = "leans to it too" if tilt > 0.0 else "leans against it"
            return f"{belief}, and the gate {side} (logit {tilt:+.2f} against the others)"
        favoured = _largest(self.fallback_K)
        above = self.gate_K[option] - self.gate_K[favoured]
        return (
            f"the gate prefers it (logit {above:+.2f} against {self.names[favoured]}, which the "
            f"fallback favours: {self.belief_for(favoured)})"
        )

    def gate_for(self, option: int) -> str:
        """How the gate's logit stands against the mean of the others."""
        tilt = self.tilt(option)
        if tilt < _STILL:
            return "the gate prefers none (its logits are equal)"
        return f"the gate prefers it (logit {tilt:+.2f} against the others)"

    def tilt(self, option: int) -> float:
        """The gate's logit of an option less the mean of the others'."""
        others = np.delete(self.gate_K, option)
        return float(self.gate_K[option] - others.mean())

    @property
    def told_of_regimes(self) -> bool:
        """Whether there is a belief."""
        return len(self.history.regime_names) > 0

    def belief_for(self, option: int) -> str:
        """The belief in the regime that speaks most for an option, and how it changed."""
        if not self.told_of_regimes:
            return "nothing is known of regimes, and the fallback is even"
        belief_TR = self.history.belief_TR
        regime = _largest(self.controls.map_KR[option] * belief_TR[-1])
        name, now = self.history.regime_names[regime], belief_TR[-1, regime]
        if self.controls.controller == "oracle":
            return f"the regime was {name}, which it is told"
        if self.begins or abs(now - belief_TR[-2, regime]) < _STILL:
            return f"the belief in {name} was {now:.2f}"
        before = belief_TR[-2, regime]
        if now > before:
            return f"the belief in {name} rose from {before:.2f} to {now:.2f}"
        return f"the belief in {name} was {now:.2f} (in the bar before {before:.2f})"


def _largest(values_K: Array) -> int:
    return int(np.argmax(values_K))
