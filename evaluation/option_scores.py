"""Scores of a trained agent's options, alone and under other controllers; nothing is trained.

Values are the objective's on synthetic markets (expected rewards where they are known), and mean
log growth a bar on recorded ones. All variants play the same paths or bars, so that differences
are paired.

Dimensions: V variants, E episodes, T bars, K options, R regimes, N accounts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from agents.policy import Policy
from envs.config import ActionConfig, TradingConfig
from envs.market_arrays import MarketArrays
from envs.synthetic import Problem
from evaluation import metrics
from evaluation.backtest import Run, backtest_many
from evaluation.bootstrap import (
    BootstrapConfig,
    Interval,
    block_length,
    percentile_ends,
    stationary_indices,
)
from evaluation.ledger import Ledger
from evaluation.optimality_scores import OptimalityConfig, Scores, measure
from evaluation.optimality_statistics import mean_interval, redrawn_means
from evaluation.option_history import (
    OptionHistory,
    Recorder,
    history_of_ledger,
    history_on_market,
)
from evaluation.option_result import LimitPoint, OptionReport, OptionScores, Variant
from evaluation.option_variants import (
    constant_side_by_side,
    limited,
    limited_side_by_side,
    variants,
)
from meta_controller.controllers import Fixed, Uniform
from meta_controller.policy import HierarchicalPolicy

__all__ = ["LIMITS", "report_on_data", "report_on_market"]

Array = NDArray[np.float64]

LIMITS: Final = (0.02, 0.05, 0.1, 0.22, 0.5, 1.0)
"""Values of beta_max on the curve."""
_Figures = Callable[[], dict[str, float]]
"""Figures of a `LimitPoint` that has been played."""
EPISODES: Final = 256
"""Episodes of a synthetic market that every variant plays, at most."""


class _Tracer(Recorder):
    """Keeps besides, of all accounts, what executed weights tell.

    Args:
        policy: who acts.
        action: how an action becomes holdings.
    """

    def __init__(self, policy: HierarchicalPolicy, action: ActionConfig) -> None:
        super().__init__(policy)
        self._action = action

    def reset(self, num_envs: int) -> None:
        """Forget everything."""
        super().reset(num_envs)
        self._before_NK: Array | None = None
        self._moved: list[Array] = []
        self._traded: list[Array] = []
        self._usage_NK = np.zeros((num_envs, self.policy.network.num_options))
        self._bars = 0

    def act(self, observation_NO: NDArray[np.float32]) -> Array:
        """Act, and keep how it came about and what changed."""
        actions_ND = super().act(observation_NO)
        step = self.policy.last
        assert step is not None  # noqa: S101 - it has just acted
        weights_NK = step.weights_NK.cpu().numpy().astype(np.float64)
        self._usage_NK += weights_NK
        self._bars += 1
        if self._before_NK is not None:
            change_NK = weights_NK - self._before_NK
            self._moved.append(0.5 * np.abs(change_NK).sum(axis=1))
            share_NKA = holdings_share(step.option_NKD, self._action)
            moved_NA = np.einsum("nk,nka->na", change_NK, share_NKA)
            self._traded.append(0.5 * np.abs(moved_NA).sum(axis=1))
        self._before_NK = weights_NK
        return actions_ND

    def figures(self, lanes: slice = slice(None)) -> dict[str, float]:
        """Figures of a `LimitPoint`, of some of the accounts; nan where an episode has one bar."""
        usage_K = self._usage_NK[lanes].mean(axis=0) / self._bars
        entropy = -float((usage_K * np.log(np.maximum(usage_K, 1e-12))).sum())
        options = len(usage_K)
        moved = np.stack(self._moved)[:, lanes] if self._moved else np.full(1, np.nan)
        traded = np.stack(self._traded)[:, lanes] if self._traded else np.full(1, np.nan)
        return {
            "churn": float(moved.mean()),
            "disruption_p99": float(np.quantile(moved, 0.99)),
            "disruption_max": float(moved.max()),
            "usage_entropy": entropy / np.log(options) if options > 1 else 1.0,
            "holdings_disruption": float(traded.mean()),
        }


def holdings_share(option_NKD: Array, action: ActionConfig) -> Array:
    """Holdings that actions ask for, over the gross limit (N, K, A); nan for numbers of shares.

    Of a trade it is the trade itself, over the limit of the holdings.
    """
    match action.kind:
        case "simplex":
            logits = action.parametrisation == "logits"
            return np.asarray(softmax(option_NKD, axis=2)) if logits else option_NKD
        case "long_short":
            return action.scale * np.clip(option_NKD, -1.0, 1.0) / action.gross
        case "levels":
            levels = np.asarray(action.levels, dtype=np.float64)
            most = max(float(np.abs(levels).max()), 1e-12)
            return np.asarray(levels[option_NKD.astype(np.int64)] / most)
        case "trade":
            return action.size * np.clip(option_NKD, -1.0, 1.0) / action.limit
        case _:
            return np.full_like(option_NKD, np.nan)


@dataclass(frozen=True)
class _Judge:
    """How the values of plays become intervals; a play is one value for each episode or bar."""

    value: Callable[[Array], Interval]
    gain: Callable[[Array, Array], Interval]


def report_on_market(
    policy: HierarchicalPolicy,
    problem: Problem,
    config: OptimalityConfig | None = None,
    *,
    seed: int = 0,
    names: Sequence[str] = (),
    unit: str = "reward a bar",
) -> OptionReport:
    """Record and score a policy made of options on fresh episodes of a synthetic market.

    Args:
        policy: what was trained.
        problem: the market and its trading rules.
        config: length, seed and intervals; at most `EPISODES` episodes are played.
        seed: of its training, for the record.
        names: of the options.
        unit: of values.
    """
    settings = config or OptimalityConfig()
    settings = replace(settings, episodes=min(settings.episodes, EPISODES))
    history = history_on_market(policy, problem, settings, names=names)
    action, bootstrap = problem.trading().action, settings.bootstrap
    own = _Tracer(policy, action)
    agent = measure(own, problem, settings)
    played = {name: measure(each, problem, settings) for name, each in variants(policy).items()}
    traced, curve = {}, {}
    for beta in _limits_of(policy):
        same = _is_own(policy, beta)
        tracer = own if same else _Tracer(limited(policy, beta), action)
        traced[beta] = tracer.figures
        curve[beta] = agent if same else measure(tracer, problem, settings)
    judge = _Judge(
        lambda values_E: mean_interval(values_E[None], bootstrap),
        lambda left_E, right_E: mean_interval((left_E - right_E)[None], bootstrap),
    )

    def values(scores: Scores) -> Array:
        return scores.earned.discounted_E

    options = policy.network.num_options
    regimes = problem.world.num_regimes
    scores = OptionScores(
        names=history.names,
        regime_names=tuple(f"regime {regime}" for regime in range(regimes)),
        unit=unit,
        agent=judge.value(values(agent)),
        agent_R=_regime_values(agent, bootstrap),
        alone_KR=tuple(
            _regime_values(played[f"fixed_{option}"], bootstrap) for option in range(options)
        ),
        share_R=tuple(float(share) for share in agent.share_EK.mean(axis=0)),
        variants=_variants({n: values(s) for n, s in played.items()}, values(agent), judge),
        limits=_limits(traced, {b: values(s) for b, s in curve.items()}, values(agent), judge),
    )
    return OptionReport(seed, history, scores)


def report_on_data(  # noqa: PLR0913 - one optional name for each axis
    policy: HierarchicalPolicy,
    market: MarketArrays,
    env: TradingConfig,
    rows: tuple[int, int],
    bootstrap: BootstrapConfig | None = None,
    *,
    seed: int = 0,
    names: Sequence[str] = (),
    regime_names: Sequence[str] = (),
) -> OptionReport:
    """Record and score a policy made of options on a span of a recorded market.

    Regimes are those that the policy's belief holds likeliest at the decision.

    Args:
        policy: what was trained.
        market: the market.
        env: the trading rules.
        rows: first row of the span and the one after its last.
        bootstrap: how intervals are drawn.
        seed: of its training, for the record.
        names: of the options.
        regime_names: of the belief's columns.
    """
    played = _play_on_data(policy, market, env, rows)
    growth, figures = played.growth, played.figures
    history = history_of_ledger(
        played.recorder, played.ledger, market, names=names, regime_names=regime_names
    )
    agent_T = growth["agent"]
    redrawn = _Redrawn(agent_T, bootstrap or BootstrapConfig())
    judge = _Judge(redrawn.mean, lambda left_T, right_T: redrawn.mean(left_T - right_T))
    regime_T = _likeliest(history, len(agent_T))
    regimes = history.belief_TR.shape[1]

    def by_regime(name: str) -> tuple[Interval, ...]:
        return tuple(redrawn.inside(growth[name], regime_T == r) for r in range(regimes))

    options = range(policy.network.num_options)
    scores = OptionScores(
        names=history.names,
        regime_names=history.regime_names,
        unit="log growth a bar",
        agent=judge.value(agent_T),
        agent_R=by_regime("agent"),
        alone_KR=tuple(by_regime(f"fixed_{option}") for option in options),
        share_R=tuple(float((regime_T == r).mean()) for r in range(regimes)),
        variants=_variants({name: growth[name] for name in played.variants}, agent_T, judge),
        limits=_limits(figures, {b: growth[_name(b)] for b in figures}, agent_T, judge),
    )
    return OptionReport(seed, history, scores)


@dataclass(frozen=True)
class _Played:
    """Backtests of an agent and of everything that it is compared with."""

    recorder: Recorder
    ledger: Ledger
    growth: Mapping[str, Array]
    """Log growth of each bar (T,), by name."""
    variants: tuple[str, ...]
    figures: Mapping[float, _Figures]


def _play_on_data(
    policy: HierarchicalPolicy, market: MarketArrays, env: TradingConfig, rows: tuple[int, int]
) -> _Played:
    """Play all of them at once; those with the same networks share a policy, an account each."""
    own, others = _Tracer(policy, env.action), variants(policy)
    names, constants = constant_side_by_side(policy)
    plays: list[tuple[tuple[str, ...], Policy]] = [(("agent",), own), (names, constants)]
    plays += [((name,), each) for name, each in others.items() if name not in names]
    betas = _limits_of(policy)
    apart = tuple(beta for beta in betas if not _is_own(policy, beta))
    limits = _Tracer(limited_side_by_side(policy, apart), env.action)
    if apart:
        plays.append((tuple(map(_name, apart)), limits))
    runs = [Run(name=group[0], policy=each, lanes=len(group)) for group, each in plays]
    ledgers = backtest_many(runs, market, env, rows)
    growth = {
        name: metrics.log_returns(np.asarray(ledger.returns, dtype=np.float64))
        for (group, _), lanes in zip(plays, ledgers, strict=True)
        for name, ledger in zip(group, lanes, strict=True)
    }
    figures: dict[float, _Figures] = {}
    for beta in betas:
        if beta in apart:
            lane = apart.index(beta)
            figures[beta] = partial(limits.figures, slice(lane, lane + 1))
        else:
            figures[beta], growth[_name(beta)] = own.figures, growth["agent"]
    return _Played(own, ledgers[0][0], growth, tuple(others), figures)


def _name(beta: float) -> str:
    return f"limit_{beta}"


def _limits_of(policy: HierarchicalPolicy) -> tuple[float, ...]:
    """Limits on disruption that are worth playing."""
    return LIMITS if _moves(policy) else ()


def _is_own(policy: HierarchicalPolicy, beta: float) -> bool:
    """Whether the agent itself acts under a limit."""
    controller = policy.network.controller
    return controller.learns and bool(controller.beta_max == beta)


def _moves(policy: HierarchicalPolicy) -> bool:
    """Whether a limit on disruption changes anything."""
    return not isinstance(policy.network.controller, Fixed | Uniform)


def _variants(played: Mapping[str, Array], agent: Array, judge: _Judge) -> tuple[Variant, ...]:
    return tuple(
        Variant(name, judge.value(values), judge.gain(values, agent))
        for name, values in played.items()
    )


def _limits(
    traced: Mapping[float, _Figures], played: Mapping[float, Array], agent: Array, judge: _Judge
) -> tuple[LimitPoint, ...]:
    return tuple(
        LimitPoint(
            beta_max=beta,
            **figures(),
            value=judge.value(played[beta]),
            gain=judge.gain(played[beta], agent),
        )
        for beta, figures in traced.items()
    )


def _regime_values(scores: Scores, bootstrap: BootstrapConfig) -> tuple[Interval, ...]:
    """Value of the bars that each regime governed: their discounted rewards over their weight."""
    earned_EK, share_EK = scores.earned.regime_EK, scores.share_EK
    found = []
    for earned_E, share_E in zip(earned_EK.T, share_EK.T, strict=True):
        redrawn = redrawn_means(np.stack([earned_E, share_E]), bootstrap)
        found.append(_ratio(earned_E, share_E, redrawn[0], redrawn[1], bootstrap.level))
    return tuple(found)


class _Redrawn:
    """Histories that are redrawn once, common to everything that is measured on them.

    Args:
        growth_T: the agent's log growth, which the block length is measured on.
        config: level, resamples, block length and seed.
    """

    def __init__(self, growth_T: Array, config: BootstrapConfig) -> None:
        bars, rng = len(growth_T), np.random.default_rng(config.seed)
        block = config.block_length or block_length(growth_T)
        chosen_BT = stationary_indices(bars, block, config.resamples, rng)
        counted = [np.bincount(chosen_T, minlength=bars) for chosen_T in chosen_BT]
        self._share_BT = np.stack(counted) / bars
        self._level = config.level

    def mean(self, values_T: Array) -> Interval:
        """Mean over the bars; of a difference for a paired interval."""
        ends = percentile_ends(self._share_BT @ values_T, self._level)
        return Interval(float(values_T.mean()), *ends, self._level)

    def inside(self, values_T: Array, inside_T: NDArray[np.bool_]) -> Interval:
        """Mean over some of the bars."""
        part_T, weight_T = values_T * inside_T, inside_T.astype(np.float64)
        redrawn = self._share_BT @ part_T, self._share_BT @ weight_T
        return _ratio(part_T, weight_T, *redrawn, self._level)


def _ratio(over: Array, under: Array, over_B: Array, under_B: Array, level: float) -> Interval:
    """A ratio of means; nan where nothing is under it in the data or in a redrawn history."""
    if not under.any():
        return Interval(np.nan, np.nan, np.nan, level)
    estimate = float(over.mean() / under.mean())
    if not (under_B > 0.0).all():
        return Interval(estimate, np.nan, np.nan, level)
    return Interval(estimate, *percentile_ends(over_B / under_B, level), level)


def _likeliest(history: OptionHistory, bars: int) -> NDArray[np.int64]:
    """Regime of each bar by the belief at its decision, -1 where there is none."""
    found_T = np.full(bars, -1, dtype=np.int64)
    belief_TR = history.belief_TR
    if belief_TR.shape[1]:
        known_T = np.isfinite(belief_TR).all(axis=1) & (belief_TR.sum(axis=1) > 0.0)
        best_T = np.nan_to_num(belief_TR).argmax(axis=1)
        found_T[: len(best_T)] = np.where(known_T, best_T, -1)
    return found_T
