"""The comparison of two agents on the same bars, and the tuning's own spans."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from evaluation import metrics
from evaluation.bootstrap import BootstrapConfig
from experiments.default_agent.tune import SPLITS
from experiments.options_equities import tune, walk_forward
from experiments.options_equities.compare import lead, ledgers_of, main, ratio_returns
from tests.evaluation.conftest import ledger_from_returns

FEW = BootstrapConfig(resamples=200)


def returns(
    seed: int, count: int = 4, drift: float = 0.0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    random = np.random.default_rng(seed)
    market_T = random.normal(0.0005, 0.01, 300)
    return np.asarray(market_T + drift + random.normal(0.0, 0.001, (count, 300)))


def test_the_lead_is_the_difference_of_the_growths() -> None:
    agent_KT, other_KT = returns(1), returns(2)
    gap = (
        metrics.annualised_log_growth(agent_KT, 252.0).mean()
        - metrics.annualised_log_growth(other_KT, 252.0).mean()
    )
    for interval in lead(ratio_returns(agent_KT, other_KT), 252.0, FEW).values():
        assert interval.estimate == pytest.approx(gap)
        assert interval.low < interval.high


def test_what_both_agents_share_does_not_widen_the_interval() -> None:
    """The market's noise is ten times the agents' own; paired, it cancels."""
    paired = lead(ratio_returns(returns(1), returns(1, drift=0.0005)), 252.0, FEW)
    alone = lead(returns(1), 252.0, FEW)
    assert paired["over histories"].width < 0.3 * alone["over histories"].width
    assert paired["over seeds and histories"].high < 0.0


def test_seeds_without_a_partner_are_left_out() -> None:
    assert ratio_returns(returns(1, 5), returns(2, 3)).shape == (3, 300)


def test_two_runs_are_compared_by_their_ledgers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, drift in (("one", 0.0002), ("two", 0.0)):
        for seed, row in enumerate(returns(3, 11, drift)):
            ledger = ledger_from_returns(row, seed=seed)
            ledger.to_parquet(tmp_path / run / "evaluation" / "test" / f"agent-{seed}.parquet")
    seeds = [ledger.metadata.seed for ledger in ledgers_of(tmp_path / "one")]
    assert seeds == list(range(11))
    monkeypatch.setattr("sys.argv", ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    main()
    told = capsys.readouterr().out
    assert "run (11 of 11 seeds): log_growth" in told
    assert "over seeds and histories: +5.0 [" in told
    with pytest.raises(FileNotFoundError, match=r"absent.*expected agent-\*\.parquet"):
        ledgers_of(tmp_path / "absent")


@pytest.mark.parametrize("candidate", tune.CANDIDATES)
@pytest.mark.parametrize("split", SPLITS)
def test_nothing_of_the_reported_span_is_tuned_on(candidate: str, split: str) -> None:
    config = tune.configuration(candidate, split)
    assert config.data is not None
    assert config.data.end == "2009-12-31"
    assert min(tune.SEEDS) >= 100
    assert config.agent.kind == "options"


@pytest.mark.parametrize("agent", walk_forward.AGENTS)
def test_folds_walk_on_without_a_gap_or_an_overlap(agent: str) -> None:
    config = walk_forward.configuration(agent, 3, 64)
    assert config.data is not None
    assert config.split is not None
    days = np.arange("2000-03-01", "2013-03-01", dtype="datetime64[D]")
    splits = config.split.splits(days[:3270].astype("datetime64[ns]").astype(np.int64))
    tests = [splits[fold].test for fold in range(walk_forward.FOLDS)]
    assert all(one.stop == two.start for one, two in itertools.pairwise(tests))
    for split in splits:
        assert split.train.stop < split.validation.start
        assert split.validation.stop < split.test.start


def fold_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for fold in range(2):
        span = {"fold": fold, "first": f"200{fold}", "last": f"200{fold}", "turnover": 1.0}
        for name, seed, level in (("options and rules", 0, 0.002), ("options and rules", 1, 0.003),
                                  ("flat agent", 0, 0.001), ("flat agent", 1, 0.001)):  # fmt: skip
            noise = np.random.default_rng([fold, seed]).normal(level, 0.001, 60)
            rows.append({"name": name, "seed": seed, "returns": noise.tolist(), **span})
        for name, earlier, now in (("cash", 0.0, 0.0), ("momentum", 0.1 - 0.2 * fold, 0.001)):
            flat = {"name": name, "seed": 0, "validation": earlier, "returns": [now] * 60}
            rows.append(flat | span)
    return rows


def test_the_best_baseline_is_chosen_fold_by_fold_on_the_year_before() -> None:
    rows = fold_rows()
    assert [walk_forward.best_on_validation(rows, fold) for fold in (0, 1)] == ["momentum", "cash"]
    picked = walk_forward.baselines_of(rows, [0, 1])[walk_forward.CHOSEN]
    np.testing.assert_array_equal(picked, [[0.001] * 60 + [0.0] * 60])


def test_folds_are_put_together_by_seed() -> None:
    rows = fold_rows()
    both = walk_forward.series(rows, "options and rules", [0, 1])
    assert both.shape == (2, 120)
    assert walk_forward.series(rows[1:], "options and rules", [0, 1]).shape == (1, 120)
    np.testing.assert_array_equal(both[1, :60], rows[1]["returns"])
    text = walk_forward.tables(rows)
    assert "| options and rules | flat agent | +3" in text  # 0.0015 a bar, 252 bars a year
    assert "0: momentum, 1: cash" in text
