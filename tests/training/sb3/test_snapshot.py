"""Exact resume: stopped or killed at any instant, the end has the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from tests.training.sb3.scenarios import make_learner, small_policy
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, restore

ROOT = Path(__file__).resolve().parents[3]


class Keep(BaseCallback):
    """Saves at each update boundary."""

    def __init__(self, store: CheckpointStore) -> None:
        super().__init__()
        self.store = store

    def _on_rollout_start(self) -> None:
        assert isinstance(self.model, MarketPPO)
        if self.model.num_timesteps:
            self.store.save(self.model.num_timesteps, capture(self.model))

    def _on_step(self) -> bool:
        return True


def assert_same(first: MarketPPO, second: MarketPPO) -> None:
    left, right = capture(first), capture(second)
    for name, tensor in left.weights.items():
        assert tensor.equal(right.weights[name]), name
    assert left.optimizer.keys() == right.optimizer.keys()
    for name, tensor in left.optimizer.items():
        assert tensor.equal(right.optimizer[name]), name
    for name, array in left.arrays.items():
        assert array.tobytes() == right.arrays[name].tobytes(), name
    for name in ("num_timesteps", "_n_updates", "_current_progress_remaining"):
        assert left.trainer[name] == right.trainer[name]
    returns = [[e["r"] for e in s.trainer["episodes"]] for s in (left, right)]
    assert returns[0] == returns[1]


@pytest.mark.parametrize("encoder", ["own", "shared"])
@pytest.mark.parametrize("discrete", [False, True])
def test_resumed_equals_uninterrupted(tmp_path: Path, encoder: str, discrete: bool) -> None:
    def build() -> MarketPPO:
        return make_learner(discrete=discrete, policy=small_policy(critic_encoder=encoder))

    store = CheckpointStore(tmp_path, keep_last=100)
    whole = build().learn(640, callback=Keep(store))
    assert list(store.steps()) == [128, 256, 384, 512]
    for step, path in store.steps().items():
        resumed = build()
        restore(resumed, load(path))
        assert resumed.num_timesteps == step
        resumed.learn(640 - step, reset_num_timesteps=False)
        assert_same(whole, resumed)


def test_snapshot_is_a_copy() -> None:
    model = make_learner().learn(128)
    before = capture(model)
    kept = {name: tensor.clone() for name, tensor in before.weights.items()}
    observation = before.arrays["observation"].copy()
    model.learn(256, reset_num_timesteps=False)
    assert all(before.weights[name].equal(kept[name]) for name in kept)
    assert (before.arrays["observation"] == observation).all()


def test_refuses_what_is_no_update_boundary_or_does_not_fit() -> None:
    model = make_learner()
    with pytest.raises(RuntimeError, match="found one that never began"):
        capture(model)
    model.learn(128)
    snapshot = capture(model)
    model.at_update_boundary = False
    with pytest.raises(RuntimeError, match="found one inside a rollout"):
        capture(model)
    other = make_learner(policy=small_policy(hidden=(16, 8)))
    message = r"weights: actor\.fusion\.bias: expected \(16,\), found \(8,\)"
    with pytest.raises(CheckpointError, match=message):
        restore(other, snapshot)
    tensors = dict(snapshot.optimizer)
    tensors["actor/99/exp_avg"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: actor/99: expected"):
        restore(make_learner(), replace(snapshot, optimizer=tensors))


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.sb3.scenarios import make_learner
from tests.training.sb3.test_snapshot import Keep
from training.checkpoint import CheckpointStore, load
from training.sb3.snapshot import restore
store = CheckpointStore(Path(sys.argv[1]))
model = make_learner()
latest = store.latest()
if latest is not None:
    restore(model, load(latest))
print("ready", flush=True)
model.learn(100_000 - model.num_timesteps, callback=Keep(store), reset_num_timesteps=latest is None)
"""


def test_killed_at_a_random_instant_resumes_with_the_same_bits(tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    store = CheckpointStore(tmp_path)
    chance = random.Random(os.getpid())
    for _ in range(2):  # the second process resumes what the first one left
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        before = max(store.steps(), default=0)
        deadline = time.monotonic() + 60
        while max(store.steps(), default=0) <= before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.3))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
    path = store.latest()
    assert path is not None
    snapshot = load(path)
    step = snapshot.trainer["num_timesteps"]
    resumed = make_learner()
    restore(resumed, snapshot)

    class Stop(BaseCallback):
        def _on_rollout_start(self) -> None:
            assert isinstance(self.model, MarketPPO)
            self.model.stop_requested = self.model.num_timesteps >= step + 256

        def _on_step(self) -> bool:
            return True

    resumed.learn(100_000 - step, callback=Stop(), reset_num_timesteps=False)
    whole = make_learner().learn(100_000, callback=Stop())
    assert whole.num_timesteps == step + 256
    assert_same(whole, resumed)
