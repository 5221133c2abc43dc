"""The hierarchical policy bar by bar: memory, executions, injected options and their failures."""

import logging
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from agents.blending import BlendKind
from agents.encoder import EncoderConfig
from agents.options import LearnedOption, OptionConfig, OptionNetworkConfig, RuleOption
from meta_controller.beliefs import BeliefSource
from meta_controller.config import ControllerConfig, ExecutionConfig, MetaControllerConfig
from meta_controller.hierarchy import OptionActorCritic
from meta_controller.policy import Execution, HierarchicalPolicy, Step

EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
KINDS: tuple[BlendKind, ...] = get_args(BlendKind)
ADAPTER: TypeAdapter[Any] = TypeAdapter(ControllerConfig)
BARS, FEATURES, ACCOUNT, OUTPUTS = 12, 5, 2, 3
BELIEFS = BeliefSource("features", (2, 3, 4))
FEATURES_TC = np.random.default_rng(1).normal(size=(BARS, FEATURES)).astype(np.float32)
FEATURES_TC[:, 2:] = np.random.default_rng(2).dirichlet((0.5, 0.5, 0.5), BARS)
LEARNED, RULE = LearnedOption(), RuleOption(name="cash")


class Given:
    """An injected option that does what it was told, and fails where it was told to."""

    def __init__(self, action: float, fails: tuple[int, ...] = (), bad: float = np.nan) -> None:
        self.action, self.fails, self.bad = action, fails, bad

    def reset(self, num_envs: int) -> None:
        """No memory."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        actions = np.full((len(observation_NO), OUTPUTS), self.action)
        actions[np.isin(observation_NO[:, 0], self.fails), 0] = self.bad
        return actions


class Listed(Given):
    """The same for actions from a list."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        return super().act(observation_NO)[:, :1]


