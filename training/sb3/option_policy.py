"""Options and controller as a Stable-Baselines3 policy that carries its weights as a state."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from agents.blending import BlendKind, blend, choose
from agents.options import OptionConfig, OptionNetworkConfig
from agents.policy import Policy
from envs.config import ActionConfig
from meta_controller.beliefs import BeliefSource
from meta_controller.chain import draw_option
from meta_controller.config import MetaControllerConfig
from meta_controller.hierarchy import Decision, Inputs, OptionActorCritic
from meta_controller.policy import InjectedOptions, one_hot_rows
from training.sb3.policy import MarketPolicy, action_outputs, flat_tensor


class OptionPolicy(MarketPolicy):
    """``OptionActorCritic`` behind SB3's interface, for index observations.

    SB3's calls without a state (``forward``, ``evaluate_actions``) act as at the beginning of an
    episode. ``predict`` takes and returns the weights (N, K) as its state, and after them the state
    (N, M) of the recurrent unit if there is one.

    Args:
        observation_space: [bar, account].
        action_space: box or discrete.
        lr_schedule: SB3's.
        features_TC: features of the market, float32 (T, C); (0, 0) where there are none.
        config: networks.
        options: what each option is.
        meta: the controller and its execution.
        beliefs: where the belief about regimes stands.
        num_regimes: R; the belief's columns, or the true regimes where the controller is told.
        blend_kind: how outputs blend.
        injected: options that do not learn, by number.
        network_seed: seed of the initial weights.
        use_sde: must be False (SB3 passes it).

    Raises:
        ValueError: a space or an option that does not fit.
    """

    def __init__(  # noqa: PLR0913 - SB3 gives the first three and use_sde
        self,
        observation_space: spaces.Box,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        features_TC: NDArray[np.float32],
        config: OptionNetworkConfig,
        options: tuple[OptionConfig, ...],
        meta: MetaControllerConfig,
        beliefs: BeliefSource,
        num_regimes: int,
        blend_kind: BlendKind,
        injected: Mapping[int, Policy] = MappingProxyType({}),
        network_seed: int = 0,
        use_sde: bool = False,
    ) -> None:
        self._parts = (config, meta, options, num_regimes)
        self.beliefs, self.blend_kind, self.meta = beliefs, blend_kind, meta
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            features_TC=features_TC,
            config=config,
            network_seed=network_seed,
            use_sde=use_sde,
        )
        self.injected = InjectedOptions(injected, self.network, blend_kind)

    def make_network(  # type: ignore[override]  # the same face, of another class
        self, num_features: int, account_size: int, generator: torch.Generator
    ) -> OptionActorCritic:
        """The networks, with initial weights."""
        config, meta, options, num_regimes = self._parts
        return OptionActorCritic(
            config,
            meta,
            options,
            num_features=num_features,
            account_size=account_size,
            outputs=action_outputs(self.action_space),
            num_regimes=num_regimes,
            continuous=not self.discrete,
            generator=generator,
        )

    @property
    def network(self) -> OptionActorCritic:
        """The networks."""
        net = self.net
        assert isinstance(net, OptionActorCritic)  # noqa: S101 - made above
        return net

    @property
    def holds(self) -> bool:
        """Whether one option acts at a time."""
        return self.meta.execution.mode == "hard"

    def decide(
        self,
        obs: Tensor,
        weights_NK: Tensor,
        first_N: Tensor,
        *,
        hard: bool,
        hidden_NM: Tensor | None = None,
    ) -> Decision:
        """Decide in N states of which the weights before are known.

        Args:
            obs: observations (N, O).
            weights_NK: weights before; not read where an episode begins.
            first_N: whether an episode begins.
            hard: whether one option acts at a time.
            hidden_NM: state of the recurrent unit before, if there is one.

        Raises:
            ValueError: there is a recurrent unit, and no state of it or a misshapen one.
            RuntimeError: the controller must be told the true regimes, which no observation holds.
        """
        net = self.network
        if net.controller.told:
            raise RuntimeError(
                "controller oracle: expected the true regimes, which SB3's calls cannot tell it; "
                "use training.agents.policy_of(model), and its `tell`"
            )
        bars, account = self.split(obs)
        embedding, rows = net.encoder.table(self.features, bars)
        inputs = Inputs(
            account,
            self.beliefs.read(self.features, bars, account),
            weights_NK,
            first_N,
            torch.full_like(first_N, hard),
            self.injected.outputs(obs.cpu().numpy()),
            hidden_BM=hidden_NM,
        )
        return net.decide(net.halves(embedding), rows, inputs, isolate=True)

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Distribution of the actions at the beginning of an episode."""
        obs = flat_tensor(obs)
        decision = self._begin(obs)
        output = blend(decision.outputs_BKD, decision.weights_BK, self.blend_kind)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            log_std = decision.weights_BK @ self.network.log_std
            return self.action_dist.proba_distribution(output, log_std)
        return self.action_dist.proba_distribution(action_logits=output)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """State values (B, 1) at the beginning of an episode."""
        obs = flat_tensor(obs)
        net = self.network
        bars, account = self.split(obs)
        state = net.joined(account, net.blank(len(obs)))
        decision = self._begin(obs)
        embedding, rows = net.critic_encoder.table(self.features, bars)
        if net.critic.state_value is None:
            values = net.critic.option_values(embedding, rows, state)
            return (decision.weights_BK * values).sum(dim=1, keepdim=True)
        return net.critic.state_values(embedding, rows, state, decision.previous_BK)[:, None]

    def _begin(self, obs: Tensor) -> Decision:
        """Decide at the beginning of episodes."""
        net = self.network
        first = torch.ones(len(obs), dtype=torch.bool, device=obs.device)
        empty = torch.zeros(len(obs), net.num_options, device=obs.device)
        return self.decide(obs, empty, first, hard=self.holds, hidden_NM=net.blank(len(obs)))

    @torch.no_grad()
    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,  # noqa: FBT001, FBT002 - SB3's signature
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions, and the state to hand in with the next observation.

        Args:
            observation: (N, O), or (O,) of a single environment.
            state: what the call before returned: weights (N, K), and with a recurrent unit its
                state (N, M); None = episodes begin.
            episode_start: lanes whose episode begins.
            deterministic: mean actions of the blend, or in hard execution of the likeliest option
                of the chain's distribution; otherwise both are drawn from torch's generator.

        Raises:
            ValueError: a state of another shape.
            RuntimeError: as `decide`.
        """
        tensor, vectorised = self.obs_to_tensor(observation)
        assert isinstance(tensor, Tensor)  # noqa: S101 - observations are flat
        count = len(tensor)
        weights, *hidden = self._state(count, state)
        first = np.full(count, state is None)
        if episode_start is not None:
            first = first | np.asarray(episode_start, dtype=np.bool_).reshape(-1)
        hard = self.holds
        decision = self.decide(
            tensor.float(),
            torch.as_tensor(weights, device=tensor.device),
            torch.as_tensor(first, device=tensor.device),
            hard=hard,
            hidden_NM=torch.as_tensor(hidden[0], device=tensor.device) if hidden else None,
        )
        output, carried = self._execute(decision, hard=hard, deterministic=deterministic)
        actions = self._finish(output, carried, deterministic=deterministic)
        after: tuple[NDArray[Any], ...] = (carried.cpu().numpy(),)
        if decision.hidden_BM is not None:
            after = (*after, decision.hidden_BM.cpu().numpy())
        return (actions if vectorised else actions[0]), after

    def _state(self, count: int, state: tuple[NDArray[Any], ...] | None) -> list[NDArray[Any]]:
        """Weights, and the recurrent unit's state if there is one; zeros for none."""
        net = self.network
        shapes = {"weights": (count, net.num_options)}
        if net.recurrent:
            shapes["hidden"] = (count, net.recurrent)
        if state is None:
            return [np.zeros(shape, np.float32) for shape in shapes.values()]
        found = [np.shape(part) for part in state]
        if found != list(shapes.values()):
            wanted = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(
                f"state: expected {wanted} of accounts and options, found "
                f"{', '.join(map(str, found)) or 'nothing'}"
            )
        return list(state)

    def _execute(
        self, decision: Decision, *, hard: bool, deterministic: bool
    ) -> tuple[Tensor, Tensor]:
        """Output (N, D), and the weights to carry."""
        weights, outputs = decision.weights_BK, decision.outputs_BKD
        if not hard:
            return blend(outputs, weights, self.blend_kind), weights
        if deterministic:
            return choose(outputs, weights.argmax(dim=1)), weights
        option = draw_option(weights, torch.rand(len(weights), device=weights.device))
        return choose(outputs, option), one_hot_rows(option, weights)

    def _finish(
        self, output_ND: Tensor, weights_NK: Tensor, *, deterministic: bool
    ) -> NDArray[Any]:
        if self.discrete:
            if deterministic:
                return np.asarray(output_ND.argmax(dim=1).cpu().numpy())
            chance = torch.softmax(output_ND, dim=1)
            return np.asarray(torch.multinomial(chance, 1).squeeze(1).cpu().numpy())
        space = self.action_space
        assert isinstance(space, spaces.Box)  # noqa: S101 - not discrete
        if not deterministic:
            std = torch.exp(weights_NK @ self.network.log_std)
            output_ND = output_ND + std * torch.randn_like(output_ND)
        return np.asarray(np.clip(output_ND.cpu().numpy(), space.low, space.high))


def blend_kind(action: ActionConfig) -> BlendKind:
    """How the outputs of options blend for a kind of action."""
    if action.kind == "levels":
        return "categorical"
    simplex = action.kind == "simplex" and action.parametrisation == "logits"
    return "simplex" if simplex else "mean"
