"""What one seed's stream of phases left behind: scores, curves, memory and the gate's decisions.

Dimensions: I phases, J regimes, P points of the curves, Q of the figures of plasticity, F figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SHARE", "PLASTICITY", "GateDecision", "References", "StreamRecord"]

Array = NDArray[np.float64]

LEAST_SHARE: Final = 0.05
"""Of the optimum (or of the best score, where no optimum is known): a regime whose score is below
has not been learned, and nothing is divided by it."""
PLASTICITY: Final = ("dormant_share", "effective_rank", "weight_norm")
"""Figures that are looked at while a stream is learned, as `agents.continual.plasticity` has them:
share of hidden units that hardly ever act, effective rank of the features that outputs read, and
norm of all parameters of the policy."""


@dataclass(frozen=True, kw_only=True)
class References:
    """Scores of other trainings with the same seed that a stream is held against."""

    scratch_J: Array | None = None
    """S of agents that learned one regime alone, each from scratch, for as many steps as a phase;
    nan where there is none."""
    scratch_step_P: Array | None = None
    """Steps of the points of their curves, counted from their start, ascending."""
    scratch_PJ: Array | None = None
    """S of each in its own regime at these steps."""
    joint_J: Array | None = None
    """S of one agent that learned all regimes at once."""


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What the acceptance gate said of an update."""

    phase: int
    """In which it was judged."""
    accepted: bool
    """Whether the update was kept."""
    reasons: tuple[str, ...] = ()
    """Why it was rejected."""
    evidence: tuple[Mapping[str, Any], ...] = ()
    """One mapping for each hypothesis, as `acceptance.Evidence` has them."""


@dataclass(frozen=True, kw_only=True)
class StreamRecord:
    """One seed's stream.

    Raises:
        ValueError: arrays that do not belong together, a regime that does not exist, or scores
            that are not finite.
    """

    seed: int
    """Of the training."""
    regimes: tuple[str, ...]
    """Names, J of them."""
    order: tuple[int, ...]
    """Number of the regime that governs each phase, I of them."""
    before_J: Array
    """S before training."""
    ratio_IJ: Array
    """S of every regime after every phase: the optimality ratio, or the gain over doing nothing,
    reward units a bar, where no optimum is known."""
    phase_steps: tuple[int, ...]
    """Environment steps of each phase."""
    curve_step_P: Array
    """Steps of the curves' points, counted from the stream's start, strictly ascending."""
    curve_PJ: Array
    """S of every regime at these points, on other episodes than `ratio_IJ`."""
    stored_floats: tuple[int, ...]
    """Numbers that the remedies keep after each phase."""
    plasticity_step_Q: Array = field(default_factory=lambda: np.zeros(0))
    """Steps at which plasticity was looked at, as `curve_step_P`."""
    plasticity_QF: Array = field(default_factory=lambda: np.zeros((0, len(PLASTICITY))))
    """Figures of `PLASTICITY` at these steps; nan of weights that were not finite."""
    gain_J: Array | None = None
    """What the optimum earns more than doing nothing, reward units a bar; None where no optimum is
    known."""
    together: tuple[int, ...] = ()
    """Regimes that each phase plays beside its own: joint training."""
    references: References = field(default_factory=References)
    """Other trainings that it is held against."""
    decisions: tuple[GateDecision, ...] = ()
    """Of the acceptance gate; none without one."""

    def __post_init__(self) -> None:
        """Check that everything belongs together."""
        phases, regimes, points = len(self.order), len(self.regimes), len(self.curve_step_P)
        if not phases or not regimes:
            raise ValueError(f"seed {self.seed}: expected phases and regimes, found none")
        found = {
            "before_J": (self.before_J.shape, (regimes,)),
            "ratio_IJ": (self.ratio_IJ.shape, (phases, regimes)),
            "phase_steps": ((len(self.phase_steps),), (phases,)),
            "stored_floats": ((len(self.stored_floats),), (phases,)),
            "curve_step_P": (self.curve_step_P.shape, (points,)),
            "curve_PJ": (self.curve_PJ.shape, (points, regimes)),
            "plasticity_QF": (
                self.plasticity_QF.shape,
                (len(self.plasticity_step_Q), len(PLASTICITY)),
            ),
            "gain_J": ((regimes,) if self.gain_J is None else self.gain_J.shape, (regimes,)),
        }
        for name, (shape, expected) in found.items():
            if shape != expected:
                raise ValueError(f"seed {self.seed}, {name}: expected {expected}, found {shape}")
        if not set(self.played) <= set(range(regimes)):
            raise ValueError(
                f"seed {self.seed}, order: expected regimes below {regimes}, found {self.played}"
            )
        for name, values in (
            ("before_J", self.before_J),
            ("ratio_IJ", self.ratio_IJ),
            ("curve_PJ", self.curve_PJ),
        ):
            if not np.isfinite(values).all():
                raise ValueError(
                    f"seed {self.seed}, {name}: expected finite scores, found {values}"
                )
        for name, steps in (
            ("curve_step_P", self.curve_step_P),
            ("plasticity_step_Q", self.plasticity_step_Q),
        ):
            if (np.diff(steps) <= 0.0).any():
                raise ValueError(
                    f"seed {self.seed}, {name}: expected ascending steps, found {steps}"
                )

    @property
    def played(self) -> tuple[int, ...]:
        """Regimes that are learned, in the order of their first phase."""
        return tuple(dict.fromkeys(self.order + self.together))

    @property
    def borders(self) -> tuple[int, ...]:
        """Steps at which phases end, counted from the stream's start."""
        return tuple(int(step) for step in np.cumsum(self.phase_steps))

    @cached_property
    def least(self) -> float:
        """Score below which a regime has not been learned (`LEAST_SHARE`)."""
        if self.gain_J is not None:
            return LEAST_SHARE
        return LEAST_SHARE * max(float(np.abs(self.ratio_IJ).max()), float(np.finfo(float).tiny))