class Misshapen(Given):
    """One number where three are wanted."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        return super().act(observation_NO)[:, :1]


def policy(
    execution: Execution = "blended",
    *,
    kind: BlendKind = "mean",
    controller: str = "residual",
    options: tuple[OptionConfig, ...] = (LEARNED,) * 3,
    injected: dict[int, Any] | None = None,
    seed: int = 0,
    **fields: Any,
) -> HierarchicalPolicy:
    meta = MetaControllerConfig(
        controller=ADAPTER.validate_python({"kind": controller, **fields}),
        execution=ExecutionConfig(beta_max=0.5),
    )
    sizes = EncoderConfig(window=2, channels=2, hidden=8, embedding=6)
    network = OptionActorCritic(
        OptionNetworkConfig(encoder=sizes, hidden=(8,), output_gain=1.0),
        meta,
        options,
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=kind != "categorical",
        generator=torch.Generator().manual_seed(0),
    )
    box = np.ones(OUTPUTS, np.float32) if kind != "categorical" else None
    return HierarchicalPolicy(
        network,
        FEATURES_TC,
        BELIEFS,
        kind=kind,
        low=None if box is None else -3.0 * box,
        high=None if box is None else 3.0 * box,
        injected=injected,
        execution=execution,
        seed=seed,
    )


def observations(accounts: int = 4, steps: int = 8) -> NDArray[np.float32]:
    """(S, N, O): each account walks over the market from its own bar."""
    random = np.random.default_rng(3)
    bars = (np.arange(steps)[:, None] + np.arange(accounts)) % BARS
    account = random.normal(size=(steps, accounts, ACCOUNT))
    return np.concatenate([bars[..., None], account], axis=2).astype(np.float32)


def steps(acting: HierarchicalPolicy, seen: NDArray[np.float32]) -> list[tuple[Any, Step]]:
    """Action and record of each bar of an episode."""
    acting.reset(seen.shape[1])
    found = []
    for observation in seen:
        action = acting.act(observation)
        assert acting.last is not None
        found.append((action, acting.last))
    return found


def last(acting: HierarchicalPolicy) -> Step:
    assert acting.last is not None
    return acting.last


# -- executions -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("execution", ["blended", "mode"])
@pytest.mark.parametrize("controller", ["residual", "fallback"])
def test_a_batch_is_its_accounts(execution: Execution, kind: BlendKind, controller: str) -> None:
    acting, seen = policy(execution, kind=kind, controller=controller), observations()
    whole = steps(acting, seen)
    for account in range(seen.shape[1]):
        alone = steps(acting, seen[:, account : account + 1])
        for (action, record), (one, own) in zip(whole, alone, strict=True):
            np.testing.assert_allclose(one[0], action[account], atol=1e-6)
            torch.testing.assert_close(
                own.weights_NK[0], record.weights_NK[account], atol=1e-6, rtol=0.0
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_what_is_done_is_what_the_weights_say(execution: Execution, kind: BlendKind) -> None:
    before = None
    for action, record in steps(policy(execution, kind=kind), observations()):
        weights = record.weights_NK
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
        if execution != "blended":
            option = weights.argmax(dim=1)
            assert torch.equal(weights, torch.eye(3)[option])
            alone = record.option_NKD[np.arange(4), option.numpy()]
            np.testing.assert_allclose(action, alone, atol=1e-6)
        elif kind == "mean":
            blended = (weights.double().numpy()[..., None] * record.option_NKD).sum(axis=1)
            np.testing.assert_allclose(action, blended, atol=1e-5)
        # What is remembered: what acted, or of the likeliest option the chain's distribution.
        carried = record.decision.weights_BK if execution == "mode" else weights
        if before is not None:
            assert torch.equal(record.decision.previous_BK, before)
        before = carried
        assert action.shape == ((4, 1) if kind == "categorical" else (4, OUTPUTS))


def test_draws_are_the_same_after_every_reset_and_others_by_another_seed() -> None:
    seen = observations(accounts=16)
    ours = policy("sampled")
    first, again = (torch.stack([s.weights_NK for _, s in steps(ours, seen)]) for _ in range(2))
    assert torch.equal(first, again)
    others = torch.stack([s.weights_NK for _, s in steps(policy("sampled", seed=1), seen)])
    assert not torch.equal(first, others)


def test_an_episode_begins_at_the_fallback_and_is_forgotten_by_reset() -> None:
    acting, seen = policy(), observations()
    begun = steps(acting, seen)[0][1]
    assert torch.equal(begun.weights_NK, begun.decision.fallback_BK)
    again = steps(acting, seen)[0][1]
    assert torch.equal(begun.weights_NK, again.weights_NK)


def test_actions_stay_in_their_box_and_records_too() -> None:
    acting = policy(options=(RULE, RULE, RULE), injected={k: Given(9.0) for k in range(3)})
    action, record = steps(acting, observations())[0]
    assert action.tolist() == [[3.0] * OUTPUTS] * 4
    assert record.option_NKD.tolist() == [[[3.0] * OUTPUTS] * 3] * 4


def test_no_accounts_act_too() -> None:
    for execution in EXECUTIONS:
        acting = policy(execution)
        acting.reset(0)
        assert acting.act(np.zeros((0, ACCOUNT + 1), np.float32)).shape == (0, OUTPUTS)


# -- injected options -------------------------------------------------------------------------


def test_injected_options_take_part_by_their_weight() -> None:
    acting = policy(
        options=(RULE, LEARNED, RULE),
        injected={0: Given(1.0), 2: Given(-2.0)},
        controller="fallback",
    )
    for action, record in steps(acting, observations()):
        assert record.option_NKD[:, 0].tolist() == [[1.0] * OUTPUTS] * 4
        assert record.option_NKD[:, 2].tolist() == [[-2.0] * OUTPUTS] * 4
        weights = record.weights_NK.double().numpy()
        expected = (weights[..., None] * record.option_NKD).sum(axis=1)
        np.testing.assert_allclose(action, expected, atol=1e-5)
    assert acting.failures_K.tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_an_option_that_fails_is_isolated_counted_and_warned_of_once(
    execution: Execution, bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    # Accounts walk over bars 0 .. 10; the option fails in bars 2 and 3: seven account-bars.
    failing = Given(1.0, fails=(2, 3), bad=bad)
    acting = policy(execution, options=(LEARNED, RULE, RULE), injected={1: failing, 2: Given(0.5)})
    seen = observations()
    rows = np.isin(seen[..., 0], (2, 3))
    with caplog.at_level(logging.WARNING):
        found = steps(acting, seen)
    for failed_N, (action, record) in zip(rows, found, strict=True):
        assert np.isfinite(action).all()
        weights = record.decision.weights_BK
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
        assert bool((weights[:, 1] == 0.0)[torch.from_numpy(failed_N)].all())
        assert bool((record.weights_NK[:, 1] == 0.0)[torch.from_numpy(failed_N)].all())
    assert acting.failures_K.tolist() == [0, int(rows.sum()), 0]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert warnings[0].startswith("option 1 gave outputs that are not finite")


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_when_every_option_fails_nothing_is_done_and_the_next_bar_is_sound(
    execution: Execution,
) -> None:
    failing = {k: Given(1.0 + k, fails=(3,)) for k in range(3)}
    acting = policy(execution, options=(RULE,) * 3, injected=failing)
    seen = observations(accounts=1, steps=6)
    for bar, (action, record) in enumerate(steps(acting, seen)):
        torch.testing.assert_close(record.decision.weights_BK.sum(dim=1), torch.ones(1))
        if bar == 3:
            assert action.tolist() == [[0.0] * OUTPUTS]
        else:  # also after it
            assert float(action.min()) >= 1.0 - 1e-6
    assert acting.failures_K.tolist() == [1, 1, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3.0, -1.0, 0.5])
def test_a_choice_that_is_not_on_the_list_is_a_failure(bad: float) -> None:
    acting = policy(
        kind="categorical",
        controller="fixed",
        option=0,
        options=(RULE, RULE),
        injected={0: Listed(2.0, fails=(1,), bad=bad), 1: Listed(1.0)},
    )
    found = steps(acting, observations(accounts=1, steps=3))
    # Option 0 decides, but in bar 1, where option 1 does.
    assert [float(action[0, 0]) for action, _ in found] == [2.0, 1.0, 2.0]
    assert acting.failures_K.tolist() == [1, 0]


def test_simplex_logits_mix_their_weights() -> None:
    acting = policy(
        kind="simplex",
        controller="uniform",
        options=(RULE, RULE),
        injected={0: Given(0.0), 1: Given(0.0, fails=tuple(range(BARS)), bad=np.log(2.0))},
    )
    action, _ = steps(acting, observations(accounts=1))[0]
    # Half of (1/3, 1/3, 1/3) and half of (1/2, 1/4, 1/4).
    shares = np.exp(action[0]) / np.exp(action[0]).sum()
    np.testing.assert_allclose(shares, [5 / 12, 7 / 24, 7 / 24], atol=1e-6)


def test_outputs_of_injected_options_go_where_the_network_goes() -> None:
    acting = policy(options=(RULE, LEARNED, LEARNED), injected={0: Given(1.0)})
    acting.network.to("meta")
    found = acting.injected.outputs(observations()[0])
    assert found is not None
    assert found.device.type == "meta"


# -- what a controller is told ----------------------------------------------------------------


def test_the_oracle_must_be_told_the_regimes_of_every_bar() -> None:
    acting, seen = policy(controller="oracle"), observations()
    assert acting.wants_regimes
    acting.reset(4)
    acting.tell(np.array([2, 0, 1, 2]))
    acting.act(seen[0])
    assert torch.equal(last(acting).weights_NK, torch.eye(3)[[2, 0, 1, 2]])
    assert torch.equal(last(acting).belief_NR, torch.eye(3)[[2, 0, 1, 2]])
    with pytest.raises(RuntimeError, match="expected the regimes"):
        acting.act(seen[1])
    for wrong in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, -1], [[0, 1, 2, 0]]):
        with pytest.raises(ValueError, match=r"regimes: expected 4 of 0 \.\. 2"):
            acting.tell(np.array(wrong))


def test_expert_weights_follow_what_the_options_earn() -> None:
    acting = policy(controller="multiplicative_weights", rate=2.0, share=0.0)
    assert acting.wants_payoffs
    assert not policy().wants_payoffs
    seen = observations(accounts=2)
    acting.reset(2)
    for observation in seen:
        acting.act(observation)
        acting.learn(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    acting.act(seen[0])
    weights = last(acting).weights_NK
    assert float(weights[0, 0]) > 0.99
    assert float(weights[1, 2]) > 0.99
    assert float(steps(acting, seen)[0][1].weights_NK.std()) == 0.0  # forgotten
    for wrong in (np.zeros((2, 2)), np.zeros((1, 3)), np.zeros(3)):
        with pytest.raises(ValueError, match=r"payoffs: expected \(2, 3\)"):
            acting.learn(wrong)


# -- faults -----------------------------------------------------------------------------------


def test_faults_name_what_was_expected_and_found() -> None:
    acting, seen = policy(), observations()
    acting.reset(4)
    with pytest.raises(ValueError, match=r"expected \(4, 3\) .*found \(3, 3\)"):
        acting.act(seen[0, :3])
    with pytest.raises(ValueError, match=r"expected \(4, 3\) .*found \(4, 2\)"):
        acting.act(seen[0, :, :2])
    for bar in (-1.0, float(BARS), np.nan):
        outside = seen[0].copy()
        outside[1, 0] = bar
        with pytest.raises(ValueError, match=r"expected bars 0 \.\. 11"):
            acting.act(outside)
    with pytest.raises(ValueError, match=r"injected: expected options \[1\], found \[0\]"):
        policy(options=(LEARNED, RULE), injected={0: Given(1.0)})
    with pytest.raises(ValueError, match=r"injected: expected options \[\], found \[2\]"):
        policy(injected={2: Given(1.0)})
    with pytest.raises(ValueError, match=r"features: expected \(T, 5\).*found \(12, 4\)"):
        HierarchicalPolicy(acting.network, FEATURES_TC[:, :4], BELIEFS, kind="mean")
    short = policy(options=(LEARNED, RULE), injected={1: Misshapen(1.0)})
    short.reset(4)
    with pytest.raises(ValueError, match=r"option 1: expected actions \(4, 3\), found \(4, 1\)"):
        short.act(seen[0])
