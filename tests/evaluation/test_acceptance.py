"""The acceptance gate: who passes, who does not, and the reasons it gives."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.acceptance import (
    AcceptanceConfig,
    Check,
    Decision,
    Played,
    VitalLimits,
    Vitals,
    decide,
)

CONFIG = AcceptanceConfig(resamples=5000)
EPISODES = 60


def played(
    loss: float = 0.0, *, noise: float = 0.05, episodes: int = EPISODES, seed: int = 0, **more: Any
) -> Played:
    """A champion that earns 1 above doing nothing, and a candidate that earns `loss` less."""
    rng = np.random.default_rng([seed, episodes])
    champion_E = 3.0 + rng.normal(size=episodes)
    champion_E += 3.0 - champion_E.mean()
    own_E = rng.normal(size=episodes)
    own_E = (own_E - own_E.mean()) / own_E.std()
    return Played(
        champion_E=champion_E, candidate_E=champion_E - loss + noise * own_E, flat=2.0, **more
    )


def regimes(*losses: float, **more: Any) -> dict[str, Played]:
    return {f"r{j}": played(loss, seed=j, **more) for j, loss in enumerate(losses)}


def test_a_harmless_update_is_accepted() -> None:
    found = decide(regimes(0.0, -0.1, 0.01), CONFIG, 1)
    assert found.accepted
    assert found.reasons == ()
    assert "accepted" in found.verdict
    assert "3 regimes" in found.verdict
    assert {(row.regime, row.against) for row in found.evidence} == {
        (regime, against) for regime in ("r0", "r1", "r2") for against in ("champion", "golden")
    }
    assert {round(row.margin, 9) for row in found.evidence} == {0.05, 0.1}


def test_a_loss_in_one_regime_is_rejected_with_its_numbers() -> None:
    found = decide(regimes(0.0, 0.12, 0.0), CONFIG, 1)
    assert not found.accepted
    assert len(found.reasons) == 2
    assert found.reasons[0].startswith("regime r1: a loss of 0.05 to the champion is lost (mean ")
    assert "-0.12" in found.reasons[0]
    assert "60 episodes" in found.reasons[0]
    assert "best accepted policy" in found.reasons[1]
    assert found.verdict.startswith("Update 1 is rejected: regime r1: ")
    assert found.verdict.endswith("(and 1 more).")


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_what_cannot_be_seen_is_not_waved_through(loss: float) -> None:
    """Eight noisy episodes: no loss is significant, and none is ruled out."""
    unclear = regimes(0.0, loss, 0.0, noise=0.4, episodes=8)
    found = decide(unclear, CONFIG, 1)
    assert not found.accepted
    assert any("not ruled out" in reason for reason in found.reasons)
    # The wrong test would have accepted it: nothing is significantly below zero.
    assert all(abs(row.estimate) < 2.0 * row.deviation / np.sqrt(8) for row in found.evidence)


def test_a_significant_but_tolerable_loss_is_accepted() -> None:
    """A test of "no significant loss" would reject what the tolerance allows."""
    found = decide(regimes(0.02, 0.02, noise=0.02), CONFIG, 1)
    assert all(row.estimate < -5.0 * row.deviation / np.sqrt(EPISODES) for row in found.evidence)
    assert found.accepted


def test_a_slow_decline_ends_at_the_golden_policy() -> None:
    small = played(0.02)
    assert decide({"r": small}, CONFIG, 1).accepted
    golden = replace(small, golden_E=small.champion_E + 0.08)  # an ancestor, now 10 % ahead
    found = decide({"r": golden}, CONFIG, 1)
    assert [row.against for row in found.evidence if not row.passed] == ["golden"]
    assert found.evidence[1].estimate == pytest.approx(-0.1)
    assert found.evidence[1].margin == pytest.approx(0.1)


def test_the_error_rate_is_spent_over_updates() -> None:
    spent = [CONFIG.spent(update) for update in range(1, 2001)]
    assert spent[:2] == pytest.approx([0.025, 0.05 / 6])
    assert sum(spent) < 0.05
    assert replace(CONFIG, spending="none").spent(7) == 0.05
    with pytest.raises(ValueError, match="update: expected 1 or more"):
        CONFIG.spent(0)
    close = {"r": played(0.03, noise=0.06)}
    assert decide(close, CONFIG, 1).accepted
    late = decide(close, CONFIG, 10)
    assert not late.accepted
    assert late.alpha == pytest.approx(0.05 / 110)


def test_levels_are_holms_or_the_plain_one() -> None:
    six = decide(regimes(0.0, 0.0, 0.0), CONFIG, 1)
    assert sorted(row.level for row in six.evidence) == pytest.approx(
        [0.025 / count for count in (6, 5, 4, 3, 2, 1)]
    )
    plain = decide(regimes(0.0, 0.0, 0.0), replace(CONFIG, correction="none"), 1)
    assert {row.level for row in plain.evidence} == {0.025}


def test_every_row_agrees_with_itself() -> None:
    for row in decide(regimes(0.0, 0.04, 0.06, 0.12), CONFIG, 1).evidence:
        assert (row.p <= row.level) == (row.low > -row.margin)


def test_identical_policies_pass_and_a_margin_of_zero_is_explained() -> None:
    same = played(noise=0.0)
    assert decide({"r": same}, CONFIG, 50).accepted
    worthless = replace(same, flat=5.0)
    found = decide({"r": worthless}, CONFIG, 1)
    assert not found.accepted
    assert "the champion earns -2 more than doing nothing" in found.reasons[0]
    assert "without a floor no update" in found.reasons[0]
    assert decide({"r": worthless}, replace(CONFIG, floor=0.01), 1).accepted


@pytest.mark.parametrize(
    ("improvement", "loss", "accepted"),
    [
        ("none", 0.5, True),
        ("not_worse", 0.5, False),
        ("not_worse", 0.0, True),
        ("better", 0.0, False),
        ("better", -0.1, True),
    ],
)
def test_what_is_asked_on_the_active_regime(improvement: Any, loss: float, accepted: bool) -> None:
    config = replace(CONFIG, improvement=improvement)
    found = decide({"old": played(), "new": played(loss, seed=1)}, config, 1, active="new")
    assert found.accepted is accepted
    if not accepted:
        assert all(reason.startswith("regime new: ") for reason in found.reasons)


def test_an_improvement_is_tested_at_the_whole_error_rate() -> None:
    config = replace(CONFIG, improvement="better")
    found = decide({"new": played(-0.1)}, config, 5, active="new")
    by_rival = {row.against: row for row in found.evidence}
    assert set(by_rival) == {"champion", "improvement"}
    assert by_rival["improvement"].level == 0.05
    assert by_rival["improvement"].margin == 0.0
    assert by_rival["champion"].level == pytest.approx(0.05 / 30)


def test_a_candidate_without_finite_scores_is_rejected_not_raised() -> None:
    broken = played()
    broken.candidate_E[3] = np.nan
    found = decide({"r": broken, "s": played(seed=1)}, CONFIG, 1)
    assert not found.accepted
    assert found.reasons[0] == "regime r: the candidate's scores are not finite"
    assert [row.p for row in found.evidence[:2]] == [1.0, 1.0]
    assert not any(row.passed for row in found.evidence[:2])


def test_bad_input_is_named() -> None:
    short, broken = played(), played()
    broken.champion_E[0] = np.inf
    with pytest.raises(ValueError, match="played: expected at least one regime"):
        decide({}, CONFIG, 1)
    with pytest.raises(ValueError, match="active: expected one of \\['r'\\], found 'x'"):
        decide({"r": short}, CONFIG, 1, active="x")
    with pytest.raises(ValueError, match="champion of regime r: expected finite scores, found inf"):
        decide({"r": broken}, CONFIG, 1)
    with pytest.raises(ValueError, match="candidate of regime r: expected 60 episodes"):
        decide({"r": replace(short, candidate_E=np.zeros(3))}, CONFIG, 1)
    with pytest.raises(ValueError, match="golden of regime r: expected 60 episodes"):
        decide({"r": replace(short, golden_E=np.zeros(3))}, CONFIG, 1)
    with pytest.raises(ValueError, match="flat of regime r: expected a finite score"):
        decide({"r": replace(short, flat=np.nan)}, CONFIG, 1)


GOOD = Vitals(
    kl_mean={"r": 0.01, "new": 3.0},
    kl_q99={"r": 0.1, "new": 9.0},
    gradient_ratio=2.0,
    value_loss_ratio=3.0,
    usage_entropy=0.6,
    largest_share=0.7,
    disruption=0.2,
    disruption_limit=0.2,
    log_std=(-2.0, 0.0),
)


def test_vital_signs_inside_their_limits_pass() -> None:
    found = decide({"r": played(), "new": played(-0.1)}, CONFIG, 1, active="new", vitals=GOOD)
    assert found.accepted
    assert len(found.checks) == 10
    assert all(check.passed for check in found.checks)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"finite": False}, "finite parameters.*expected at least 1, found 0"),
        ({"kl_mean": {"r": 0.06}}, "regime r: mean KL.*expected at most 0.05, found 0.06"),
        ({"kl_mean": {"r": float("nan")}}, "regime r: mean KL.*found nan"),
        ({"kl_q99": {"r": 0.6}}, "regime r: 99 % quantile.*at most 0.5, found 0.6"),
        ({"gradient_ratio": 11.0}, "gradient norm over its median: expected at most 10"),
        ({"value_loss_ratio": float("inf")}, "value loss over its median.*found inf"),
        ({"usage_entropy": 0.2}, "entropy of usage: expected at least 0.3, found 0.2"),
        ({"largest_share": 0.97}, "largest share of one option: expected at most 0.95"),
        ({"disruption": 0.21}, "largest disruption: expected at most 0.2, found 0.21"),
        ({"log_std": (-9.0, 0.0)}, "least log deviation.*at least -6, found -9"),
        ({"log_std": (-1.0, 3.0)}, "largest log deviation.*at most 2, found 3"),
    ],
)
def test_a_vital_sign_outside_its_limit_rejects(change: dict[str, Any], words: str) -> None:
    found = decide({"r": played()}, CONFIG, 1, vitals=replace(GOOD, **change))
    failed = [
        check for check in found.checks if not check.passed and "regime new" not in check.name
    ]
    assert not found.accepted
    assert len(failed) == 1
    assert re.search(words, failed[0].reason)


def test_what_is_not_known_is_not_checked() -> None:
    found = decide({"r": played()}, CONFIG, 1, vitals=Vitals())
    assert [check.name for check in found.checks] == ["finite parameters, losses and actions"]


def test_a_decision_survives_json() -> None:
    broken = played(seed=2)
    broken.candidate_E[0] = np.nan
    vitals = replace(GOOD, value_loss_ratio=float("inf"))
    found = decide({"r": played(), "s": broken}, CONFIG, 3, active="r", vitals=vitals)
    again = Decision.from_json(found.to_json())
    assert again.reasons == found.reasons
    assert again.verdict == found.verdict
    assert again.checks == found.checks
    assert repr(again) == repr(found)
    clear = decide(regimes(0.0, 0.2), CONFIG, 1)
    assert Decision.from_json(clear.to_json()) == clear
    with pytest.raises(ValidationError):
        Decision.from_json("{}")


def test_the_same_scores_give_the_same_decision() -> None:
    one, two = (decide(regimes(0.02, 0.03), CONFIG, 1) for _ in range(2))
    assert one == two
    assert decide(regimes(0.02, 0.03), replace(CONFIG, seed=1), 1) != one


@pytest.mark.parametrize(
    "change",
    [
        {"tolerance": 1.0},
        {"floor": -1.0},
        {"alpha": 0.5},
        {"golden_factor": 0.5},
        {"improvement": "some"},
        {"spending": "all"},
        {"resamples": 10},
        {"episodes": 1},
        {"unknown": 1},
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AcceptanceConfig(**change)


def test_limits_of_deviations_are_ordered() -> None:
    with pytest.raises(ValidationError, match="log_std: expected ascending"):
        VitalLimits(log_std=(1.0, 0.0))


def test_a_check_knows_which_side_its_limit_is_on() -> None:
    assert Check("x", 1.0, 1.0).passed
    assert Check("x", 1.0, 1.0, at_least=True).passed
    assert not Check("x", 0.9, 1.0, at_least=True).passed
    assert not Check("x", 1.1, 1.0).passed
