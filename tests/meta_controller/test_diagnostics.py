"""Figures of who acted: by hand; every collapse on a trace of its own, none on a healthy one."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from meta_controller.config import (
    ExecutionConfig,
    FallbackController,
    FixedController,
    MetaControllerConfig,
    ResidualController,
    UniformController,
)
from meta_controller.diagnostics import (
    Trace,
    belief_switch_rate,
    collapses,
    diagnose,
    holdings_disruption,
    mutual_information,
    pairwise_distance,
    state_entropy,
)

HARD = MetaControllerConfig(execution=ExecutionConfig(mode="hard"))
BLENDED = MetaControllerConfig()


def trace(
    executed_TK: Tensor, belief_TR: Tensor | None = None, *, beta: float = 0.1, lanes: int = 1
) -> Trace:
    """One episode in each lane; the bar before the first is not read."""
    steps, options = executed_TK.shape
    previous_TK = torch.cat([torch.full((1, options), torch.nan), executed_TK[:-1]])
    belief_TR = torch.zeros(steps, 0) if belief_TR is None else belief_TR
    first_T = torch.arange(steps) == 0
    columns = (executed_TK, previous_TK, first_T, belief_TR, torch.full_like(executed_TK, beta))
    return Trace(
        *(column[:, None].repeat(1, lanes, *[1] * (column.ndim - 1)) for column in columns)
    )


def held(*options: int, count: int = 2) -> Tensor:
    return torch.eye(count)[list(options)]


def test_figures_of_a_choice_by_hand() -> None:
    # 0 0 0 1 1: one switch in four steps; the first bar is no step.
    found = diagnose(trace(held(0, 0, 0, 1, 1), lanes=3), beta_max=0.1)
    assert found["usage_0"] == pytest.approx(0.6)
    assert found["usage_1"] == pytest.approx(0.4)
    nats = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert found["usage_entropy"] == pytest.approx(nats / math.log(2.0), abs=1e-6)
    assert found["blend_entropy"] == 0.0
    assert found["churn"] == 0.25
    assert found["mean_duration"] == 4.0
    assert found["disruption_max"] == 1.0
    assert found["disruption_p99"] == pytest.approx(1.0)
    assert found["termination_mean"] == pytest.approx(0.1)
    assert found["termination_saturation"] == 1.0
    assert "regime_information" not in found
    assert diagnose(trace(held(0, 1)), beta_max=0.2)["termination_saturation"] == 0.0


def test_figures_of_a_blend_by_hand() -> None:
    # Disruptions 0.2 and 0.1.
    weights = torch.tensor([[0.5, 0.5], [0.7, 0.3], [0.6, 0.4]])
    found = diagnose(trace(weights), beta_max=0.5)
    assert found["churn"] == pytest.approx(0.15)
    assert found["disruption_max"] == pytest.approx(0.2)
    assert found["disruption_p99"] == pytest.approx(0.199, abs=1e-6)
    assert found["blend_entropy"] == pytest.approx(float(state_entropy(weights).mean()))
    assert 0.9 < found["blend_entropy"] < 1.0


def test_terminations_are_weighted_by_what_acted() -> None:
    base = trace(torch.tensor([[0.25, 0.75], [0.25, 0.75]]))
    ends = torch.tensor([0.4, 0.2]).expand(2, 1, 2)
    found = diagnose(base._replace(termination_TNK=ends), beta_max=0.4)
    assert found["termination_mean"] == pytest.approx(0.25)
    assert found["termination_saturation"] == 0.5


def test_without_a_step_there_is_no_churn_and_without_a_switch_no_end() -> None:
    assert "churn" not in diagnose(trace(held(0)), beta_max=0.1)
    found = diagnose(trace(held(1, 1, 1)), beta_max=0.1)
    assert found["churn"] == 0.0
    assert found["mean_duration"] == math.inf


def test_a_single_option_has_full_usage_and_nothing_to_choose() -> None:
    found = diagnose(trace(torch.ones(4, 1), torch.eye(2)[[0, 1, 0, 1]]), beta_max=0.1)
    assert found["usage_entropy"] == 1.0
    assert found["blend_entropy"] == 0.0
    assert found["regime_information"] == 0.0
    assert collapses(found, HARD) == {}


def test_information_by_hand() -> None:
    # Independent: 0. One to one: 1. p = ((1/2, 0), (1/4, 1/4)):
    # H_k = log 2, H_r = -(3/4 log 3/4 + 1/4 log 1/4), H_kr = 1.5 log 2.
    regime = torch.eye(2)[[0, 0, 0, 1]]
    assert mutual_information(torch.full((4, 2), 0.5), regime) == pytest.approx(0.0, abs=1e-12)
    assert mutual_information(regime, regime) == pytest.approx(1.0)
    assert mutual_information(regime.flip(1), regime) == pytest.approx(1.0)
    option = torch.eye(2)[[0, 0, 1, 1]]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    shared = math.log(2.0) + entropy - 1.5 * math.log(2.0)
    expected = shared / math.sqrt(math.log(2.0) * entropy)
    assert mutual_information(option, regime) == pytest.approx(expected)


def test_information_of_one_option_or_of_one_regime() -> None:
    turns = torch.eye(2)[[0, 1, 0, 1]]
    always = torch.eye(2)[[1, 1, 1, 1]]
    assert mutual_information(always, turns) == 0.0
    assert math.isnan(mutual_information(turns, always))
    assert math.isnan(mutual_information(turns, torch.full((4, 2), torch.nan)))


def test_rows_without_a_belief_do_not_hide_what_the_others_tell() -> None:
    regime = torch.eye(2)[[0, 1, 0, 1, 0]]
    regime[4] = torch.nan
    assert mutual_information(torch.eye(2)[[0, 1, 0, 1, 1]], regime) == pytest.approx(1.0)


def test_switches_of_the_belief_are_counted_inside_episodes() -> None:
    likeliest = torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]])  # (T, N)
    belief = 0.6 * torch.eye(2)[likeliest] + 0.2
    first = torch.tensor([[True, True], [False, False], [False, True], [False, False]])
    # Lane 0: switch, stay, switch. Lane 1: stay, (begins), stay.
    assert belief_switch_rate(belief, first) == pytest.approx(2 / 5)
    belief[2, 0] = torch.nan  # neither the step into it nor that out of it is known
    assert belief_switch_rate(belief, first) == pytest.approx(1 / 3)
    assert belief_switch_rate(belief[:1], first[:1]) == 0.0


def test_holdings_disruption_by_hand() -> None:
    moved = torch.tensor([[0.5, 0.5], [1.0, -1.0]])
    unmoved = torch.tensor([[0.25, 0.75], [-1.0, 1.0]])
    assert holdings_disruption(moved, unmoved).tolist() == [0.25, 2.0]
    assert holdings_disruption(moved, unmoved, 2.0).tolist() == [0.125, 1.0]
    assert holdings_disruption(moved, moved).tolist() == [0.0, 0.0]


def test_distance_between_options() -> None:
    same = torch.zeros(5, 3, 2)
    assert pairwise_distance(same, torch.zeros(3, 2)) == pytest.approx(0.0, abs=1e-6)
    far = same.clone()
    far[:, 0], far[:, 1] = -50.0, 50.0
    assert pairwise_distance(far, torch.zeros(3, 2)) == pytest.approx(1.0)
    assert pairwise_distance(100.0 * torch.eye(3).expand(5, 3, 3), None) == pytest.approx(1.0)
    assert math.isnan(pairwise_distance(same[:, :1], torch.zeros(1, 2)))


# -- collapses --------------------------------------------------------------------------------


def regimes(length: int, count: int = 3, bars: int = 600) -> Tensor:
    """True regimes that last so many bars each."""
    return torch.eye(count)[(torch.arange(bars) // length) % count]


def healthy() -> dict[str, float]:
    found = diagnose(trace(regimes(25), regimes(25)), beta_max=0.22)
    return found | {"hellinger": 0.6}


def one_takes_all() -> dict[str, float]:
    weights = 0.08 * regimes(25) + 0.92 * torch.eye(3)[1]
    return diagnose(trace(weights, regimes(25)), beta_max=0.22)


def never_switches() -> dict[str, float]:
    # Options change every 200 bars, regimes every 25.
    return diagnose(trace(regimes(200), regimes(25)), beta_max=0.22)


def ends_every_step() -> dict[str, float]:
    return diagnose(trace(regimes(2), regimes(2)), beta_max=0.22)


def uniform_blend() -> dict[str, float]:
    weights = 0.9 / 3.0 + 0.1 * regimes(25)
    return diagnose(trace(weights, regimes(25)), beta_max=0.22)


def blind_to_regimes() -> dict[str, float]:
    # Options last 20 bars and regimes 60: every pair is as frequent as every other.
    return diagnose(trace(regimes(20, bars=540), regimes(60, bars=540)), beta_max=0.22)


def all_the_same() -> dict[str, float]:
    return healthy() | {"hellinger": 0.04}


@pytest.mark.parametrize("config", [HARD, BLENDED])
def test_a_healthy_trace_is_silent(config: MetaControllerConfig) -> None:
    assert collapses(healthy(), config) == {}


@pytest.mark.parametrize(
    ("found", "remedy"),
    [
        (one_takes_all, "terms.balance"),
        (never_switches, "terms.switch_cost"),
        (ends_every_step, "execution.beta_max"),
        (uniform_blend, "belief about regimes"),
        (blind_to_regimes, "residual controller"),
        (all_the_same, "terms.diversity"),
    ],
)
def test_each_collapse_is_named_with_its_remedy(
    found: Callable[[], dict[str, float]], remedy: str
) -> None:
    faults = collapses(found(), HARD)
    name = found.__name__
    assert name in faults
    assert remedy in faults[name]
    # What follows from it may be named too: a blend that is even hardly moves and tells nothing.
    allowed = {
        "one_takes_all": {"never_switches"},
        "uniform_blend": {"never_switches", "blind_to_regimes"},
    }
    assert set(faults) - {name} <= allowed.get(name, set())


def test_options_of_a_blend_may_move_in_every_bar() -> None:
    assert "ends_every_step" not in collapses(ends_every_step(), BLENDED)
    alternate = MetaControllerConfig(execution=ExecutionConfig(mode="alternate"))
    assert "ends_every_step" in collapses(ends_every_step(), alternate)


def test_a_controller_without_a_gate_is_not_told_to_train_it_otherwise() -> None:
    gated, plain = (
        collapses(uniform_blend(), MetaControllerConfig(controller=controller))["uniform_blend"]
        for controller in (ResidualController(), FallbackController())
    )
    assert gated == f"{plain}, or lower agent.ppo.entropy"


@pytest.mark.parametrize("controller", [FixedController(), UniformController()])
def test_a_controller_that_never_chooses_is_not_told_that_it_does_not(controller: Any) -> None:
    config = MetaControllerConfig(controller=controller)
    for found in (one_takes_all, never_switches, uniform_blend):
        assert collapses(found(), config) == {}
    assert list(collapses(all_the_same(), config)) == ["all_the_same"]


def test_a_stretch_of_one_regime_tells_nothing_of_blindness() -> None:
    found = diagnose(trace(regimes(25), regimes(1000)), beta_max=0.22)
    assert math.isnan(found["regime_information"])
    assert "blind_to_regimes" not in collapses(found, HARD)
    assert "never_switches" not in collapses(found, HARD)
