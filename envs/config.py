"""Configuration of the trading environments: one small value for each market assumption.

Every model has a zero setting that leaves exactly no trace in the account;
`TradingConfig.frictionless()` sets all of them to zero at once.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_FROZEN = ConfigDict(extra="forbid")

Rate = Annotated[float, Field(ge=0.0, le=10.0, allow_inf_nan=False)]
BasisPoints = Annotated[float, Field(ge=0.0, le=10_000.0, allow_inf_nan=False)]
Money = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class SimplexAction:
    """Target weights, long only; what is not invested is cash."""

    kind: Literal["simplex"] = "simplex"
    """Discriminator."""
    parametrisation: Literal["weights", "logits"] = "weights"
    """`weights`: A numbers in [0, 1]; `logits`: A + 1 in [-10, 10], softmax of cash (the last)
    and of the assets that have a price by then."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class LongShortAction:
    """Target weights of either sign: A numbers in [-1, 1], times `scale`."""

    kind: Literal["long_short"] = "long_short"
    """Discriminator."""
    gross: Positive = 1.0
    """Largest sum of absolute weights, multiples of equity; above 1 cash may be borrowed."""
    net: Money = 1.0
    """Largest absolute sum of weights, in multiples of equity."""
    scale: Positive = 1.0
    """Weight that an action of 1 asks for, in multiples of equity."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class SharesAction:
    """Target holdings in whole lots (in shares, fractions allowed, where the lot is 0)."""

    kind: Literal["shares"] = "shares"
    """Discriminator."""
    minimum: Finite = 0.0
    """Smallest target, in lots; negative allows short positions."""
    maximum: Finite = 100.0
    """Largest target, in lots."""
    gross: Positive = 1.0
    """Largest sum of absolute position values, in equity; above 1 cash may be borrowed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum >= self.maximum:
            msg = f"minimum must be below maximum ({self.maximum}), was {self.minimum}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class LevelsAction:
    """One of a few target weights of a single asset, chosen by its index."""

    kind: Literal["levels"] = "levels"
    """Discriminator."""
    levels: Annotated[tuple[Finite, ...], Field(min_length=2)] = (0.0, 0.5, 1.0)
    """Target weights in multiples of equity; negative is short, above 1 borrows cash."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class TradeAction:
    """Units to trade, of an additive market: A numbers a in [-1, 1].

    u = size * sign(a) * max(|a| - dead_zone, 0) / (1 - dead_zone); holdings stay in the limit.
    """

    kind: Literal["trade"] = "trade"
    """Discriminator."""
    size: Positive
    """Units that an action of 1 trades."""
    limit: Positive
    """Largest absolute holding of an asset, units; trades end there."""
    dead_zone: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Absolute actions up to this one trade nothing."""
    unit: Positive = 1.0
    """Holdings are observed in multiples of so many units; trades below 1e-9 of it are not sent."""


