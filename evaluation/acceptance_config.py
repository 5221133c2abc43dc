"""What an update of a deployed policy must show before it replaces the champion."""

from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from evaluation.acceptance_statistics import Redrawing

__all__ = ["AcceptanceConfig", "VitalLimits"]

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class VitalLimits:
    """Limits of plain numbers that are checked before any episode is compared.

    They are tripwires, not proofs: a policy may lose much within a small divergence.
    """

    kl_mean: Positive = 0.05
    """Mean KL(champion || candidate) over the states kept of a regime that is not being learned,
    nats."""
    kl_q99: Positive = 0.5
    """99 % quantile of the same, nats."""
    explosion: Annotated[float, Field(gt=1.0, allow_inf_nan=False)] = 10.0
    """Largest gradient norm and value loss of an update, as multiples of their medians over the
    accepted updates before; the first update of a stream has none."""
    trailing: Annotated[int, Field(ge=1)] = 20
    """Accepted updates behind these medians, at most."""
    usage_entropy: NotNegative = 0.3
    """Least entropy of the usage of options over its largest value (0 = one alone, 1 = alike)."""
    largest_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Largest share of the bars that one option may take."""
    log_std: tuple[float, float] = (-6.0, 2.0)
    """Least and largest log standard deviation of the actions."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.log_std[0] < self.log_std[1]:
            raise ValueError(f"log_std: expected ascending limits, found {self.log_std}")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class AcceptanceConfig:
    """The acceptance gate: non-inferiority on every earlier regime, and vital signs."""

    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Share of the champion's gain over doing nothing that an update may lose in a regime."""
    floor: NotNegative = 0.0
    """Loss that is tolerated besides, in units of the score: what a champion that earns nothing
    may lose."""
    golden_factor: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] = 2.0
    """Tolerance against the best accepted policy of a regime, as a multiple of that against the
    champion: many small losses add up to a large one."""
    improvement: Literal["none", "not_worse", "better"] = "not_worse"
    """What is asked on the active regime: nothing, no loss beyond the tolerance, or besides that a
    gain (lower bound above 0, at `alpha`, which is not spent: a useless update harms nobody)."""
    risk: Literal["none", "earlier", "all"] = "earlier"
    """Where the worst episodes and the drawdowns of candidate and champion are compared: nowhere,
    in earlier regimes, or on the active one as well, as befits an agent that trades already. Who
    begins to learn a regime takes more risk there than one that did nothing."""
    risk_tolerance: NotNegative = 0.1
    """By how much both may be worse, as a share: of the distance of the champion's worst episodes
    from its mean, and of its drawdown. An update is rejected where more is shown, at `alpha`; not
    unless it is ruled out, which would take thousands of episodes (`acceptance_risk`)."""
    tail: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Share of the episodes that count as the worst; more where these are fewer than ten."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Probability of accepting an update that loses more than the tolerance somewhere; over all
    updates together where it is spent."""
    spending: Literal["harmonic", "none"] = "harmonic"
    """`harmonic`: update t = 1, 2, ... is tested at alpha / (t (t + 1)), which sums to alpha, also
    where the same episodes judge every update (recorded data); `none`: each at alpha."""
    correction: Literal["holm", "none"] = "holm"
    """`holm`: each regime's retention is shown, with all of them together at alpha; `none`: each is
    tested at alpha, which suffices for the decision alone, as that needs all of them (Berger 1982,
    Technometrics 24), and needs fewer episodes."""
    resamples: Annotated[int, Field(ge=1000)] = 100_000
    """Redrawn sets of episodes; no p-value is below 1 / (resamples + 1)."""
    block: Annotated[float, Field(ge=1.0)] | None = 1.0
    """Mean number of neighbouring episodes redrawn together: 1 for independent ones; for episodes
    that overlap in time their length over their distance, or more; None measures it."""
    episodes: Annotated[int, Field(ge=2)] = 256
    """Held-out episodes of each regime, where there are as many as one likes."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the resamples."""
    vitals: VitalLimits = field(default_factory=VitalLimits)
    """Limits of plain numbers."""

    def spent(self, update: int) -> float:
        """Return the error rate that the t-th update is tested at.

        Args:
            update: t, from 1 on; rejected updates count.

        Raises:
            ValueError: t below 1.
        """
        if update < 1:
            raise ValueError(f"update: expected 1 or more, found {update}")
        return self.alpha / (update * (update + 1)) if self.spending == "harmonic" else self.alpha

    @property
    def redrawing(self) -> Redrawing:
        """How episodes are redrawn."""
        return Redrawing(resamples=self.resamples, block=self.block, seed=self.seed)
