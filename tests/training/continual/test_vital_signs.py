"""What is known of a candidate before it is played: explosions, divergence, sound actions."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.continual.law import ActionLaw
from evaluation.acceptance import Decision
from tests.training.continual.streams import (
    FLAT,
    LENIENT,
    OPTIONS,
    assert_same_streams,
    configuration,
    run,
    stream_of,
)
from training.checkpoint import Snapshot
from training.config import TrainConfig
from training.continual.champions import explosions, extras, more_peaks
from training.continual.states import function_of
from training.continual.stream import Stream
from training.continual.updates import GatedPhase, last_champion, read_decisions
from training.continual.vital_signs import VitalSigns, sound_share
from training.sb3.snapshot import capture, restore

ALIKE = LENIENT | {"acceptance": LENIENT["acceptance"] | {"spending": "none"}}
"""Lenient with each update alike, however many came before."""
PEAKS = ("gradient_norm_actor", "gradient_norm_critic", "value_loss")
EMPTY = Snapshot({}, {}, {}, {}, {})


def ratios(decision: Decision) -> dict[str, float]:
    return {c.name: c.value for c in decision.checks if c.name.endswith("over its median")}


def decisions_of(stream: Stream) -> list[Decision]:
    folders = [stream.phase_folder(phase) for phase in stream.plan.phases]
    return [decision for folder in folders for decision in read_decisions(folder)]


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return configuration(gate=LENIENT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> Path:
    """Two phases of two updates each, all of them accepted."""
    folder = tmp_path_factory.mktemp("gated")
    run(config, folder)
    return folder


def test_peaks_are_compared_with_the_median_of_accepted_updates(
    config: TrainConfig, finished: Path
) -> None:
    stream = stream_of(config, finished)
    last = stream.accepted(stream.plan.phases[-1])
    peaks = {name: last.arrays[f"peaks/{name}"] for name in PEAKS}
    assert {rows.shape for rows in peaks.values()} == {(4,)}
    assert last.trainer["peaks"] == {name: rows[-1] for name, rows in peaks.items()}
    decisions = decisions_of(stream)
    assert ratios(decisions[0]) == {}, "there is no update before the first"
    for number in (1, 2, 3):
        found = {n: rows[number] / np.median(rows[:number]) for n, rows in peaks.items()}
        assert ratios(decisions[number]) == {
            "gradient norm over its median": max(found[PEAKS[0]], found[PEAKS[1]]),
            "value loss over its median": found["value_loss"],
        }


@pytest.mark.parametrize(
    ("name", "factor", "accepted"),
    [
        ("gradient_norm_actor", 12.0, False),
        ("gradient_norm_critic", 12.0, False),
        ("value_loss", 12.0, False),
        ("value_loss", math.nan, False),
        ("value_loss", 8.0, True),
    ],
)
def test_an_explosion_is_rejected_and_forgotten(
    name: str, factor: float, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(gate=ALIKE)
    learn = GatedPhase._learn

    def learns(self: GatedPhase, number: int, rejected: int, watch: Any) -> bool:
        over = learn(self, number, rejected, watch)
        if self._phase.number == 1 and number == 0:
            past = last_champion(self._folder).arrays[f"peaks/{name}"]
            self._model.peaks[name] = factor * float(np.median(past))
        return over

    monkeypatch.setattr(GatedPhase, "_learn", learns)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    third = read_decisions(stream.phase_folder(stream.plan.phases[1]))[0]
    assert third.accepted is accepted
    last = stream.accepted(stream.plan.phases[-1])
    assert len(last.arrays[f"peaks/{name}"]) == 4, "two accepted updates of either phase"
    if not accepted:
        word = "value loss" if name == "value_loss" else "gradient norm"
        assert [word in reason for reason in third.reasons] == [True]
        past = last.arrays[f"peaks/{name}"]
        assert past.max() < 10.0 * np.median(past), "nothing of it is remembered"


@pytest.mark.parametrize("base", [FLAT, OPTIONS], ids=["flat", "options"])
def test_an_update_that_was_stopped_in_the_middle_keeps_its_peaks(
    base: tuple[str, ...], tmp_path: Path
) -> None:
    config = configuration(base=base, gate=LENIENT | {"every": None})
    one, other = tmp_path / "one", tmp_path / "other"
    run(config, one)
    assert run(config, other, stop_at=(1, 256)).stop.requested
    assert list(other.rglob("phase-01/update-000/step-000000384"))
    run(config, other)
    assert_same_streams(config, one, other)


def test_medians_are_of_the_last_accepted_updates() -> None:
    champion = EMPTY
    for value in (1.0, 100.0, 3.0, 5.0):
        champion = replace(champion, arrays=more_peaks(champion, {"value_loss": value}, 3))
    assert champion.arrays["peaks/value_loss"].tolist() == [100.0, 3.0, 5.0]
    assert extras(champion).keys() == champion.arrays.keys()
    assert explosions(champion, {"value_loss": 20.0, "unknown": 7.0}) == {"value_loss": 4.0}
    still = replace(EMPTY, arrays=more_peaks(EMPTY, {"value_loss": 0.0}, 3))
    assert explosions(still, {"value_loss": 20.0}) == {}, "nothing is a multiple of none"


def test_divergence_sees_wider_noise(config: TrainConfig, finished: Path) -> None:
    """A policy that differs in its deviations alone: the champion's are not taken for its own."""
    stream = stream_of(config, finished)
    model, _ = stream._learner(stream.plan.phases[1])
    champion = stream.accepted(stream.plan.phases[1])
    restore(model, champion)
    signs = VitalSigns(model, function_of(model, stream._task.beliefs), stream.plan)
    assert set(signs.of(champion, diverged=False).kl_mean.values()) == {0.0}
    with torch.no_grad():
        model.policy.log_std.add_(0.3)
    expected = model.policy.log_std.numel() * (0.3 + 0.5 * (math.exp(-0.6) - 1.0))
    found = signs.of(champion, diverged=False)
    assert found.kl_mean == pytest.approx(dict.fromkeys(("regime 0", "regime 1"), expected))
    assert found.kl_q99 == pytest.approx(found.kl_mean)
    assert found.actions == {"regime 0": 1.0, "regime 1": 1.0}
    before = capture(model)
    assert all(torch.equal(t, before.weights[n]) for n, t in model.policy.net.state_dict().items())
    assert signs.of(champion, diverged=True).kl_mean == {}


