"""Power of the gate: against simulation, against published sample sizes, and in words."""

import numpy as np
import pytest
from scipy import stats

from evaluation.acceptance import AcceptanceConfig
from evaluation.acceptance_power import (
    Sample,
    acceptance_probability,
    check_feasible,
    deviation_of,
    episodes_needed,
    explain_power,
    power_at,
)
from evaluation.acceptance_statistics import Redrawing, p_values

CONFIG = AcceptanceConfig()


def samples(deviation: float, episodes: int, gain: float = 1.0) -> dict[str, Sample]:
    one = Sample(deviation=deviation, episodes=episodes, gain=gain)
    return {"bull": one, "bear": one, "calm": one}


@pytest.mark.parametrize(
    ("episodes", "deviation", "loss", "alpha"),
    [(20, 0.1, 0.0, 0.05), (64, 0.15, 0.0, 0.01), (40, 0.1, 0.02, 0.05), (40, 0.1, 0.05, 0.05)],
)
def test_power_agrees_with_simulated_tests(
    episodes: int, deviation: float, loss: float, alpha: float
) -> None:
    rng = np.random.default_rng(2)
    differences_HE = rng.normal(-loss, deviation, size=(1500, episodes))
    p_H = p_values(differences_HE, np.full(1500, 0.05), Redrawing(resamples=2000))
    told = power_at(episodes, deviation, 0.05, loss, alpha)
    assert np.mean(p_H <= alpha) == pytest.approx(told, abs=0.04)


def test_power_tends_to_the_normal_approximation() -> None:
    normal = stats.norm.cdf(0.05 / (1.0 / np.sqrt(2000)) - stats.norm.isf(0.05))
    assert power_at(2000, 1.0, 0.05) == pytest.approx(normal, abs=0.002)
    assert power_at(2000, 1.0, 0.05, 0.05, 0.03) == pytest.approx(0.03)


def test_power_at_the_ends() -> None:
    assert power_at(1, 0.1, 0.05) == 0.0
    assert power_at(5, 0.0, 0.05) == 1.0
    assert power_at(5, 0.0, 0.05, 0.05) == 0.0


@pytest.mark.parametrize(
    ("deviation", "low", "high"),
    [(0.035, 3, 5), (0.17, 41, 61), (0.92, 1350, 1700)],
    ids=["expected rewards", "realised, paired", "realised, not paired"],
)
def test_measured_sample_sizes_for_a_loss_of_six_per_cent(
    deviation: float, low: int, high: int
) -> None:
    """4, 41 to 61 and 1,350 to 1,700 episodes were measured on a market with a known answer."""
    needed = episodes_needed(deviation, 0.06)
    assert needed is not None
    assert low <= needed <= high


def test_the_number_needed_is_the_least_one() -> None:
    needed = episodes_needed(0.2, 0.05, power=0.9)
    assert needed is not None
    assert power_at(needed, 0.2, 0.05) >= 0.9 > power_at(needed - 1, 0.2, 0.05)


def test_more_is_needed_for_more_regimes_and_later_updates() -> None:
    one = episodes_needed(0.2, 0.05)
    three = episodes_needed(0.2, 0.05, regimes=3)
    gated = episodes_needed(0.2, 0.05, regimes=3, config=CONFIG)
    late = episodes_needed(0.2, 0.05, regimes=3, config=CONFIG, update=10)
    assert None not in (one, three, gated, late)
    assert one < three < gated < late  # type: ignore[operator]


def test_differences_stand_for_their_deviation() -> None:
    difference_E = np.random.default_rng(0).normal(size=50)
    assert deviation_of(difference_E) == pytest.approx(np.std(difference_E, ddof=1))
    assert episodes_needed(difference_E, 0.5) == episodes_needed(deviation_of(difference_E), 0.5)
    with pytest.raises(ValueError, match="differences: expected at least two"):
        deviation_of(np.zeros(1))


def test_what_no_number_of_episodes_reaches() -> None:
    assert episodes_needed(0.2, 0.0) is None
    assert episodes_needed(1e6, 0.05) is None


