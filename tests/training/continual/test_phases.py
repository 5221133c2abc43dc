"""Plans of streams: which regimes there are, in which order, and what cannot be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.joined import JoinedSimulator
from envs.simulator import Simulator
from tests.training.continual.streams import FLAT, configuration, stream_of
from training.config import TrainConfig
from training.continual.phases import MarketRegime, Phase, Plan, open_plan
from training.errors import ConfigError

BELIEF = "market.world.regime=belief"


def plan_of(*words: str, base: tuple[str, ...] = FLAT, **phases: Any) -> Plan:
    config = configuration(*words, base=base, phases={"kind": "regimes", **phases})
    assert config.continual is not None
    return open_plan(config, config.continual)


def markets(plan: Plan) -> list[MarketRegime]:
    found = [each for each in plan.regimes if isinstance(each, MarketRegime)]
    assert len(found) == len(plan.regimes)
    return found


def test_a_pure_phase_never_leaves_its_regime() -> None:
    plan = plan_of()
    assert [each.name for each in plan.regimes] == ["regime 0", "regime 1", "regime 2"]
    assert (plan.known, plan.mixed) == (True, False)
    for number, each in enumerate(markets(plan)):
        np.testing.assert_array_equal(each.problem.world.chain.transition_KK, np.eye(3))
        np.testing.assert_array_equal(each.problem.world.chain.start_K, np.eye(3)[number])


def test_in_a_mixed_phase_the_regime_governs_its_share_of_the_bars() -> None:
    plan = plan_of(BELIEF, mixing="mixed", dominance=0.7)
    assert (plan.known, plan.mixed) == (False, True)
    for number, each in enumerate(markets(plan)):
        chain = each.problem.world.chain
        law_K = np.full(3, 0.15)
        law_K[number] = 0.7
        np.testing.assert_allclose(law_K @ chain.transition_KK, law_K, atol=1e-12)
        assert each.problem.world.start is None  # the stationary one


@pytest.mark.parametrize("mixing", ["pure", "mixed"])
@pytest.mark.parametrize("market", ["garleanu_pedersen", "ornstein_uhlenbeck", "regime_gbm"])
def test_holdings_have_one_measure_in_all_phases(market: str, mixing: str) -> None:
    plan = plan_of(BELIEF, base=(f"market={market}", *FLAT[1:]), mixing=mixing)
    first, *others = [each.problem for each in markets(plan)]
    assert others
    for other in others:
        assert other.trading() == first.trading()
        assert (other.measure or other.world) == (first.measure or first.world)


@pytest.mark.parametrize("mixing", ["pure", "mixed"])
def test_the_belief_shown_does_not_tell_the_phase(mixing: str) -> None:
    """All filters are the same."""
    plan = plan_of(BELIEF, mixing=mixing)
    believed = [each.problem.world.believed_transition for each in markets(plan)]
    assert believed[0] not in (None, 1.0)
    assert believed[1:] == believed[:-1]


def test_the_exact_filter_of_the_command_line_is_the_streams_too() -> None:
    plan = plan_of("regime=oracle")
    assert not plan.known
    assert {each.problem.world.regime for each in markets(plan)} == {"belief"}


def test_phases_follow_order_and_cycles() -> None:
    plan = plan_of(order=[2, 0], cycles=2)
    assert [phase.regime for phase in plan.phases] == [2, 0, 2, 0]
    assert [phase.number for phase in plan.phases] == [0, 1, 2, 3]
    assert plan.played == (2, 0)
    assert [plan.seen(phase) for phase in plan.phases] == [(), (2,), (0,), (2,)]
    assert [phase.regime for phase in plan_of(cycles=2).phases] == [0, 1, 2] * 2


def test_joint_training_plays_every_regime_of_the_stream_at_once() -> None:
    plan = plan_of(order=[2, 0], cycles=2).joint()
    assert plan.phases == (Phase(0, 2, (0,)),)
    assert plan.seen(plan.phases[0]) == ()


def test_environments_of_several_regimes_play_side_by_side() -> None:
    plan = plan_of()
    simulator = plan.simulator({1: 3, 0: 2, 2: 0}, seed=5)
    assert isinstance(simulator, JoinedSimulator)
    assert [len(part.bar_N) for part in simulator.parts] == [3, 2]
    alone = plan.simulator({1: 3}, seed=5)
    assert not isinstance(alone, JoinedSimulator)
    for each in (simulator, alone):
        each.reset()
        each.step(np.zeros((len(each.bar_N), 1)))
    assert isinstance(alone, Simulator)
    np.testing.assert_array_equal(simulator.world_NS[:3], alone.world_NS)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ({"order": [0, 3]}, r"continual\.phases\.order: .*3 regimes, found \[0, 3\]"),
        ({"order": []}, r"continual\.phases\.order: .*found \[\]"),
        (
            {"mixing": "mixed", "dominance": 0.2},
            r"continual\.phases\.dominance: expected at least 1 / 3, .* found 0\.2",
        ),
    ],
)
def test_phases_that_the_market_does_not_have(phases: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(**phases)


def test_recorded_data_has_no_known_regimes() -> None:
    words = ("debug=tiny", "seeds=1", "device=cpu")
    config = configuration(base=words, phases={"kind": "regimes"})
    assert config.continual is not None
    with pytest.raises(ConfigError, match=r"continual\.phases\.kind: .* found regimes"):
        open_plan(config, config.continual)


@pytest.mark.parametrize(
    ("phases", "name"),
    [
        ({"kind": "regimes", "dominanse": 0.5}, r"continual\.phases.*dominanse"),
        ({"kind": "regimes", "dominance": 1.0}, r"continual\.phases.*dominance"),
        ({"kind": "regimes", "order": [-1]}, r"continual\.phases.*order"),
        ({"kind": "regimes", "cycles": 0}, r"continual\.phases.*cycles"),
        ({"kind": "years"}, r"continual\.phases"),
    ],
)
def test_errors_name_what_the_user_types(phases: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        configuration(phases=phases)


def small(*words: str, **continual: Any) -> TrainConfig:
    return configuration(*words, **{"phases": {"kind": "regimes"}, **continual})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: small(
                "schedule.num_envs=2", "agent.ppo.steps=32", remedies=[{"kind": "rehearsal"}]
            ),
            r"schedule\.num_envs: .*at least 3 environments",
        ),
        (
            lambda: small(remedies=[{"kind": "packnet", "phases": 2}]),
            r"continual\.remedies: packnet\.phases: expected at least 3, .* found 2",
        ),
        (
            lambda: small("market.world.regime=hidden",
                          remedies=[{"kind": "packnet", "phases": 3}]),
            r"continual\.remedies: packnet: expected an agent that is told which regime",
        ),
        (
            lambda: small("market.world.regime=hidden",
                          remedies=[{"kind": "cloning", "belief": 0.8}]),
            r"cloning\.belief: expected 0 where nothing is known of regimes .*, found 0\.8",
        ),
        (
            lambda: small(remedies=[{"kind": "grow"}]),
            r"continual\.remedies: grow: expected a policy of options",
        ),
        (
            lambda: small("agent=options", 'agent.options=[{kind: learned},{kind: learned}]',
                          "market.world.regime=belief", remedies=[{"kind": "grow"}]),
            r"continual\.remedies: grow: expected at most 2 regimes",
        ),
        (
            lambda: small(remedies=[{"kind": "l2"}, {"kind": "l2"}]),
            r"continual\.remedies: .*l2",
        ),
    ],
    ids=["rehearsal", "packnet", "packnet hidden", "cloning hidden", "grow flat", "grow too few",
         "twice"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_learned(
    config: Callable[[], TrainConfig], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_of(config(), tmp_path).check()
    assert not list(tmp_path.iterdir())
