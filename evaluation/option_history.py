"""Who acted, bar by bar: the record of a policy made of options in one account.

Dimensions: N accounts, T bars, K options, R regimes, D numbers of an action, A assets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from envs.config import TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from envs.synthetic import Problem
from evaluation.backtest import backtest
from evaluation.briefing import Briefing
from evaluation.ledger import Ledger
from evaluation.optimality_scores import OptimalityConfig, episode_length
from markets.synthetic.base import closes_of, regimes_of
from meta_controller.policy import HierarchicalPolicy, Step

__all__ = ["OptionHistory", "Recorder", "history_of_ledger", "history_on_data", "history_on_market"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OptionHistory:
    """Who acted, bar by bar, in one account.

    Row t is the decision at the close of bar t and the bar after it; an account that is ruined has
    no rows from then on.
    """

    names: tuple[str, ...]
    """Names of the options, (K,)."""
    regime_names: tuple[str, ...]
    """Names of the belief's columns, (R,); none where nothing is told of regimes."""
    actions: tuple[str, ...]
    """Names of the action's numbers, (D,)."""
    times: NDArray[np.int64]
    """Times of the decisions, ns UTC; on synthetic markets numbers of bars."""
    price_T: Array
    """Price of the first asset (synthetic), or of all assets in equal weights, 1 at the start."""
    weights_TK: Array
    """Executed weights, one-hot where one option acts."""
    previous_TK: Array
    """Weights before; in the first bar the fallback's."""
    proposal_TK: Array
    """pi( . | s) of the controller."""
    fallback_TK: Array
    """Regime-proportional weights."""
    termination_TK: Array
    """Probability that each option ends."""
    deviation_TK: Array
    """Logits g of the gate; zeros without one."""
    belief_TR: Array
    """What the controller was fed of regimes."""
    option_action_TKD: Array
    """What each option alone would have done."""
    action_TD: Array
    """What was done."""
    reward_T: Array
    """Reward of the bar."""
    regime_T: NDArray[np.int64] | None
    """True regimes on synthetic markets."""


class Recorder:
    """A policy that keeps what it did in one of its accounts.

    Args:
        policy: who acts; only its own memory changes.
        lane: which account.
    """

    def __init__(self, policy: HierarchicalPolicy, lane: int = 0) -> None:
        self.policy, self.lane = policy, lane
        self.steps: list[dict[str, Array]] = []
        """A row of each of the history's arrays, for each bar since `reset`."""

    @property
    def wants_regimes(self) -> bool:
        """As the policy."""
        return self.policy.wants_regimes

    @property
    def wants_payoffs(self) -> bool:
        """As the policy."""
        return self.policy.wants_payoffs

    @property
    def last(self) -> Step | None:
        """As the policy."""
        return self.policy.last

    def tell(self, regime_N: NDArray[np.int64]) -> None:
        """As the policy."""
        self.policy.tell(regime_N)

    def learn(self, payoff_NK: Array) -> None:
        """As the policy."""
        self.policy.learn(payoff_NK)

    def reset(self, num_envs: int) -> None:
        """Forget all episodes, and what was kept.

        Raises:
            ValueError: fewer accounts than the one that is kept.
        """
        if not 0 <= self.lane < max(num_envs, 1):
            raise ValueError(f"lane: expected one of 0 .. {num_envs - 1}, found {self.lane}")
        self.policy.reset(num_envs)
        self.steps = []

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        """Act, and keep how it came about."""
        actions_ND = self.policy.act(observation_NO)
        step = self.policy.last
        assert step is not None  # noqa: S101 - it has just acted
        decision, lane = step.decision, self.lane
        weights_K = step.weights_NK[lane]
        deviation = decision.deviation_BK
        self.steps.append(
            {
                "weights_TK": _plain(weights_K),
                "previous_TK": _plain(decision.previous_BK[lane]),
                "proposal_TK": _plain(decision.proposal_BK[lane]),
                "fallback_TK": _plain(decision.fallback_BK[lane]),
                "termination_TK": _plain(decision.termination_BK[lane]),
                "deviation_TK": np.zeros(len(weights_K))
                if deviation is None
                else _plain(deviation[lane]),
                "belief_TR": _plain(step.belief_NR[lane]),
                "option_action_TKD": np.array(step.option_NKD[lane]),
                "action_TD": np.array(actions_ND[lane]),
            }
        )
        return actions_ND

    def columns(self, bars: int) -> dict[str, Any]:
        """What was kept of the first bars since `reset`, stacked, by name of the field."""
        kept = self.steps[:bars]
        return {name: np.stack([step[name] for step in kept]) for name in kept[0]}


def history_on_data(
    policy: HierarchicalPolicy,
    market: MarketArrays,
    env: TradingConfig,
    rows: tuple[int, int],
    *,
    names: Sequence[str] = (),
    regime_names: Sequence[str] = (),
) -> OptionHistory:
    """Backtest a policy over a span of a recorded market, and keep who acted.

    Args:
        policy: made of options.
        market: the market.
        env: the trading rules; one episode is played over the whole span.
        rows: first row of the span and the one after its last.
        names: of the options; none numbers them.
        regime_names: of the belief's columns; none numbers them.

    Raises:
        ValueError: as `evaluation.backtest.backtest`; or other numbers of names.
    """
    recorder = Recorder(policy)
    ledger = backtest(recorder, market, env, rows)
    return history_of_ledger(recorder, ledger, market, names=names, regime_names=regime_names)