ActionConfig = Annotated[
    SimplexAction | LongShortAction | SharesAction | LevelsAction | TradeAction,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FeeConfig:
    """Commission of one filled order: max(minimum, bps * 1e-4 * notional + per_share * shares)."""

    bps: BasisPoints = 1.0
    """Part proportional to the notional, basis points."""
    per_share: Money = 0.0
    """Part proportional to the number of shares, currency a share."""
    minimum: Money = 0.0
    """Smallest commission of a filled order, currency."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class SpreadConfig:
    """Quoted bid-ask spread around the fill's reference price; half is paid on each side."""

    bps: BasisPoints = 2.0
    """Full quoted spread, basis points of the price."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class ImpactConfig:
    """Square-root impact: coefficient * volatility * sqrt(shares / bar volume), share of the price.

    Source: Toth et al. (2011), "Anomalous price impact and the critical nature of liquidity".
    """

    coefficient: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Dimensionless, of order one in the literature; 0 = no impact."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class QuadraticCostConfig:
    """Quadratic cost 1/2 coefficient u' Lambda u of trading u units, with the market's Lambda.

    Additive markets only; Lambda is the identity (currency / unit^2) where the market has none.

    Source: Garleanu & Pedersen (2013), "Dynamic trading with predictable returns and transaction
    costs", eq. 3.
    """

    coefficient: Money = 0.0
    """Dimensionless: 1 = as the market says; 0 = no cost."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class ParticipationConfig:
    """Largest part of a bar's volume that one order may take; the rest of the order lapses."""

    maximum: Annotated[float, Field(gt=0.0, le=1.0)] | None = 0.1
    """Share of the bar's volume in (0, 1]; None = no limit."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class BorrowConfig:
    """Fee for borrowed shares, on the value of short positions."""

    annual_rate: Rate = 0.005
    """Simple annual rate, 1/year."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class FinancingConfig:
    """Interest on the cash balance (which includes the proceeds of short sales)."""

    debit_annual_rate: Rate = 0.05
    """Paid on negative cash, simple annual rate, 1/year."""
    credit_annual_rate: Rate = 0.0
    """Received on positive cash, simple annual rate, 1/year."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class MarginConfig:
    """Maintenance margin, checked at each close; a call liquidates the account at that close."""

    maintenance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    """Least equity as a part of the gross position value; 0 = off."""
    liquidation_fee_bps: BasisPoints = 0.0
    """Extra fee on the liquidated notional, basis points."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class LogReturnReward:
    """Reward log(E_t / E_{t-1}): sums to the episode's log growth."""

    kind: Literal["log_return"] = "log_return"
    """Discriminator."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class DifferentialSharpeReward:
    """Differential Sharpe ratio of Moody & Saffell (2001)."""

    kind: Literal["differential_sharpe"] = "differential_sharpe"
    """Discriminator."""
    eta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01
    """Adaptation rate of the two moving moments, per bar."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class MeanVarianceReward:
    """Reward R - risk_aversion / 2 * R^2 of the simple return R (Ritter, 2017)."""

    kind: Literal["mean_variance"] = "mean_variance"
    """Discriminator."""
    risk_aversion: Money = 1.0
    """Dimensionless; 0 = the simple return."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class DrawdownReward:
    """Log return less a penalty on each increase of the drawdown."""

    kind: Literal["drawdown"] = "drawdown"
    """Discriminator."""
    penalty: Money = 1.0
    """Weight of the increase of the drawdown, dimensionless; 0 = the log return."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class QuadraticUtilityReward:
    """Reward E_t - E_{t-1} - risk_aversion / 2 x' Sigma x of the holdings x over the bar, currency.

    Sigma is the covariance of the bar's price changes that an additive market states.
    """

    kind: Literal["quadratic_utility"] = "quadratic_utility"
    """Discriminator."""
    risk_aversion: Money
    """1/currency; 0 = the change of equity."""


RewardConfig = Annotated[
    LogReturnReward
    | DifferentialSharpeReward
    | MeanVarianceReward
    | DrawdownReward
    | QuadraticUtilityReward,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class ObservationConfig:
    """What an observation holds."""

    kind: Literal["window", "index", "view"] = "window"
    """`window`: copied feature rows; `index`: bar number and account only; `view`: not copied."""
    window: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Feature rows of a window, W, bars (in `index` mode: the least history before a start)."""
    time_left: bool = True
    """Whether the account observation tells the part of the episode that is left; False writes a
    constant 1, so that decisions do not depend on where the span ends."""


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class EpisodeConfig:
    """Where episodes start, how long they are, with how much money, and when they are ruined."""

    length: Annotated[int, Field(ge=1)] | None = 252
    """Steps of an episode, bars; None = to the end of the span."""
    random_start: bool = True
    """Draw the start uniformly (needs a length); otherwise start at the first possible bar."""
    initial_cash: Positive = 100_000.0
    """Cash at the start, currency."""
    ruin_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Equity at or below this part of the initial cash terminates the episode."""

    @model_validator(mode="after")
    def _startable(self) -> Self:
        if self.random_start and self.length is None:
            msg = "length must be a number of bars when random_start is true, was None"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, kw_only=True, config=_FROZEN)
class TradingConfig:
    """Every assumption about trading; the kernel's formulae are in `Simulator`'s docstring."""

    action: ActionConfig = SimplexAction()
    """How actions ask for positions."""
    fill: Literal["next_open", "close"] = "next_open"
    """Price of fills: the next bar's open, or the close that the decision already saw (biased)."""
    fee: FeeConfig = FeeConfig()
    """Commission."""
    spread: SpreadConfig = SpreadConfig()
    """Bid-ask spread."""
    impact: ImpactConfig = ImpactConfig()
    """Price impact (slippage)."""
    quadratic: QuadraticCostConfig = QuadraticCostConfig()
    """Quadratic cost of trading (slippage too), of additive markets."""
    participation: ParticipationConfig = ParticipationConfig()
    """Largest part of the volume."""
    borrow: BorrowConfig = BorrowConfig()
    """Fee for short positions."""
    financing: FinancingConfig = FinancingConfig()
    """Interest on cash."""
    margin: MarginConfig = MarginConfig()
    """Maintenance margin."""
    reward: RewardConfig = LogReturnReward()
    """Reward of a step."""
    expected_reward: bool = False
    """Reward the expectation of each step's reward given the market's true state at the decision
    and the trades, without the noise of the bar; of streams of synthetic markets only."""
    observation: ObservationConfig = ObservationConfig()
    """Content of observations."""
    episode: EpisodeConfig = EpisodeConfig()
    """Start, length, money and ruin."""

    @classmethod
    def frictionless(
        cls,
        *,
        action: ActionConfig | None = None,
        fill: Literal["next_open", "close"] = "next_open",
        reward: RewardConfig | None = None,
        observation: ObservationConfig | None = None,
        episode: EpisodeConfig | None = None,
    ) -> Self:
        """Return a configuration with every cost, limit and margin model at its zero setting."""
        return cls(
            action=action or SimplexAction(),
            fill=fill,
            fee=FeeConfig(bps=0.0),
            spread=SpreadConfig(bps=0.0),
            impact=ImpactConfig(coefficient=0.0),
            participation=ParticipationConfig(maximum=None),
            borrow=BorrowConfig(annual_rate=0.0),
            financing=FinancingConfig(debit_annual_rate=0.0, credit_annual_rate=0.0),
            margin=MarginConfig(maintenance=0.0),
            reward=reward or LogReturnReward(),
            observation=observation or ObservationConfig(),
            episode=episode or EpisodeConfig(),
        )

    @property
    def gross_limit(self) -> float:
        """Largest gross exposure that an action can ask for, in multiples of equity."""
        match self.action:
            case SimplexAction():
                return 1.0
            case LevelsAction(levels=levels):
                return max(abs(level) for level in levels)
            case TradeAction():
                return math.inf
            case _:
                return self.action.gross

    @property
    def cash_account(self) -> bool:
        """Whether fills may never take the cash below zero: true unless leverage is asked for."""
        return self.gross_limit <= 1.0
