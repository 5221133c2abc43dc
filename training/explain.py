"""One decision of an agent made of options, and what led to it: behind ``perennial explain``.

What an option weighs depends on all bars before, so the policy is played from the beginning of the
span (of the judged path, on a market with a known answer), as the judgement plays it.

Dimensions: T bars, K options, R regimes, A assets, M positions (assets, and cash where it is asked
for), N accounts, D numbers of an action.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.branching import Branches
from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.briefing import Briefing
from evaluation.optimality_scores import episode_length
from evaluation.optimality_states import held
from evaluation.option_history import OptionHistory, Recorder, equal_weight_index
from markets.splits import Rows
from markets.synthetic.base import Stream, closes_of, regimes_of
from markets.times import TimeError, show, to_ns
from meta_controller.policy import HierarchicalPolicy
from training.agents import build_learner, policy_of
from training.config import TrainConfig
from training.continual.adapt_request import require_training
from training.errors import ConfigError
from training.explain_words import Controls
from training.learning import checkpoints, choose, chosen, saved_fits
from training.runtime import limit_torch_threads
from training.sb3.option_config import OptionAgentConfig
from training.tasks.choice import open_task
from training.tasks.data import DataTask
from training.tasks.market import MarketTask
from training.tasks.option_reports import option_names

__all__ = ["WEIGHT", "Decided", "Explanation", "Place", "asked", "explain"]

Array = NDArray[np.float64]
WEIGHT = "weight of equity"
SPANS = ("train", "validation", "test")
UNITS: Mapping[str, str] = {
    "simplex": WEIGHT,
    "long_short": WEIGHT,
    "levels": WEIGHT,
    "shares": "lots",
    "trade": "units",
}
"""What positions are, by the kind of action."""


@dataclass(frozen=True)
class Place:
    """The bar that is explained."""

    bar: str
    """Its date, or its number in a path."""
    where: str
    """The span or the path that it lies in."""
    asked: str | None
    """What was asked for; None took the last bar."""
    possible: str
    """Between which bars agents act."""


@dataclass(frozen=True, eq=False)
class Decided:
    """The market, the account and what could be done in a bar."""

    symbols: tuple[str, ...]
    """(A,)"""
    price_A: Array
    """At the decision, currency; nan for an asset that is not traded."""
    positions: tuple[str, ...]
    """Names of what actions ask for, (M,): symbols, and cash where it is asked for."""
    unit: str
    """Of the positions."""
    held_M: Array
    """Before the decision."""
    asked_KM: Array
    """What each option alone would have asked for."""
    taken_M: Array
    """What was asked for."""
    failed_K: NDArray[np.bool_]
    """Options whose outputs were not finite."""
    payoff_K: Array
    """What each option alone would have earned in the next bar, in units of the reward; nan for one
    that failed."""
    earned: float
    """What was earned in it, likewise."""
    reward: str
    """What these units are."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What is known of one decision."""

    run: str
    seed: int
    place: Place
    controls: Controls
    history: OptionHistory
    """Of the account, from its beginning to the bar, which is the last."""
    decision: Decided
    """Of the bar."""


def explain(
    folder: Path, *, at: str | None = None, seed: int | None = None, episode: int | None = None
) -> Explanation:
    """Play a run's agent up to a bar, and tell all about what it did there.

    Args:
        folder: of the run.
        at: date or time (UTC) of a bar of recorded data, of which the last at or before it is
            taken; number of a bar of a path; None = the last bar.
        seed: of the agent; None = the first.
        episode: path of a market with a known answer; None = the first.

    Raises:
        ConfigError: no agent of options, no such agent, path or bar.
        ManifestError: the data is not the one that the run was trained on.
        CheckpointError: the agent was not trained to a checkpoint.
    """
    require_training(folder)
    config = TrainConfig.from_yaml(folder / "config.yaml")
    agent = config.agent
    if not isinstance(agent, OptionAgentConfig):
        raise ConfigError(
            f"{folder}: expected an agent made of options (agent=options), found a flat one, which "
            "has no options to explain"
        )
    number = config.seed if seed is None else seed
    if not config.seed <= number < config.seed + config.seeds:
        last = config.seed + config.seeds - 1
        raise ConfigError(f"seed: expected one of {config.seed} .. {last} in this run, was {seed}")
    limit_torch_threads(config.threads)
    task = open_task(config, saved_fits(config, folder))
    task.keep_provenance(folder)
    stage: _Stage
    if isinstance(task, DataTask):
        if episode is not None:
            raise ConfigError(
                f"episode: expected none on recorded data, where there is one path, was {episode}"
            )
        stage = _data_stage(task, at)
    else:
        assert isinstance(task, MarketTask)  # noqa: S101 - there are these two
        stage = _market_stage(task, at, 0 if episode is None else episode)
    model = build_learner(config, task, number)
    store = checkpoints(config, folder / f"seed-{number}")
    store.require_complete()
    choose(chosen(config, store), model, task)
    policy = policy_of(model)
    assert isinstance(policy, HierarchicalPolicy)  # noqa: S101 - the agent is of options
    controller = policy.network.controller
    controls = Controls(
        controller=agent.meta_controller.controller.kind,
        hard=policy.execution != "blended",
        beta_max=float(controller.beta_max if controller.learns else controller.constant),
        map_KR=controller.fallback.map_KR.double().cpu().numpy(),
    )
    history, bar = _play(stage, policy, option_names(agent.options))
    return Explanation(str(folder), number, stage.place, controls, history, bar)


