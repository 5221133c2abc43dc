"""Which detectors run on which market, and the oracle filter with the true parameters."""

import math
from collections.abc import Mapping

import numpy as np

from envs.synthetic import MarketConfig
from experiments.regime_detection.worlds import DEGREES, Noise, transition_of
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.regime_gbm import RegimeGBM
from regimes.base import DetectorConfig
from regimes.change_points import BOCPDConfig
from regimes.hmm import GaussianHMMConfig, StudentHMMConfig, SwitchingRegressionConfig
from regimes.hmm_model import SwitchingRegression
from regimes.jump import JumpConfig
from regimes.mixture import DPGMMConfig
from regimes.mixture_sticky import StickyDPGMMConfig
from regimes.rule import RuleConfig


def configs(market: MarketConfig) -> Mapping[str, DetectorConfig]:
    """Detectors by name, with their default settings but for the number of regimes."""
    regimes = market.num_regimes
    found: dict[str, DetectorConfig] = {
        "gaussian_hmm": GaussianHMMConfig(num_regimes=regimes),
        "student_hmm": StudentHMMConfig(num_regimes=regimes),
        "dpgmm": DPGMMConfig(),
        "dpgmm_returns": DPGMMConfig(inputs="returns"),
        "sticky_dpgmm": StickyDPGMMConfig(),
        "bocpd": BOCPDConfig(num_regimes=regimes),
        "jump": JumpConfig(num_regimes=regimes),
        "rule": RuleConfig(),
    }
    if not isinstance(market, RegimeGBM):
        found["switching_regression"] = SwitchingRegressionConfig(num_regimes=regimes)
        found["switching_regression_t"] = SwitchingRegressionConfig(
            num_regimes=regimes, noise="student"
        )
    return found


def oracle_filter(market: MarketConfig, noise: Noise) -> SwitchingRegression:
    """The exact Bayes filter of a market with that noise (cut off far out)."""
    nu = math.inf if noise == "gaussian" else DEGREES
    transition_KK = transition_of(market)
    if isinstance(market, RegimeGBM):
        law = market.law
        return SwitchingRegression.from_parameters(
            transition=transition_KK,
            mean=law.log_drift_KA[:, 0],
            covariance=law.volatility_KA[:, 0] ** 2,
            nu=nu,
        )
    if isinstance(market, GarleanuPedersen):
        system = market.system
        return SwitchingRegression.from_parameters(
            transition=transition_KK,
            mean=np.zeros(system.loading_KAS.shape[:2]),
            covariance=system.covariance_KAA,
            loadings=system.loading_KAS,
            nu=nu,
        )
    spread = market.spread
    return SwitchingRegression.from_parameters(
        transition=transition_KK,
        mean=spread.speed_K * spread.mean_K,
        covariance=spread.volatility_K**2,
        loadings=-spread.speed_K[:, None],
        nu=nu,
    )
