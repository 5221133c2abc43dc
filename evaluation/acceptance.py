r"""The acceptance gate: may a candidate replace the champion?

A candidate is accepted where all of this holds, and rejected with all reasons otherwise:

1. its vital signs are inside their limits (`acceptance_vitals`);
2. in every earlier regime a loss of more than the tolerance against the champion is ruled out;
3. so is a loss of `golden_factor` tolerances against the regime's best accepted policy: a series of
   updates that each lose a little less than the tolerance ends there;
4. on the active regime it is not worse, or better, as configured;
5. in no earlier regime a worse tail or deeper drawdowns are shown (`acceptance_risk`).

2 to 4 are tests of non-inferiority on paired episodes (`acceptance_statistics`), never tests of "no
significant loss": with few episodes those accept everything, these nothing. The error rate is spent
over updates, and Holm's levels divide it among the hypotheses.

The margins are shares of the champion's gain on the same episodes, whose noise the tests allow for
(`acceptance_statistics.contrasts`).

Dimensions: E episodes, H hypotheses.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from evaluation.acceptance_config import AcceptanceConfig, VitalLimits
from evaluation.acceptance_golden import Golden, GoldenScore
from evaluation.acceptance_played import Played
from evaluation.acceptance_risk import Risk, check_risks
from evaluation.acceptance_statistics import (
    contrasts,
    holm,
    lower_bounds,
    margin_of,
    p_values,
)
from evaluation.acceptance_vitals import Check, Vitals, check_vitals

__all__ = [
    "AcceptanceConfig",
    "Check",
    "Decision",
    "Evidence",
    "Golden",
    "GoldenScore",
    "Played",
    "Risk",
    "VitalLimits",
    "Vitals",
    "decide",
]

Rival = Literal["champion", "golden", "improvement"]
"""What a candidate is tested against; `improvement` is the champion with a margin of 0."""

_FACTORS: Mapping[Rival, Callable[[AcceptanceConfig], float]] = {
    "champion": lambda _: 1.0,
    "golden": lambda config: config.golden_factor,
    "improvement": lambda _: 0.0,
}
"""Margins against each rival, as multiples of the tolerance."""
_NUMBERS = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


@pydantic_dataclass(frozen=True, kw_only=True, config=_NUMBERS)
class Evidence:
    """One hypothesis: the candidate loses the margin or more to a rival in a regime.

    Attributes:
        regime: Its name.
        against: The rival.
        estimate: Mean paired difference, candidate less rival; nan where the candidate's scores
            are not finite.
        low: Lower bound of it at `level`, one-sided, with the noise of the margin; -inf if unknown.
        margin: Tolerated loss.
        gain: Champion's mean score less that of doing nothing, which the margin is a share of.
        p: p-value.
        level: What it is compared with.
        passed: Whether the hypothesis is rejected, which speaks for the candidate.
        deviation: Standard deviation of the paired differences.
        episodes: E.
    """

    regime: str
    against: Rival
    estimate: float
    low: float
    margin: float
    gain: float
    p: float
    level: float
    passed: bool
    deviation: float
    episodes: int

    @property
    def reason(self) -> str:
        """Why it speaks against the candidate, in words."""
        rival = "best accepted policy" if self.against == "golden" else "champion"
        where = f"regime {self.regime}: "
        if math.isnan(self.estimate):
            return where + "the candidate's scores are not finite"
        found = (
            f"mean difference {self.estimate:.4g}, lower bound {self.low:.4g} at level "
            f"{self.level:.2g}, p {self.p:.2g}, {self.episodes:,} episodes"
        )
        if self.against == "improvement":
            return where + f"no gain over the champion is shown ({found})"
        if self.margin == 0.0:
            earned = f"the champion earns {self.gain:.4g} more than doing nothing"
            return where + (
                f"{earned}, so a share of it tolerates no loss, and without a floor no update that "
                f"leaves things as they are can pass ({found})"
            )
        lost = "lost" if self.estimate <= -self.margin else "not ruled out"
        return where + f"a loss of {self.margin:.4g} to the {rival} is {lost} ({found})"


@pydantic_dataclass(frozen=True, kw_only=True, config=_NUMBERS)
class Decision:
    """What became of an update, with everything that led to it.

    Attributes:
        accepted: Whether the candidate becomes champion.
        update: Its number, from 1 on.
        alpha: Error rate spent on it.
        active: Regime that was being learned.
        checks: Vital signs beside their limits.
        evidence: Hypotheses, in the order of the regimes.
        risks: Measures of risk, in the order of the regimes.
    """

    accepted: bool
    update: int
    alpha: float
    active: str | None
    checks: tuple[Check, ...]
    evidence: tuple[Evidence, ...]
    risks: tuple[Risk, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the candidate is rejected, in words; empty where it is accepted."""
        return (
            *(check.reason for check in self.checks if not check.passed),
            *(row.reason for row in self.evidence if not row.passed),
            *(risk.reason for risk in self.risks if not risk.passed),
        )

    @property
    def verdict(self) -> str:
        """The decision in one sentence."""
        regimes = len({row.regime for row in self.evidence})
        noun = "regime" if regimes == 1 else "regimes"
        if self.accepted:
            return (
                f"Update {self.update} is accepted: a loss beyond the tolerance is ruled out in "
                f"{regimes} {noun} (error rate {self.alpha:.2g})."
            )
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return f"Update {self.update} is rejected: {self.reasons[0]}{more}."

    def to_json(self) -> str:
        """Return the decision as JSON; numbers that are not finite as words."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a decision from its JSON.

        Raises:
            ValueError: no such JSON.
        """
        found: Self = TypeAdapter(cls).validate_json(text)
        return found


