"""The optimality report and its figures: from plain scores, without a market or a kernel."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from evaluation.bootstrap import BootstrapConfig
from evaluation.optimality import OptimalityConfig, OptimalityEvaluation, Scores
from evaluation.optimality_plots import figures
from evaluation.optimality_report import (
    OptimalityInputs,
    render_optimality_report,
    write_optimality_figures,
    write_optimality_report,
)
from evaluation.optimality_scores import Earned
from evaluation.optimality_states import Slice

Array = NDArray[np.float64]
EPISODES, BARS = 60, 40
CONFIG = OptimalityConfig(episodes=EPISODES, length=BARS, bootstrap=BootstrapConfig(resamples=200))


def scores(name: str, share: float, *, seed: int = 0, expected: bool = True) -> Scores:
    """A policy that earns a share of about 0.01 a bar in two regimes, and holds that share."""
    rng = np.random.default_rng(7)
    luck_EK = share * (0.005 + 0.001 * rng.normal(size=(EPISODES, 2)))
    luck_EK += 0.0 if share in (0.0, 1.0) else 1e-4 * np.random.default_rng(seed).normal()
    noise_E = share * 0.01 * rng.normal(size=EPISODES)
    earned = Earned(luck_EK.sum(axis=1), luck_EK.sum(axis=1), luck_EK)
    realised = Earned(earned.discounted_E + noise_E, earned.mean_E + noise_E, luck_EK)
    holding_LNA = share * np.cumsum(rng.normal(size=(BARS, 8, 1)), axis=0)
    return Scores(
        name=name,
        seed=seed,
        expected=earned if expected else None,
        realised=realised,
        share_EK=np.full((EPISODES, 2), 0.5),
        turnover_E=np.full(EPISODES, 0.1 * share),
        cost_E=np.full(EPISODES, 0.002 * share),
        projected=0.0,
        ruined=0,
        holding_LNA=holding_LNA,
    )


def piece(title: str, *, flat: bool = False, band: bool = True) -> Slice:
    x_X = np.linspace(-2.0, 2.0, 11)
    y_Y = np.zeros(1) if flat else np.linspace(-3.0, 3.0, 9)
    start_YX = np.tile(x_X, (1, 1)) if flat else np.tile(y_Y[:, None], (1, len(x_X)))
    edges = np.array([-x_X - 0.5, -x_X + 0.5])
    oracle_YX = np.clip(start_YX, edges[0], edges[1])
    labels = ("holding before", "") if flat else ("price", "holding before")
    return Slice(title, *labels, x_X, y_Y, 0.8 * oracle_YX, oracle_YX, start_YX,
                 edges if band else None)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> OptimalityEvaluation:
    return OptimalityEvaluation(
        agents=tuple(scores("agent", 0.85 + 0.02 * seed, seed=seed) for seed in (3, 4, 5)),
        oracles={"known": scores("oracle_known", 1.0)},
        rules={
            "do_nothing": scores("do_nothing", 0.0),
            "myopic": scores("myopic", -2.0, seed=9),
        },
        computed={"known": 0.0101},
        reference="known",
        view="known",
        missing={},
        market={"kind": "ornstein_uhlenbeck", "speed": [0.1, 0.3], "cost": 0.2},
        problem={"trade_size": None},
        additive=True,
        length=BARS,
        discount=0.8,
        config=CONFIG,
        slices=(piece("Regime 0"), piece("Regime 1")),
    )


INPUTS = OptimalityInputs(
    title="ou <run>",
    config_text="seed: 0",
    versions={"python": "3.11.7"},
    command="perennial train market=ornstein_uhlenbeck",
    notes=["A note & a half."],
)


@pytest.fixture(scope="module")
def document(found: OptimalityEvaluation) -> str:
    return render_optimality_report(found, INPUTS)


def test_the_first_line_is_the_verdict(found: OptimalityEvaluation, document: str) -> None:
    assert found.verdict.startswith("The agent earns 0.9")
    assert found.verdict.endswith("of what the optimum earns.")
    heading = re.search(r"<h1>(.*?)</h1>", document)
    assert heading is not None
    assert heading.group(1) == found.verdict
    assert "mean of 3 training seeds" in document


def test_the_page_is_whole_and_fetches_nothing(found: OptimalityEvaluation, document: str) -> None:
    assert document.count("<svg") == len(figures(found)) == 4
    assert "<script" not in document
    assert "http" not in document
    assert re.findall(r"url\((?!#)", document) == []
    fetched = re.findall(r'(?:src|href)="(?!#)([^"]{0,30})', document)
    assert all(link.startswith("data:image/png;base64,") for link in fetched)
    ids = re.findall(r'\bid="([^"]+)"', document)
    assert len(ids) == len(set(ids))
    for words in ("ou &lt;run&gt;", "A note &amp; a half.", "3.11.7", "Seed 4", "Do nothing",
                  "Optimum, regime known", "ornstein uhlenbeck", "[0.1, 0.3]"):  # fmt: skip
        assert words in document
    assert "perennial train market=ornstein_uhlenbeck" in document


def test_same_inputs_same_bytes(found: OptimalityEvaluation, document: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_optimality_report(path, replace(found), INPUTS)
    assert path.read_text(encoding="utf-8") == document
    assert list(path.parent.iterdir()) == [path]


def test_figures_are_files(found: OptimalityEvaluation, tmp_path: Path) -> None:
    paths = write_optimality_figures(tmp_path / "figures", found)
    assert [path.name for path in paths] == ["ratio.png", "policy.png", "band.png", "holdings.png"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_curves_where_the_holding_is_all_that_moves(found: OptimalityEvaluation) -> None:
    flat = replace(found, slices=(piece("Regime 0", flat=True), piece("Regime 1", flat=True)))
    drawn = figures(flat)
    assert set(drawn) == {"ratio", "policy", "holdings"}
    learned, optimal = (
        np.array(line.get_ydata(), dtype=float) for line in drawn["policy"]().axes[0].lines[:0:-1]
    )
    np.testing.assert_allclose(learned, 0.8 * optimal)
    assert "Dotted: no trade" in render_optimality_report(flat)


def test_no_band_without_proportional_costs(found: OptimalityEvaluation) -> None:
    plain = replace(found, slices=(piece("", band=False),))
    assert "band" not in figures(plain)
    assert "The no-trade band" not in render_optimality_report(plain)


def test_tables_are_saved(found: OptimalityEvaluation, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "episodes.parquet",
        "metrics.json",
        "table.csv",
    ]
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["headline"]["optimality/ratio"] == pytest.approx(found.ratio.estimate)
    assert metrics["verdict"] == found.verdict
    assert list(metrics["seeds"]) == ["3", "4", "5"]
    assert np.mean(list(metrics["seeds"].values())) == pytest.approx(found.ratio.estimate)
    table = pd.read_csv(tmp_path / "table.csv").set_index("policy")
    assert table.loc["oracle_known", "ratio"] == 1.0
    assert table.loc["do_nothing", "ratio"] == 0.0
    episodes = pd.read_parquet(tmp_path / "episodes.parquet")
    assert len(episodes) == 6 * EPISODES
    by_regime = episodes[["regime_0", "regime_1"]].sum(axis=1)
    np.testing.assert_allclose(by_regime, episodes["value"], rtol=1e-12)


def test_the_headline_has_the_names_of_the_tracking_store(found: OptimalityEvaluation) -> None:
    headline = found.headline
    for name in ("ratio", "ratio_low", "ratio_high", "value", "oracle"):
        assert np.isfinite(headline[f"optimality/{name}"])
    assert headline["optimality/ratio_low"] < headline["optimality/ratio"]
    assert "optimality/price_of_not_knowing" not in headline


def test_an_oracle_that_knows_more_is_only_a_bound(found: OptimalityEvaluation) -> None:
    bound = replace(found, view="belief", missing={"belief": "costs depend on the regime"})
    assert "at least" in bound.verdict
    assert any("costs depend on the regime" in note for note in bound.notes)
    assert "does not exist here" in render_optimality_report(bound)


def test_the_price_of_not_knowing_is_paired(found: OptimalityEvaluation) -> None:
    both = replace(
        found,
        view="belief",
        reference="belief",
        oracles={"known": scores("oracle_known", 1.0), "belief": scores("oracle_belief", 1.0)},
    )
    price = both.price_of_not_knowing
    assert price is not None
    assert (price.estimate, price.low, price.high) == (0.0, 0.0, 0.0)
    assert "Price of not knowing" in render_optimality_report(both)


def test_without_a_gap_the_verdict_says_why(found: OptimalityEvaluation) -> None:
    blank = replace(found, oracles={"known": scores("oracle_known", 0.0)})
    assert "too close to zero" in blank.verdict
    page = render_optimality_report(blank)
    assert 'class="verdict open"' in page
    assert page.count("<svg") == 3
    assert json.dumps(blank.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("share", "words"), [(-0.5, "does worse than doing nothing"), (0.0, "may as well do nothing")]
)
def test_a_bad_agent_is_told_so(found: OptimalityEvaluation, share: float, words: str) -> None:
    bad = replace(found, agents=(scores("agent", share),), view="belief")
    assert words in bad.verdict
    # The optimum knows more than the agent, which bounds a positive share only.
    assert "at least" not in bad.verdict
    assert bad.notes == ()


def test_realised_rewards_where_nothing_is_expected(found: OptimalityEvaluation) -> None:
    agents = tuple(scores("agent", 0.9, seed=seed, expected=False) for seed in (0, 1))
    rough = replace(found, agents=agents)
    assert not rough.expected
    assert rough.value.estimate == pytest.approx(
        np.mean([each.realised.discounted_E for each in agents])
    )
    assert "realised rewards" in rough.evidence
    assert any("Expected rewards are not defined" in note for note in rough.notes)


def test_agreement_by_hand(found: OptimalityEvaluation) -> None:
    """R^2 = 1 - (1 - 0)^2 / ((0 - 2)^2 + (4 - 2)^2)."""
    optimal = replace(found.oracles["known"], holding_LNA=np.array([[[0.0]], [[4.0]]]))
    agent = replace(found.agents[0], holding_LNA=np.array([[[1.0]], [[4.0]]]))
    other = replace(found, agents=(agent,), oracles={"known": optimal})
    assert other.agreement == pytest.approx(0.875)
    assert other.headline["optimality/holdings_r2"] == pytest.approx(0.875)
    assert replace(other, agents=(optimal,)).agreement == 1.0


def test_short_episodes_are_not_compared(found: OptimalityEvaluation) -> None:
    assert found.comparable
    assert [check.name for check in found.checks] == ["known"]
    # 0.85^40 = 0.0015 is more than 1e-3.
    short = replace(found, discount=0.85, computed={"known": 0.5})
    assert short.checks == ()
    (note,) = short.notes
    assert "not compared: episodes too short (discount factor 0.0015 at their end" in note
    render_optimality_report(short)


def test_ruins_are_counted_for_everyone(found: OptimalityEvaluation) -> None:
    ruined = replace(
        found,
        oracles={"known": replace(found.oracles["known"], ruined=2)},
        rules={**found.rules, "myopic": replace(found.rules["myopic"], ruined=3)},
    )
    notes = "\n".join(ruined.notes)
    assert f"2 of {EPISODES} episodes of the oracle (known) ended in ruin" in notes
    assert f"3 of {EPISODES} episodes of the rule myopic ended in ruin" in notes
    assert "the agent ended" not in notes


def test_a_ledger_that_disagrees_with_the_mathematics_is_told(found: OptimalityEvaluation) -> None:
    assert found.notes == ()
    off = replace(found, computed={"known": 0.5})
    assert abs(off.checks[0].z) > 100.0
    assert any("standard errors from its ledger's" in note for note in off.notes)
