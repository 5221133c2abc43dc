"""Agents trained before as options: the same actions as in their own run, and never trained."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from omegaconf import open_dict

from agents.policy import Policy, TorchPolicy
from meta_controller.policy import HierarchicalPolicy
from perennial import main
from training.agents import build_learner, policy_of
from training.callbacks import Watch
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.config import TrainConfig
from training.errors import ConfigError
from training.learning import checkpoints, choose, chosen, learn
from training.option_sources import injected_options
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_ppo import OptionPPO
from training.signals import StopRequest
from training.tasks.choice import open_task
from training.tasks.task import Task

SHORT = ("schedule.total_steps=1024", "schedule.checkpoint_steps=1024")
MARKET = ("market=garleanu_pedersen", "market.world.regime=belief")
FALLBACK = ("agent.meta_controller.controller.kind=fallback",)
HMM = ("regime=hmm", "regime.detector.restarts=1", "regime.detector.nu=8.0")


def configuration(*overrides: str) -> TrainConfig:
    words = ["debug=tiny", "seeds=1", "device=cpu", "threads=1", "tracking=journal", *SHORT]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=[*words, *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def trained(folder: Path, *overrides: str) -> Path:
    """A run without its judgement."""
    config = configuration(*overrides)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.to_container()))
    watch = Watch(lambda *_: None, lambda *_: None, StopRequest(), lambda _: None)
    for seed in range(config.seed, config.seed + config.seeds):
        learn(config, open_task(config), seed, folder / f"seed-{seed}", watch)
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat agent of the default stocks."""
    return trained(tmp_path_factory.mktemp("frozen") / "flat", "seeds=2", "seed=3")


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat agent of a synthetic market."""
    return trained(tmp_path_factory.mktemp("frozen") / "streamed", *MARKET)


def beside(run: Path, *others: str, seed: int | None = None) -> tuple[str, ...]:
    """An agent of a learned option, one that is frozen, and others."""
    frozen = f"{{kind: frozen,run: {run},seed: {'null' if seed is None else seed}}}"
    return "agent=options", f"agent.options=[{','.join(['{kind: learned}', frozen, *others])}]"


def frozen_of(config: TrainConfig, task: Task | None = None) -> Policy:
    assert isinstance(config.agent, OptionAgentConfig)
    return injected_options(config.agent.options, task or open_task(config))[1]


def own_policy(run: Path, seed: int) -> Policy:
    """The agent as its own run judges it."""
    config = TrainConfig.from_yaml(run / "config.yaml")
    task = open_task(config)
    model = build_learner(config, task, seed)
    choose(chosen(config, checkpoints(config, run / f"seed-{seed}")), model, task)
    return policy_of(model)


def observations(task: Task, count: int = 64) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    width = task.simulator(0).observe_index().shape[1]
    found = random.dirichlet(np.ones(width - 1), count).astype(np.float32)
    bars = random.integers(200, 3000, (count, 1)).astype(np.float32)
    return np.concatenate([bars, found], axis=1)


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("regime", [(), HMM], ids=["without regimes", "beside regimes"])
def test_the_frozen_agent_acts_as_in_its_own_run(
    flat: Path, seed: int | None, regime: tuple[str, ...]
) -> None:
    config = configuration(*beside(flat, seed=seed), *regime)
    task = open_task(config)
    frozen, own = frozen_of(config, task), own_policy(flat, seed or 3)
    seen = observations(task)
    frozen.reset(len(seen))
    own.reset(len(seen))
    np.testing.assert_array_equal(frozen.act(seen), own.act(seen))
    assert np.ptp(own.act(seen), axis=0).max() > 1e-3


def test_the_frozen_agent_of_a_stream_acts_as_in_its_own_run(streamed: Path) -> None:
    config = configuration(*MARKET, *beside(streamed))
    task = open_task(config)
    seen = observations(task)
    frozen, own = frozen_of(config, task), own_policy(streamed, 0)
    np.testing.assert_array_equal(frozen.act(seen), own.act(seen))


def test_agents_that_follow_the_belief_at_once_can_be_frozen_with_their_rules(
    tmp_path: Path,
) -> None:
    options = "agent.options=[{kind: learned},{kind: learned},{kind: rule,name: cash}]"
    run = trained(tmp_path / "run", *MARKET, "agent=options", options, *FALLBACK)
    config = configuration(*MARKET, *beside(run))
    task = open_task(config)
    seen = observations(task)
    frozen, own = frozen_of(config, task), own_policy(run, 0)
    assert isinstance(frozen, HierarchicalPolicy)
    own.reset(len(seen))
    for _ in range(2):  # begun anew in each bar, it does as the one that goes on
        frozen.reset(len(seen))
        np.testing.assert_array_equal(frozen.act(seen), own.act(seen))


def network_of(policy: Policy) -> Mapping[str, torch.Tensor]:
    assert isinstance(policy, TorchPolicy)
    return policy._actor.state_dict()


def test_training_leaves_the_frozen_weights_alone_and_repeats(streamed: Path) -> None:
    config = configuration(*MARKET, *beside(streamed))
    models = []
    for _ in range(2):
        model = build_learner(config, open_task(config), seed=5)
        assert isinstance(model, OptionPPO)
        frozen = model.policy.injected.options[1]
        before = {k: v.clone() for k, v in network_of(frozen).items()}
        start = {k: v.clone() for k, v in model.policy.net.state_dict().items()}
        model.learn(1024)
        assert all(torch.equal(v, before[k]) for k, v in network_of(frozen).items())
        moved = model.policy.net.state_dict()
        assert any(not torch.equal(v, start[k]) for k, v in moved.items())
        models.append(model)
    first, second = (model.policy.net.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_with_a_frozen_agent_is_judged_again_and_resumed_from_its_path(
    streamed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = ["debug=tiny", "seeds=1", "device=cpu", "threads=1", "tracking=journal", *SHORT]
    few = ["evaluation.optimality.episodes=16", "evaluation.optimality.length=24"]
    assert main(["train", *words, *MARKET, *few, *beside(streamed), f"run={folder}"]) == 0
    metrics = folder / "evaluation" / "metrics.json"
    before = json.loads(metrics.read_text())
    metrics.unlink()
    assert main(["evaluate", str(folder)]) == 0
    assert json.loads(metrics.read_text()) == before
    store = CheckpointStore(folder / "seed-0" / "checkpoints")
    last = store.latest()
    assert last is not None
    weights = load(last).weights
    shutil.rmtree(last)
    assert main(["train", f"resume={folder}"]) == 0
    resumed = load(last).weights
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def test_a_run_that_is_absent_unfinished_or_of_another_seed_is_refused(
    streamed: Path, tmp_path: Path
) -> None:
    where = r"agent.options\[1\].run"
    for run, seed, message in (
        (tmp_path / "nowhere", None, "expected the configuration of a run, found no such file"),
        (streamed, 7, r"expected a seed of 0 \.\. 0, found 7"),
    ):
        config = configuration(*MARKET, *beside(run, seed=seed))
        with pytest.raises(ConfigError, match=f"{where} {run}: .*{message}"):
            frozen_of(config)
    half = tmp_path / "half"
    shutil.copytree(streamed, half)
    document: dict[str, Any] = yaml.safe_load((half / "config.yaml").read_text())
    document["schedule"]["total_steps"] = 5000
    (half / "config.yaml").write_text(yaml.safe_dump(document))
    message = "expected a finished training of 5,000 steps, found 1,024 of seed 0; .*resume="
    with pytest.raises(ConfigError, match=message):
        frozen_of(configuration(*MARKET, *beside(half)))


def test_a_damaged_checkpoint_is_refused(streamed: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(streamed, damaged)
    file = damaged / "seed-0" / "checkpoints" / "step-000001024" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: expected SHA-256"):
        frozen_of(configuration(*MARKET, *beside(damaged)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("env.action.parametrisation=weights",), "expected actions .*weights.*found .*logits"),
        (("env.observation.time_left=true",), "expected observation.time_left True, found False"),
        (("data.symbols=[AAPL,GOOG,IBM]",), r"expected the symbols \('AAPL', 'GOOG', 'IBM'\)"),
        (
            (
                "split.train=['2000-03-01','2004-12-31']",
                "split.validation=['2005-01-01','2005-12-31']",
                "split.test=['2006-01-01','2013-03-01']",
            ),
            "before the validation span, which begins 2005-01-03, found one .* until 2007-12-21",
        ),
        (MARKET, "expected an agent of garleanu_pedersen, found one of recorded data"),
    ],
    ids=["actions", "time left", "symbols", "look-ahead", "market"],
)
def test_an_agent_of_another_world_is_refused(
    flat: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        frozen_of(configuration(*beside(flat), *overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "expected an agent of recorded data, found one of garleanu_pedersen"),
        (("market=garleanu_pedersen",), "expected the feature_names .* found"),
        (("market=garleanu_pedersen", "market.dead_zone=0.1"), "expected the feature_names|action"),
        ((*MARKET, "market.dead_zone=0.1"), "expected actions .*dead_zone=0.1.*, found"),
    ],
    ids=["data", "regime seen", "both", "dead zone"],
)
def test_an_agent_of_another_stream_is_refused(
    streamed: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        frozen_of(configuration(*beside(streamed), *overrides))


def test_an_agent_that_remembers_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", *MARKET, "agent=options")
    message = "decides each bar by itself .*found blended options under residual, which remember"
    with pytest.raises(ConfigError, match=message):
        frozen_of(configuration(*MARKET, *beside(run)))


def test_weights_of_other_sizes_are_refused(streamed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(streamed, other)
    document: dict[str, Any] = yaml.safe_load((other / "config.yaml").read_text())
    document["agent"]["policy"]["hidden"] = [16]
    (other / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"weights: actor\.\S+: expected .*16.*, found .*8"):
        frozen_of(configuration(*MARKET, *beside(other)))