def decide(
    played: Mapping[str, Played],
    config: AcceptanceConfig,
    update: int,
    *,
    active: str | None = None,
    vitals: Vitals | None = None,
) -> Decision:
    """Decide whether a candidate replaces the champion.

    Args:
        played: held-out episodes of every earlier regime, and of the active one.
        config: of the gate.
        update: number of the update, from 1 on; rejected ones count.
        active: name of the regime that is being learned; none where all are earlier ones.
        vitals: vital signs of the candidate.

    Raises:
        ValueError: no regime, an active one that was not played though something is asked of it,
            scores that do not belong together, or scores of champion or golden policy that are not
            finite. A candidate's that are not reject it.
    """
    if not played:
        raise ValueError("played: expected at least one regime, found none")
    if active is not None and config.improvement != "none" and active not in played:
        raise ValueError(f"active: expected one of {sorted(played)}, found {active!r}")
    alpha = config.spent(update)
    rows = [row for name, each in played.items() for row in _hypotheses(name, each, config, active)]
    retention = [row for row in rows if row.against != "improvement"]
    level_H, passed_H = levels(np.array([row.p for row in retention]), alpha, config)
    judged = dict(zip(map(id, retention), zip(level_H, passed_H, strict=True), strict=True))
    evidence = []
    for name, each in played.items():
        mine = [row for row in rows if row.regime == name]
        found = [judged.get(id(row), (config.alpha, row.p <= config.alpha)) for row in mine]
        evidence += _bounded(mine, each, [(float(at), bool(ok)) for at, ok in found], config)
    checks = check_vitals(vitals, config.vitals, active) if vitals is not None else ()
    risks = check_risks(played, config, active)
    return Decision(
        accepted=all(row.passed for row in evidence)
        and all(check.passed for check in checks)
        and all(risk.passed for risk in risks),
        update=update,
        alpha=alpha,
        active=active,
        checks=checks,
        evidence=tuple(evidence),
        risks=risks,
    )


def levels(
    p_H: NDArray[np.float64], alpha: float, config: AcceptanceConfig
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Levels of the hypotheses of one update, and which of them are rejected.

    Args:
        p_H: p-values.
        alpha: spent on the update.
        config: of the gate.
    """
    if config.correction == "holm":
        return holm(p_H, alpha)
    return np.full(len(p_H), alpha), np.asarray(p_H <= alpha)


@dataclass(frozen=True)
class _Hypothesis:
    regime: str
    against: Rival
    difference_E: NDArray[np.float64]
    contrast_E: NDArray[np.float64]
    offset: float
    margin: float
    gain: float
    p: float


def _hypotheses(
    regime: str, played: Played, config: AcceptanceConfig, active: str | None
) -> list[_Hypothesis]:
    """What must be ruled out in a regime, with its p-values."""
    played.check(regime)
    gain = float(np.mean(played.champion_E)) - played.flat
    margin = margin_of(gain, 0.0, config.tolerance, config.floor)
    golden_E = played.champion_E if played.golden_E is None else played.golden_E
    rivals: list[tuple[Rival, NDArray[np.float64], float]] = [
        ("champion", played.champion_E, margin),
        ("golden", golden_E, config.golden_factor * margin),
    ]
    if regime == active:
        if config.improvement == "none":
            return []
        rivals = rivals[: 1 if played.golden_E is None else 2]
        if config.improvement == "better":
            rivals.append(("improvement", played.champion_E, 0.0))
    differences_HE = np.array([played.candidate_E - scores_E for _, scores_E, _ in rivals])
    margins_H = np.array([m for *_, m in rivals])
    shares_H = np.array([config.tolerance * _FACTORS[rival](config) for rival, *_ in rivals])
    gains_HE = np.tile(played.champion_E - played.flat, (len(rivals), 1))
    contrasts_HE, offset_H = contrasts(differences_HE, gains_HE, shares_H)
    p_H = (
        p_values(contrasts_HE, margins_H - offset_H, config.redrawing)
        if np.isfinite(differences_HE).all()
        else np.ones(len(rivals))
    )
    return [
        _Hypothesis(
            regime,
            against,
            differences_HE[h],
            contrasts_HE[h],
            float(offset_H[h]),
            m,
            gain,
            float(p_H[h]),
        )
        for h, (against, _, m) in enumerate(rivals)
    ]


def _bounded(
    rows: list[_Hypothesis],
    played: Played,
    judged: list[tuple[float, bool]],
    config: AcceptanceConfig,
) -> list[Evidence]:
    """The hypotheses of a regime with their bounds."""
    if not rows:
        return []
    episodes = len(played.champion_E)
    known = played.known
    level_H = np.array([level for level, _ in judged])
    contrasts_HE = np.array([row.contrast_E for row in rows])
    low_H = (
        lower_bounds(contrasts_HE, level_H, config.redrawing)
        if known
        else np.full(len(rows), -np.inf)
    )
    return [
        Evidence(
            regime=row.regime,
            against=row.against,
            estimate=float(np.mean(row.difference_E)) if known else math.nan,
            low=float(low) - row.offset,
            margin=row.margin,
            gain=row.gain,
            p=row.p,
            level=level,
            passed=passed,
            deviation=float(np.std(row.difference_E, ddof=1))
            if known and episodes > 1
            else math.nan,
            episodes=episodes,
        )
        for row, low, (level, passed) in zip(rows, low_H, judged, strict=True)
    ]


_ADAPTER = TypeAdapter(Decision)
