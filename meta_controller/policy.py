"""The hierarchical policy: options and controller acting bar by bar, with what they remember."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.blending import BlendKind, blend, choose
from agents.policy import Policy
from meta_controller.beliefs import BeliefSource, one_hot
from meta_controller.chain import draw_option
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic

_LOG = logging.getLogger(__name__)
Execution = Literal["blended", "sampled", "mode"]
"""How a policy acts: all options by their weights; one, drawn as in training; or the likeliest one
of the chain's marginal distribution, without chance."""
_CERTAIN = 10.0
"""Logit of the action that an injected option chooses from a list."""


@dataclass(frozen=True)
class Step:
    """What a policy did in its last bar, for N accounts."""

    decision: Decision
    """Who was to act."""
    weights_NK: Tensor
    """Executed weights, one-hot where one option acts."""
    option_NKD: NDArray[np.float64]
    """Action of each option alone."""
    belief_NR: Tensor
    """What the controller was fed."""


class HierarchicalPolicy:
    """Trained networks as a `Policy` that remembers its weights, and its recurrent unit's state.

    The market is encoded once, when the policy is made; later changes of the network are not seen.

    Args:
        network: options, controller, critic.
        features_TC: features of the market, float32 (T, C); (0, 0) without any.
        beliefs: where the belief about regimes stands.
        kind: how outputs blend.
        low: lower bounds of the actions (D,), or None for a discrete network.
        high: upper bounds of the actions (D,), or None for a discrete network.
        injected: options that do not learn, by number, acting in the same action space.
        execution: how it acts.
        seed: of the draws of `sampled`.

    Raises:
        ValueError: features of another width, or injected options that do not fit.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts of one composition
        self,
        network: OptionActorCritic,
        features_TC: NDArray[np.float32],
        beliefs: BeliefSource,
        *,
        kind: BlendKind,
        low: NDArray[np.float32] | None = None,
        high: NDArray[np.float32] | None = None,
        injected: Mapping[int, Policy] | None = None,
        execution: Execution = "blended",
        seed: int = 0,
    ) -> None:
        if features_TC.ndim != 2 or features_TC.shape[1] != network.num_features:
            raise ValueError(
                f"features: expected (T, {network.num_features}) for this network, "
                f"found {features_TC.shape}"
            )
        self.network, self.beliefs, self.kind, self.execution = network, beliefs, kind, execution
        self._low, self._high, self._seed = low, high, seed
        self.injected = InjectedOptions(injected or {}, network, kind)
        self._device = network.log_std.device
        with torch.no_grad():
            self._features = torch.tensor(features_TC, device=self._device)
            self._halves = network.halves(network.encoder.encode_series(self._features))
        self.failures_K = np.zeros(network.num_options, np.int64)
        """Rows in which each option failed, since this policy was made."""
        self._told: Tensor | None = None
        self.last: Step | None = None
        """The last bar."""
        self.reset(0)

    @property
    def wants_regimes(self) -> bool:
        """Whether it must be told the true regimes before it acts (`tell`)."""
        return self.network.controller.told

    @property
    def wants_payoffs(self) -> bool:
        """Whether it must be told what each option would have earned after it acted (`learn`)."""
        return self.network.controller.remembers

    def reset(self, num_envs: int) -> None:
        """Forget all episodes; ``num_envs`` accounts follow."""
        self._first_N = torch.ones(num_envs, dtype=torch.bool, device=self._device)
        self._weights_NK = torch.zeros(num_envs, self.network.num_options, device=self._device)
        self._memory = self.network.controller.start(num_envs)
        self._hidden = self.network.blank(num_envs)
        self._generator = torch.Generator().manual_seed(self._seed)
        self._told = None

    def tell(self, regime_N: NDArray[np.int64]) -> None:
        """Say which regimes the accounts are in, for the next action of a controller that is told.

        Raises:
            ValueError: another number of accounts, or a regime that there is not.
        """
        accounts, regimes = len(self._first_N), self.network.num_regimes
        found = np.asarray(regime_N)
        if found.shape != (accounts,) or not ((found >= 0) & (found < regimes)).all():
            raise ValueError(
                f"regimes: expected {accounts} of 0 .. {regimes - 1}, an account each, found "
                f"{found.tolist()}"
            )
        self._told = one_hot(found.tolist(), regimes).to(self._device)

    def learn(self, payoff_NK: NDArray[np.float64]) -> None:
        """Say what each option would have earned in the bar after the last action.

        Raises:
            ValueError: another number of accounts or options.
        """
        expected = (len(self._first_N), self.network.num_options)
        if np.shape(payoff_NK) != expected:
            raise ValueError(
                f"payoffs: expected {expected}, a row for each account and a column for each "
                f"option, found {np.shape(payoff_NK)}"
            )
        if self._memory is not None:
            payoffs = torch.as_tensor(payoff_NK, dtype=torch.float32).to(self._device)
            self._memory = self.network.controller.learn(self._memory, payoffs)

    @torch.no_grad()
    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """Choose actions: (N, D) continuous, or (N, 1) holding the number of a discrete action.

        Raises:
            ValueError: another width, another number of accounts than `reset` announced, or a
                bar outside the market.
            RuntimeError: the controller must be told the regimes of this bar, and was not.
        """
        decision, belief_NR = self._decide(observation_NO)
        self._told = None
        hard = self.execution != "blended"
        weights_NK = decision.weights_BK
        if self.execution == "sampled":
            noise_N = torch.rand(len(weights_NK), generator=self._generator).to(self._device)
            option_N = draw_option(weights_NK, noise_N)
            executed_NK = one_hot_rows(option_N, weights_NK)
            self._weights_NK = executed_NK
        else:
            self._weights_NK = weights_NK
            option_N = weights_NK.argmax(dim=1)
            executed_NK = one_hot_rows(option_N, weights_NK) if hard else weights_NK
        self._first_N = torch.zeros_like(self._first_N)
        self._hidden = decision.hidden_BM
        outputs_NKD = decision.outputs_BKD
        output_ND = (
            choose(outputs_NKD, option_N) if hard else blend(outputs_NKD, executed_NK, self.kind)
        )
        each = self._actions(outputs_NKD.flatten(end_dim=1))
        shape = (*outputs_NKD.shape[:2], each.shape[1])
        self.last = Step(decision, executed_NK, each.reshape(shape), belief_NR)
        self._count(decision)
        return self._actions(output_ND)

    def _decide(self, observation_NO: NDArray[np.float32]) -> tuple[Decision, Tensor]:
        network = self.network
        expected = (len(self._first_N), network.account_size + 1)
        if observation_NO.shape != expected:
            raise ValueError(
                f"observation: expected {expected} as [bar, account] of the accounts that reset "
                f"announced, found {observation_NO.shape}"
            )
        observation = torch.as_tensor(observation_NO, dtype=torch.float32).to(self._device)
        bars_N, account_NP = observation[:, 0].long(), observation[:, 1:]
        if network.num_features and len(bars_N):
            bars = len(self._features)
            if not 0 <= int(bars_N.min()) <= int(bars_N.max()) < bars:
                raise ValueError(
                    f"observation: expected bars 0 .. {bars - 1}, found {int(bars_N.min())} .. "
                    f"{int(bars_N.max())}"
                )
        belief_NR = self.beliefs.read(self._features, bars_N, account_NP)
        if network.controller.told:
            if self._told is None:
                raise RuntimeError("controller oracle: expected the regimes (`tell`), found none")
            belief_NR = self._told
        hard = torch.full_like(self._first_N, self.execution != "blended")
        inputs = Inputs(
            account_NP,
            belief_NR,
            self._weights_NK,
            self._first_N,
            hard,
            self.injected.outputs(observation_NO),
            self._memory,
            self._hidden,
        )
        return network.decide(self._halves, bars_N, inputs, isolate=True), belief_NR

    def _actions(self, output_BD: Tensor) -> NDArray[np.float64]:
        output: NDArray[np.float32] = output_BD.cpu().numpy()
        if self._low is None or self._high is None:
            chosen: NDArray[np.float64] = output.argmax(axis=1, keepdims=True).astype(np.float64)
            return chosen
        clipped: NDArray[np.float64] = np.clip(output, self._low, self._high).astype(np.float64)
        return clipped

    def _count(self, decision: Decision) -> None:
        if decision.failed_BK is None or not bool(decision.failed_BK.any()):
            return
        before = self.failures_K.copy()
        self.failures_K += decision.failed_BK.sum(dim=0).cpu().numpy()
        for option in np.flatnonzero((before == 0) & (self.failures_K > 0)):
            _LOG.warning(
                "option %d gave outputs that are not finite; its weight goes to the fallback",
                option,
            )


class InjectedOptions:
    """Options that act by themselves, as outputs of the network's language.

    They are asked without a memory, each bar as if it were an episode's first: what an option would
    do is a function of the observation. What is not an action (not finite; of a list, not one of
    its numbers) becomes outputs that are not finite, by which the option is known to have failed.

    Args:
        options: by number.
        network: whose other options learn.
        kind: how outputs blend.

    Raises:
        ValueError: other numbers than the network's options that do not learn.
    """

    def __init__(
        self, options: Mapping[int, Policy], network: OptionActorCritic, kind: BlendKind
    ) -> None:
        wanted = sorted(set(range(network.num_options)) - set(network.options.learned))
        if sorted(options) != wanted:
            raise ValueError(f"injected: expected options {wanted}, found {sorted(options)}")
        self.options: Mapping[int, Policy] = dict(sorted(options.items()))
        self._kind, self._network = kind, network
        self._shape = (network.num_options, network.outputs)

    def outputs(self, observation_NO: NDArray[np.float32]) -> Tensor | None:
        """Outputs (N, K, D), zeros in the places of options that learn; None without any.

        Raises:
            ValueError: an option gave actions of another shape.
        """
        if not self.options:
            return None
        found = np.zeros((len(observation_NO), *self._shape), np.float32)
        discrete = self._kind == "categorical"
        expected = (len(observation_NO), 1 if discrete else self._shape[1])
        for number, option in self.options.items():
            option.reset(len(observation_NO))
            actions = np.asarray(option.act(observation_NO), dtype=np.float64)
            if actions.shape != expected:
                raise ValueError(
                    f"option {number}: expected actions {expected}, found {actions.shape}"
                )
            with np.errstate(over="ignore"):  # too large for single precision: not finite
                found[:, number] = self._certain(actions) if discrete else actions
        return torch.from_numpy(found).to(self._network.log_std.device)

    def _certain(self, chosen_N1: NDArray[np.float64]) -> NDArray[np.float32]:
        """Logits (N, D) of actions chosen from a list; not a number where the choice is not one."""
        chosen_N = chosen_N1[:, 0]
        sound_N = np.isin(chosen_N, np.arange(self._shape[1]))
        logits_ND = np.full((len(chosen_N), self._shape[1]), -_CERTAIN, np.float32)
        numbers_N = np.where(sound_N, chosen_N, 0.0).astype(np.int64)
        logits_ND[np.arange(len(chosen_N)), numbers_N] = _CERTAIN
        logits_ND[~sound_N] = np.nan
        return logits_ND


def one_hot_rows(option_N: Tensor, like_NK: Tensor) -> Tensor:
    """Rows (N, K) with a one for the option."""
    return torch.zeros_like(like_NK).scatter_(1, option_N[:, None], 1.0)
