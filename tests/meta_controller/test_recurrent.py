"""What options remember: carried from bar to bar, forgotten between episodes, of the past only."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.encoder import EncoderConfig
from agents.options import LearnedOption, OptionNetworkConfig
from meta_controller.beliefs import BeliefSource
from meta_controller.config import ExecutionConfig, MetaControllerConfig
from meta_controller.hierarchy import Inputs, OptionActorCritic
from meta_controller.policy import Execution, HierarchicalPolicy

BARS, FEATURES, ACCOUNT, OUTPUTS, UNITS, OPTIONS = 12, 5, 2, 3, 6, 3
BELIEFS = BeliefSource("features", (2, 3, 4))
FEATURES_TC = np.random.default_rng(1).normal(size=(BARS, FEATURES)).astype(np.float32)
FEATURES_TC[:, 2:] = np.random.default_rng(2).dirichlet((0.5, 0.5, 0.5), BARS)


def network(
    units: int = UNITS,
    *,
    features: int = FEATURES,
    regimes: int = 3,
    outputs: int = OUTPUTS,
    account: int = ACCOUNT,
) -> OptionActorCritic:
    sizes = EncoderConfig(window=2, channels=2, hidden=8, embedding=6)
    net = OptionActorCritic(
        OptionNetworkConfig(encoder=sizes, hidden=(16,), output_gain=1.0, recurrent=units),
        MetaControllerConfig(execution=ExecutionConfig(beta_max=0.5)),
        (LearnedOption(),) * OPTIONS,
        num_features=features,
        account_size=account,
        outputs=outputs,
        num_regimes=regimes,
        continuous=True,
        generator=torch.Generator().manual_seed(0),
    )
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():  # a gate that says something
        for parameter in net.controller.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return net


def acting(execution: Execution = "blended") -> HierarchicalPolicy:
    box = np.full(OUTPUTS, 3.0, np.float32)
    return HierarchicalPolicy(
        network(), FEATURES_TC, BELIEFS, kind="mean", low=-box, high=box, execution=execution
    )


def observations(accounts: int = 4, steps: int = 8) -> NDArray[np.float32]:
    """(S, N, O): each account walks over the market from its own bar."""
    random = np.random.default_rng(3)
    bars = (np.arange(steps)[:, None] + np.arange(accounts)) % BARS
    account = random.normal(size=(steps, accounts, ACCOUNT))
    return np.concatenate([bars[..., None], account], axis=2).astype(np.float32)


def played(policy: HierarchicalPolicy, seen: NDArray[np.float32]) -> NDArray[np.float64]:
    """Actions (S, N, D) of an episode."""
    policy.reset(seen.shape[1])
    return np.stack([policy.act(observation) for observation in seen])


def inputs(rows: int = 6, *, first: bool = False, hidden: Tensor | None = None) -> Inputs:
    generator = torch.Generator().manual_seed(6)
    return Inputs(
        account_BP=torch.randn(rows, ACCOUNT, generator=generator),
        belief_BR=torch.full((rows, 3), 1 / 3),
        previous_BK=torch.full((rows, OPTIONS), 1 / 3),
        first_B=torch.full((rows,), first),
        hard_B=torch.zeros(rows, dtype=torch.bool),
        hidden_BM=hidden,
    )


ROWS = torch.arange(6)


def test_it_is_carried_from_bar_to_bar() -> None:
    """The states are those of the library's unit, fed bar after bar."""
    policy, seen = acting(), observations()
    cell, encoder = policy.network.options.cell, policy.network.encoder
    assert cell is not None
    embedding = encoder.encode_series(torch.tensor(FEATURES_TC))
    hidden = torch.zeros(4, UNITS)
    policy.reset(4)
    for observation in seen:
        policy.act(observation)
        account = torch.from_numpy(observation[:, 1:])
        joined = torch.cat([embedding[observation[:, 0].astype(int)], account], dim=1)
        hidden = nn.GRUCell.forward(cell, joined, hidden)
        assert policy.last is not None
        found = policy.last.decision.hidden_BM
        torch.testing.assert_close(found, hidden, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("execution", ["blended", "sampled", "mode"])
def test_an_episode_begins_with_nothing(execution: Execution) -> None:
    policy, seen = acting(execution), observations()
    first = played(policy, seen)
    np.testing.assert_array_equal(played(policy, seen), first)
    net = policy.network
    halves = net.halves(net.encoder.encode_series(torch.tensor(FEATURES_TC)))
    full = torch.full((6, UNITS), 0.7)
    fresh = net.decide(halves, ROWS, inputs(first=True, hidden=net.blank(6)))
    dirty = net.decide(halves, ROWS, inputs(first=True, hidden=full))
    assert dirty.outputs_BKD.equal(fresh.outputs_BKD)
    assert not net.decide(halves, ROWS, inputs(hidden=full)).outputs_BKD.equal(fresh.outputs_BKD)


@pytest.mark.parametrize("execution", ["blended", "mode"])
def test_a_batch_is_its_accounts(execution: Execution) -> None:
    policy, seen = acting(execution), observations()
    whole = played(policy, seen)
    for account in range(4):
        alone = played(policy, seen[:, account : account + 1])
        np.testing.assert_allclose(alone[:, 0], whole[:, account], atol=1e-6)


def test_the_past_acts_and_the_future_does_not() -> None:
    policy, seen = acting(), observations()
    before = played(policy, seen)
    other = seen.copy()
    other[3, 0, 1:] += 1.0
    after = played(policy, other)
    np.testing.assert_array_equal(after[:3], before[:3])
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-6)  # other accounts
    assert (np.abs(after[3:, 0] - before[3:, 0]).max(axis=1) > 1e-4).all()


