"""Exact resume of agents made of options, and checkpoints of other agents refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.sb3.option_scenarios import Constant, make_learner
from tests.training.sb3.scenarios import make_learner as make_flat
from tests.training.sb3.test_snapshot import Keep, assert_same
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.learning import choose
from training.sb3.option_ppo import OptionPPO
from training.sb3.snapshot import capture, restore

QUIET = {"noise_final": -2.0}
START = {"head_start": 300}


@pytest.mark.parametrize(
    "parts",
    [
        {"mode": "blended", "meta": START, "ppo": QUIET},
        {"mode": "hard", "meta": START | {"execution": {"mode": "hard"}}, "ppo": QUIET},
        {"mode": "alternate", "actions": "levels", "policy": {"critic_encoder": "shared"}},
        {"mode": "hard", "actions": "levels", "meta": {"terms": {"all_options": 0.5, "anchor": 1.0},
         "execution": {"mode": "hard"}}},
        {"mode": "blended", "injected": {3: Constant([0.4, 0.3], broken=5)}, "actions": "weights",
         "policy": {"experts": "networks", "linear_path": True}},
    ],
    ids=["blended", "hard", "alternate", "discrete", "injected"],
)  # fmt: skip
def test_resumed_equals_uninterrupted(tmp_path: Path, parts: dict[str, Any]) -> None:
    def build() -> OptionPPO:
        return make_learner(**parts)

    store = CheckpointStore(tmp_path, keep_last=100)
    whole = build().learn(640, callback=Keep(store))
    assert list(store.steps()) == [128, 256, 384, 512]
    for step, path in store.steps().items():
        resumed = build()
        restore(resumed, load(path))
        resumed.learn(640 - step, reset_num_timesteps=False)
        assert_same(whole, resumed)
    forgetful = build()
    restore(forgetful, load(store.steps()[384]))
    forgetful.rollout.carried_NK.fill_(1.0 / 3.0)  # what would be lost without a memory
    forgetful.learn(256, reset_num_timesteps=False)
    with pytest.raises(AssertionError):
        assert_same(whole, forgetful)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"learned": 2}, r"options: expected 2, found 3"),
        ({"mode": "hard"}, r"execution: expected hard, found blended"),
        ({"mode": "alternate"}, r"execution: expected alternate, found blended"),
        ({"actions": "weights"}, r"actions: expected 2 numbers, found 3 numbers"),
        ({"actions": "levels"}, r"actions: expected one of \d, found 3 numbers"),
        ({"meta": {"controller": {"kind": "free"}}}, "gate: expected free .* found residual"),
        ({"learned": 2, "injected": {2: Constant([0.0, 0.0, 0.0])}}, "expected 0, 1, found"),
        ({"policy": {"hidden": (4, 4)}}, r"weights: .*: expected \(\d.*\), found \(\d"),
        (None, r"agent: expected flat, found options"),
    ],
)  # fmt: skip
def test_checkpoints_of_other_agents_are_refused(
    tmp_path: Path, parts: dict[str, Any] | None, message: str
) -> None:
    store = CheckpointStore(tmp_path)
    path = store.save(128, capture(make_learner().learn(128)))
    other = make_flat() if parts is None else make_learner(**parts)
    before = {name: tensor.clone() for name, tensor in other.policy.net.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        restore(other, load(path))
    with pytest.raises(CheckpointError, match=message):
        choose(path, other)
    assert all(before[n].equal(t) for n, t in other.policy.net.state_dict().items())


def test_equal_shapes_are_not_enough(tmp_path: Path) -> None:
    """Weights of a portfolio and logits of one can have the same number of outputs."""
    model = make_learner().learn(128)
    path = CheckpointStore(tmp_path).save(128, capture(model))
    other = make_learner()
    other.policy.blend_kind = "mean"
    with pytest.raises(CheckpointError, match="blend: expected mean, found simplex"):
        choose(path, other)
    same = make_learner()
    choose(path, same)
    found, saved = same.policy.net.state_dict(), model.policy.net.state_dict()
    assert all(found[name].equal(tensor) for name, tensor in saved.items())
