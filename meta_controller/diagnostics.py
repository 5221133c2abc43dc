"""What executed weights tell of a hierarchy: usage, duration, disruption, collapse.

Definitions: disruption D_t = 1/2 sum_k |w_t(k) - w_{t-1}(k)|; churn = mean D_t, which is the switch
rate where one option acts; duration = 1 / churn, bars. The first bar of an episode is no step.

Dimensions: T steps, N environments, K options, R regimes, D outputs, A assets.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.option_losses import (
    squared_hellinger,
    squared_hellinger_categorical,
    usage_entropy,
)
from meta_controller.chain import total_variation
from meta_controller.config import LEARNED, MetaControllerConfig

_LEAST = 1e-12
_RARE = 0.01
"""Entropy in nats below which a second regime is too rare to be judged by (0.2% of the bars)."""


class Trace(NamedTuple):
    """Who acted, over T steps of N environments."""

    executed_TNK: Tensor
    """Weights that acted, one-hot where one option does."""
    previous_TNK: Tensor
    """Weights before each step."""
    first_TN: Tensor
    """Whether an episode began, bool."""
    belief_TNR: Tensor
    """What the controller was fed."""
    termination_TNK: Tensor
    """Probability that each option ends."""


def diagnose(trace: Trace, beta_max: float) -> dict[str, float]:
    """Figures of a trace, by name.

    Args:
        trace: who acted.
        beta_max: largest probability of an ending, for the saturation.
    """
    executed_BK = trace.executed_TNK.flatten(end_dim=1)
    inside_B = ~trace.first_TN.flatten()
    moved_B = total_variation(executed_BK, trace.previous_TNK.flatten(end_dim=1))[inside_B]
    usage_K = executed_BK.mean(dim=0)
    # One option by itself has no usage to speak of.
    found = {f"usage_{k}": float(share) for k, share in enumerate(usage_K)}
    found["usage_entropy"] = float(usage_entropy(usage_K))
    found["blend_entropy"] = float(state_entropy(executed_BK).mean())
    if len(moved_B):
        churn = float(moved_B.mean())
        found["churn"] = churn
        found["mean_duration"] = 1.0 / churn if churn > 0.0 else math.inf
        found["disruption_p99"] = float(torch.quantile(moved_B[:1_000_000].float(), 0.99))
        found["disruption_max"] = float(moved_B.max())
    ends_BK = trace.termination_TNK.flatten(end_dim=1)
    found["termination_mean"] = float((ends_BK * executed_BK).sum(dim=1).mean())
    found["termination_saturation"] = float((ends_BK > 0.95 * beta_max).float().mean())
    if trace.belief_TNR.shape[2] > 1:
        belief_BR = trace.belief_TNR.flatten(end_dim=1)
        found["regime_information"] = mutual_information(executed_BK, belief_BR)
        found["belief_switch_rate"] = belief_switch_rate(trace.belief_TNR, trace.first_TN)
    return found


def belief_switch_rate(belief_TNR: Tensor, first_TN: Tensor) -> float:
    """Share of steps inside episodes in which another regime becomes the likeliest; 0 without any.

    The regimes' own switch rate where the belief is certain, and as much as a controller can know
    of it elsewhere; a belief that flickers changes more often than the regimes do.
    """
    likeliest_TN = belief_TNR.argmax(dim=2)
    known_TN = torch.isfinite(belief_TNR).all(dim=2)
    inside_TN = ~first_TN[1:] & known_TN[1:] & known_TN[:-1]
    changed = (likeliest_TN[1:] != likeliest_TN[:-1])[inside_TN]
    return float(changed.float().mean()) if len(changed) else 0.0


def holdings_disruption(action_BA: Tensor, unmoved_BA: Tensor, gross_limit: float = 1.0) -> Tensor:
    """The part of a trade that the controller causes: 1/2 |a(s, w) - a(s, w')|_1 / limit, (B,).

    Args:
        action_BA: target holdings under the executed weights w, shares of equity.
        unmoved_BA: target holdings in the same states under the weights before, w'.
        gross_limit: largest gross exposure, > 0, in the same units.
    """
    return 0.5 * (action_BA - unmoved_BA).abs().sum(dim=1) / gross_limit


def state_entropy(weights_BK: Tensor) -> Tensor:
    """Entropy of each row over log K, 0 .. 1; 0 for a single option."""
    if weights_BK.shape[1] == 1:
        return weights_BK.new_zeros(len(weights_BK))
    terms = weights_BK * weights_BK.clamp_min(_LEAST).log()
    return -terms.sum(dim=1) / math.log(weights_BK.shape[1])


def mutual_information(weights_BK: Tensor, belief_BR: Tensor) -> float:
    r"""Normalised mutual information of option and regime, 0 .. 1.

    Of the joint distribution p(k, r) = mean_b w_b(k) pi_b(r): I / sqrt(H_k H_r); 0 where one option
    acts alone, nan where there is but one regime (or others hardly ever). Rows without a
    belief (not finite) are left out.
    """
    known_B = torch.isfinite(belief_BR).all(dim=1)
    joint_KR = weights_BK[known_B].double().T @ belief_BR[known_B].double()
    joint_KR = joint_KR / joint_KR.sum().clamp_min(_LEAST)
    option_K, regime_R = joint_KR.sum(dim=1), joint_KR.sum(dim=0)

    def entropy(p: Tensor) -> float:
        return -float((p * p.clamp_min(_LEAST).log()).sum())

    shared = entropy(option_K) + entropy(regime_R) - entropy(joint_KR.flatten())
    if entropy(regime_R) < _RARE:
        return math.nan
    scale = math.sqrt(max(entropy(option_K), 0.0) * entropy(regime_R))
    return min(max(0.0, shared) / scale, 1.0) if scale > 1e-9 else 0.0


def pairwise_distance(outputs_BKD: Tensor, log_std_KD: Tensor | None) -> float:
    """Mean Hellinger distance between options, 0 .. 1; nan for a single one.

    Args:
        outputs_BKD: of each option.
        log_std_KD: of its Gaussian; None where outputs are logits of discrete actions.
    """
    if outputs_BKD.shape[1] < 2:
        return math.nan
    if log_std_KD is None:
        squared = squared_hellinger_categorical(outputs_BKD)
    else:
        squared = squared_hellinger(outputs_BKD, log_std_KD)
    return float(squared.clamp_min(0.0).sqrt().mean())


def collapses(found: dict[str, float], config: MetaControllerConfig) -> dict[str, str]:
    """Ways in which the options have collapsed, by name, each in words with a remedy.

    A controller that never chooses (fixed, uniform) is asked only whether its options differ.

    Args:
        found: result of `diagnose`, with `hellinger` where it is known.
        config: what can be changed.
    """
    if _count(found) < 2:
        return {}
    chooses = config.controller.kind not in ("fixed", "uniform")
    faults: dict[str, str] = {}
    if chooses:
        learns = config.controller.kind in LEARNED
        faults = _usage_faults(found, learns=learns) | _time_faults(found, config)
    if found.get("hellinger", 1.0) < 0.05:
        faults["all_the_same"] = (
            f"options act alike (mean Hellinger distance {found['hellinger']:.3f}): raise "
            "meta_controller.terms.diversity, or give each a head start on its regime "
            "(meta_controller.head_start)"
        )
    return faults


def _count(found: dict[str, float]) -> int:
    """How many options there are: as many usages, less the usages' entropy."""
    return sum(name.startswith("usage_") for name in found) - 1


def _usage_faults(found: dict[str, float], *, learns: bool) -> dict[str, str]:
    faults: dict[str, str] = {}
    largest = max(found[f"usage_{option}"] for option in range(_count(found)))
    if found["usage_entropy"] < 0.5 or largest > 0.9:
        faults["one_takes_all"] = (
            f"one option takes all (largest share {largest:.2f}, usage entropy "
            f"{found['usage_entropy']:.2f}): raise meta_controller.terms.balance or anchor, or "
            "give each option a head start on its regime (meta_controller.head_start)"
        )
    if found["blend_entropy"] > 0.95:
        faults["uniform_blend"] = (
            f"every state blends all options evenly (entropy {found['blend_entropy']:.2f}): feed "
            "the controller a belief about regimes (regime=..., market.world.regime=belief)"
        )
        if learns:
            faults["uniform_blend"] += ", or lower agent.ppo.entropy"
    if found.get("regime_information", 1.0) < 0.01:
        faults["blind_to_regimes"] = (
            "which option acts has nothing to do with the regime (mutual information "
            f"{found['regime_information']:.3f}): use the residual controller, lower "
            "meta_controller.terms.switch_cost, or look at the belief (perennial regimes plot)"
        )
    return faults


def _time_faults(found: dict[str, float], config: MetaControllerConfig) -> dict[str, str]:
    faults: dict[str, str] = {}
    if found.get("mean_duration", math.inf) < 3.0 and config.execution.mode != "blended":
        faults["ends_every_step"] = (
            f"options last {found['mean_duration']:.1f} bars: lower "
            "meta_controller.execution.beta_max or raise meta_controller.terms.switch_cost"
        )
    changes = found.get("belief_switch_rate", 0.0)
    if found.get("churn", math.inf) < 0.2 * changes:
        faults["never_switches"] = (
            f"options hardly ever switch (churn {found['churn']:.4f} a bar) while another regime "
            f"becomes the likeliest in {changes:.4f} of the bars: lower "
            "meta_controller.terms.switch_cost or termination, raise "
            "meta_controller.execution.initial_termination, or look at the belief, which may "
            "flicker (perennial regimes plot)"
        )
    return faults
