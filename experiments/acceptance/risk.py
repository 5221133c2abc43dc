"""How often the gate rejects by risk: updates without change, and with a wider spread of outcomes.

    python -m experiments.acceptance.risk      # some minutes for each number of episodes

Champion and candidate are policies of the record's pool (`law.py`), of equal means. The candidate's
outcomes are spread about its mean so that its tail truly lies `width` times as far below it as the
champion's, in every regime: once without change. As they are ("as it is"), 28 % of the pairs differ
by more than a tenth in some regime, though their means do not. Scores are of expected rewards, of
which no drawdown is known.

Dimensions: P policies, R regimes, E episodes.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.acceptance import AcceptanceConfig, Played
from evaluation.acceptance_risk import check_risks, tail_contributions
from experiments.acceptance.law import Pool, pools
from experiments.acceptance.simulate import judge

Array = NDArray[np.float64]

WIDTHS = (1.0, None, 1.1, 1.2, 1.3, 1.5, 2.0)
"""Of the candidate's tail, of the champion's; None leaves both as they are."""
UPDATES, SEQUENCE = 1000, 10
"""Simulated updates, and how many make a sequence over which the error rate is spent."""
RESAMPLES, FEW_RESAMPLES = 20_000, 2000
"""Of the tests of the mean, and of risk, whose level is not spent over updates."""


@dataclass(frozen=True)
class Rates:
    """How many of the updates were rejected.

    Attributes:
        risk: By a measure of risk.
        mean: By the tests of the mean scores.
        either: By any of them.
    """

    risk: int
    mean: int
    either: int


def rates(
    pool: Pool, width: float | None, config: AcceptanceConfig, updates: int, seed: int = 0
) -> Rates:
    """Simulate updates.

    Args:
        pool: scores of policies.
        width: of the candidate's tail, of the champion's; None leaves both as they are.
        config: of the gate.
        updates: how many.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    policies, regimes, size = pool.equal_PRE.shape
    depth_PR = np.array(
        [
            [(scores_E - tail_contributions(scores_E, config.tail)).mean() for scores_E in each_RE]
            for each_RE in pool.equal_PRE
        ]
    )
    by_risk, by_mean = np.zeros((2, updates), np.bool_)
    few = replace(config, resamples=FEW_RESAMPLES)
    for start in range(SEQUENCE):
        both = []
        for update in range(start, updates, SEQUENCE):
            champion, candidate = rng.choice(policies, size=2, replace=False)
            index_RE = rng.integers(0, size, size=(regimes, config.episodes))
            champion_RE, candidate_RE = (
                np.take_along_axis(pool.equal_PRE[policy], index_RE, axis=1)
                for policy in (champion, candidate)
            )
            if width is not None:
                factor_R = width * depth_PR[champion] / depth_PR[candidate]
                candidate_RE = 1.0 + factor_R[:, None] * (candidate_RE - 1.0)
            played = {
                f"regime {r}": Played(champion_E=champion_RE[r], candidate_E=candidate_RE[r])
                for r in range(regimes)
            }
            by_risk[update] = not all(risk.passed for risk in check_risks(played, few))
            both.append((champion_RE, candidate_RE))
        champion_SRE, candidate_SRE = map(np.array, zip(*both, strict=True))
        accepted_S, _ = judge(champion_SRE, candidate_SRE, champion_SRE, config, start + 1)
        by_mean[start::SEQUENCE] = ~accepted_S
    return Rates(int(by_risk.sum()), int(by_mean.sum()), int((by_risk | by_mean).sum()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--updates", type=int, default=UPDATES)
    words = parser.parse_args()
    measured = pools()["expected"]
    print("| episodes | candidate's tail | rejected by risk | by the mean | by either |")
    print("|---|---|---|---|---|")
    for episodes in words.episodes:
        config = AcceptanceConfig(episodes=episodes, resamples=RESAMPLES)
        for width in WIDTHS:
            found = rates(measured, width, config, words.updates)
            kind = "as it is" if width is None else f"{width:g} times"
            counts = (found.risk, found.mean, found.either)
            cells = [_percent(count, words.updates) for count in counts]
            print(f"| {episodes} | {kind} | {' | '.join(cells)} |", flush=True)


def _percent(count: int, total: int) -> str:
    interval = stats.binomtest(count, total).proportion_ci(0.95)
    return f"{100 * count / total:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main()
