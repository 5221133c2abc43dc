"""Streams of phases for tests, made by hand."""

from dataclasses import replace

import numpy as np

from evaluation.continual_record import References, StreamRecord

REGIMES = ("calm", "rally", "<crash>")
ORDER = (0, 1, 2, 0, 1, 2)
STEPS = 1000


def record(seed: int = 0, *, lost: float = 0.1, spread: float = 0.01) -> StreamRecord:
    """Two cycles of three regimes; each is learned to 0.9, and loses so much in each other phase.

    Before its first visit a regime has -0.5.
    """
    rng = np.random.default_rng(seed)
    score_IJ = np.full((6, 3), -0.5)
    for phase, regime in enumerate(ORDER):
        if phase:
            known = score_IJ[phase - 1] > 0.0
            score_IJ[phase] = score_IJ[phase - 1] - lost * known
        score_IJ[phase, regime] = 0.9
    score_IJ += spread * rng.normal(size=score_IJ.shape)
    before_J = np.array([0.0, -0.1, 0.1])
    return StreamRecord(
        seed=seed,
        regimes=REGIMES,
        order=ORDER,
        before_J=before_J,
        ratio_IJ=score_IJ,
        phase_steps=(STEPS,) * 6,
        curve_step_P=STEPS * np.arange(7, dtype=np.float64),
        curve_PJ=np.vstack([before_J, score_IJ]),
        stored_floats=(10, 20, 30, 30, 30, 30),
        gain_J=np.array([0.01, 0.02, 0.03]),
    )


def looked_at(found: StreamRecord, *, rank: float = 8.0) -> StreamRecord:
    """The same with figures of plasticity at every border: units die, weights grow."""
    phase_Q = np.arange(1, 7, dtype=np.float64)
    values = [0.1 * phase_Q, rank - phase_Q, 10.0 + phase_Q + found.seed]
    return replace(found, plasticity_step_Q=STEPS * phase_Q, plasticity_QF=np.stack(values, axis=1))


def referred(found: StreamRecord) -> StreamRecord:
    """The same beside agents that learn each regime alone, to 0.8, 0.7 and 0.6, and all to 0.95."""
    scratch_J = np.array([0.8, 0.7, 0.6])
    references = References(
        scratch_J=scratch_J,
        scratch_step_P=np.array([0.0, STEPS]),
        scratch_PJ=np.stack([found.before_J, scratch_J]),
        joint_J=np.full(3, 0.95),
    )
    return replace(found, references=references)


def gains(seed: int = 0) -> StreamRecord:
    """The same where no optimum is known."""
    found = record(seed)
    return replace(
        found,
        before_J=1e-4 * found.before_J,
        ratio_IJ=1e-4 * found.ratio_IJ,
        curve_PJ=1e-4 * found.curve_PJ,
        gain_J=None,
    )


def joint(seed: int = 0) -> StreamRecord:
    """All regimes at once."""
    found = record(seed)
    return replace(
        found,
        order=(0,),
        together=(1, 2),
        ratio_IJ=np.array([[0.9, 0.8, 0.7]]) + 0.01 * seed,
        phase_steps=(6 * STEPS,),
        stored_floats=(0,),
    )