@dataclass(frozen=True, eq=False)
class _Stage:
    """Where the policy is played, and up to which bar."""

    simulator: Simulator
    """At its beginning."""
    trading: TradingConfig
    bars: int
    """Decisions to take; the last one is explained."""
    lane: int
    place: Place
    problem: Problem | None
    """The market with a known answer; None on recorded data."""


def _data_stage(task: DataTask, at: str | None) -> _Stage:
    """The span of recorded data that holds a time, played as a backtest of it."""
    trading, times_T = task.trading, task.market.ts_event
    whole = replace(trading, episode=replace(trading.episode, length=None, random_start=False))
    rows = [(name, task.prepared.rows(name)) for name in SPANS if task.prepared.rows(name).size]
    first = _simulator(task, whole, rows[0][1]).first_start
    last = rows[-1][1].stop - 1
    # The last bar of a span is only earned in; a time in it asks for the decision before.
    possible = f"{show(int(times_T[first]))} to {show(int(times_T[last - 1]))}"
    wanted = last
    if at is not None:
        try:
            moment = to_ns(at, last=True)
        except TimeError as error:
            day = show(int(times_T[last - 1]))
            raise ConfigError(f"at: expected a date such as {day}, found {at}") from error
        if not times_T[first] <= moment or to_ns(at) > times_T[last]:
            raise ConfigError(
                f"at: expected a time from {possible}, where the agents of this run act, was {at}"
            )
        wanted = int(np.searchsorted(times_T, moment, side="right")) - 1
    # A gap between spans belongs to the one before.
    name, span = [each for each in rows if each[1].start <= max(wanted, rows[0][1].start)][-1]
    simulator = _simulator(task, whole, span)
    start, end = int(simulator.bar_N[0]), int(simulator.end_N[0])
    bar = min(wanted, end - 1)
    place = Place(show(int(times_T[bar])), f"the {name} span", at, possible)
    return _Stage(simulator, whole, bar - start + 1, 0, place, None)


def _simulator(task: DataTask, whole: TradingConfig, rows: Rows) -> Simulator:
    return Simulator(task.market, whole, 1, seed=0, rows=rows, autoreset="next_step")


def _market_stage(task: MarketTask, at: str | None, episode: int) -> _Stage:
    """All judged paths, played as the judgement plays them, for what is drawn depends on them."""
    problem, judged = replace(task.problem, expected_reward=False), task.config.evaluation
    settings = judged.optimality
    if not 0 <= episode < settings.episodes:
        raise ConfigError(
            f"episode: expected one of 0 .. {settings.episodes - 1}, the judged paths, was "
            f"{episode}"
        )
    length = episode_length(settings, problem.world.discount)
    if at is not None and not (at.isdecimal() and int(at) < length):
        raise ConfigError(f"at: expected a bar of the path, 0 .. {length - 1}, was {at}")
    bar = length - 1 if at is None else int(at)
    trading = problem.trading()
    trading = replace(trading, episode=replace(trading.episode, length=length))
    simulator = Simulator(
        problem.stream(belief=True),
        trading,
        settings.episodes,
        seed=settings.seed,
        autoreset="next_step",
    )
    place = Place(f"bar {bar}", f"path {episode} of the judged ones", at, f"0 to {length - 1}")
    return _Stage(simulator, trading, bar + 1, episode, place, problem)