def test_actions_that_are_none_are_rejected_before_they_are_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parameters are finite, their products are not."""
    config = configuration(gate=ALIKE)
    learn = GatedPhase._learn

    def learns(self: GatedPhase, number: int, rejected: int, watch: Any) -> bool:
        over = learn(self, number, rejected, watch)
        if self._phase.number == 1 and number == 0:
            with torch.no_grad():
                for parameter in self._model.policy.net.actor_parameters():
                    parameter.copy_(3e38 * torch.randn(parameter.shape).sign())
        return over

    monkeypatch.setattr(GatedPhase, "_learn", learns)
    run(config, tmp_path)
    stream = stream_of(config, tmp_path)
    first, second, *_ = read_decisions(stream.phase_folder(stream.plan.phases[1]))
    assert not first.accepted
    assert "regime regime 0: share of finite actions: expected at least 1" in first.reasons[0]
    assert "the candidate's scores are not finite" in " ".join(first.reasons)
    assert second.accepted


def test_a_sound_action_is_finite_in_all_its_parts() -> None:
    choice, output = torch.full((4, 2), 0.5), torch.zeros(4, 2, 1)
    log_std = torch.zeros(1, 2, 1)
    assert sound_share(ActionLaw(choice, output, log_std)) == 1.0
    broken = output.clone()
    broken[1, 1, 0] = torch.inf
    assert sound_share(ActionLaw(choice, broken, None)) == 0.75
    unsure = choice.clone()
    unsure[:2, 0] = torch.nan
    assert sound_share(ActionLaw(unsure, output, None)) == 0.5
    assert sound_share(ActionLaw(choice, output, log_std + torch.nan)) == 0.0
