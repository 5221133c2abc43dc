"""What is known of a hierarchy without training: options alone, ablations, limits on disruption."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from evaluation.bootstrap import Interval
from evaluation.option_history import OptionHistory

__all__ = ["WORDS", "LimitPoint", "OptionReport", "OptionScores", "Variant", "words_of"]

WORDS: Final[Mapping[str, str]] = {
    "uniform": "mean of all options",
    "multiplicative_weights": "multiplicative weights, without a gate",
    "fallback": "regime-proportional fallback, at once",
    "gate_frozen": "gate frozen at the fallback",
    "gate_and_terminations_frozen": "gate and terminations as before the training",
    "blended": "options blended",
    "sampled": "one option at a time, drawn",
    "mode": "one option at a time, the likeliest",
}
"""What each variant is, for people; `fixed_<k>` and `shift_<s>` are read by `words_of`."""


@dataclass(frozen=True)
class Variant:
    """The same options under another controller or execution.

    Attributes:
        name: see `evaluation.option_variants.variants`.
        value: what it earns.
        gain: less what the agent earns on the same paths or bars, paired.
    """

    name: str
    value: Interval
    gain: Interval


@dataclass(frozen=True)
class LimitPoint:
    """The trained networks executed under another limit on disruption.

    Attributes:
        beta_max: the limit.
        churn: mean disruption of a bar; the switch rate where one option acts at a time.
        disruption_p99: 99% of the bars are below.
        disruption_max: largest disruption of a bar.
        usage_entropy: of the mean weights over log K, 0 .. 1.
        holdings_disruption: mean of 1/2 sum_a |a(s, w) - a(s, w')| over the gross limit: the part
            of the trades that the change of weights alone makes; nan where actions are shares.
        value: what it earns.
        gain: less what the agent earns, paired.
    """

    beta_max: float
    churn: float
    disruption_p99: float
    disruption_max: float
    usage_entropy: float
    holdings_disruption: float
    value: Interval
    gain: Interval


@dataclass(frozen=True)
class OptionScores:
    """Scores of one trained agent's options; nothing was trained for them.

    Attributes:
        names: of the options, (K,).
        regime_names: columns of the matrix, (R,).
        unit: of values.
        agent: what the agent earns.
        agent_R: what it earns in each regime.
        alone_KR: what each option alone earns in each regime; nan where a regime never came.
        share_R: share of the bars of each regime.
        variants: other controllers and executions.
        limits: the curve over beta_max, an execution curve of one training: trained under such a
            limit, an agent may do better.
    """

    names: tuple[str, ...]
    regime_names: tuple[str, ...]
    unit: str
    agent: Interval
    agent_R: tuple[Interval, ...]
    alone_KR: tuple[tuple[Interval, ...], ...]
    share_R: tuple[float, ...]
    variants: tuple[Variant, ...]
    limits: tuple[LimitPoint, ...]

    @property
    def added_nothing(self) -> tuple[str, ...]:
        """Ablations that do not score lower than the agent beyond their interval."""
        asked = ("gate_frozen", "gate_and_terminations_frozen", "shift_", "fallback", "uniform")
        return tuple(
            variant.name
            for variant in self.variants
            if variant.name.startswith(asked) and not variant.gain.high < 0.0
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values; not yet JSON where a value is not finite."""
        plain = asdict(self)
        plain["variants"] = {
            variant["name"]: variant | {"words": words_of(variant["name"], self.names)}
            for variant in plain["variants"]
        }
        return plain | {"added_nothing": list(self.added_nothing)}


@dataclass(frozen=True)
class OptionReport:
    """What evaluation knows of an agent made of options.

    Attributes:
        seed: of the agent's training: the one whose value is the median.
        history: who acted in one account.
        scores: what options and their controller are worth.
    """

    seed: int
    history: OptionHistory
    scores: OptionScores


def words_of(variant: str, names: tuple[str, ...]) -> str:
    """A variant's name for people.

    Args:
        variant: its name.
        names: of the options.
    """
    kind, _, number = variant.partition("_")
    if kind == "fixed":
        return f"{names[int(number)]} alone"
    if kind == "shift":
        return f"options permuted by {number}"
    return WORDS[variant]
