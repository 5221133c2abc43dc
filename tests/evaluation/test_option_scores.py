"""Options alone, ablations and limits: known cases of each, and the agent is left as it was."""

import json

import numpy as np
import pytest
import torch

from envs.config import ObservationConfig, SimplexAction, TradingConfig
from evaluation.backtest import Run, backtest, backtest_many
from evaluation.bootstrap import BootstrapConfig
from evaluation.judge import finite
from evaluation.optimality import OptimalityConfig, measure
from evaluation.option_result import words_of
from evaluation.option_scores import LIMITS, holdings_share, report_on_data, report_on_market
from evaluation.option_variants import (
    constant_side_by_side,
    limited,
    limited_side_by_side,
    under,
    variants,
)
from meta_controller.config import (
    FallbackController,
    FixedController,
    FreeController,
    ResidualController,
)
from meta_controller.policy import HierarchicalPolicy
from tests.evaluation.option_policies import PROBLEM, Always, Solver, on_market
from tests.evaluation.test_option_history import ROWS, TRADING, gated, make_market

CONFIG = OptimalityConfig(episodes=24, length=40, bootstrap=BootstrapConfig(resamples=200))
BARS = PROBLEM.stream().num_features + 5


def observation(rows: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(rows, BARS)).astype(np.float32)
    seen[:, 0] = 0.0
    seen[:, 3] = rng.random(rows)
    seen[:, 4] = 1.0 - seen[:, 3]
    return seen


def weights(policy: HierarchicalPolicy, bars: int = 3) -> np.ndarray:
    policy.reset(6)
    for _ in range(bars):
        policy.act(observation())
    assert policy.last is not None
    return policy.last.weights_NK.numpy()


def trained(kind: type = ResidualController) -> HierarchicalPolicy:
    return on_market(kind(hidden=(4,)), [Solver(), Always(0.3), None], noise=1.0)


def test_variants_do_what_they_are_called() -> None:
    policy = trained()
    before = {name: value.clone() for name, value in policy.network.state_dict().items()}
    own = weights(policy)
    found = variants(policy)
    assert set(found) == {
        "fixed_0", "fixed_1", "fixed_2", "uniform", "multiplicative_weights", "fallback",
        "gate_frozen", "gate_and_terminations_frozen", "shift_1", "shift_2", "sampled", "mode",
    }  # fmt: skip
    for option in range(3):
        assert weights(found[f"fixed_{option}"]).tolist() == [np.eye(3)[option].tolist()] * 6
    np.testing.assert_allclose(weights(found["uniform"]), 1 / 3, rtol=1e-6)
    for shift in (1, 2):
        np.testing.assert_allclose(
            weights(found[f"shift_{shift}"]), np.roll(own, shift, 1), atol=1e-6
        )
    assert weights(found["sampled"]).max(axis=1).tolist() == [1.0] * 6
    assert weights(found["mode"]).max(axis=1).tolist() == [1.0] * 6
    for name, value in policy.network.state_dict().items():
        assert torch.equal(value, before[name])
    np.testing.assert_array_equal(weights(policy), own)


@pytest.mark.parametrize("kind", [ResidualController, FreeController])
def test_a_frozen_gate_proposes_the_floored_fallback(kind: type) -> None:
    found = variants(trained(kind))
    for name in ("gate_frozen", "gate_and_terminations_frozen"):
        weights(found[name])
        step = found[name].last
        assert step is not None
        floored = step.decision.fallback_BK.clamp_min(0.01)
        expected = floored / floored.sum(dim=1, keepdim=True)
        torch.testing.assert_close(step.decision.proposal_BK, expected)
        spread = float(step.decision.termination_BK.std())
        assert (spread < 1e-7) == (name == "gate_and_terminations_frozen")
    step = found["gate_and_terminations_frozen"].last
    assert step is not None
    assert float(step.decision.termination_BK[0, 0]) == pytest.approx(0.1)


def test_a_limit_bounds_the_disruption() -> None:
    for policy in (trained(), under(trained(), FallbackController())):
        report = report_on_market(policy, PROBLEM, CONFIG)
        assert tuple(point.beta_max for point in report.scores.limits) == LIMITS
        for point in report.scores.limits:
            assert point.churn <= point.disruption_p99 <= point.disruption_max
            assert point.disruption_max <= point.beta_max + 1e-6
        churn = [point.churn for point in report.scores.limits]
        assert churn == sorted(churn)
        assert churn[0] > 0.0
    assert float(limited(trained(), 0.5).network.controller.beta_max) == 0.5


def test_the_limit_of_the_training_is_the_agent_itself() -> None:
    scores = report_on_market(trained(), PROBLEM, CONFIG).scores
    same = next(point for point in scores.limits if point.beta_max == 0.22)
    assert (same.gain.low, same.gain.high) == (0.0, 0.0)
    assert same.value == scores.agent


