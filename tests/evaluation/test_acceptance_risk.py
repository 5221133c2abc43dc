"""Tails and drawdowns of a candidate: what is shown to be worse is rejected, what is not passes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.acceptance import AcceptanceConfig, Decision, Played, Risk, decide
from evaluation.acceptance_risk import LEAST_TAIL, check_risks, tail_contributions
from risk.measures import expected_shortfall

CONFIG = AcceptanceConfig(resamples=2000)
EPISODES = 200


def played(
    wider: float = 1.0, *, deeper: float | None = None, episodes: int = EPISODES, seed: int = 0
) -> Played:
    """A champion that earns 3 in the mean, and a candidate whose outcomes are spread wider."""
    rng = np.random.default_rng([seed, episodes])
    champion_E = 3.0 + 0.5 * rng.standard_t(6, size=episodes)
    champion_E += 3.0 - champion_E.mean()
    candidate_E = 3.0 + wider * (champion_E - 3.0) + 0.02 * rng.normal(size=episodes)
    if deeper is None:
        return Played(champion_E=champion_E, candidate_E=candidate_E)
    drawdown_E = 0.1 * rng.random(episodes)
    return Played(
        champion_E=champion_E,
        candidate_E=candidate_E,
        champion_drawdown_E=drawdown_E,
        candidate_drawdown_E=np.abs(deeper * drawdown_E + 0.002 * rng.normal(size=episodes)),
    )


def risks(played: Played, config: AcceptanceConfig = CONFIG, **more: Any) -> dict[str, Risk]:
    found = check_risks({"r": played}, config, **more)
    assert len({risk.of for risk in found}) == len(found)
    return {risk.of: risk for risk in found}


@pytest.mark.parametrize("share", [0.05, 0.11, 0.3, 1.0])
@pytest.mark.parametrize("episodes", [20, 57, 128])
def test_the_mean_of_the_contributions_is_the_mean_of_the_tail(share: float, episodes: int) -> None:
    scores_E = np.random.default_rng(episodes).normal(size=episodes)
    found_E = tail_contributions(scores_E, share)
    expected = scores_E.mean() if share == 1.0 else -expected_shortfall(scores_E, 1.0 - share)
    assert found_E.mean() == pytest.approx(expected)
    assert found_E[scores_E.argmin()] == found_E.min()


def test_a_wider_tail_is_rejected_though_the_mean_is_kept() -> None:
    found = decide({"r": played(1.6)}, CONFIG, 1)
    assert all(row.passed for row in found.evidence)
    assert not found.accepted
    (reason,) = found.reasons
    assert reason.startswith("regime r: the mean of the worst 0.05 of the episodes is worse by 0.")
    assert "200 episodes" in reason
    assert decide({"r": played(1.6)}, replace(CONFIG, risk="none"), 1).accepted
    assert decide({"r": played(1.6)}, replace(CONFIG, risk_tolerance=0.8), 1).accepted
    assert decide({"r": played(0.6)}, CONFIG, 1).accepted, "a narrower one is no reason"


def test_a_risk_is_told_with_its_numbers() -> None:
    each = played(1.6, deeper=1.5)
    tail, drawdown = risks(each)["tail"], risks(each)["drawdown"]
    worst_E = np.sort(each.champion_E)[:10]
    assert tail.champion == pytest.approx(worst_E.mean())
    assert tail.candidate == pytest.approx(np.sort(each.candidate_E)[:10].mean())
    assert tail.worse == pytest.approx(tail.champion - tail.candidate)
    assert tail.margin == pytest.approx(0.1 * (3.0 - worst_E.mean()))
    assert each.champion_drawdown_E is not None
    assert drawdown.champion == pytest.approx(each.champion_drawdown_E.mean())
    assert drawdown.worse == pytest.approx(drawdown.candidate - drawdown.champion)
    assert drawdown.margin == pytest.approx(0.1 * drawdown.champion)
    assert tail.level == drawdown.level == 0.025, "alpha over both, whatever the update"
    for risk in (tail, drawdown, *risks(played(1.02, deeper=1.02)).values()):
        assert risk.passed == (risk.p > risk.level) == (risk.low <= 0.0)


def test_deeper_drawdowns_are_rejected_where_they_are_shown() -> None:
    found = decide({"r": played(deeper=1.4)}, CONFIG, 1)
    assert not found.accepted
    assert "mean of the episodes' largest drawdowns is worse by 0.0" in found.reasons[0]
    assert decide({"r": played(deeper=1.05)}, CONFIG, 1).accepted
    assert decide({"r": played(deeper=0.5)}, CONFIG, 1).accepted
    unclear = played(deeper=1.3, episodes=20)
    assert unclear.candidate_drawdown_E is not None
    unclear.candidate_drawdown_E[:] += 0.2 * np.random.default_rng(0).normal(size=20)
    assert risks(unclear)["drawdown"].passed, "what is not shown is no reason"


def test_few_episodes_have_a_larger_tail_and_fewer_none() -> None:
    assert risks(played(episodes=128))["tail"].share == LEAST_TAIL / 128
    assert risks(played(episodes=400))["tail"].share == 0.05
    assert risks(played(episodes=2 * LEAST_TAIL))["tail"].share == 0.5
    assert risks(played(episodes=2 * LEAST_TAIL - 1)) == {}


def test_where_risk_is_looked_at() -> None:
    both = {"old": played(1.6), "new": played(1.6, seed=1)}
    earlier = check_risks(both, CONFIG, active="new")
    assert [risk.regime for risk in earlier] == ["old"]
    assert [risk.level for risk in earlier] == [0.05]
    everywhere = check_risks(both, replace(CONFIG, risk="all"), active="new")
    assert [(risk.regime, risk.level) for risk in everywhere] == [("old", 0.025), ("new", 0.025)]
    assert check_risks(both, replace(CONFIG, risk="none"), active="new") == ()


def test_the_floor_is_of_scores_and_not_of_drawdowns() -> None:
    floor = replace(CONFIG, floor=10.0)
    assert risks(played(1.6), floor)["tail"].passed
    assert risks(played(1.6), floor)["tail"].margin > 10.0
    assert not risks(played(deeper=1.4), floor)["drawdown"].passed


def test_who_takes_no_risk_tolerates_none_but_a_floor() -> None:
    cash = Played(
        champion_E=np.zeros(60), candidate_E=0.1 * np.random.default_rng(0).normal(size=60)
    )
    assert not risks(cash)["tail"].passed
    assert risks(cash)["tail"].margin == 0.0
    assert risks(replace(cash, candidate_E=np.zeros(60)))["tail"].passed
    assert risks(cash, replace(CONFIG, floor=1.0))["tail"].passed


def test_scores_that_are_not_finite_have_no_risk() -> None:
    broken = played(1.6)
    broken.candidate_E[0] = np.nan
    found = decide({"r": broken, "s": played(1.6, seed=1)}, CONFIG, 1)
    assert [risk.regime for risk in found.risks] == ["s"]


def test_a_decision_with_risks_survives_json() -> None:
    found = decide({"r": played(1.6, deeper=1.5)}, CONFIG, 2)
    assert len(found.risks) == 2
    assert Decision.from_json(found.to_json()) == found


def test_drawdowns_belong_to_the_episodes() -> None:
    good = played(deeper=1.0)
    with pytest.raises(ValueError, match="drawdowns of the candidate of regime r: expected 200 ep"):
        decide({"r": replace(good, candidate_drawdown_E=np.zeros(3))}, CONFIG, 1)
    with pytest.raises(ValueError, match="drawdowns of the champion of regime r: expected finite"):
        decide({"r": replace(good, champion_drawdown_E=np.full(200, np.nan))}, CONFIG, 1)


@pytest.mark.parametrize("change", [{"risk": "some"}, {"risk_tolerance": -0.1}, {"tail": 0.0}])
def test_a_wrong_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AcceptanceConfig(**change)


def rejected(wider: float, count: int = 150) -> float:
    """Share of candidates that are rejected whose tail is truly so much wider."""
    config = AcceptanceConfig(resamples=1000)
    rng = np.random.default_rng(4)
    found = []
    for _ in range(count):
        common_E, (a_E, b_E) = rng.normal(size=128), 0.2 * rng.normal(size=(2, 128))
        each = Played(champion_E=common_E + a_E, candidate_E=wider * (common_E + b_E))
        found.append(not all(risk.passed for risk in check_risks({"r": each}, config)))
    return float(np.mean(found))


def test_error_rates_are_as_stated() -> None:
    """A tail that is a tenth wider is the border: 5 %, with a standard error of 1.8 %."""
    assert rejected(1.0) <= 0.02
    assert rejected(1.1) <= 0.09
    assert rejected(1.6) >= 0.5
