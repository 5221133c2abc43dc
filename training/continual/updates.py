"""A phase as a series of updates: each is accepted by the gate, or everything is as it was.

    phase-00/champion/        the last accepted state, and with it the golden policies
             update-000/      checkpoints of an update while it is learned
             decisions.jsonl  what became of each, with all evidence

The champion is written before its decision, and found by the last decision: an update without one
is judged again, on the same episodes, so that a killed run goes on to the same bits.

Dimensions: E episodes, B states.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from torch import Tensor

from agents.continual.protocol import PolicyFunction
from evaluation.acceptance import Decision, Golden, Played, decide
from markets.atomic import write_whole
from training.callbacks import CheckpointCallback, Log, MetricWriter, Watch
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.continual.champions import (
    as_champion,
    as_golden,
    extras,
    golden_weights,
    more_peaks,
    named_golden,
)
from training.continual.config import GateConfig
from training.continual.phases import Phase, Plan, Scores
from training.continual.seeds import derived_seed
from training.continual.vital_signs import VitalSigns
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, restore

_LOG = logging.getLogger(__name__)
DECISIONS = "decisions.jsonl"
"""File of a phase's decisions, one a line."""
REGISTRY = "golden.json"
"""File of a champion that says which policies are the best accepted ones."""
_REASONS = "reasons"
"""What a decision's line has beside its evidence, which it follows from."""


class Judge(Protocol):
    """Plays a learner's policy in regimes."""

    def __call__(
        self, model: MarketPPO, *, seed: int, episodes: int, regimes: Sequence[int]
    ) -> dict[int, Scores]:
        """Scores by regime, on the episodes of a seed."""
        ...


