"""The optimality ratio: arithmetic, pairing, coverage, and where it has no meaning."""

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import optimality_statistics as statistics
from evaluation.bootstrap import BootstrapConfig
from evaluation.optimality_statistics import (
    iqm,
    iqm_interval,
    mean_interval,
    optimality_ratio,
    redrawn_means,
    undefined_because,
)

Array = NDArray[np.float64]
CONFIG = BootstrapConfig(resamples=400)


def test_the_ratio_by_hand() -> None:
    # J = 0.75, J0 = -0.25, J* = 1.75: S = (0.75 + 0.25) / (1.75 + 0.25).
    agent_KE = np.array([[0.5, 1.0], [0.5, 1.0]])
    found = optimality_ratio(agent_KE, np.array([-0.25, -0.25]), np.array([1.5, 2.0]), CONFIG)
    assert found.estimate == pytest.approx(0.5, abs=1e-15)


def test_the_mean_over_seeds_is_the_mean_of_their_ratios() -> None:
    rng = np.random.default_rng(0)
    oracle_E = 1.0 + 0.1 * rng.normal(size=200)
    agent_KE = np.array([[0.2], [0.6], [0.7]]) * oracle_E
    found = optimality_ratio(agent_KE, np.zeros(200), oracle_E, CONFIG)
    assert found.estimate == pytest.approx(0.5)
    alone = [optimality_ratio(row[None], np.zeros(200), oracle_E, CONFIG) for row in agent_KE]
    # A fixed share of the optimum on every episode: the histories say nothing about S.
    for share, interval in zip((0.2, 0.6, 0.7), alone, strict=True):
        assert interval.low == pytest.approx(share)
        assert interval.high == pytest.approx(share)
    assert found.low < 0.2
    assert found.high > 0.7


def test_the_optimum_earns_all_and_doing_nothing_earns_nothing() -> None:
    rng = np.random.default_rng(1)
    nothing_E, oracle_E = rng.normal(size=300), 2.0 + rng.normal(size=300)
    whole = optimality_ratio(oracle_E[None], nothing_E, oracle_E, CONFIG)
    none = optimality_ratio(nothing_E[None], nothing_E, oracle_E, CONFIG)
    assert (whole.estimate, whole.low, whole.high) == (1.0, 1.0, 1.0)
    assert (none.estimate, none.low, none.high) == (0.0, 0.0, 0.0)


def test_units_and_origin_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    nothing_E, oracle_E = 0.1 * rng.normal(size=100), 1.0 + rng.normal(size=100)
    agent_KE = 0.5 + rng.normal(size=(3, 100))
    first = optimality_ratio(agent_KE, nothing_E, oracle_E, CONFIG)
    other = optimality_ratio(7 + 9 * agent_KE, 7 + 9 * nothing_E, 7 + 9 * oracle_E, CONFIG)
    for name in ("estimate", "low", "high"):
        assert getattr(other, name) == pytest.approx(getattr(first, name), rel=1e-10)


def test_common_episodes_make_the_interval_narrow() -> None:
    rng = np.random.default_rng(3)
    luck_E = rng.normal(size=400)
    oracle_E = 1.0 + luck_E
    paired = optimality_ratio((0.9 * oracle_E)[None], np.zeros(400), oracle_E, CONFIG)
    other_E = 1.0 + rng.normal(size=400)
    unpaired = optimality_ratio((0.9 * other_E)[None], np.zeros(400), oracle_E, CONFIG)
    assert paired.width < 1e-12
    assert unpaired.width > 0.1


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_intervals_cover_the_truth(seeds: int) -> None:
    """Toy with a known truth: S = 0.8, seeds spread by 0.1, and luck common to all policies."""
    rng = np.random.default_rng(4)
    config = BootstrapConfig(resamples=200)
    repetitions, episodes, covered = 250, 80, 0
    for _ in range(repetitions):
        oracle_E = 1.0 + 0.5 * rng.normal(size=episodes)
        skill_K1 = 0.8 + (0.1 if seeds > 1 else 0.0) * rng.normal(size=(seeds, 1))
        agent_KE = skill_K1 * oracle_E + 0.4 * rng.normal(size=episodes)
        covered += 0.8 in optimality_ratio(agent_KE, np.zeros(episodes), oracle_E, config)
    # Three binomial standard errors around 95% are 0.04; with few seeds it errs on the safe side.
    assert 0.91 <= covered / repetitions <= 0.995


def test_without_a_gap_there_is_no_ratio() -> None:
    rng = np.random.default_rng(5)
    oracle_E = 0.01 + rng.normal(size=100)
    reason = undefined_because(np.zeros(100), oracle_E, CONFIG)
    assert "too close to zero" in reason
    assert "100 episodes" in reason
    found = optimality_ratio(oracle_E[None], np.zeros(100), oracle_E, CONFIG)
    assert np.isnan([found.estimate, found.low, found.high]).all()
    assert undefined_because(np.zeros(100), oracle_E + 5.0, CONFIG) == ""


def test_episodes_are_redrawn_alike_whatever_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    values_RE = np.random.default_rng(6).normal(size=(5, 37))
    whole = redrawn_means(values_RE, CONFIG)
    np.testing.assert_array_equal(whole[2:3], redrawn_means(values_RE[2:3], CONFIG))
    monkeypatch.setattr(statistics, "_BATCH_VALUES", 2_000)
    np.testing.assert_allclose(redrawn_means(values_RE, CONFIG), whole, rtol=1e-13, atol=1e-15)


def test_mean_interval_is_that_of_the_central_limit() -> None:
    values_E = np.random.default_rng(7).normal(size=1000)
    found = mean_interval(values_E[None], BootstrapConfig(resamples=4000))
    assert found.estimate == pytest.approx(values_E.mean())
    assert found.width == pytest.approx(2 * 1.96 * values_E.std() / np.sqrt(1000), rel=0.05)


def test_iqm_leaves_out_a_quarter_at_either_end() -> None:
    assert iqm(np.array([-100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 900.0])) == pytest.approx(3.5)
    assert iqm(np.array([0.0, 1.0, 5.0])) == pytest.approx(2.0)


def test_iqm_is_stratified_over_tasks() -> None:
    # Tasks of very different scores whose seeds agree: nothing is left to be redrawn.
    certain = iqm_interval(np.repeat([[0.1], [0.9]], 10, axis=1), CONFIG)
    assert (certain.low, certain.estimate, certain.high) == pytest.approx((0.5, 0.5, 0.5))
    rng = np.random.default_rng(8)
    spread = iqm_interval(np.array([[0.1], [0.9]]) + 0.05 * rng.normal(size=(2, 10)), CONFIG)
    assert spread.low < 0.5 < spread.high
    assert spread.width < 0.2


def test_bad_values_are_named() -> None:
    good_E = np.ones(4)
    with pytest.raises(ValueError, match="nothing_E: expected 4 episodes, found 3"):
        optimality_ratio(good_E[None], np.zeros(3), good_E, CONFIG)
    with pytest.raises(ValueError, match="oracle_E: expected finite values"):
        optimality_ratio(good_E[None], np.zeros(4), np.array([1.0, np.nan, 1.0, 1.0]), CONFIG)
    with pytest.raises(ValueError, match="agent_KE: expected seeds and episodes"):
        optimality_ratio(np.zeros((0, 4)), np.zeros(4), good_E, CONFIG)
    with pytest.raises(ValueError, match="at least one score"):
        iqm_interval(np.zeros((1, 0)), CONFIG)
