"""The decision of options and controller: first steps, both executions, slopes, failures."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from agents.blending import blend
from agents.encoder import EncoderConfig
from agents.losses import gaussian_log_prob
from agents.options import LearnedOption, OptionConfig, OptionNetworkConfig, RuleOption
from meta_controller.chain import propagate
from meta_controller.config import (
    LEARNED,
    ControllerConfig,
    ExecutionConfig,
    MetaControllerConfig,
)
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic

KINDS = ("residual", "free", "fallback", "oracle", "fixed", "uniform", "multiplicative_weights")
ADAPTER: TypeAdapter[Any] = TypeAdapter(ControllerConfig)
ACCOUNT, OPTIONS, REGIMES, OUTPUTS = 4, 3, 3, 2
RULE = RuleOption(name="momentum")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    kind: str = "residual",
    *,
    options: tuple[OptionConfig, ...] = (LearnedOption(),) * OPTIONS,
    execution: ExecutionConfig | None = None,
    double: bool = False,
    features: int = 0,
) -> OptionActorCritic:
    meta = MetaControllerConfig(
        controller=ADAPTER.validate_python({"kind": kind}),
        execution=execution or ExecutionConfig(),
    )
    small = EncoderConfig(window=2, channels=2, hidden=4, embedding=3)
    net = OptionActorCritic(
        OptionNetworkConfig(encoder=small, hidden=(5,), output_gain=1.0),
        meta,
        options,
        num_features=features,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=REGIMES,
        continuous=True,
        generator=seeded(),
    )
    generator = seeded(4)
    with torch.no_grad():  # a gate that says something
        for parameter in net.controller.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return net.double() if double else net


def inputs(
    rows: int = 6, *, first: bool = False, hard: bool = False, double: bool = False, **more: Tensor
) -> Inputs:
    kind = torch.float64 if double else torch.float32

    def noise(seed: int, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=seeded(seed), dtype=kind)

    return Inputs(
        account_BP=noise(1, rows, ACCOUNT),
        belief_BR=torch.softmax(noise(2, rows, REGIMES), dim=1),
        previous_BK=torch.softmax(noise(3, rows, OPTIONS), dim=1),
        first_B=torch.full((rows,), first),
        hard_B=torch.full((rows,), hard),
        **more,
    )


def decided(net: OptionActorCritic, given: Inputs, **more: bool) -> Decision:
    rows = len(given.account_BP)
    empty = net.log_std.new_zeros(1, 0)
    return net.decide(net.halves(empty), torch.zeros(rows, dtype=torch.int64), given, **more)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_inside_an_episode_the_chain_moves(kind: str, hard: bool) -> None:
    given = inputs(hard=hard)
    found = decided(make(kind), given)
    assert torch.equal(found.previous_BK, given.previous_BK)
    moved = propagate(given.previous_BK, found.termination_BK, found.proposal_BK)
    assert torch.equal(found.weights_BK, moved)
    assert found.outputs_BKD.shape == (6, OPTIONS, OUTPUTS)
    assert found.failed_BK is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_blend_is_the_fallback_and_a_first_choice_the_proposal(kind: str) -> None:
    blended, chosen = (decided(make(kind), inputs(first=True, hard=h)) for h in (False, True))
    assert torch.equal(chosen.weights_BK, chosen.proposal_BK)
    start = blended.fallback_BK if kind in LEARNED else blended.proposal_BK
    assert torch.equal(blended.weights_BK, start)
    assert torch.equal(blended.previous_BK, blended.fallback_BK)
    if kind in LEARNED:
        assert not torch.allclose(blended.fallback_BK, blended.proposal_BK)


def test_what_was_carried_is_not_read_where_an_episode_begins() -> None:
    given = inputs(first=True)
    unread = given._replace(previous_BK=torch.full_like(given.previous_BK, torch.nan))
    net = make()
    found = decided(net, unread)
    assert torch.equal(found.weights_BK, decided(net, given).weights_BK)
    ended = (found.weights_BK * found.proposal_BK * found.termination_BK).sum()
    for slope in torch.autograd.grad(ended, list(net.controller.parameters())):
        assert torch.isfinite(slope).all()


def test_lanes_of_both_kinds_decide_as_they_would_alone() -> None:
    net, mixed = make(), torch.tensor([True, False] * 3)
    given = inputs(first=True)._replace(hard_B=mixed)
    found = decided(net, given).weights_BK
    for hard in (False, True):
        alone = decided(net, inputs(first=True, hard=hard)).weights_BK
        assert torch.equal(found[mixed == hard], alone[mixed == hard])


@pytest.mark.parametrize("kind", KINDS)
def test_capped_controllers_move_by_no_more_than_their_cap(kind: str) -> None:
    execution = ExecutionConfig(beta_max=0.15, capped=True)
    found = decided(make(kind, execution=execution), inputs())
    moved = 0.5 * (found.weights_BK - found.previous_BK).abs().sum(dim=1)
    assert float(moved.detach().max()) <= 0.15 + 1e-6


def test_terminations_begin_as_configured() -> None:
    for beta_max, initial in ((0.22, 0.1), (1.0, 0.5), (0.02, 0.019)):
        execution = ExecutionConfig(beta_max=beta_max, initial_termination=initial)
        net = make(execution=execution)
        with torch.no_grad():
            net.options.trunk.output.weight.zero_()
        found = decided(net, inputs()).termination_BK
        torch.testing.assert_close(found, torch.full_like(found, initial))


# -- slopes -----------------------------------------------------------------------------------


def log_prob(net: OptionActorCritic, given: Inputs, *, chosen: bool) -> Tensor:
    """Log probability of an action of the blend, or of the choice of an option."""
    decision = decided(net, given)
    rows = len(given.account_BP)
    if chosen:
        option = torch.arange(rows) % OPTIONS
        return decision.weights_BK[torch.arange(rows), option].log().sum()
    actions = torch.randn(rows, OUTPUTS, generator=seeded(8), dtype=net.log_std.dtype)
    mean = blend(decision.outputs_BKD, decision.weights_BK, "mean")
    return gaussian_log_prob(actions, mean, decision.weights_BK @ net.log_std).sum()


@pytest.mark.parametrize("chosen", [False, True])
def test_slopes_reach_what_they_should_and_nothing_else(chosen: bool) -> None:
    net = make(double=True)
    given = inputs(hard=chosen, double=True)
    last, heads, gate = net.options.trunk.output, net.options.heads, net.controller.parameters()
    bias, log_std, *gated = torch.autograd.grad(
        log_prob(net, given, chosen=chosen), [last.bias, net.log_std, *gate], allow_unused=True
    )
    assert bool((bias[heads:] != 0.0).all())  # terminations
    assert all(float(slope.abs().sum()) > 0.0 for slope in gated)
    # A choice tells nothing of how the options trade.
    assert bool((bias[:heads] != 0.0).any()) != chosen
    assert (log_std is None) == chosen


def parameters_to_check(net: OptionActorCritic) -> Iterator[Tensor]:
    last = net.options.trunk.output
    yield from (last.bias, last.weight, *net.controller.parameters())


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("kind", LEARNED)
def test_slopes_agree_with_finite_differences(kind: str, chosen: bool) -> None:
    net, step = make(kind, double=True), 1e-6
    given = inputs(hard=chosen, double=True)
    checked = list(parameters_to_check(net))
    slopes = torch.autograd.grad(log_prob(net, given, chosen=chosen), checked)
    for parameter, slope in zip(checked, slopes, strict=True):
        direction = torch.randn(parameter.shape, generator=seeded(11), dtype=torch.float64)
        values = []
        with torch.no_grad():
            for side in (step, -2.0 * step, step):  # up, down, and back
                parameter.add_(side * direction)
                values.append(float(log_prob(net, given, chosen=chosen)))
        found = (values[0] - values[1]) / (2.0 * step)
        assert float((slope * direction).sum()) == pytest.approx(found, rel=1e-5, abs=1e-6)


def test_actor_and_critic_share_out_all_parameters() -> None:
    for mode, execution in (
        (mode, ExecutionConfig(mode=mode)) for mode in ("blended", "hard", "alternate")
    ):
        net = make(execution=execution, features=3)
        ours = [id(p) for p in (*net.actor_parameters(), *net.critic_parameters())]
        assert sorted(ours) == sorted(id(p) for p in net.parameters())
        assert (net.critic.state_value is None) == (mode == "hard")
        assert (net.critic.option_value is None) == (mode == "blended")


# -- failures ---------------------------------------------------------------------------------


def injected(*failing: tuple[int, int]) -> tuple[OptionActorCritic, Inputs]:
    """Options 1 and 2 are injected, and fail in some places (row, option)."""
    net = make(options=(LearnedOption(), RULE, RULE))
    given_BKD = torch.ones(6, OPTIONS, OUTPUTS)
    for row, option in failing:
        given_BKD[row, option, 0] = torch.nan if row % 2 else torch.inf
    return net, inputs()._replace(injected_BKD=given_BKD)


def test_a_failed_option_loses_its_weight_in_its_row_alone() -> None:
    net, given = injected((2, 1), (3, 2))
    found = decided(net, given)
    sound = decided(net, given._replace(injected_BKD=torch.ones(6, OPTIONS, OUTPUTS)))
    assert found.failed_BK is not None
    assert found.failed_BK.nonzero().tolist() == [[2, 1], [3, 2]]
    others = [0, 1, 4, 5]
    assert torch.equal(found.weights_BK[others], sound.weights_BK[others])
    torch.testing.assert_close(found.weights_BK.sum(dim=1), torch.ones(6))
    assert found.weights_BK[2, 1].item() == 0.0
    lost, share = sound.weights_BK[2, 1], found.fallback_BK[2, [0, 2]]
    expected = sound.weights_BK[2, [0, 2]] + lost * share / share.sum()
    torch.testing.assert_close(found.weights_BK[2, [0, 2]], expected)
    assert torch.isfinite(found.outputs_BKD).all()


def test_slopes_are_finite_beside_an_option_that_failed() -> None:
    net, given = injected((2, 1), (3, 2))
    found = decided(net, given)
    output = blend(found.outputs_BKD, found.weights_BK, "mean").sum()
    used = [p for p in net.actor_parameters() if p is not net.log_std]
    for slope in torch.autograd.grad(output, used):
        assert torch.isfinite(slope).all()


def test_learned_options_that_diverge_are_isolated_on_request() -> None:
    net = make()
    with torch.no_grad():
        net.options.trunk.output.bias[2:4] = torch.nan  # of option 1
    found = decided(net, inputs(), isolate=True)
    assert found.failed_BK is not None
    assert found.failed_BK.tolist() == [[False, True, False]] * 6
    assert torch.isfinite(blend(found.outputs_BKD, found.weights_BK, "mean")).all()


def test_without_any_option_there_is_no_agent() -> None:
    with pytest.raises(ValueError, match="options: expected at least one, found none"):
        make(options=())
