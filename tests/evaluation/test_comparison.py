"""The verdict: four outcomes in words, the choice of the best, and seeds as the unit."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.bootstrap import BootstrapConfig
from evaluation.comparison import compare
from evaluation.ledger import Ledger

Array = NDArray[np.float64]
MakeLedger = Callable[..., Ledger]

CONFIG = BootstrapConfig(resamples=200)
MARKET = np.random.default_rng(0).normal(size=300) * 0.01 + 0.001
NOISE = np.random.default_rng(1).normal(size=300) * 0.001


def ledgers(make: MakeLedger, *series: Array) -> list[Ledger]:
    return [make(returns_T, seed=seed) for seed, returns_T in enumerate(series)]


@pytest.mark.parametrize(
    ("edge", "won", "decided", "words"),
    [
        (
            0.001,
            True,
            True,
            "The agent beat the best baseline after costs, and .* does not contain zero",
        ),
        (0.00001, True, False, "came out ahead .* contains zero: this may be chance"),
        (-0.00001, False, False, "did not beat .* contains zero: this may be chance"),
        (-0.001, False, True, "did not beat .* does not contain zero: the baseline was better"),
    ],
)
def test_four_verdicts(
    make_ledger: MakeLedger, edge: float, won: bool, decided: bool, words: str
) -> None:
    wobble = np.where(np.arange(300) % 2 == 0, 0.003, -0.003)
    agents = ledgers(make_ledger, *(MARKET + edge + wobble * s for s in (1.0, -1.0, 0.5)))
    baselines = {
        "cash": ledgers(make_ledger, np.zeros(300)),
        "market": ledgers(make_ledger, MARKET),
    }
    found = compare(agents, baselines, baselines, CONFIG)
    assert (found.won, found.decided) == (won, decided)
    assert found.best == "market"
    assert pytest.approx(252 * edge, abs=0.01) == found.headline.growth.estimate
    assert re.search(words, found.verdict), found.verdict


def test_best_is_chosen_on_validation_not_on_test(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, MARKET)
    test = {
        "lucky": ledgers(make_ledger, MARKET + 0.002),
        "steady": ledgers(make_ledger, MARKET - 0.001),
    }
    before = {
        "lucky": ledgers(make_ledger, MARKET - 0.001),
        "steady": ledgers(make_ledger, MARKET + 0.001),
    }
    found = compare(agents, test, before, CONFIG)
    assert (found.best, found.best_in_hindsight) == ("steady", "lucky")
    assert found.won
    assert "Agent less steady (chosen on the validation span): +" in found.evidence
    assert "one seed, which says nothing" in found.evidence
    blind = compare(agents, test, None, CONFIG)
    assert blind.best == "lucky"
    assert "chosen in hindsight" in blind.evidence
    assert not blind.won


def test_random_is_never_the_best(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, MARKET)
    baselines = {
        "cash": ledgers(make_ledger, np.zeros(300)),
        "random": ledgers(make_ledger, MARKET + 0.01, MARKET + 0.02),
    }
    found = compare(agents, baselines, baselines, CONFIG)
    assert found.best == "cash"
    # Against several lanes the mean of their log growth counts.
    expected = 252 * np.mean(
        np.log1p(MARKET) - 0.5 * (np.log1p(MARKET + 0.01) + np.log1p(MARKET + 0.02))
    )
    assert found.differences["random"].growth.estimate == pytest.approx(expected)
    with pytest.raises(ValueError, match="expected one beside"):
        compare(agents, {"random": baselines["random"]}, None, CONFIG)


def test_each_interval_answers_its_own_question(make_ledger: MakeLedger) -> None:
    """Seeds that agree in a noisy market: narrow over seeds, wide over histories."""
    agents = ledgers(make_ledger, MARKET, MARKET + 1e-5, MARKET - 1e-5)
    cash = {"cash": ledgers(make_ledger, np.zeros(300))}
    gap = compare(agents, cash, cash, CONFIG).headline
    assert gap.growth_over_seeds.width < 0.1 * gap.growth_over_time.width
    assert gap.growth.width > 0.9 * gap.growth_over_time.width
    assert gap.detectable > 0.5 * gap.growth.width
    assert gap.per_seed[1] > gap.per_seed[0] > gap.per_seed[2]
    single = compare(agents[:1], cash, cash, CONFIG).headline
    assert np.isinf(single.growth_over_seeds.high)


def test_superior_baseline_is_found(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, MARKET)
    worse = {
        "bad": ledgers(make_ledger, MARKET - 0.0005 + NOISE),
        "worse": ledgers(make_ledger, MARKET - 0.001 + NOISE[::-1]),
    }
    assert compare(agents, worse, None, CONFIG).superior_p_value > 0.2
    better = worse | {"good": ledgers(make_ledger, MARKET + 0.0005 + NOISE)}
    assert compare(agents, better, None, CONFIG).superior_p_value < 0.01
    same = {"same": ledgers(make_ledger, MARKET)}
    assert np.isnan(compare(agents, same, None, CONFIG).superior_p_value)


def test_a_market_without_movement_is_undecided(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, np.zeros(50))
    cash = {"cash": ledgers(make_ledger, np.zeros(50))}
    found = compare(agents, cash, cash, CONFIG)
    assert not found.won
    assert not found.decided
    assert found.headline.sharpe.estimate == 0.0


def test_spans_must_agree(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, MARKET)
    short = {"cash": ledgers(make_ledger, np.zeros(299))}
    with pytest.raises(ValueError, match="expected the same bars, found 301 and 300 rows"):
        compare(agents, short, None, CONFIG)
    with pytest.raises(ValueError, match="validation: expected the baselines"):
        compare(agents, {"cash": agents}, {"other": agents}, CONFIG)
    with pytest.raises(ValueError, match="expected at least one, found none"):
        compare([], {"cash": agents}, None, CONFIG)


def test_same_seed_same_comparison(make_ledger: MakeLedger) -> None:
    agents = ledgers(make_ledger, MARKET + NOISE, MARKET - NOISE)
    cash = {"cash": ledgers(make_ledger, np.zeros(300))}
    assert compare(agents, cash, cash, CONFIG) == compare(agents, cash, cash, CONFIG)
