"""Behaviour cloning: its value by hand, its slope, what it keeps, and what it draws."""

import logging
import math

import pytest
import torch
from torch import Tensor

from agents.continual.cloning import Cloning
from agents.continual.config import CloningConfig
from agents.continual.flat import FlatFunction
from agents.continual.law import ActionLaw
from agents.continual.protocol import Experience, States, Tensors
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig
from agents.options import LearnedOption, OptionNetworkConfig
from meta_controller.config import ExecutionConfig, MetaControllerConfig
from meta_controller.continual import OptionFunction
from meta_controller.hierarchy import OptionActorCritic

BARS, FEATURES, ACCOUNT, OUTPUTS = 30, 3, 4, 2
SMALL = EncoderConfig(window=2, channels=2, hidden=4, embedding=3)
KINDS = ("gaussian", "discrete", "blended", "hard")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def belief(features_TC: Tensor, bars_B: Tensor, account_BP: Tensor) -> Tensor:
    return torch.softmax(2.0 * account_BP, dim=1)


def flat(*, discrete: bool = False, told: bool = True, features: int = FEATURES) -> FlatFunction:
    config = PolicyConfig(encoder=SMALL, hidden=(6, 5), output_gain=1.0)
    net = ActorCritic(
        config, features, ACCOUNT, OUTPUTS, continuous=not discrete, generator=seeded()
    )
    table = torch.randn(BARS, features, generator=seeded(1))
    return FlatFunction(
        net.double(), table.double(), discrete=discrete, belief=belief if told else None
    )


def function_of(kind: str) -> FlatFunction | OptionFunction:
    if kind in ("gaussian", "discrete"):
        return flat(discrete=kind == "discrete")
    net = OptionActorCritic(
        OptionNetworkConfig(encoder=SMALL, hidden=(6,), output_gain=1.0),
        MetaControllerConfig(execution=ExecutionConfig(mode="hard" if kind == "hard" else kind)),  # type: ignore[arg-type]
        (LearnedOption(),) * 3,
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=True,
        generator=seeded(),
    )
    table = torch.randn(BARS, FEATURES, generator=seeded(1))
    return OptionFunction(net.double(), table.double(), "mean")


def states_of(rows: int = 40, seed: int = 2) -> dict[str, Tensor]:
    def noise(shift: int, width: int) -> Tensor:
        return torch.randn(rows, width, generator=seeded(seed + 10 * shift)).double()

    return {
        "bars": torch.randint(BARS, (rows,), generator=seeded(seed)),
        "account": noise(1, ACCOUNT),
        "belief": torch.softmax(noise(2, 3), dim=1),
        "previous": torch.softmax(noise(3, 3), dim=1),
        "first": torch.arange(rows) % 7 == 0,
    }


def experience(regime: int, *, rows: int = 40, seed: int = 2) -> Experience:
    return Experience(regime, regime, states_of(rows, seed), seeded(9))


def learned(
    *regimes: int, function: FlatFunction | OptionFunction | None = None, **settings: float
) -> Cloning:
    remedy = Cloning(CloningConfig(**settings), function or flat())  # type: ignore[arg-type]
    for regime in regimes:
        remedy.begin(regime, regime)
        remedy.consolidate(experience(regime, seed=2 + regime))
    return remedy


def value(remedy: Cloning) -> float:
    term = remedy.penalty()
    assert term is not None
    return float(term.detach())


def shift(function: FlatFunction | OptionFunction, by: float) -> None:
    """Move all action means by the same."""
    with torch.no_grad():
        function.parameters["actor.output.bias"].add_(by)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_nothing_where_the_phase_ended_and_something_beyond(kind: str) -> None:
    function = function_of(kind)
    remedy = Cloning(CloningConfig(), function)
    remedy.begin(0, 0)
    assert remedy.penalty() is None
    remedy.consolidate(experience(0))
    assert value(remedy) == pytest.approx(0.0, abs=1e-12)
    with torch.no_grad():
        for parameter in function.parameters.values():
            parameter.mul_(1.1).add_(0.05)
    assert value(remedy) > 1e-4