def _play(
    stage: _Stage, policy: HierarchicalPolicy, names: tuple[str, ...]
) -> tuple[OptionHistory, Decided]:
    """Play up to the bar, and look at what each option would have earned in the next one."""
    simulator, lane = stage.simulator, stage.lane
    recorder = Recorder(policy, lane)
    recorder.reset(simulator.num_envs)
    briefing, synthetic = Briefing(recorder, simulator), stage.problem is not None
    bars: list[tuple[int, float, int, float]] = []
    while True:
        bar, price = int(simulator.bar_N[lane]), float(_prices(simulator)[lane, 0])
        regime = int(regimes_of(simulator.world_NS)[lane]) if synthetic else 0
        briefing.before()
        actions_ND = recorder.act(simulator.observe_index())
        briefing.look(actions_ND)
        decided = _decided(stage, policy, actions_ND) if len(bars) == stage.bars - 1 else None
        simulator.step(actions_ND)
        briefing.after()
        bars.append((bar, price, regime, float(simulator.reward_N[lane])))
        if decided is not None:
            break
        if simulator.terminated_N[lane]:
            raise ConfigError(
                f"at: expected a bar before the account was ruined, {len(bars)} bars after it "
                f"began, was {stage.place.bar}"
            )
    bar_T, price_T, regime_T, reward_T = (np.array(column) for column in zip(*bars, strict=True))
    market = simulator.market
    if isinstance(market, MarketArrays):
        price_T = equal_weight_index(market, int(bar_T[0]), int(bar_T[-1]) + 1)
        bar_T = market.ts_event[bar_T]
    columns = recorder.columns(len(bars))
    regimes = columns["belief_TR"].shape[1]
    positions = decided.positions
    numbered = tuple(f"action {number}" for number in range(columns["action_TD"].shape[1]))
    history = OptionHistory(
        names=names,
        regime_names=tuple(f"regime {number}" for number in range(regimes)),
        actions=positions if len(positions) == len(numbered) else numbered,
        times=bar_T,
        price_T=price_T,
        reward_T=reward_T,
        regime_T=regime_T.astype(np.int64) if synthetic else None,
        **columns,
    )
    return history, decided


def _prices(simulator: Simulator) -> Array:
    """Closes (N, A) at the present bars, currency; nan where an asset is not traded."""
    market = simulator.market
    if isinstance(market, Stream):
        return closes_of(simulator.world_NS, simulator.num_assets)
    close_NA = market.close_TA[simulator.bar_N]
    return np.where(close_NA > 0.0, close_NA, np.nan)


def _decided(stage: _Stage, policy: HierarchicalPolicy, actions_ND: Array) -> Decided:
    """Positions, prices and payoffs of the bar that is about to be taken."""
    simulator, lane, step = stage.simulator, stage.lane, policy.last
    assert step is not None  # noqa: S101 - it has just acted
    action, problem = stage.trading.action, stage.problem
    symbols, assets = simulator.market.symbols, simulator.num_assets
    account_P = simulator.account_NP[lane].astype(np.float64)
    price_A = _prices(simulator)[lane]
    held_M = account_P[:assets] if problem is None else problem.holdings(simulator)[lane]
    cash = action.kind == "simplex"
    if cash:
        held_M = np.append(held_M, account_P[assets])
    tried_NBD = np.concatenate([step.option_NKD, actions_ND[:, None]], axis=1)
    asked_BM = asked(tried_NBD[lane], held_M, stage.trading, np.isfinite(price_A))
    payoff_B, expected = _payoffs(simulator, tried_NBD, lane)
    failed, failed_K = step.decision.failed_BK, np.zeros(len(payoff_B) - 1, np.bool_)
    if failed is not None:
        failed_K = failed[lane].cpu().numpy()
        payoff_B[:-1][failed_K] = np.nan
    reward = stage.trading.reward.kind.replace("_", " ")
    return Decided(
        symbols=symbols,
        price_A=price_A,
        positions=(*symbols, "cash") if cash else symbols,
        unit=UNITS[action.kind],
        held_M=held_M,
        asked_KM=asked_BM[:-1],
        taken_M=asked_BM[-1],
        failed_K=failed_K,
        payoff_K=payoff_B[:-1],
        earned=float(payoff_B[-1]),
        reward=f"expected {reward}" if expected else reward,
    )


def _payoffs(simulator: Simulator, tried_NBD: Array, lane: int) -> tuple[Array, bool]:
    """Rewards (B,) of actions in the next bar, expected ones where the market knows them."""
    if isinstance(simulator.market, Stream):
        expected_B = Branches(simulator, expected=True).payoffs(tried_NBD)[lane]
        if np.isfinite(expected_B).all():
            return expected_B, True
    return Branches(simulator).payoffs(tried_NBD)[lane], False


def asked(
    actions_BD: Array, held_M: Array, trading: TradingConfig, listed_A: NDArray[np.bool_]
) -> Array:
    """Positions (B, M) that actions ask for; see `UNITS` for what they are.

    Args:
        actions_BD: actions.
        held_M: positions before, with cash last where actions ask for it.
        trading: the trading rules.
        listed_A: assets that have a price.
    """
    action = trading.action
    match action.kind:
        case "simplex" if action.parametrisation == "logits":
            logits_BM = np.where(np.append(listed_A, True), actions_BD, -np.inf)
            part_BM = np.exp(logits_BM - logits_BM.max(axis=1, keepdims=True))
            return np.asarray(part_BM / part_BM.sum(axis=1, keepdims=True))
        case "simplex":
            return np.append(actions_BD, 1.0 - actions_BD.sum(axis=1, keepdims=True), axis=1)
        case "levels":
            return np.array(action.levels)[actions_BD.astype(np.int64)]
        case "shares":
            return actions_BD
    return held(actions_BD, np.broadcast_to(held_M, actions_BD.shape), trading)
