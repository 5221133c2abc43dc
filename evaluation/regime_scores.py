r"""How good is a regime detector, where the true regimes are known?

Beliefs are scored after an alignment of the detector's labels with the true ones that was made on
the training span. y_t is the true regime k_t, pi_t the belief at the close of t.

Sources: Gneiting & Raftery (2007), JASA 102 (log and Brier scores); Hubert & Arabie (1985), J. of
Classification 2 (adjusted Rand index); Naeini, Cooper & Hauskrecht (2015), AAAI (calibration).

Dimensions: T bars, K true regimes, C labels of the detector, B bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

__all__ = [
    "Delays",
    "RegimeScores",
    "Reliability",
    "align",
    "aligned",
    "calibration_error",
    "detection_delays",
    "reliability",
    "score_regimes",
    "skill",
]

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

CLIP = 0.01
"""Least probability in a log score: one confident error does not decide it."""
SEGMENT = 15
"""Bars that a regime must last for its beginning to count as a switch to be detected."""
BINS = 10
"""Bins of the calibration error."""


@dataclass(frozen=True)
class Delays:
    """How late switches were seen.

    Attributes:
        bars_N: delay of each switch that was seen, bars: 0 if pi already favoured the new regime
            at the first bar that it governed.
        missed: number of switches whose regime ended before it was believed.
    """

    bars_N: NDArray[np.int64]
    missed: int

    def quantile(self, level: float) -> float:
        """Delay that a share `level` of all switches does not exceed; infinite if never seen."""
        total = len(self.bars_N) + self.missed
        if total == 0:
            return float("nan")
        every_N = np.concatenate([np.sort(self.bars_N), np.full(self.missed, np.inf)])
        return float(every_N[min(total - 1, int(np.ceil(level * total)) - 1)])

    @property
    def missed_share(self) -> float:
        """Share of the switches that were missed; NaN where there were none."""
        total = len(self.bars_N) + self.missed
        return self.missed / total if total else float("nan")


@dataclass(frozen=True)
class Reliability:
    """What came true of what was believed; one row a bin of probability.

    Attributes:
        believed_B: mean probability in the bin; NaN where it is empty.
        happened_B: share of it that came true.
        count_B: number of probabilities.
    """

    believed_B: Array
    happened_B: Array
    count_B: NDArray[np.int64]


@dataclass(frozen=True)
class RegimeScores:
    """Scores of one sequence of beliefs.

    Attributes:
        accuracy: share of bars whose most believed regime is the true one.
        balanced_accuracy: mean of that share over the true regimes.
        ari: adjusted Rand index of the most believed labels, 1 = the same partition, 0 = chance.
        log_score: mean of -log pi_t(y_t), probabilities clipped at `CLIP`; lower is better.
        clipped: share of bars whose probability was clipped.
        brier: mean of sum_k (pi_t(k) - 1{y_t = k})^2, in [0, 2]; lower is better.
        calibration_error: expected calibration error of the most believed regime (`BINS` bins).
        delays: of the switches.
        false_alarms: switches of the most believed regime for each true switch; 1 is right.
        log_score_T: -log pi_t(y_t) of each bar, clipped.
    """

    accuracy: float
    balanced_accuracy: float
    ari: float
    log_score: float
    clipped: float
    brier: float
    calibration_error: float
    delays: Delays
    false_alarms: float
    log_score_T: Array

    def figures(self) -> dict[str, float]:
        """The numbers by name, for tables."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "ari": self.ari,
            "log_score": self.log_score,
            "clipped": self.clipped,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
            "delay_median": self.delays.quantile(0.5),
            "delay_90": self.delays.quantile(0.9),
            "missed": self.delays.missed_share,
            "false_alarms": self.false_alarms,
        }


def align(belief_TC: Array, regime_T: Labels, num_regimes: int) -> Array:
    """Return which true regime each label stands for, by their joint mass: (C, K) of 0 and 1.

    With as many labels as regimes one to one (Hungarian), with more of them many to one (lenient:
    a label goes to the regime it is found in most), with fewer one to one, and regimes are left
    without a label. Use the training span only.

    Args:
        belief_TC: beliefs.
        regime_T: true regimes in [0, K).
        num_regimes: K.

    Raises:
        ValueError: lengths differ, or a regime is outside of its range.
    """
    _require(belief_TC, regime_T, num_regimes)
    mass_CK = belief_TC.T @ np.eye(num_regimes)[regime_T]
    labels = mass_CK.shape[0]
    found_CK = np.zeros((labels, num_regimes))
    rows, columns = linear_sum_assignment(-mass_CK)
    found_CK[rows, columns] = 1.0
    for label in range(labels):
        if found_CK[label].sum() == 0.0 or labels > num_regimes:
            found_CK[label] = np.eye(num_regimes)[int(np.argmax(mass_CK[label]))]
    return found_CK


def aligned(belief_TC: Array, map_CK: Array) -> Array:
    """Return beliefs in true regimes (T, K); see `align`."""
    return np.asarray(belief_TC @ map_CK)