def test_its_value_by_hand() -> None:
    """Means that are all d off cost c D d^2 / (2 sigma^2) in every state."""
    function = flat()
    remedy = learned(0, function=function, strength=3.0)
    shift(function, 0.2)
    sigma = math.exp(-0.5)  # log_std_init
    assert value(remedy) == pytest.approx(3.0 * OUTPUTS * 0.2**2 / (2.0 * sigma**2), rel=1e-9)
    assert remedy.figures()["divergence"] == pytest.approx(value(remedy) / 3.0, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_its_slope_is_that_of_finite_differences(kind: str) -> None:
    function = function_of(kind)
    remedy = Cloning(CloningConfig(batch=16, strength=2.0), function)
    for regime in (0, 1):
        remedy.begin(regime, regime)
        remedy.consolidate(experience(regime, seed=regime))
    with torch.no_grad():
        for index, parameter in enumerate(function.parameters.values()):
            noise = torch.randn(parameter.shape, generator=seeded(50 + index))
            parameter.add_(0.1 * noise.double())
    drawn = remedy.state()  # the same draws each time
    term = remedy.penalty()
    assert term is not None
    term.backward()  # type: ignore[no-untyped-call]
    step = 1e-6
    checked = 0
    for parameter in function.parameters.values():
        assert parameter.grad is not None
        place = int(parameter.grad.abs().argmax())
        ends = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.view(-1)[place] += sign * step
            remedy.load_state(drawn)
            ends.append(value(remedy))
            with torch.no_grad():
                parameter.view(-1)[place] -= sign * step
        slope = (ends[0] - ends[1]) / (2.0 * step)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(slope, rel=1e-5, abs=1e-8)
        checked += slope != 0.0
    assert checked > len(function.parameters) / 2


def test_all_regimes_weigh_the_same() -> None:
    """One is remembered by 1 state, the other by 40: the mean is of regimes."""
    function = flat()
    remedy = Cloning(CloningConfig(), function)
    remedy.begin(0, 0)
    remedy.consolidate(experience(0, rows=1))
    shift(function, 0.2)
    remedy.begin(1, 1)
    remedy.consolidate(experience(1, rows=40))
    alone = OUTPUTS * 0.2**2 / (2.0 * math.exp(-1.0))
    assert value(remedy) == pytest.approx(0.5 * alone, rel=1e-9)


@pytest.mark.parametrize(("batch", "expected"), [(1, 3), (7, 6), (12, 12)])
def test_a_batch_is_cut_evenly(batch: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    function = flat()
    remedy = learned(0, 1, 2, function=function, batch=batch)
    seen: list[int] = []
    law = function.law

    def spy(parameters: Tensors, states: States) -> ActionLaw:
        seen.append(len(states["bars"]))
        return law(parameters, states)

    monkeypatch.setattr(function, "law", spy)
    value(remedy)
    assert seen == [expected]


def test_a_strength_of_zero_adds_nothing() -> None:
    assert learned(0, strength=0.0).penalty() is None


def test_a_regime_that_is_back_is_not_cloned_and_replaces_its_memory() -> None:
    function = flat()
    remedy = learned(0, function=function)
    shift(function, 0.2)
    remedy.begin(1, 0)
    assert remedy.penalty() is None
    remedy.consolidate(experience(0, rows=10, seed=30))
    assert remedy.figures()["states"] == 10
    assert value(remedy) == pytest.approx(0.0, abs=1e-12)


def test_it_keeps_a_random_part_of_the_states() -> None:
    kept = learned(0, states=15).state()
    bars, full = kept["0/states/bars"], states_of(seed=2)["bars"]
    order = torch.randperm(40, generator=seeded(9))[:15]
    assert torch.equal(bars, full[order])
    assert len(kept["0/output"]) == 15


def test_what_is_kept_does_not_follow_the_policy() -> None:
    function = flat()
    remedy = learned(0, function=function)
    before = {key: tensor.clone() for key, tensor in remedy.state().items()}
    with torch.no_grad():
        for parameter in function._net.parameters():
            parameter.add_(1.0)
    after = remedy.state()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_only_states_in_which_the_regime_is_believed_in() -> None:
    kept = learned(1, belief=0.6, batch=1).state()
    believed = belief(torch.empty(0), torch.empty(0), kept["1/states/account"])[:, 1]
    full = states_of(seed=3)["account"]
    expected = int((belief(torch.empty(0), torch.empty(0), full)[:, 1] > 0.6).sum())
    assert 0 < expected < 40
    assert len(believed) == expected
    assert bool((believed > 0.6).all())


def test_few_believed_states_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        learned(1, belief=0.6)
    assert "of 40 states" in caplog.text


@pytest.mark.parametrize(
    ("told", "regime", "least", "message"),
    [
        (True, 0, 0.9999, "found none of 40"),
        (False, 0, 0.5, "found one that is told of none"),
    ],
)
def test_states_that_cannot_be_chosen(told: bool, regime: int, least: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learned(regime, function=flat(told=told), belief=least)


def test_bars_of_no_regime_are_kept_whatever_is_believed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        kept = learned(7, belief=0.9999).state()
    assert len(kept["7/states/account"]) == 40
    assert "none of the 4 that the policy is told of" in caplog.text


def test_a_phase_without_states() -> None:
    with pytest.raises(ValueError, match="expected states of the phase"):
        Cloning(CloningConfig(), flat()).consolidate(experience(0, rows=0))


def test_bars_are_renumbered() -> None:
    remedy = learned(0, 1)
    before = remedy.state()
    remedy.remap(lambda rows: rows + 5)
    after = remedy.state()
    for regime in (0, 1):
        key = f"{regime}/states/bars"
        assert torch.equal(after[key], before[key] + 5)
        assert torch.equal(after[f"{regime}/output"], before[f"{regime}/output"])
    with pytest.raises(ValueError, match="least -1"):
        remedy.remap(lambda rows: torch.full_like(rows, -1))
    with pytest.raises(ValueError, match="found \\(3,\\)"):
        remedy.remap(lambda rows: rows[:3])
    assert torch.equal(remedy.state()["0/states/bars"], after["0/states/bars"])


def test_the_order_of_a_checkpoint_does_not_matter() -> None:
    function = flat()
    remedy = learned(1, 0, function=function, batch=4)
    remedy.begin(2, 2)
    shift(function, 0.1)
    with torch.no_grad():
        function.parameters["actor.output.weight"].mul_(1.3)
    value(remedy)
    again = Cloning(CloningConfig(batch=4), function)
    again.load_state(dict(sorted(remedy.state().items())))
    assert [value(again) for _ in range(3)] == [value(remedy) for _ in range(3)]


def test_phases_draw_by_their_number() -> None:
    function = flat()
    remedy = learned(0, function=function, batch=4)
    with torch.no_grad():
        function.parameters["actor.output.weight"].mul_(1.3)
    found: dict[int, float] = {}
    for phase in (1, 2, 1):
        remedy.begin(phase, phase)
        drawn = value(remedy)
        assert found.setdefault(phase, drawn) == drawn
    assert found[1] != found[2]


def test_the_state_of_another_policy_is_refused() -> None:
    state = learned(0).state()
    two = learned(0, 1).state()
    with pytest.raises(ValueError, match="the same of all states"):
        Cloning(CloningConfig(), flat()).load_state(
            {key: tensor for key, tensor in two.items() if key != "1/states/belief"}
        )
    with pytest.raises(ValueError, match="expected outputs"):
        Cloning(CloningConfig(), flat(discrete=True)).load_state(state)
    for broken, message in (
        ({}, "generator and position"),
        ({k: t for k, t in state.items() if k != "0/choice"}, "states and law of this policy"),
        ({**state, "0/states/account": state["0/states/account"][:, :2]}, "of this policy"),
        ({**state, "0/output": state["0/output"][:3]}, "for as many states"),
        ({**state, "trunk": state["0/output"]}, "states by regime"),
    ):
        with pytest.raises(ValueError, match=message):
            Cloning(CloningConfig(), flat()).load_state(broken)