def history_of_ledger(
    recorder: Recorder,
    ledger: Ledger,
    market: MarketArrays,
    *,
    names: Sequence[str] = (),
    regime_names: Sequence[str] = (),
) -> OptionHistory:
    """Who acted in a backtest that has been played.

    Args:
        recorder: who acted.
        ledger: of the account that it kept.
        market: the market.
        names: of the options; none numbers them.
        regime_names: of the belief's columns; none numbers them.

    Raises:
        ValueError: other numbers of names.
    """
    bars = len(ledger.equity) - 1
    if ledger.closed.any():
        bars = int(np.argmax(ledger.closed)) - 1
    columns = recorder.columns(bars)
    times = ledger.ts_event[:bars]
    first = int(np.searchsorted(market.ts_event, times[0]))
    traded = market.symbols if columns["action_TD"].shape[1] == len(market.symbols) else ()
    return OptionHistory(
        **_names(columns, names, regime_names, traded),
        times=np.array(times),
        price_T=equal_weight_index(market, first, first + bars),
        reward_T=np.array(ledger.reward[1 : bars + 1]),
        regime_T=None,
        **columns,
    )


def history_on_market(
    policy: HierarchicalPolicy,
    problem: Problem,
    config: OptimalityConfig | None = None,
    *,
    names: Sequence[str] = (),
    regime_names: Sequence[str] = (),
    lane: int = 0,
) -> OptionHistory:
    """Play an episode of a synthetic market, and keep who acted.

    It is the path of episode ``lane`` of `measure`, with the realised rewards.

    Args:
        policy: made of options.
        problem: the market and its trading rules.
        config: length and seed.
        names: of the options; none numbers them.
        regime_names: of the belief's columns; none numbers them.
        lane: which of the episodes.

    Raises:
        ValueError: other numbers of names.
    """
    settings = config or OptimalityConfig()
    played = replace(problem, expected_reward=False)
    length = episode_length(settings, problem.world.discount)
    trading = played.trading()
    simulator = Simulator(
        played.stream(belief=True),
        replace(trading, episode=replace(trading.episode, length=length)),
        1,
        seed=settings.seed,
        lane_offset=lane,
    )
    recorder = Recorder(policy)
    recorder.reset(1)
    briefing = Briefing(recorder, simulator)
    rows: list[tuple[float, int, float]] = []
    while not simulator.ended_N[0]:
        state_NS = simulator.world_NS
        price = float(closes_of(state_NS, simulator.num_assets)[0, 0])
        regime = int(regimes_of(state_NS)[0])
        briefing.before()
        actions_ND = recorder.act(simulator.observe_index())
        briefing.look(actions_ND)
        simulator.step(actions_ND)
        briefing.after()
        rows.append((price, regime, float(simulator.reward_N[0])))
    columns = recorder.columns(len(rows))
    price_T, regime_T, reward_T = (np.array(column) for column in zip(*rows, strict=True))
    traded = tuple(f"asset {asset}" for asset in range(simulator.num_assets))
    return OptionHistory(
        **_names(columns, names, regime_names, traded),
        times=np.arange(len(rows)),
        price_T=price_T,
        reward_T=reward_T,
        regime_T=regime_T.astype(np.int64),
        **columns,
    )


def equal_weight_index(market: MarketArrays, start: int, stop: int) -> Array:
    """Value of all assets in equal weights, restored in every bar; 1 at the start.

    Returns are total ones (dividends and splits included) of the assets that have a price.

    Args:
        market: the market.
        start: first bar.
        stop: bar after the last one.
    """
    before_TA, now_TA = market.close_TA[start : stop - 1], market.close_TA[start + 1 : stop]
    paid_TA = market.dividend_TA[start + 1 : stop]
    value_TA = (now_TA + paid_TA) * market.split_TA[start + 1 : stop]
    known_TA = (before_TA > 0.0) & (now_TA > 0.0)
    growth_TA = np.where(known_TA, value_TA / np.where(known_TA, before_TA, 1.0) - 1.0, 0.0)
    mean_T = growth_TA.sum(axis=1) / np.maximum(known_TA.sum(axis=1), 1)
    return np.concatenate([[1.0], np.cumprod(1.0 + mean_T)])


def _plain(row: Tensor) -> Array:
    return row.detach().cpu().numpy().astype(np.float64)


def _names(
    columns: Mapping[str, Any],
    names: Sequence[str],
    regime_names: Sequence[str],
    traded: Sequence[str],
) -> dict[str, Any]:
    """The given names, or numbers where there are none."""
    wanted = {
        "names": (names, columns["weights_TK"].shape[1], "option"),
        "regime_names": (regime_names, columns["belief_TR"].shape[1], "regime"),
        "actions": (traded, columns["action_TD"].shape[1], "action"),
    }
    found: dict[str, Any] = {}
    for field, (given, count, word) in wanted.items():
        if given and len(given) != count:
            raise ValueError(f"{field}: expected {count} names, found {len(given)}")
        found[field] = tuple(given) or tuple(f"{word} {number}" for number in range(count))
    return found
