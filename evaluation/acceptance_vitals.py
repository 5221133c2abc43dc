"""Vital signs of a candidate: plain numbers that stop an update before any episode is compared."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from evaluation.acceptance_config import VitalLimits

__all__ = ["Check", "Vitals", "check_vitals"]

_ROUNDING = 1e-6
"""Excess over the limit of disruption that single precision explains."""


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What is known of a candidate without playing it; None is not checked.

    Attributes:
        finite: Whether all parameters, losses and actions are finite.
        kl_mean: Mean KL(champion || candidate) on the states kept of each regime, nats.
        kl_q99: 99 % quantile of the same, nats.
        actions: Share of the states kept of each regime in which the candidate's action is finite;
            clipped to its space it then is one.
        gradient_ratio: Largest gradient norm of a minibatch, before clipping, over the trailing
            median of those of the accepted updates before.
        value_loss_ratio: The same of the value loss.
        usage_entropy: Entropy of the usage of options over its largest value, 0 to 1.
        largest_share: Largest share of one option.
        disruption: Largest disruption D_t = 1/2 sum_k |w_t(k) - w_{t-1}(k)| seen.
        disruption_limit: beta_max, its limit.
        log_std: Least and largest log standard deviation of the actions.
    """

    finite: bool = True
    kl_mean: Mapping[str, float] = field(default_factory=dict)
    kl_q99: Mapping[str, float] = field(default_factory=dict)
    actions: Mapping[str, float] = field(default_factory=dict)
    gradient_ratio: float | None = None
    value_loss_ratio: float | None = None
    usage_entropy: float | None = None
    largest_share: float | None = None
    disruption: float | None = None
    disruption_limit: float = 1.0
    log_std: tuple[float, float] | None = None

    @property
    def playable(self) -> bool:
        """Whether a simulator takes the candidate's actions, as far as is known."""
        return self.finite and all(share == 1.0 for share in self.actions.values())


@dataclass(frozen=True)
class Check:
    """One number beside its limit.

    Attributes:
        name: What was checked, in words.
        value: What was found.
        limit: Its limit.
        at_least: Whether the limit is the least value; else it is the largest.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value is known and inside its limit."""
        if math.isnan(self.value):
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def reason(self) -> str:
        """Why it failed, in words."""
        word = "at least" if self.at_least else "at most"
        return f"{self.name}: expected {word} {self.limit:.4g}, found {self.value:.4g}"


def check_vitals(
    vitals: Vitals, limits: VitalLimits, active: str | None = None
) -> tuple[Check, ...]:
    """Compare vital signs with their limits.

    Args:
        vitals: of the candidate.
        limits: theirs.
        active: regime that is being learned, whose policy is meant to move: its divergence from
            the champion is not checked.
    """
    return (
        Check("finite parameters, losses and actions", float(vitals.finite), 1.0, at_least=True),
        *(
            Check(f"regime {regime}: share of finite actions", share, 1.0, at_least=True)
            for regime, share in vitals.actions.items()
        ),
        *_divergences("mean KL from the champion", vitals.kl_mean, limits.kl_mean, active),
        *_divergences(
            "99 % quantile of the KL from the champion", vitals.kl_q99, limits.kl_q99, active
        ),
        *_given("gradient norm over its median", vitals.gradient_ratio, limits.explosion),
        *_given("value loss over its median", vitals.value_loss_ratio, limits.explosion),
        *_given("entropy of usage", vitals.usage_entropy, limits.usage_entropy, at_least=True),
        *_given("largest share of one option", vitals.largest_share, limits.largest_share),
        *_given("largest disruption", vitals.disruption, vitals.disruption_limit + _ROUNDING),
        *_deviations(vitals.log_std, limits.log_std),
    )


def _divergences(
    name: str, values: Mapping[str, float], limit: float, active: str | None
) -> Iterator[Check]:
    for regime, value in values.items():
        if regime != active:
            yield Check(f"regime {regime}: {name}", value, limit)


def _given(
    name: str, value: float | None, limit: float, *, at_least: bool = False
) -> Iterator[Check]:
    if value is not None:
        yield Check(name, value, limit, at_least)


def _deviations(found: tuple[float, float] | None, limits: tuple[float, float]) -> Iterator[Check]:
    if found is not None:
        yield Check("least log deviation of the actions", found[0], limits[0], at_least=True)
        yield Check("largest log deviation of the actions", found[1], limits[1])
