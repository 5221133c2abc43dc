"""Measured error rates of the gate, at a size that a test can bear, and that they can fail.

The record (`experiments/acceptance`) has the real policies' law; here differences are skewed and
heavy-tailed by a formula, so that no market is played.
"""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.acceptance import AcceptanceConfig, Played, decide
from experiments.acceptance.law import Pool
from experiments.acceptance.risk import rates
from experiments.acceptance.run import Condition, run
from experiments.acceptance.simulate import drifts, harmless, judge, loses, simulate

CONFIG = AcceptanceConfig(episodes=96, resamples=2000, spending="none")
SEQUENCES, UPDATES = 20, 10


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Episodes in common, of deviation 0.5, and rare losses of each policy's own, 0.04."""
    rng = np.random.default_rng(7)
    common_E = rng.normal(size=(3, 600)) * 0.5
    own_PRE = 0.04 * (1.6 - rng.lognormal(0.0, 0.7, size=(24, 3, 600)))
    policies_PRE = common_E + own_PRE
    policies_PRE -= policies_PRE.mean(axis=2, keepdims=True)
    return Pool(policies_PRE[:12] + 1.0, policies_PRE[12:] + 0.9)


def rate(accepted_TS: np.ndarray) -> float:
    assert accepted_TS.size == 200
    return float(accepted_TS.mean())


def test_harmless_updates_are_hardly_ever_rejected(pool: Pool) -> None:
    found = simulate(pool, harmless, CONFIG, sequences=SEQUENCES, updates=UPDATES)
    assert rate(found.accepted_TS) > 0.95
    np.testing.assert_array_equal(found.value_SR, 1.0)


def test_a_tenth_lost_in_one_regime_is_hardly_ever_accepted(pool: Pool) -> None:
    found = simulate(pool, loses(0.1), CONFIG, sequences=SEQUENCES, updates=UPDATES)
    assert rate(found.accepted_TS) < 0.02


def test_too_few_episodes_reject_harmless_updates_and_still_accept_no_loss(pool: Pool) -> None:
    few = replace(CONFIG, episodes=8)
    calm = simulate(pool, harmless, few, sequences=SEQUENCES, updates=UPDATES)
    assert rate(calm.accepted_TS) < 0.6
    bad = simulate(pool, loses(0.1), few, sequences=SEQUENCES, updates=UPDATES)
    assert rate(bad.accepted_TS) < 0.05
    # The wrong test lets the bad ones through more often than the right one.
    assert rate(bad.wrong_TS) > rate(bad.accepted_TS) + 0.02


def test_a_loss_at_the_margin_is_accepted_no_more_often_than_it_may(pool: Pool) -> None:
    """At most 5 %; the standard error of the 200 is 1.5 %."""
    found = simulate(pool, loses(0.05), CONFIG, sequences=SEQUENCES, updates=UPDATES)
    assert rate(found.accepted_TS) < 0.08


def test_a_slow_decline_is_stopped_by_the_golden_policies(pool: Pool) -> None:
    def last(factor: float) -> float:
        config = replace(CONFIG, episodes=300, golden_factor=factor)
        found = simulate(pool, drifts(0.02), config, sequences=5, updates=9)
        return float(found.value_SR.mean())

    assert last(2.0) > 0.89
    assert last(1000.0) < 0.85


def test_simulated_decisions_are_those_of_the_gate(pool: Pool) -> None:
    rng = np.random.default_rng(3)
    config = AcceptanceConfig(episodes=40, resamples=2000, risk="none")
    index_SRE = rng.integers(0, 600, size=(12, 3, 40))
    regime_R1 = np.arange(3)[:, None]
    champion_SRE, candidate_SRE, golden_SRE = (
        pool.equal_PRE[policy][regime_R1, index_SRE] for policy in (0, 1, 2)
    )
    candidate_SRE = candidate_SRE - np.linspace(0.0, 0.03, 12)[:, None, None]
    both_S, _ = judge(champion_SRE, candidate_SRE, golden_SRE, config, 2)
    decided = [
        decide(
            {
                f"r{j}": Played(
                    champion_E=champion_SRE[s, j],
                    candidate_E=candidate_SRE[s, j],
                    golden_E=golden_SRE[s, j],
                )
                for j in range(3)
            },
            config,
            2,
        ).accepted
        for s in range(12)
    ]
    assert both_S.tolist() == decided
    assert set(decided) == {True, False}


def test_a_condition_of_the_record_can_be_run(pool: Pool) -> None:
    condition = Condition("expected", 8, "harmless", updates=2, changes=(("spending", "none"),))
    row = run(condition, pool, sequences=3)
    assert len(row["accepted"]) == len(row["alone"]) == 2
    assert all(0 <= count <= 3 for count in row["accepted"])
    assert row == run(condition, pool, sequences=3)


def test_risk_rejects_wider_tails_and_nothing_else(pool: Pool) -> None:
    config = AcceptanceConfig(episodes=128, resamples=2000, spending="none")
    alike, wider = (rates(pool, width, config, updates=20) for width in (1.0, 1.4))
    assert alike.risk == 0
    assert wider.risk == wider.either == 20
    assert alike.mean == alike.either <= 2
