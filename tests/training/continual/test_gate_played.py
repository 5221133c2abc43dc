"""Who is played for an update, on which episodes, and which policy is the best accepted one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.acceptance import Played
from tests.training.continual.streams import LENIENT, configuration, run, stream_of
from training.checkpoint import Snapshot, load
from training.continual.champions import golden_weights, named_golden
from training.continual.phases import Scores
from training.continual.states import function_of
from training.continual.updates import GatedPhase
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import restore

EPISODES = 4


class Judge:
    """Scores a policy by a number of its networks, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.remedied: dict[float, bool] = {}

    def __call__(
        self, model: MarketPPO, *, seed: int, episodes: int, regimes: Sequence[int]
    ) -> dict[int, Scores]:
        """The same score in every episode."""
        del episodes
        value = mark(model)
        self.seeds.append(seed)
        self.remedied[value] = model.remedy is not None
        nothing_E = np.zeros(EPISODES)
        return {n: Scores(np.full(EPISODES, value), nothing_E, None) for n in regimes}


def mark(model: MarketPPO) -> float:
    return round(float(model.policy.net.actor_parameters()[0].detach().view(-1)[0]), 3)


def marked(model: MarketPPO, value: float) -> dict[str, torch.Tensor]:
    """Weights of the learner, with a number that tells them apart."""
    with torch.no_grad():
        model.policy.net.actor_parameters()[0].view(-1)[0] = value
    return {name: tensor.clone() for name, tensor in model.policy.net.state_dict().items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gated")
    run(configuration(remedies=[{"kind": "si"}], gate=LENIENT | {"every": None}), folder)
    return folder


@pytest.fixture
def gated(finished: Path, tmp_path: Path) -> tuple[GatedPhase, MarketPPO, Snapshot, Judge]:
    """A candidate marked 3, a champion marked 1, and a golden policy of regime 0 marked 2."""
    config = configuration(remedies=[{"kind": "si"}], gate=LENIENT | {"every": None})
    stream, judge = stream_of(config, finished), Judge()
    assert config.continual is not None
    assert config.continual.gate is not None
    phase = stream.plan.phases[1]
    model, _ = stream._learner(phase)
    ended = stream.accepted(phase)
    restore(model, ended)
    golden = named_golden(0, marked(model, 2.0))
    champion = replace(ended, weights=marked(model, 1.0), arrays={**ended.arrays, **golden})
    marked(model, 3.0)
    updates = GatedPhase(
        config,
        config.continual.gate,
        stream.plan,
        phase,
        model,
        function_of(model, stream._task.beliefs),
        judge=judge,
        curve=lambda _: {},
        seed=0,
        folder=tmp_path,
        files=stream._files,
        earlier=1,
    )
    return updates, model, champion, judge


def test_candidate_champion_and_golden_policy_are_played_as_themselves(
    gated: tuple[GatedPhase, MarketPPO, Snapshot, Judge],
) -> None:
    updates, model, champion, judge = gated
    assert model.remedy is not None
    changed = {name: tensor + 1 for name, tensor in model.remedy.state().items()}
    model.remedy.load_state(changed)
    found = updates._played(0, champion, [0, 1], finite=True)
    assert [found[n].candidate_E.tolist() for n in (0, 1)] == [[3.0] * EPISODES] * 2
    assert [found[n].champion_E.tolist() for n in (0, 1)] == [[1.0] * EPISODES] * 2
    assert found[0].golden_E is not None
    assert found[0].golden_E.tolist() == [2.0] * EPISODES
    # A golden policy was kept as it was played: no remedy changes it again.
    assert [judge.remedied[value] for value in (3.0, 1.0, 2.0)] == [True, True, False]
    assert mark(model) == 3.0
    assert model.remedy is not None
    assert all(torch.equal(t, changed[name]) for name, t in model.remedy.state().items())


def test_every_update_has_episodes_of_its_own(
    gated: tuple[GatedPhase, MarketPPO, Snapshot, Judge],
) -> None:
    updates, _, champion, judge = gated
    for number in (0, 1):
        updates._played(number, champion, [0, 1], finite=True)
    half = len(judge.seeds) // 2
    assert [len(set(part)) for part in (judge.seeds[:half], judge.seeds[half:])] == [1, 1]
    assert len(set(judge.seeds)) == 2


@pytest.mark.parametrize(
    ("golden", "candidate", "new"),
    [(2.0, 3.0, True), (4.0, 3.0, False), (None, 3.0, True), (None, 0.5, False)],
)
def test_the_better_one_is_the_golden_policy(
    golden: float | None,
    candidate: float,
    new: bool,
    gated: tuple[GatedPhase, MarketPPO, Snapshot, Judge],
) -> None:
    """Where no other policy was played as the golden one, it is the champion, marked 1."""
    updates, _, champion, _ = gated
    each = Played(
        champion_E=np.full(EPISODES, 1.0),
        candidate_E=np.full(EPISODES, candidate),
        golden_E=None if golden is None else np.full(EPISODES, golden),
    )
    updates._crown(0, champion, {0: each})
    crowned = load(updates._champions.steps()[1])
    registry = json.loads(crowned.files["golden.json"])["regimes"]["regime 0"]
    assert (registry["checkpoint"] == "phase 1, update 0") is new
    assert registry["mean"] == max(candidate, 1.0 if golden is None else golden)
    kept = golden_weights(crowned, 0)
    same = [torch.equal(tensor, kept[name]) for name, tensor in crowned.weights.items()]
    assert all(same) is new, "the accepted policy's weights are kept, or the old ones"
