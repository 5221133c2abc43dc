r"""Cross-asset: an asset against the market and its sector, and what all assets do together.

:math:`r_t = \ln (C_t / C_{t-1})` is the asset's log return over its own bar, :math:`m_t` that of
the equal-weight market over the same interval. A regression on a market that did not move is 0.
The shared features run on the common axis and have one value for all assets.

Each is its step (`features.indicators.cross_asset_steps`): TA-Lib's BETA and CORREL subtract
running sums, which cancel in quiet markets.

Dimensions: T bars of the asset, or of the common axis. Values before the warm-up are NaN.
"""

from typing import Annotated

from annotated_types import Ge

from features.indicators.cross_asset_steps import (
    average_correlation_step,
    beta_downside_step,
    beta_step,
    breadth_step,
    dispersion_step,
    idiosyncratic_volatility_step,
    lead_lag_step,
    market_correlation_step,
    market_drawdown_step,
    market_return_step,
    market_volatility_step,
    relative_return_step,
)
from features.registry import Array, Horizon, Window, feature

__all__ = [
    "average_correlation",
    "beta",
    "beta_downside",
    "breadth",
    "dispersion",
    "idiosyncratic_volatility",
    "lead_lag",
    "market_correlation",
    "market_drawdown",
    "market_return",
    "market_volatility",
    "relative_strength",
    "sector_relative",
]


@feature(
    unit="1",
    warmup=lambda window: window,
    source="Sharpe (1964), JF 19(3); Fama and MacBeth (1973), JPE 81(3), eq. 6",
    step=beta_step,
)
def beta(close_T: Array, market_T: Array, *, window: Window = 63) -> Array:
    r"""Slope of the asset's returns on the market's, :math:`s_{rm} / s_{mm}`."""
    return beta_step.batch((close_T, market_T), window=window)[0]