def test_options_alone_by_regime_add_up_to_what_they_earn() -> None:
    policy = on_market(FallbackController(), [Solver(), Always(0.0), Solver(-1.0)])
    scores = report_on_market(policy, PROBLEM, CONFIG, names=("best", "none", "worst")).scores
    alone = measure(Solver(), PROBLEM, CONFIG)
    summed = sum(
        cell.estimate * share
        for cell, share in zip(scores.alone_KR[0], scores.share_R, strict=True)
    )
    assert summed == pytest.approx(alone.earned.discounted_E.mean())
    assert sum(scores.share_R) == pytest.approx(1.0)
    for regime in range(2):
        best, none, worst = (row[regime].estimate for row in scores.alone_KR)
        assert best > none == 0.0 > worst
    gains = {variant.name: variant.gain for variant in scores.variants}
    assert gains["fixed_0"].low > 0.0 > gains["fixed_2"].high
    assert "fallback" in scores.added_nothing  # the agent is the fallback
    assert "fixed_0" not in scores.added_nothing
    assert words_of("fixed_0", scores.names) == "best alone"
    document = json.loads(json.dumps(finite(scores.to_dict()), allow_nan=False))
    assert document["variants"]["uniform"]["words"] == "mean of all options"
    assert document["limits"][0]["beta_max"] == 0.02


def test_on_data_regimes_are_the_likeliest_ones() -> None:
    market, bootstrap = make_market(), BootstrapConfig(resamples=100)
    report = report_on_data(gated(), market, TRADING, ROWS, bootstrap, seed=4)
    scores, belief_TR = report.scores, report.history.belief_TR
    assert report.seed == 4
    first_T = belief_TR.argmax(axis=1) == 0
    assert scores.share_R[0] == pytest.approx(first_T.mean())
    both = sum(
        cell.estimate * share for cell, share in zip(scores.agent_R, scores.share_R, strict=True)
    )
    assert both == pytest.approx(scores.agent.estimate)
    assert report.history.reward_T.mean() == pytest.approx(scores.agent.estimate)
    assert scores.agent_R[0].estimate == pytest.approx(report.history.reward_T[first_T].mean())
    same = next(point for point in scores.limits if point.beta_max == 0.22)
    assert same.gain.estimate == 0.0
    assert len(scores.limits) == len(LIMITS)


@pytest.mark.parametrize("learns", [True, False])
def test_accounts_side_by_side_are_those_of_policies_apart(learns: bool) -> None:
    market = make_market()
    policy = gated() if learns else under(gated(), FallbackController())
    names, constants = constant_side_by_side(policy)
    together = [
        Run(name="constants", policy=constants, lanes=len(names)),
        Run(name="limits", policy=limited_side_by_side(policy, LIMITS), lanes=len(LIMITS)),
    ]
    found = [each for lanes in backtest_many(together, market, TRADING, ROWS) for each in lanes]
    apart = [variants(policy)[name] for name in names] + [limited(policy, b) for b in LIMITS]
    for ledger, each in zip(found, apart, strict=True):
        alone = backtest(each, market, TRADING, ROWS)
        np.testing.assert_allclose(ledger.weights, alone.weights, atol=1e-6)
        np.testing.assert_allclose(ledger.equity, alone.equity, rtol=1e-6)
    assert len({ledger.equity[-1] for ledger in found}) == len(found)


def test_limits_on_data_are_told_account_by_account() -> None:
    report = report_on_data(gated(), make_market(), TRADING, ROWS, BootstrapConfig(resamples=100))
    for point in report.scores.limits:
        assert 0.0 < point.churn <= point.disruption_max <= point.beta_max + 1e-6
    largest = [point.disruption_max for point in report.scores.limits]
    assert largest == sorted(set(largest))
    own = next(point for point in report.scores.limits if point.beta_max == 0.22)
    history = report.history
    moved_T = 0.5 * np.abs(np.diff(history.weights_TK, axis=0)).sum(axis=1)
    assert own.churn == pytest.approx(moved_T.mean())


def test_one_option_has_nothing_to_permute() -> None:
    policy = on_market(FixedController(), [Solver()])
    scores = report_on_market(policy, PROBLEM, CONFIG).scores
    assert not any(variant.name.startswith("shift") for variant in scores.variants)
    assert scores.limits == ()
    assert scores.variants[0].gain.width == 0.0


def test_holdings_of_every_kind_of_action() -> None:
    option_NKD = np.array([[[0.5], [-2.0]]])
    trade = PROBLEM.trading().action
    assert holdings_share(option_NKD, trade).ravel().tolist() == [0.5, -1.0]
    logits = SimplexAction(parametrisation="logits")
    shares_NKA = holdings_share(np.array([[[0.0, np.log(3.0)]]]), logits)
    np.testing.assert_allclose(shares_NKA, [[[0.25, 0.75]]])
    weights_action = TradingConfig(observation=ObservationConfig(kind="index")).action
    assert holdings_share(option_NKD, weights_action) is option_NKD