class GatedPhase:
    """Learns a phase update by update, and lets no update pass that the gate rejects.

    A rejected update is undone to the bit: networks, optimisers, remedies, environments and
    generators return to the champion's. It is tried again with other noise and slower, and the
    phase ends with the champion after `retries` further rejections.

    Every attempt is tracked. The figures of its decision (``gate/...``) stand at the steps at which
    it was judged, those of the r-th further attempt r steps behind; what it logs while it learns
    is named ``retry-r/...``.

    Args:
        config: of the run.
        gate: how updates are judged.
        plan: the phases.
        phase: this one.
        model: its learner.
        function: the learner's policy, for the divergence from the champion.
        judge: plays policies.
        curve: scores of an accepted policy in all regimes, to log.
        seed: of the stream.
        folder: of the phase.
        files: of the checkpoints, by name.
        earlier: decisions that earlier phases have come to.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts of one loop
        self,
        config: TrainConfig,
        gate: GateConfig,
        plan: Plan,
        phase: Phase,
        model: MarketPPO,
        function: PolicyFunction,
        *,
        judge: Judge,
        curve: Callable[[MarketPPO], Mapping[str, float]],
        seed: int,
        folder: Path,
        files: Mapping[str, str],
        earlier: int,
    ) -> None:
        self._config, self._gate, self._plan, self._phase = config, gate, plan, phase
        self._model, self._judge = model, judge
        self._signs = VitalSigns(model, function, plan)
        self._curve, self._earlier = curve, earlier
        self._seed, self._folder, self._files = seed, folder, files
        self._text = files["config.yaml"]
        self._champions = CheckpointStore(folder / "champion", keep_last=2)

    def begin(self, before: Snapshot | None) -> None:
        """Make the state at the phase's beginning the champion, if there is none yet.

        Args:
            before: the state that the phase before has left, whose golden policies and states
                this one's champion takes over.
        """
        if self._champions.steps():
            restore(self._model, last_champion(self._folder, self._text))
            return
        total = self._config.schedule.total_steps
        self._model._setup_learn(total, None)  # noqa: SLF001 - SB3 has no other door
        kept = {} if before is None else extras(before)
        registry = "{}" if before is None else before.files.get(REGISTRY, "{}")
        self._champions.save(0, self._snapshot(kept, registry))

    def run(self, watch: Watch) -> bool:
        """Learn, or on; the model ends as the champion.

        Returns:
            Whether the phase is over; False where a stop request came.
        """
        model, total = self._model, self._config.schedule.total_steps
        self._logger = _logger(watch.log)
        while True:
            decisions = read_decisions(self._folder)
            champion = last_champion(self._folder, self._text)
            restore(model, champion)
            rejected = _rejected_last(decisions)
            if model.num_timesteps >= total or rejected > self._gate.retries:
                return True
            number = len(decisions)
            try:
                if not self._learn(number, rejected, watch):
                    return False
            except FloatingPointError as error:  # an update that diverges is one to be rejected
                _LOG.warning("phase %d, update %d: %s", self._phase.number, number, error)
                decision, played = self._decide(number, champion, diverged=True)
            else:
                decision, played = self._decide(number, champion)
            if decision.accepted:
                self._crown(number, champion, played)
                watch.log(self._curve(model), model.num_timesteps)
            else:  # what the library has kept back is of an update that is undone
                self._logger = _logger(watch.log)
            # Told before it is decided: a kill in between repeats it, at a step that is known then.
            watch.log(_figures(decision), model.num_timesteps + rejected)
            write_decisions(self._folder, [*decisions, decision])
            if not decision.accepted:
                _LOG.warning(
                    "phase %d, update %d: rejected for %d reasons (%s), the first: %s",
                    self._phase.number,
                    number,
                    len(decision.reasons),
                    DECISIONS,
                    decision.reasons[0],
                )
            shutil.rmtree(self._folder / f"update-{number:03d}", ignore_errors=True)

    # -- an update ----------------------------------------------------------------------------

    def _learn(self, number: int, rejected: int, watch: Watch) -> bool:
        model, schedule = self._model, self._config.schedule
        until = min(
            model.num_timesteps + (self._gate.every or schedule.total_steps), schedule.total_steps
        )
        store = CheckpointStore(self._folder / f"update-{number:03d}", keep_last=schedule.keep)
        if rejected:
            seed = derived_seed(self._seed, "retry", self._phase.number, number)
            model.generator.manual_seed(seed)
        # The last rollout is played in any case: the gate looks at who acted in it.
        begun = {steps: path for steps, path in store.steps().items() if steps < until}
        model.peaks = {}
        if begun:
            restore(model, load(begun[max(begun)], configuration=self._text))
        model.rate_factor = self._gate.slower**rejected
        # A second attempt takes the same steps again; of each name the record keeps a step once.
        retry = _logger(_renamed(watch.log, f"retry-{rejected}/"))
        model.set_logger(retry if rejected else self._logger)
        callback = CheckpointCallback(
            schedule, store, self._files, watch, lambda _: None, until=until
        )
        if model.num_timesteps < until and not watch.stop.requested:
            left = schedule.total_steps - model.num_timesteps
            model.learn(left, callback=callback, reset_num_timesteps=False)
            callback.finish()
        return model.num_timesteps >= until

    def _decide(
        self, number: int, champion: Snapshot, *, diverged: bool = False
    ) -> tuple[Decision, dict[int, Played]]:
        """What becomes of the update, and what was played for it by regime."""
        acceptance, active = self._gate.acceptance, self._phase.regime
        regimes = [*self._plan.seen(self._phase), active]
        vitals = self._signs.of(champion, diverged=diverged)
        found = self._played(number, champion, regimes, finite=vitals.playable)
        decision = decide(
            {self._plan.regimes[regime].name: played for regime, played in found.items()},
            acceptance,
            self._earlier + number + 1,
            active=self._plan.regimes[active].name,
            vitals=vitals,
        )
        return decision, found

    def _played(
        self, number: int, champion: Snapshot, regimes: Sequence[int], *, finite: bool
    ) -> dict[int, Played]:
        """Candidate, champion and golden policies on episodes that no update has seen."""
        model = self._model
        seed = derived_seed(self._seed, "gate", self._phase.number, number)
        episodes = self._gate.acceptance.episodes

        def scores(chosen: Sequence[int]) -> dict[int, Scores]:
            return self._judge(model, seed=seed, episodes=episodes, regimes=chosen)

        candidates = scores(regimes) if finite else {}
        with as_champion(model, champion):
            champions = scores(regimes)
        goldens = {}
        for regime in regimes:
            weights = golden_weights(champion, regime)
            if weights and not _same(weights, champion.weights):
                with as_golden(model, weights):
                    goldens[regime] = scores([regime])[regime].earned_E
        return {
            regime: Played(
                champion_E=before.earned_E,
                candidate_E=candidates[regime].earned_E
                if finite
                else np.full_like(before.earned_E, np.nan),
                flat=float(before.nothing_E.mean()),
                golden_E=goldens.get(regime),
                champion_drawdown_E=before.drawdown_E,
                candidate_drawdown_E=candidates[regime].drawdown_E if finite else None,
            )
            for regime, before in champions.items()
        }

    def _crown(self, number: int, champion: Snapshot, played: Mapping[int, Played]) -> None:
        """Keep the accepted state, and what is the best accepted policy of each regime with it."""
        kept, registry = dict(extras(champion)), champion.files.get(REGISTRY, "{}")
        seed = derived_seed(self._seed, "gate", self._phase.number, number)
        golden = Golden.from_json(registry) if registry != "{}" else Golden()
        names = {regime: self._plan.regimes[regime].name for regime in played}
        # Where nobody else was played as the golden policy, the champion is it.
        rescored = {
            names[regime]: each.champion_E if each.golden_E is None else each.golden_E
            for regime, each in played.items()
            if golden_weights(champion, regime)
        }
        label = f"phase {self._phase.number}, update {number}"
        golden = golden.accept(
            label,
            self._earlier + number + 1,
            {names[regime]: each.candidate_E for regime, each in played.items()},
            {names[regime]: f"seed {seed}" for regime in played},
            rescored,
        )
        for regime in played:
            if golden.regimes[names[regime]].checkpoint == label:
                played_as = self._plan.played_as(self._model.remedy, regime)
                state = {**self._model.policy.net.state_dict(), **played_as}
                kept |= named_golden(regime, state)
        trailing = self._gate.acceptance.vitals.trailing
        kept |= more_peaks(champion, self._model.peaks, trailing)
        self._champions.save(number + 1, self._snapshot(kept, golden.to_json()))

    def _snapshot(self, kept: Mapping[str, NDArray[np.generic]], registry: str) -> Snapshot:
        snapshot = capture(self._model, {**self._files, REGISTRY: registry})
        return replace(snapshot, arrays={**snapshot.arrays, **kept})


def last_champion(folder: Path, configuration: str | None = None) -> Snapshot:
    """The state that was accepted last.

    Args:
        folder: of the phase.
        configuration: text of the ``config.yaml`` that the caller runs under; None = any.

    Raises:
        CheckpointError: it is damaged, missing or of another configuration.
    """
    accepted = [n + 1 for n, each in enumerate(read_decisions(folder)) if each.accepted]
    number, found = max(accepted, default=0), CheckpointStore(folder / "champion").steps()
    if number not in found:
        raise CheckpointError(
            f"{folder / 'champion'}: expected a complete checkpoint number {number}, the last "
            f"accepted, found {sorted(found) or 'none'}"
        )
    return load(found[number], configuration=configuration)


def read_decisions(folder: Path) -> list[Decision]:
    """The decisions of a phase, in their order.

    Args:
        folder: of the phase.
    """
    path = folder / DECISIONS
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Decision.from_json(json.dumps({k: v for k, v in record.items() if k != _REASONS}))
        for record in records
    ]


def write_decisions(folder: Path, decisions: Sequence[Decision]) -> None:
    """Write the decisions of a phase, whole, each with its reasons in words."""
    records = [json.loads(each.to_json()) | {_REASONS: each.reasons} for each in decisions]
    write_whole(folder / DECISIONS, "".join(json.dumps(record) + "\n" for record in records))


def _same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def _rejected_last(decisions: Sequence[Decision]) -> int:
    """How many were rejected since the last accepted one."""
    count = 0
    for decision in reversed(decisions):
        if decision.accepted:
            break
        count += 1
    return count


def _figures(decision: Decision) -> dict[str, float]:
    """What is tracked of a decision; of further attempts at later steps, so that all are seen."""
    found = {"gate/accepted": float(decision.accepted), "gate/alpha": decision.alpha}
    found |= {f"gate/check/{check.name}": check.value for check in decision.checks}
    for row in decision.evidence:
        name = f"gate/{row.regime}/{row.against}"
        found |= {f"{name}_difference": row.estimate, f"{name}_low": row.low}
        found[f"{name}_tolerated"] = row.margin
    for risk in decision.risks:
        found[f"gate/{risk.regime}/{risk.of}_worse"] = risk.worse
        found[f"gate/{risk.regime}/{risk.of}_tolerated"] = risk.margin
    return found


def _logger(log: Log) -> Logger:
    return Logger(folder=None, output_formats=[MetricWriter(log)])


def _renamed(log: Log, prefix: str) -> Log:
    """Tells metrics by other names."""
    return lambda values, step: log({prefix + name: v for name, v in values.items()}, step)