def score_regimes(belief_TK: Array, regime_T: Labels) -> RegimeScores:
    """Score aligned beliefs against the true regimes.

    Args:
        belief_TK: probabilities, rows sum to 1.
        regime_T: true regimes in [0, K).

    Raises:
        ValueError: lengths differ, rows are no probabilities, or a regime is outside its range.
    """
    num_regimes = belief_TK.shape[1]
    _require(belief_TK, regime_T, num_regimes)
    sums_T = belief_TK.sum(axis=1)
    if not ((belief_TK >= 0.0).all() and (np.abs(sums_T - 1.0) <= 1e-6).all()):
        raise ValueError("belief: expected rows of probabilities that sum to 1, found others")
    rows = np.arange(len(regime_T))
    chosen_T = belief_TK.argmax(axis=1)
    right_T = chosen_T == regime_T
    probability_T = belief_TK[rows, regime_T]
    log_score_T = -np.log(np.maximum(probability_T, CLIP))
    present = np.unique(regime_T)
    switches = np.count_nonzero(np.diff(regime_T))
    alarms = np.count_nonzero(np.diff(chosen_T))
    return RegimeScores(
        accuracy=float(right_T.mean()),
        balanced_accuracy=float(np.mean([right_T[regime_T == k].mean() for k in present])),
        ari=float(adjusted_rand_score(regime_T, chosen_T)),
        log_score=float(log_score_T.mean()),
        clipped=float((probability_T < CLIP).mean()),
        brier=float(np.square(belief_TK - np.eye(num_regimes)[regime_T]).sum(axis=1).mean()),
        calibration_error=calibration_error(belief_TK, regime_T),
        delays=detection_delays(belief_TK, regime_T),
        false_alarms=float(alarms / switches) if switches else float("nan"),
        log_score_T=log_score_T,
    )


def detection_delays(belief_TK: Array, regime_T: Labels, *, segment: int = SEGMENT) -> Delays:
    """Measure how late each switch to a regime that lasts at least `segment` bars was believed.

    The delay is the number of bars from the first that the new regime governs until pi of it
    exceeds one half, while it still governs.
    """
    starts = np.flatnonzero(np.diff(regime_T)) + 1
    ends = np.append(starts, len(regime_T))[1:]
    found, missed = [], 0
    for start, end in zip(starts, ends, strict=True):
        if end - start < segment:
            continue
        believed = np.flatnonzero(belief_TK[start:end, regime_T[start]] > 0.5)
        if believed.size:
            found.append(int(believed[0]))
        else:
            missed += 1
    return Delays(np.array(found, np.int64), missed)


def reliability(belief_TK: Array, regime_T: Labels, *, bins: int = BINS) -> Reliability:
    """Return how often what was believed with a probability came true, over all regimes."""
    happened = np.eye(belief_TK.shape[1])[regime_T].ravel()
    return _binned(belief_TK.ravel(), happened, bins)


def calibration_error(belief_TK: Array, regime_T: Labels, *, bins: int = BINS) -> float:
    r"""Expected calibration error of the most believed regime.

    .. math:: \sum_b \tfrac{n_b}{T} |\bar y_b - \bar p_b|
    """
    right = (belief_TK.argmax(axis=1) == regime_T).astype(np.float64)
    table = _binned(belief_TK.max(axis=1), right, bins)
    gap_B = np.abs(table.happened_B - table.believed_B)
    return float(np.nansum(gap_B * table.count_B) / len(regime_T))


def skill(log_score: float, constant: float, oracle: float) -> float:
    """Share of the oracle filter's gain over constant frequencies, (L_c - L) / (L_c - L_o).

    NaN where the oracle gains nothing.
    """
    gain = constant - oracle
    return (constant - log_score) / gain if abs(gain) > 1e-12 else float("nan")


def _binned(probability_N: Array, happened_N: Array, bins: int) -> Reliability:
    bin_N = np.minimum((probability_N * bins).astype(np.int64), bins - 1)
    count_B = np.bincount(bin_N, minlength=bins)
    safe_B = np.where(count_B > 0, count_B, 1)
    empty_B = np.where(count_B > 0, 0.0, np.nan)
    return Reliability(
        believed_B=np.bincount(bin_N, probability_N, bins) / safe_B + empty_B,
        happened_B=np.bincount(bin_N, happened_N, bins) / safe_B + empty_B,
        count_B=count_B.astype(np.int64),
    )


def _require(belief: Array, regime_T: Labels, num_regimes: int) -> None:
    if belief.ndim != 2 or len(belief) != len(regime_T) or not len(regime_T):
        raise ValueError(
            f"belief: expected one row for each of {len(regime_T)} bars, found {belief.shape}"
        )
    if regime_T.min() < 0 or regime_T.max() >= num_regimes:
        raise ValueError(
            f"regime: expected numbers in [0, {num_regimes}), found {regime_T.min()} to "
            f"{regime_T.max()}"
        )