@pytest.mark.parametrize("units", [0, UNITS])
def test_joined_rows_decide_as_halves_do(units: int) -> None:
    net = network(units)
    embedding = net.encoder.encode_series(torch.tensor(FEATURES_TC))
    given = inputs(hidden=torch.rand(6, units)) if units else inputs()
    given = given._replace(belief_BR=torch.softmax(torch.arange(18.0).view(6, 3).sin(), dim=1))
    fallback = net.controller.fallback(given.belief_BR)
    wanted = net.decide(net.halves(embedding), ROWS, given)
    found = net.decide_joined(embedding[ROWS], given._replace(fallback_BK=fallback))
    for left, right in zip(found, wanted, strict=True):
        if right is None:
            assert left is None
        else:
            torch.testing.assert_close(left, right)
    other = given._replace(fallback_BK=fallback.flip(1))
    assert not net.decide_joined(embedding[ROWS], other).fallback_BK.equal(fallback)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("units", [0, UNITS])
def test_first_layers_as_one_decide_as_halves_do(units: int, *, told: bool) -> None:
    net = network(units)
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter.add_(
                0.1 * torch.arange(parameter.numel()).view(parameter.shape).add(number).sin()
            )
    embedding = net.encoder.encode_series(torch.tensor(FEATURES_TC))
    given = inputs(first=told, hidden=torch.rand(6, units)) if units else inputs(first=told)
    wanted = net.decide(net.halves(embedding), ROWS, given)
    layers = net.first_layers(embedding)
    found = net.decide_acting(layers, ROWS, given if told else given._replace(first_B=None))
    for left, right in zip(found, wanted, strict=True):
        if right is None:
            assert left is None
        else:
            torch.testing.assert_close(left, right)
    assert not found.outputs_BKD.requires_grad


def test_gate_and_options_see_it_and_the_gradient_reaches_the_unit() -> None:
    net = network()
    embedding = net.encoder.encode_series(torch.tensor(FEATURES_TC))
    hidden = torch.rand(6, UNITS, requires_grad=True)
    found = net.decide(net.halves(embedding), ROWS, inputs(hidden=hidden))
    assert found.hidden_BM is not None
    assert found.deviation_BK is not None
    assert net.options.cell is not None
    for part in (found.outputs_BKD, found.termination_BK, found.deviation_BK):
        slopes = torch.autograd.grad(
            part.square().sum(), [hidden, *net.options.cell.parameters()], retain_graph=True
        )
        assert all(float(slope.abs().sum()) > 0.0 for slope in slopes)
    trained = {id(parameter) for parameter in net.actor_parameters()}
    assert {id(parameter) for parameter in net.options.cell.parameters()} <= trained


def test_a_state_is_asked_for() -> None:
    net = network()
    halves = net.halves(net.encoder.encode_series(torch.tensor(FEATURES_TC)))
    with pytest.raises(ValueError, match=r"hidden: expected \(6, 6\).*, found none"):
        net.decide(halves, ROWS, inputs())
    with pytest.raises(ValueError, match=r"hidden: expected \(6, 6\).*, found \(6, 5\)"):
        net.decide(halves, ROWS, inputs(hidden=torch.zeros(6, 5)))
    assert network(0).blank(6) is None
    assert network(0).decide(halves, ROWS, inputs()).hidden_BM is None


def recalled(units: int) -> float:
    """Mean squared error of saying what was seen the bar before, trained one step deep."""
    net = network(units, features=0, regimes=0, outputs=1, account=1)
    optimizer = torch.optim.Adam(net.actor_parameters(), lr=0.01)
    generator, lanes, steps = torch.Generator().manual_seed(5), 32, 250
    sign_TN1 = torch.randint(0, 2, (steps, lanes, 1), generator=generator) * 2.0 - 1.0
    halves_of, rows = torch.zeros(1, 0), torch.zeros(lanes, dtype=torch.int64)
    hidden, weights, errors = net.blank(lanes), torch.full((lanes, OPTIONS), 1 / OPTIONS), []
    no = torch.zeros(lanes, dtype=torch.bool)
    for step in range(1, steps):
        given = Inputs(sign_TN1[step], torch.zeros(lanes, 0), weights, no, no, hidden_BM=hidden)
        found = net.decide(net.halves(halves_of), rows, given)
        blended = (found.weights_BK[..., None] * found.outputs_BKD).sum(dim=1)
        error = (blended - sign_TN1[step - 1]).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(error)
        optimizer.step()
        hidden = None if found.hidden_BM is None else found.hidden_BM.detach()
        weights = found.weights_BK.detach()
        errors.append(float(error.detach()))
    return float(np.mean(errors[-30:]))


def test_what_was_seen_before_can_be_told_only_with_a_memory() -> None:
    """Signs that are drawn anew each bar: nothing but a memory knows the last one."""
    assert recalled(8) < 0.1
    assert recalled(0) > 0.8
