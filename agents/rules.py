r"""Rule policies without learning: the baselines that an agent must be measured against.

They speak the language of the learned policies: index observations in, target weights out, on the
simplex whose rest is cash. What a rule may know of the past comes in as plain trailing arrays, one
row for each bar; row t holds nothing later than the close of t. A rule knows no market, no fees and
no fills.

An asset that cannot be traded now is left alone: it keeps the weight that it has (none, if it was
never bought), and the others share the rest. Between the bars of its schedule a rule asks for the
weights that it already holds, which orders nothing.

Dimensions: N accounts, A assets, O = A + 4 entries of an index observation
[bar, weights (A), cash weight, drawdown, time left], T bars.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BuyAndHold",
    "Cash",
    "EqualWeight",
    "InverseVolatility",
    "MeanReversion",
    "RandomWeights",
    "Rule",
    "TimeSeriesMomentum",
]

_LEAST_LAG = 1e-12
"""Returns behind their mean by no more than rounding are not behind it."""


@dataclass(frozen=True)
class _Decision:
    """What a rule decides on: bars (N,), weights held (N, A), which assets trade (N, A)."""

    bars: NDArray[np.int64]
    held: NDArray[np.float64]
    tradable: NDArray[np.bool_]


class Rule:
    """What all rules share: the mask, the schedule, and the room left by frozen positions.

    Args:
        tradable_TA: whether each asset traded in each bar.
        schedule_T: bars on which the rule may trade; none means every bar. An account's first
            decision is always due.

    Raises:
        ValueError: arrays of another shape than (T, A) and (T,).
    """

    def __init__(
        self, tradable_TA: NDArray[np.bool_], schedule_T: NDArray[np.bool_] | None = None
    ) -> None:
        if tradable_TA.ndim != 2:
            raise ValueError(f"tradable_TA: expected (T, A), found {tradable_TA.shape}")
        bars = len(tradable_TA)
        schedule = np.ones(bars, dtype=bool) if schedule_T is None else schedule_T
        if schedule.shape != (bars,):
            raise ValueError(f"schedule_T: expected ({bars},), found {schedule.shape}")
        self._tradable_TA = tradable_TA
        self._schedule_T = schedule
        self._started_N = np.zeros(0, dtype=bool)

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        self._started_N = np.zeros(num_envs, dtype=bool)

    def act(self, observation_NO: NDArray[np.float32 | np.float64]) -> NDArray[np.float64]:
        """Target weights (N, A), each row on the simplex with cash as the rest.

        Weights observed in float32 come back with its rounding, 6e-8, which is an order of that
        size where a rule means to hold; observed in float64 they order nothing.

        Raises:
            ValueError: another number of accounts than `reset` announced, or another width.
        """
        assets = self._tradable_TA.shape[1]
        expected = (len(self._started_N), assets + 4)
        if observation_NO.shape != expected:
            raise ValueError(f"observation: expected {expected}, found {observation_NO.shape}")
        bars_N = observation_NO[:, 0].astype(np.int64)
        held_NA = np.clip(observation_NO[:, 1 : assets + 1].astype(np.float64), 0.0, 1.0)
        due_N = self._schedule_T[bars_N] | ~self._started_N
        target_NA = self._target(_Decision(bars_N, held_NA, self._tradable_TA[bars_N]))
        self._started_N = self._started_N | True
        return _on_simplex(np.where(due_N[:, None], target_NA, held_NA))

    def _target(self, now: _Decision) -> NDArray[np.float64]:
        """Target weights of a bar on which the rule may trade: frozen positions, then `_wanted`."""
        frozen_NA = np.where(now.tradable, 0.0, now.held)
        room_N1 = np.clip(1.0 - frozen_NA.sum(axis=1, keepdims=True), 0.0, 1.0)
        return np.asarray(frozen_NA + room_N1 * self._wanted(now))

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        """Weights among the assets that trade, summing to at most 1; by default none: all cash."""
        return np.zeros(now.tradable.shape)


class Cash(Rule):
    """Does nothing: everything stays in cash, and positions that it may find are sold."""


class EqualWeight(Rule):
    r"""The same weight for every asset that trades, restored on each bar of the schedule.

    .. math:: x_a = 1/k

    with k the number of assets that trade. Source: DeMiguel, Garlappi and Uppal (2009), "Optimal
    Versus Naive Diversification", Review of Financial Studies 22(5): hard to beat out of sample.
    """

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        return _normalised(now.tradable.astype(np.float64))


class BuyAndHold(Rule):
    r"""Equal weights at the start, then no trade but to make room for an asset that starts late.

    When n assets trade for the first time beside k that are held, each newcomer gets
    :math:`1/(k+n)`, paid for by the others in proportion to what they have grown to. So the rule is
    fully invested from its first bar and never guesses which assets will come. What
    cannot be traded then gives nothing. Money from an asset that is delisted stays in cash.

    An order may lapse or be filled in part. So a slot stays open until 99 % of it are held, or
    until its money is spent (less than 1 % of the open slots is left in cash: what is short was
    lost by the price, not by the fill). Till then each decision asks for the rest of it, out of
    cash. The others sell for a newcomer again only while cash cannot bring it to 90 % of its slot,
    which means that their sales lapsed too. A closed slot is never traded on its own account.

    Args:
        tradable_TA: whether each asset traded in each bar.
    """

    def __init__(self, tradable_TA: NDArray[np.bool_]) -> None:
        super().__init__(tradable_TA)
        self._forget(0)

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        super().reset(num_envs)
        self._forget(num_envs)

    def _forget(self, num_envs: int) -> None:
        shape = (num_envs, self._tradable_TA.shape[1])
        self._slot_NA = np.zeros(shape)  # the weight asked for; 0 before an asset's first order
        self._open_NA = np.zeros(shape, dtype=bool)
        self._funded_NA = np.zeros(shape, dtype=bool)

    def _target(self, now: _Decision) -> NDArray[np.float64]:
        base_NA = self._completed(now)
        new_NA = now.tradable & (self._slot_NA == 0.0)
        owned_NA = (self._slot_NA > 0.0) & (self._open_NA | (now.held > 0.0))
        new_N1 = new_NA.sum(axis=1, keepdims=True)
        slots_N1 = np.maximum(owned_NA.sum(axis=1, keepdims=True) + new_N1, 1)
        frozen_NA = np.where(now.tradable, 0.0, now.held)
        movable_N1 = np.clip(1.0 - frozen_NA.sum(axis=1, keepdims=True), 1e-12, 1.0)
        given_N1 = np.minimum(new_N1 / slots_N1, movable_N1)
        scale_N1 = 1.0 - given_N1 / movable_N1
        newcomers_NA = new_NA * given_N1 / np.maximum(new_N1, 1)
        self._slot_NA = np.where(self._open_NA, self._slot_NA * scale_N1, self._slot_NA)
        self._slot_NA = np.where(new_NA, newcomers_NA, self._slot_NA)
        self._open_NA |= new_NA
        self._funded_NA |= new_NA & ~owned_NA.any(axis=1, keepdims=True)
        return np.asarray(np.where(now.tradable, base_NA * scale_N1, frozen_NA) + newcomers_NA)

    def _completed(self, now: _Decision) -> NDArray[np.float64]:
        """Weights held, with the open slots filled from cash and, unfunded, by the others."""
        cash_N1 = np.clip(1.0 - now.held.sum(axis=1, keepdims=True), 0.0, 1.0)
        self._open_NA &= now.held < 0.99 * self._slot_NA
        open_N1 = np.sum(self._slot_NA * self._open_NA, axis=1, keepdims=True)
        self._open_NA &= ~self._funded_NA | (cash_N1 >= 0.01 * open_N1)
        short_NA = np.where(self._open_NA & now.tradable, self._slot_NA - now.held, 0.0)
        short_N1 = short_NA.sum(axis=1, keepdims=True)
        filled_NA = short_NA * np.minimum(1.0, cash_N1 / np.where(short_N1 > 0.0, short_N1, 1.0))
        left_NA = short_NA - filled_NA
        self._funded_NA |= self._open_NA & now.tradable & (left_NA <= 0.1 * self._slot_NA)
        lacking_NA = np.where(self._funded_NA, 0.0, left_NA)
        lacking_N1 = lacking_NA.sum(axis=1, keepdims=True)
        sellers_NA = np.where(now.tradable & ~self._open_NA, now.held, 0.0)
        sellers_N1 = sellers_NA.sum(axis=1, keepdims=True)
        raised_N1 = np.minimum(lacking_N1, sellers_N1)
        sold_NA = sellers_NA * raised_N1 / np.where(sellers_N1 > 0.0, sellers_N1, 1.0)
        bought_NA = lacking_NA * raised_N1 / np.where(lacking_N1 > 0.0, lacking_N1, 1.0)
        return np.asarray(now.held + filled_NA + bought_NA - sold_NA)


class InverseVolatility(Rule):
    r"""Weights inverse to trailing volatility, so that each asset brings the same risk.

    .. math:: x_a = \sigma_a^{-1} / \sum_b \sigma_b^{-1}

    over the assets that trade and whose volatility is known and positive; equal weights where none
    is. Source: Maillard, Roncalli and Teiletche (2010), "The Properties of Equally Weighted Risk
    Contribution Portfolios", Journal of Portfolio Management 36(4); exact for equal correlations.

    Args:
        tradable_TA: whether each asset traded in each bar.
        volatility_TA: trailing volatility at each close, any constant unit; nan where unknown.
        schedule_T: bars on which the rule may trade; none means every bar.

    Raises:
        ValueError: arrays of different shapes.
    """

    def __init__(
        self,
        tradable_TA: NDArray[np.bool_],
        volatility_TA: NDArray[np.float64],
        schedule_T: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(tradable_TA, schedule_T)
        _require_shape("volatility_TA", volatility_TA, tradable_TA.shape)
        known_TA = np.isfinite(volatility_TA) & (volatility_TA > 0.0)
        self._inverse_TA = np.where(known_TA, 1.0 / np.where(known_TA, volatility_TA, 1.0), 0.0)

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        inverse_NA = np.where(now.tradable, self._inverse_TA[now.bars], 0.0)
        unknown_N1 = ~np.any(inverse_NA > 0.0, axis=1, keepdims=True)
        return _normalised(np.where(unknown_N1, now.tradable.astype(np.float64), inverse_NA))


class TimeSeriesMomentum(Rule):
    r"""Holds what has risen over the past: each asset's equal slot, or cash in its stead.

    .. math:: x_a = \tfrac1k \, 1\{m_a > 0\}, \quad m_a = P_{t,a} / P_{t-L,a} - 1

    with k the number of assets that trade. The long-only form of Moskowitz, Ooi and Pedersen
    (2012), "Time Series Momentum", Journal of Financial Economics 104(2), without volatility
    scaling; there L is twelve months and the schedule is monthly.

    Args:
        tradable_TA: whether each asset traded in each bar.
        momentum_TA: trailing return m at each close, as a fraction; nan where unknown (no weight).
        schedule_T: bars on which the rule may trade; none means every bar.

    Raises:
        ValueError: arrays of different shapes.
    """

    def __init__(
        self,
        tradable_TA: NDArray[np.bool_],
        momentum_TA: NDArray[np.float64],
        schedule_T: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(tradable_TA, schedule_T)
        _require_shape("momentum_TA", momentum_TA, tradable_TA.shape)
        self._risen_TA = np.nan_to_num(momentum_TA, nan=0.0) > 0.0

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        return _normalised(now.tradable.astype(np.float64)) * self._risen_TA[now.bars]


class MeanReversion(Rule):
    r"""Buys what has fallen behind the others, in proportion to how far: short-term reversal.

    .. math:: x_a = \frac{(\bar r - r_a)^+}{\sum_b (\bar r - r_b)^+}

    with the trailing returns r and their mean over the assets that trade and whose return is known;
    nothing where fewer than two are, or where all are equal. The long side of the contrarian
    weights of Lehmann (1990), "Fads, Martingales, and Market Efficiency", Quarterly Journal of
    Economics 105(1), held there for a week; by month in Jegadeesh (1990), "Evidence of Predictable
    Behavior of Security Returns", Journal of Finance 45(3).

    Args:
        tradable_TA: whether each asset traded in each bar.
        return_TA: trailing return r at each close, as a fraction; nan where unknown (no weight).
        schedule_T: bars on which the rule may trade; none means every bar.

    Raises:
        ValueError: arrays of different shapes.
    """

    def __init__(
        self,
        tradable_TA: NDArray[np.bool_],
        return_TA: NDArray[np.float64],
        schedule_T: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(tradable_TA, schedule_T)
        _require_shape("return_TA", return_TA, tradable_TA.shape)
        self._known_TA = np.isfinite(return_TA)
        self._return_TA = np.where(self._known_TA, return_TA, 0.0)

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        known_NA = now.tradable & self._known_TA[now.bars]
        return_NA = np.where(known_NA, self._return_TA[now.bars], 0.0)
        count_N1 = np.maximum(known_NA.sum(axis=1, keepdims=True), 1)
        behind_NA = return_NA.sum(axis=1, keepdims=True) / count_N1 - return_NA
        return _normalised(np.where(known_NA & (behind_NA > _LEAST_LAG), behind_NA, 0.0))


class RandomWeights(Rule):
    r"""Random trades of a given size: what turnover alone, without knowledge, brings and costs.

    The first decision is a portfolio drawn uniformly from the simplex of cash and the assets that
    trade. On every later bar another one, d, is drawn, and the account moves from its weights x
    towards it by a one-way turnover of exactly :math:`\tau`, as far as d is that far away:

    .. math:: x' = x + \min\!\big(1, \tau / D\big) (d - x), \quad D = \tfrac12 \lVert d - x \rVert_1

    What a draw too near leaves of the turnover is added to the next, so that the mean is kept.

    Args:
        tradable_TA: whether each asset traded in each bar.
        turnover: mean one-way turnover per bar :math:`\tau`, cash included, in [0, 1].
        rng: source of randomness; `reset` does not rewind it.

    Raises:
        ValueError: a turnover outside [0, 1].
    """

    def __init__(
        self, tradable_TA: NDArray[np.bool_], turnover: float, rng: np.random.Generator
    ) -> None:
        super().__init__(tradable_TA)
        if not 0.0 <= turnover <= 1.0:
            raise ValueError(f"turnover: expected a fraction in [0, 1], found {turnover}")
        self._turnover = turnover
        self._rng = rng
        self._owed_N = np.zeros(0)

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        super().reset(num_envs)
        self._owed_N = np.zeros(num_envs)

    def _target(self, now: _Decision) -> NDArray[np.float64]:
        drawn_NA = super()._target(now)
        move_NA = drawn_NA - now.held
        # The cash weight changes by the opposite of the sum.
        distance_N = 0.5 * (np.abs(move_NA).sum(axis=1) + np.abs(move_NA.sum(axis=1)))
        owed_N = self._owed_N + self._turnover
        step_N = np.minimum(1.0, owed_N / np.maximum(distance_N, 1e-12))
        self._owed_N = np.where(self._started_N, owed_N - step_N * distance_N, 0.0)
        return np.where(self._started_N[:, None], now.held + step_N[:, None] * move_NA, drawn_NA)

    def _wanted(self, now: _Decision) -> NDArray[np.float64]:
        # Normalised exponentials are uniform on the simplex; the last column is cash.
        drawn_NA = self._rng.standard_exponential((len(now.bars), now.tradable.shape[1] + 1))
        drawn_NA[:, :-1] *= now.tradable
        return _normalised(drawn_NA)[:, :-1]


def _normalised(sizes_NA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to sum to 1; rows of zeros stay."""
    total_N1 = sizes_NA.sum(axis=1, keepdims=True)
    return np.asarray(sizes_NA / np.where(total_N1 > 0.0, total_N1, 1.0))


def _on_simplex(weights_NA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled down to sum to at most 1: float32 weights of a full account may sum above it."""
    return np.asarray(weights_NA / np.maximum(weights_NA.sum(axis=1, keepdims=True), 1.0))


def _require_shape(name: str, values: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{name}: expected {shape} like tradable_TA, found {values.shape}")
