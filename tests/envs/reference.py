"""The whole step once more, in plain Python, for clarity: one account, one asset after the other.

Nothing here is shared with the kernel but the inputs (the unpacked market and the configuration).
"""

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from envs.config import TradingConfig
from envs.market_arrays import MarketArrays

Matrix: TypeAlias = list[list[float]]


def whole_lots(shares: float, lot: float) -> float:
    if lot == 0.0:
        return shares
    return math.copysign(math.floor(abs(shares) / lot + 1e-9) * lot, shares)


def half_form(matrix: Matrix, vector: list[float]) -> float:
    rows = zip(matrix, vector, strict=True)
    return 0.5 * sum(x * m * y for row, x in rows for m, y in zip(row, vector, strict=True))


@dataclass
class Fill:
    """One filled order."""

    shares: float
    price: float
    fee: float
    spread: float
    slippage: float

    @property
    def cash(self) -> float:
        return -self.shares * self.price - self.fee - self.spread - self.slippage


@dataclass
class Reference:
    """One account."""

    market: MarketArrays
    config: TradingConfig
    bar: int
    end: int
    cash: float = 0.0
    laws: list[tuple[Matrix, Matrix]] | None = None
    """Lambda and Sigma of every bar that follows a row, where regimes change them."""
    shares: list[float] = field(default_factory=list)
    terms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.bar
        self.cash = self.config.episode.initial_cash
        self.shares = [0.0] * self.market.num_assets
        self.equity = self.peak = self.cash
        self.mean = self.square = 0.0
        self.assets = range(self.market.num_assets)

    # --- what the market says -----------------------------------------------------------------

    def close(self, bar: int, asset: int) -> float:
        return float(self.market.close_TA[bar, asset])

    def fill_price(self, asset: int) -> float:
        if self.config.fill == "close":
            return self.close(self.bar, asset)
        return float(self.market.open_TA[self.bar + 1, asset])

    @property
    def fill_bar(self) -> int:
        return self.bar if self.config.fill == "close" else self.bar + 1

    def law(self) -> tuple[Matrix, Matrix]:
        """Lambda and Sigma of the bar that follows."""
        if self.laws is not None:
            return self.laws[self.bar]
        identity = [[float(a == b) for b in self.assets] for a in self.assets]
        cost, covariance = self.market.cost_AA, self.market.covariance_AA
        return (
            identity if cost is None else cost.tolist(),
            identity if covariance is None else covariance.tolist(),
        )

    # --- from an action to target shares ------------------------------------------------------

    def weights(self, action: list[float]) -> tuple[list[float], bool]:
        chosen = self.config.action
        assert chosen.kind != "trade"
        if chosen.kind == "levels":
            levels = chosen.levels
            index = min(max(action[0], 0), len(levels) - 1)
            return [levels[int(index)]], index != action[0]
        if chosen.kind == "simplex" and chosen.parametrisation == "logits":
            clipped = [min(max(x, -10.0), 10.0) for x in action]
            outside = any(abs(a - b) > 1e-6 for a, b in zip(action, clipped, strict=True))
            listed = [self.close(self.bar, a) != 0 for a in self.assets]
            parts = [math.exp(clipped[a]) if listed[a] else 0.0 for a in self.assets]
            total = sum(parts) + math.exp(clipped[-1])
            return [part / total for part in parts], outside
        low, gross = (0.0, 1.0) if chosen.kind == "simplex" else (-1.0, chosen.gross)
        clipped = [min(max(x, low), 1.0) for x in action]
        outside = any(abs(a - b) > 1e-6 for a, b in zip(action, clipped, strict=True))
        if chosen.kind == "long_short":
            clipped = [x * chosen.scale for x in clipped]
        total = sum(abs(x) for x in clipped)
        if total > gross:
            outside |= total > gross * (1 + 1e-6)
            clipped = [x * gross / total for x in clipped]
        if chosen.kind == "long_short":
            longs = sum(x for x in clipped if x > 0)
            shorts = -sum(x for x in clipped if x < 0)
            excess = abs(longs - shorts) - chosen.net
            if excess > 0:
                outside |= excess > 1e-6
                if longs > shorts:
                    clipped = [x * (1 - excess / longs) if x > 0 else x for x in clipped]
                else:
                    clipped = [x * (1 - excess / shorts) if x < 0 else x for x in clipped]
        return clipped, outside

    def traded(self, action: list[float]) -> tuple[list[float], bool]:
        chosen = self.config.action
        assert chosen.kind == "trade"
        outside = any(abs(a) > 1 + 1e-6 for a in action)
        targets = []
        for held, asked in zip(self.shares, action, strict=True):
            strength = max(min(abs(asked), 1.0) - chosen.dead_zone, 0.0) / (1 - chosen.dead_zone)
            target = held + math.copysign(strength * chosen.size, asked)
            clipped = min(max(target, -chosen.limit), chosen.limit)
            outside |= abs(target - clipped) > 1e-6 * chosen.limit
            targets.append(clipped)
        return targets, outside

    def targets(self, action: list[float]) -> tuple[list[float], bool]:
        if self.config.action.kind == "trade":
            return self.traded(action)
        closes = [self.close(self.bar, a) for a in self.assets]
        if self.config.action.kind != "shares":
            weights, outside = self.weights(action)
            shares = [
                w * self.equity / abs(p) if p != 0 else 0.0
                for w, p in zip(weights, closes, strict=True)
            ]
            return shares, outside
        low, high = self.config.action.minimum, self.config.action.maximum
        clipped = [min(max(x, low), high) for x in action]
        outside = any(abs(a - b) > 1e-6 for a, b in zip(action, clipped, strict=True))
        lots = [float(x) for x in self.market.lot_A]
        shares = [round(x) * lot if lot > 0 else x for x, lot in zip(clipped, lots, strict=True)]
        value = sum(abs(s * p) for s, p in zip(shares, closes, strict=True))
        limit = self.config.action.gross * self.equity
        if value > limit:
            outside = True
            shares = [
                whole_lots(s * limit / value, lot) for s, lot in zip(shares, lots, strict=True)
            ]
        return shares, outside

    # --- trading ------------------------------------------------------------------------------

    def capacity(self, bar: int, asset: int, *, forced: bool) -> float:
        if not self.market.tradable_TA[bar, asset]:
            return 0.0
        volume = float(self.market.volume_TA[bar, asset])
        if self.config.participation.maximum is not None and not forced:
            return self.config.participation.maximum * volume
        if self.config.impact.coefficient > 0 and volume == 0:
            return 0.0
        return math.inf

    def price_fill(
        self, asset: int, shares: float, price: float, bar: int, *, forced: bool
    ) -> Fill | None:
        if shares == 0:
            return None
        config = self.config
        notional = abs(shares * price)
        volume = float(self.market.volume_TA[bar, asset])
        volatility = float(self.market.volatility_TA[self.bar, asset])
        impact = 0.0
        if config.impact.coefficient > 0:
            impact = config.impact.coefficient * volatility * math.sqrt(abs(shares) / volume)
        half = config.spread.bps / 2 / 10_000
        impact = min(impact, 1 - half)
        bps = config.fee.bps + (config.margin.liquidation_fee_bps if forced else 0.0)
        variable = bps / 10_000 * notional + config.fee.per_share * abs(shares)
        fee = max(config.fee.minimum, variable)
        fill = Fill(shares, price, fee, half * notional, impact * notional)
        if config.cash_account and shares < 0 and fill.cash <= 0:
            return None
        return fill

    def limit_order(self, asset: int, order: float, target: float, limit: float) -> float:
        cut = min(max(order, -limit), limit)
        if cut == order and target == 0:
            return cut
        return whole_lots(cut, float(self.market.lot_A[asset]))

    def execute(
        self,
        orders: list[float],
        targets: list[float],
        prices: list[float],
        bar: int,
        *,
        forced: bool,
    ) -> None:
        limits = [self.capacity(bar, a, forced=forced) for a in self.assets]
        orders = [self.limit_order(a, orders[a], targets[a], limits[a]) for a in self.assets]
        fills = [self.price_fill(a, orders[a], prices[a], bar, forced=forced) for a in self.assets]
        buys = [f for f in fills if f is not None and f.shares > 0]
        left = self.cash + sum(f.cash for f in fills if f is not None)
        if self.config.cash_account and left < 0:
            config = self.config
            spending = -sum(f.cash for f in buys)
            bps = config.fee.bps + (config.margin.liquidation_fee_bps if forced else 0.0)
            scalable = sum(
                f.shares * f.price
                + f.spread
                + f.slippage
                + bps / 10_000 * abs(f.shares * f.price)
                + config.fee.per_share * f.shares
                for f in buys
            )
            available = left + spending - len(buys) * config.fee.minimum
            factor = min(max(available / scalable, 0.0), 1.0) * (1 - 1e-12) if scalable > 0 else 0.0
            for a in self.assets:
                fill = fills[a]
                if fill is not None and fill.shares > 0:
                    scaled = whole_lots(fill.shares * factor, float(self.market.lot_A[a]))
                    fills[a] = self.price_fill(a, scaled, prices[a], bar, forced=forced)
        if self.config.quadratic.coefficient > 0:
            filled = [f.shares if f is not None else 0.0 for f in fills]
            cost = self.config.quadratic.coefficient * half_form(self.law()[0], filled)
            self.cash -= cost
            self.terms["slippage"] += cost
        for a in self.assets:
            fill = fills[a]
            if fill is not None:
                self.cash += fill.cash
                self.shares[a] += fill.shares
                self.terms["fees"] += fill.fee
                self.terms["spread"] += fill.spread
                self.terms["slippage"] += fill.slippage
                self.trades[a] += fill.shares

    # --- the bar ------------------------------------------------------------------------------

    def accrue(self) -> None:
        years = float(self.market.year_fraction_T[self.bar + 1])
        short = sum(
            -self.shares[a] * abs(self.close(self.bar, a))
            for a in self.assets
            if self.shares[a] < 0
        )
        borrow = self.config.borrow.annual_rate * years * short
        if self.cash < 0:
            financing = -self.cash * self.config.financing.debit_annual_rate * years
        else:
            financing = -self.cash * self.config.financing.credit_annual_rate * years
        self.cash -= borrow + financing
        self.terms["borrow"] += borrow
        self.terms["financing"] += financing

    def corporate_actions(self, orders: list[float]) -> None:
        bar = self.bar + 1
        for a in self.assets:
            split = float(self.market.split_TA[bar, a])
            self.shares[a] *= split
            orders[a] *= split
            dividend = self.shares[a] * float(self.market.dividend_TA[bar, a])
            self.cash += dividend
            self.terms["dividends"] += dividend
            if self.market.delisted_TA[bar, a]:
                self.cash += self.shares[a] * self.close(bar, a)
                self.shares[a] = 0.0

    def step(self, action: list[float]) -> float:
        names = ("pnl", "dividends", "fees", "spread", "slippage", "borrow", "financing")
        self.terms = dict.fromkeys(names, 0.0)
        self.trades = [0.0 for _ in self.assets]
        bar = self.bar + 1
        equity = self.equity
        targets, self.projected = self.targets(action)
        orders = [targets[a] - self.shares[a] for a in self.assets]
        for a in self.assets:
            if self.config.action.kind == "trade":
                dust = abs(orders[a]) <= 1e-9 * self.config.action.unit
            else:
                dust = abs(orders[a] * self.close(self.bar, a)) <= 1e-9 * equity
            if dust:
                orders[a] = 0.0
        prices = [self.fill_price(a) for a in self.assets]
        if self.config.fill == "close":
            self.execute(orders, targets, prices, self.fill_bar, forced=False)
            before = [self.shares[a] * self.close(self.bar, a) for a in self.assets]
            self.accrue()
            delisting = [self.shares[a] * float(self.market.split_TA[bar, a]) for a in self.assets]
            self.corporate_actions(orders)
            for a in self.assets:
                self.terms["pnl"] += delisting[a] * self.close(bar, a) - before[a]
        else:
            before = [self.shares[a] * self.close(self.bar, a) for a in self.assets]
            self.accrue()
            held = [self.shares[a] * float(self.market.split_TA[bar, a]) for a in self.assets]
            self.corporate_actions(orders)
            for a in self.assets:
                if self.market.delisted_TA[bar, a]:
                    self.terms["pnl"] += held[a] * self.close(bar, a) - before[a]
                else:
                    self.terms["pnl"] += held[a] * prices[a] - before[a]
            self.execute(orders, targets, prices, self.fill_bar, forced=False)
            for a in self.assets:
                self.terms["pnl"] += self.shares[a] * (self.close(bar, a) - prices[a])
        self.margin_call(bar)
        after = self.cash + sum(self.shares[a] * self.close(bar, a) for a in self.assets)
        reward = self.reward(equity, after)
        self.equity, self.bar = after, bar
        self.peak = max(self.peak, after)
        ruin = self.config.episode.ruin_fraction * self.config.episode.initial_cash
        self.terminated = after <= ruin
        self.truncated = bar >= self.end and not self.terminated
        return reward

    def margin_call(self, bar: int) -> None:
        values = [self.shares[a] * self.close(bar, a) for a in self.assets]
        gross = sum(abs(v) for v in values)
        self.liquidated = self.cash + sum(values) < self.config.margin.maintenance * gross
        if self.liquidated:
            closing = [-s for s in self.shares]
            prices = [self.close(bar, a) for a in self.assets]
            self.execute(closing, [0.0 for _ in self.assets], prices, bar, forced=True)

    def reward(self, before: float, after: float) -> float:
        reward = self.config.reward
        simple = after / before - 1
        log = math.log(max(after / before, 1e-6))
        if reward.kind == "log_return":
            return log
        if reward.kind == "quadratic_utility":
            risk = reward.risk_aversion * half_form(self.law()[1], self.shares)
            return after - before - risk
        if reward.kind == "mean_variance":
            return simple - reward.risk_aversion / 2 * simple**2
        if reward.kind == "drawdown":
            peak = max(self.peak, after)
            rise = (1 - after / peak) - (1 - before / self.peak)
            return log - reward.penalty * max(rise, 0.0)
        variance = self.square - self.mean**2
        ratio = 0.0
        if variance > 1e-18:
            change, square_change = simple - self.mean, simple**2 - self.square
            ratio = (self.square * change - self.mean * square_change / 2) / variance**1.5
        self.mean += reward.eta * (simple - self.mean)
        self.square += reward.eta * (simple**2 - self.square)
        return ratio

    def account(self) -> list[float]:
        weights = [
            self.shares[a] * self.close(self.bar, a) / self.equity if self.equity > 0 else 0.0
            for a in self.assets
        ]
        if self.config.action.kind == "trade":
            weights = [held / self.config.action.unit for held in self.shares]
        cash = self.cash / self.equity if self.equity > 0 else 0.0
        left = 1.0
        if self.config.observation.time_left:
            left = (self.end - self.bar) / (self.end - self.start)
        return [*weights, cash, 1 - self.equity / self.peak, left]