@feature(
    unit="1",
    warmup=lambda window: window,
    source="Ang, Chen and Xing (2006), Downside Risk, RFS 19(4), eq. 5",
    step=beta_downside_step,
)
def beta_downside(close_T: Array, market_T: Array, *, window: Window = 63) -> Array:
    r"""Beta over the bars on which the market's return is below its mean in the window.

    .. math:: \operatorname{cov}(r, m \mid m < \bar m) / \operatorname{var}(m \mid m < \bar m)

    0 with fewer than three such bars.
    """
    return beta_downside_step.batch((close_T, market_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    source="Pearson's correlation; Campbell, Lo and MacKinlay (1997), chapter 4.3",
    step=market_correlation_step,
)
def market_correlation(close_T: Array, market_T: Array, *, window: Window = 63) -> Array:
    r"""Correlation of the asset's returns with the market's, :math:`s_{rm} / (s_r s_m)`."""
    return market_correlation_step.batch((close_T, market_T), window=window)[0]


@feature(
    unit="log return per square root of a bar",
    warmup=lambda window: window,
    source="Ang, Hodrick, Xing and Zhang (2006), JF 61(1), eq. 8, with one factor",
    step=idiosyncratic_volatility_step,
)
def idiosyncratic_volatility(
    close_T: Array, market_T: Array, *, window: Annotated[int, Ge(3)] = 63
) -> Array:
    r"""Population deviation of what the market does not explain, :math:`r - \beta m`.

    Of three returns at least: a line goes through any two.
    """
    return idiosyncratic_volatility_step.batch((close_T, market_T), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window + 1,
    source="Lo and MacKinlay (1990), When Are Contrarian Profits Due to Overreaction?, RFS 3(2)",
    step=lead_lag_step,
)
def lead_lag(close_T: Array, market_T: Array, *, window: Window = 63) -> Array:
    r"""Correlation of :math:`r_t` with :math:`m_{t-1}`: how the asset follows the market."""
    return lead_lag_step.batch((close_T, market_T), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Levy (1967), Relative strength as a criterion for investment selection, JF 22(4)",
    step=relative_return_step,
)
def relative_strength(close_T: Array, market_T: Array, *, horizon: Horizon = 63) -> Array:
    r"""Return in excess of the market's, :math:`\ln (C_t / C_{t-h}) - \ln (M_t / M_{t-h})`."""
    return relative_return_step.batch((close_T, market_T), horizon=horizon)[0]


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    source="Moskowitz and Grinblatt (1999), Do industries explain momentum?, JF 54(4)",
    step=relative_return_step,
)
def sector_relative(close_T: Array, sector_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Return in excess of the sector's, :math:`\ln (C_t / C_{t-h}) - \ln (S_t / S_{t-h})`."""
    return relative_return_step.batch((close_T, sector_T), horizon=horizon)[0]


@feature(
    unit="log return",
    warmup=lambda horizon: horizon,
    scope="shared",
    source="Cooper, Gutierrez and Hameed (2004), Market states and momentum, JF 59(3)",
    step=market_return_step,
)
def market_return(market_T: Array, *, horizon: Horizon = 21) -> Array:
    r"""Log return of the market over the horizon, :math:`\ln (M_t / M_{t-h})`."""
    return market_return_step.batch((market_T,), horizon=horizon)[0]


@feature(
    unit="log return per square root of a bar",
    warmup=lambda window: window,
    scope="shared",
    source="Andersen, Bollerslev, Diebold and Labys (2003), Econometrica 71(2), eq. 7",
    step=market_volatility_step,
)
def market_volatility(market_T: Array, *, window: Window = 21) -> Array:
    r"""Root mean square of the market's returns, :math:`\sqrt{\tfrac1W \sum_{k<W} m_{t-k}^2}`."""
    return market_volatility_step.batch((market_T,), window=window)[0]


@feature(
    unit="1 (share of the level)",
    warmup=lambda window: window - 1,
    scope="shared",
    source="Magdon-Ismail and Atiya (2004), Maximum drawdown, Risk 17(10)",
    step=market_drawdown_step,
)
def market_drawdown(market_T: Array, *, window: Window = 63) -> Array:
    r"""Distance of the market from its highest level, :math:`M_t / \max_{k<W} M_{t-k} - 1`."""
    return market_drawdown_step.batch((market_T,), window=window)[0]


@feature(
    unit="log return",
    warmup=lambda window: window,
    scope="shared",
    source="Stivers and Sun (2010), Cross-sectional return dispersion, JFQA 45(4)",
    step=dispersion_step,
)
def dispersion(dispersion_T: Array, *, window: Window = 21) -> Array:
    """Mean over the window of the deviation of the assets' returns from each other."""
    return dispersion_step.batch((dispersion_T,), window=window)[0]


@feature(
    unit="1, in [-1, 1]",
    warmup=lambda window: window,
    scope="shared",
    source="Zweig (1986), Winning on Wall Street: advancing and declining issues",
    step=breadth_step,
)
def breadth(breadth_T: Array, *, window: Window = 10) -> Array:
    r"""Mean of the share of assets that rose, centred: :math:`2 \bar b_t - 1`."""
    return breadth_step.batch((breadth_T,), window=window)[0]


@feature(
    unit="1, in [0, 1]",
    warmup=lambda window: window,
    scope="shared",
    source="Pollet and Wilson (2010), Average correlation and stock market returns, JFE 96(3)",
    step=average_correlation_step,
)
def average_correlation(market_T: Array, dispersion_T: Array, *, window: Window = 63) -> Array:
    r"""Average correlation of the assets, from the market's variance and their dispersion.

    .. math:: \sum_k m_{t-k}^2 \Big/ \sum_k (m_{t-k}^2 + d_{t-k}^2)

    For N assets of equal variance and correlation :math:`\rho` the variance of their mean is
    :math:`\sigma^2 (\rho + (1 - \rho) / N)` and its sum with the mean squared dispersion
    :math:`\sigma^2`: the ratio is :math:`\rho + (1 - \rho) / N`. 0 where nothing moved.
    """
    return average_correlation_step.batch((market_T, dispersion_T), window=window)[0]
