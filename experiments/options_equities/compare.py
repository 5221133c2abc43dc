"""Two agents on the same test span, paired by bar and by seed.

The growth of one agent less that of another is the growth of the ratio of their accounts, so that
the difference has the intervals of a single agent: over seeds, over histories (stationary block
bootstrap) and over both. Seeds are paired in order; they share nothing but their number.

    python -m experiments.options_equities.compare RUN OTHER_RUN
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.bootstrap import (
    BootstrapConfig,
    Interval,
    combined_interval,
    seed_interval,
    time_interval,
)
from evaluation.ledger import Ledger
from evaluation.summary import mean_figures, returns_of


def ledgers_of(run: Path) -> list[Ledger]:
    """Ledgers of a run's agents on the test span, by seed.

    Raises:
        FileNotFoundError: the run was not judged.
    """
    files = (run / "evaluation" / "test").glob("agent-*.parquet")
    found = sorted((int(file.stem.removeprefix("agent-")), file) for file in files)
    if not found:
        raise FileNotFoundError(f"{run / 'evaluation' / 'test'}: expected agent-*.parquet")
    return [Ledger.from_parquet(file) for _, file in found]


def ratio_returns(
    agent_KT: NDArray[np.float64], other_KT: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Simple returns (K, T) of one account in units of the other, seeds paired in order."""
    pairs = min(len(agent_KT), len(other_KT))
    return np.asarray((1.0 + agent_KT[:pairs]) / (1.0 + other_KT[:pairs]) - 1.0)


def lead(
    ratio_KT: NDArray[np.float64], clock: float, config: BootstrapConfig
) -> dict[str, Interval]:
    """Growth a year of the ratio: over seeds and histories, over seeds, over histories."""

    def growth(returns_NT: NDArray[np.float64]) -> NDArray[np.float64]:
        return metrics.annualised_log_growth(returns_NT, clock)

    mean_T = np.expm1(metrics.log_returns(ratio_KT).mean(axis=0))
    return {
        "over seeds and histories": combined_interval(ratio_KT, growth, config),
        "over seeds": seed_interval(growth(ratio_KT), config.level),
        "over histories": time_interval(mean_T, growth, config),
    }


def main() -> None:
    """Print the agents' figures and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("other", type=Path)
    words = parser.parse_args()
    ledgers = [ledgers_of(words.run), ledgers_of(words.other)]
    pairs = min(map(len, ledgers))
    for name, found in zip(("run", "other"), ledgers, strict=True):
        figures = {key: figure.value for key, figure in mean_figures(found[:pairs]).items()}
        told = ", ".join(
            f"{key} {figures[key]:.4g}"
            for key in (
                "log_growth",
                "volatility",
                "sharpe",
                "max_drawdown",
                "turnover",
                "cost_drag",
            )
        )
        print(f"{name} ({pairs} of {len(found)} seeds): {told}")
    both = returns_of([*ledgers[0][:pairs], *ledgers[1][:pairs]])
    ratio_KT = ratio_returns(both[:pairs], both[pairs:])
    clock = ledgers[0][0].metadata.periods_per_year
    for name, interval in lead(ratio_KT, clock, BootstrapConfig()).items():
        low, high = 100 * interval.low, 100 * interval.high
        print(f"{name}: {100 * interval.estimate:+.1f} [{low:+.1f}, {high:+.1f}]")
    each = 100 * metrics.annualised_log_growth(ratio_KT, clock)
    print("by seed: " + ", ".join(f"{gap:+.1f}" for gap in each))


if __name__ == "__main__":
    main()
