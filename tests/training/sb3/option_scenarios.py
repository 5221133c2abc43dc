"""Small agents made of options on small markets, shared by their tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.encoder import EncoderConfig
from agents.options import LearnedOption, OptionNetworkConfig, RuleOption
from agents.policy import Policy
from envs.config import EpisodeConfig, LevelsAction, ObservationConfig, SimplexAction, TradingConfig
from envs.market_arrays import MarketArrays
from envs.simulator import Simulator
from meta_controller.beliefs import BeliefSource
from meta_controller.config import MetaControllerConfig
from tests.training.sb3.scenarios import WINDOW
from training.sb3.config import PPOConfig
from training.sb3.option_buffer import OptionBatch
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_ppo import OptionPPO
from training.sb3.vec_env import SimulatorVecEnv

Actions = Literal["logits", "weights", "levels"]
Mode = Literal["blended", "hard", "alternate"]
MODES: tuple[Mode, ...] = ("blended", "hard", "alternate")
BELIEFS = BeliefSource("features", (3, 4, 5))
LANES, STEPS = 8, 16


@dataclass
class Constant:
    """Always the same action; not a number in the bars of `broken`."""

    action_D: Sequence[float]
    broken: int = 0
    """Bars whose number this divides; 0 = none."""

    def reset(self, num_envs: int) -> None:
        """Nothing to forget."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """The action for each account."""
        actions = np.tile(np.asarray(self.action_D, float), (len(observation_NO), 1))
        if self.broken:
            actions[observation_NO[:, 0].astype(int) % self.broken == 0] = np.nan
        return actions


def market(num_bars: int = 120, num_assets: int = 2) -> MarketArrays:
    """Random walks; three features that say nothing, and a belief about three regimes."""
    random = np.random.default_rng(5)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.02, (num_bars, num_assets)), axis=0))
    logits = np.cumsum(random.normal(size=(num_bars, 3)), axis=0)
    belief = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return MarketArrays.from_arrays(
        ts_event=np.arange(num_bars) * 86_400 * 10**9,
        open_TA=close * np.exp(random.normal(0.0, 0.002, close.shape)),
        close_TA=close,
        volume_TA=np.full(close.shape, 1e7),
        features=np.hstack([random.normal(size=(num_bars, 3)), belief]).astype(np.float32),
    )


def make_env(
    actions: Actions = "logits", lanes: int = LANES, num_bars: int = 120, length: int = 5
) -> SimulatorVecEnv:
    """Episodes of at most `length` bars; many of 5 end in ruin, none of more."""
    action: Any = LevelsAction()
    if actions != "levels":
        action = SimplexAction(parametrisation=actions)
    config = TradingConfig(
        action=action,
        observation=ObservationConfig(kind="index", window=WINDOW),
        episode=EpisodeConfig(length=length, ruin_fraction=0.985 if length == 5 else 0.01),
    )
    arrays = market(num_bars, 1 if actions == "levels" else 2)
    return SimulatorVecEnv(Simulator(arrays, config, lanes, seed=3, autoreset="same_step"))


def make_agent(mode: Mode = "blended", *, learned: int = 3, rules: int = 0, **parts: Any) -> Any:
    """The configuration: `meta`, `policy` and `ppo` are changes of its parts."""
    meta = {"execution": {"mode": mode, "hard_share": 0.5, "beta_max": 0.6}} | parts.pop("meta", {})
    encoder = EncoderConfig(window=WINDOW, channels=4, hidden=8, embedding=8)
    sizes: dict[str, Any] = {"encoder": encoder, "hidden": (8, 8), "critic_hidden": (8, 8)}
    sizes |= {"expert_hidden": (4,), "output_gain": 1.0} | parts.pop("policy", {})
    ppo = {"steps": STEPS, "minibatch": 32, "epochs": 2} | parts.pop("ppo", {})
    return OptionAgentConfig(
        options=(LearnedOption(),) * learned + (RuleOption(name="cash"),) * rules,
        meta_controller=MetaControllerConfig(**meta),
        policy=OptionNetworkConfig(**sizes),
        ppo=PPOConfig(**ppo),
        **parts,
    )


def make_learner(
    mode: Mode = "blended",
    *,
    actions: Actions = "logits",
    lanes: int = LANES,
    num_bars: int = 120,
    length: int = 5,
    injected: Mapping[int, Policy] | None = None,
    seed: int = 7,
    tensorboard_log: str | None = None,
    **agent: Any,
) -> OptionPPO:
    """A learner of 8 environments and rollouts of 16 steps, told of three regimes."""
    env = make_env(actions, lanes, num_bars, length)
    return OptionPPO(
        env,
        env.features,
        agent=make_agent(mode, rules=len(injected or {}), **agent),
        beliefs=BELIEFS,
        num_regimes=3,
        injected=injected or {},
        seed=seed,
        device="cpu",
        tensorboard_log=tensorboard_log,
    )


def collect(model: OptionPPO) -> OptionPPO:
    """Play one more rollout, which waits for its update."""
    callback = model._setup_learn(model.num_timesteps, reset_num_timesteps=False)[1]
    assert model.collect_rollouts(model.vec_env, callback, model.rollout, model.n_steps)
    return model


def samples(model: OptionPPO) -> tuple[OptionBatch, Tensor]:
    """The samples that the update takes, and the critic's values of them."""
    with torch.no_grad():
        return model.samples()


def shaken(model: OptionPPO, by: float = 0.3) -> OptionPPO:
    """Another set of weights, in which gate and terminations depend on the state."""
    with torch.no_grad():
        for number, parameter in enumerate(model.policy.net.parameters()):
            wave = torch.sin(torch.arange(parameter.numel()) * 1.7 + number)
            parameter.add_(by * wave.view_as(parameter))
    return model