def test_a_needed_number_makes_harmless_updates_pass() -> None:
    needed = episodes_needed(0.2, 0.05, power=0.8, regimes=3, config=CONFIG, update=4)
    assert needed is not None
    assert 0.8 <= acceptance_probability(samples(0.2, needed), CONFIG, 4) < 0.97


def test_a_loss_of_the_margin_is_hardly_ever_accepted() -> None:
    many = samples(0.2, 3000)
    assert acceptance_probability(many, CONFIG, 1) > 0.99
    assert acceptance_probability(many, CONFIG, 1, {"bear": 0.05}) < 0.03
    assert acceptance_probability(many, CONFIG, 1, {"bear": 0.1}) < 0.001


def test_holm_costs_power() -> None:
    """Little, as the golden hypotheses, whose margins are twice as wide, take the strict levels."""
    few = samples(0.2, 100)
    plain = acceptance_probability(few, AcceptanceConfig(correction="none"), 1)
    assert plain - 0.1 < acceptance_probability(few, CONFIG, 1) < plain


def test_a_tolerance_that_can_never_be_met_is_said() -> None:
    assert check_feasible(samples(0.1, 500), CONFIG, 10).never == ()
    assert check_feasible(samples(0.1, 500), CONFIG, 10).unlikely == ()
    (first, *_) = check_feasible(samples(0.1, 500, gain=-0.3), CONFIG).never
    assert "regime bull: the champion earns -0.3 more than doing nothing" in first
    assert "expected a floor above 0" in first
    floored = AcceptanceConfig(floor=0.1)
    assert check_feasible(samples(0.1, 500, gain=-0.3), floored).never == ()
    assert "expected at least 2 held-out" in check_feasible(samples(0.1, 1), CONFIG).never[0]
    assert (
        "tolerate no loss"
        in check_feasible(samples(0.1, 9), AcceptanceConfig(tolerance=0)).never[0]
    )


def test_too_few_episodes_are_said_with_the_number_needed() -> None:
    found = check_feasible(samples(0.25, 40), CONFIG)
    needed = episodes_needed(0.25, 0.05, regimes=3, config=CONFIG)
    assert found.never == ()
    assert len(found.unlikely) == 3
    assert f"needs about {needed:,} episodes" in found.unlikely[0]
    assert found.unlikely[0].endswith("found 40")


def test_levels_below_the_resolution_are_said() -> None:
    config = AcceptanceConfig(resamples=5000)
    assert check_feasible(samples(0.1, 500), config, 5).never == ()
    (reason,) = check_feasible(samples(0.1, 500), config, 6).never
    # alpha / (6 t (t + 1)) >= 1 / 5001 up to t = 5.
    assert "from update 6 on" in reason
    assert "expected 5,040 for 6 updates" in reason
    assert check_feasible(samples(0.1, 500), AcceptanceConfig(resamples=5040), 6).never == ()


def test_the_words_give_the_numbers() -> None:
    lines = explain_power({"bear": Sample(deviation=0.17, episodes=20, gain=1.0)}, CONFIG, 2)
    needed = episodes_needed(0.17, 0.05)
    assert f"a loss of 5 % takes about {needed} paired episodes" in lines[0]
    assert "there are 20" in lines[0]
    harmless = acceptance_probability(
        {"bear": Sample(deviation=0.17, episodes=20, gain=1.0)}, CONFIG, 2
    )
    assert "truly loses 10 % in one regime" in lines[1]
    assert f"rejected in about {100 * (1 - harmless):.0f} %" in lines[1]
    assert "keeps the champion" in lines[2]
    assert "weak test" in lines[3]


def test_the_words_are_calm_where_all_is_well_and_say_what_can_never_be_met() -> None:
    assert not any("weak" in line for line in explain_power(samples(0.05, 900), CONFIG))
    lines = explain_power(samples(0.05, 900, gain=0.0), CONFIG)
    assert "no loss is tolerated" in lines[0]
    assert sum(line.startswith("Can never be met: regime") for line in lines) == 3
