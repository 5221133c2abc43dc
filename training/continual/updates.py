"""A phase as a series of updates: each is accepted by the gate, or everything is as it was.

    phase-00/champion/        the last accepted state, and with it the golden policies
             update-000/      checkpoints of an update while it is learned
             decisions.jsonl  what became of each, with all evidence

The champion is written before its decision, and found by the last decision: an update without one
is judged again, on the same episodes, so that a killed run goes on to the same bits.

Dimensions: E episodes, B states.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from torch import Tensor

from agents.continual.protocol import PolicyFunction, Tensors
from evaluation.acceptance import Decision, Golden, Played, Vitals, decide
from markets.atomic import write_whole
from training.callbacks import CheckpointCallback, MetricWriter, Watch
from training.checkpoint import CheckpointError, CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.continual.config import GateConfig
from training.continual.phases import Phase, Plan, Scores
from training.continual.seeds import derived_seed
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, load_continual, restore

_LOG = logging.getLogger(__name__)
DECISIONS = "decisions.jsonl"
"""File of a phase's decisions, one a line."""
REGISTRY = "golden.json"
"""File of a champion that says which policies are the best accepted ones."""
_GOLDEN, _STATES = "golden/", "states/"
"""Prefixes of a champion's arrays: weights by regime, and states kept of regimes."""


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
        self._model, self._function, self._judge = model, function, judge
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
        self._logger = Logger(folder=None, output_formats=[MetricWriter(watch.log)])
        self._silent = Logger(folder=None, output_formats=[])
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
            write_decisions(self._folder, [*decisions, decision])
            shutil.rmtree(self._folder / f"update-{number:03d}", ignore_errors=True)
            watch.log(_figures(decision), model.num_timesteps)

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
        if begun:
            restore(model, load(begun[max(begun)], configuration=self._text))
        model.rate_factor = self._gate.slower**rejected
        # A second attempt takes the same steps again, of which the record keeps the first.
        model.set_logger(self._silent if rejected else self._logger)
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
        vitals = self._vitals(champion, diverged=diverged)
        found = self._played(number, champion, regimes, finite=vitals.finite)
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
        with self._as_champion(champion):
            champions = scores(regimes)
        goldens = {}
        for regime in regimes:
            weights = golden_weights(champion, regime)
            if weights and not _same(weights, champion.weights):
                with self._as_golden(weights):
                    goldens[regime] = scores([regime])[regime].earned_E
        unknown_E = np.full(episodes, np.nan)
        return {
            regime: Played(
                champion_E=champions[regime].earned_E,
                candidate_E=candidates[regime].earned_E if finite else unknown_E,
                flat=float(champions[regime].nothing_E.mean()),
                golden_E=goldens.get(regime),
            )
            for regime in regimes
        }

    @contextmanager
    def _as_champion(self, champion: Snapshot) -> Iterator[None]:
        """Networks and remedies are the champion's for a while."""
        remedy = self._model.remedy
        mine = {} if remedy is None else {n: t.clone() for n, t in remedy.state().items()}
        try:
            with replaced(self._model, champion.weights):
                load_continual(self._model, champion)
                yield
        finally:
            if remedy is not None:
                remedy.load_state(mine)

    @contextmanager
    def _as_golden(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Networks are a golden policy's for a while, which was kept as it was played."""
        remedy, self._model.remedy = self._model.remedy, None
        try:
            with replaced(self._model, weights):
                yield
        finally:
            self._model.remedy = remedy

    def _played_as(self, regime: int) -> Tensors:
        remedy = self._model.remedy if self._plan.known else None
        return {} if remedy is None else remedy.played_as(regime)

    def _vitals(self, champion: Snapshot, *, diverged: bool) -> Vitals:
        model = self._model
        moments = [s for each in model.optimizers.values() for s in each.state.values()]
        tensors = [
            *model.policy.net.state_dict().values(),
            *(t for s in moments for t in s.values()),
        ]
        finite = not diverged and all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
        mean, tail = self._divergence(champion) if finite else ({}, {})
        deviations = None
        if not model.policy.discrete:
            log_std = model.policy.log_std.detach()
            deviations = (float(log_std.min()), float(log_std.max()))
        vitals = Vitals(
            finite=finite,
            kl_mean=mean,
            kl_q99=tail,
            log_std=deviations if finite else None,
        )
        # In a head start it is not the controller who decides which option acts.
        decides = finite and isinstance(model, OptionPPO) and not model.rollout.forced
        return self._with_usage(vitals) if decides else vitals

    def _with_usage(self, vitals: Vitals) -> Vitals:
        """Who acted in the last rollout; how evenly, only where regimes take turns in a phase."""
        model = self._model
        assert isinstance(model, OptionPPO)  # noqa: S101 - the caller has asked
        limit = model.agent.meta_controller.execution.beta_max
        found = model.rollout.diagnose(limit)
        bounded = (
            model.agent.meta_controller.execution.mode == "blended"
            and model.policy.network.controller.learns
        )
        vitals = replace(
            vitals,
            disruption=found["disruption_max"] if bounded else None,
            disruption_limit=limit,
        )
        if not self._plan.mixed:
            return vitals
        shares = [
            value
            for name, value in found.items()
            if name.startswith("usage_") and name != "usage_entropy"
        ]
        return replace(vitals, usage_entropy=found["usage_entropy"], largest_share=max(shares))

    def _divergence(self, champion: Snapshot) -> tuple[dict[str, float], dict[str, float]]:
        """KL(champion || candidate) on the states kept of every regime: mean, 99 % quantile."""
        mean, tail, device = {}, {}, self._model.device
        for regime, kept in kept_states(champion).items():
            states = {name: rows.to(device) for name, rows in kept.items()}
            with torch.no_grad():
                after = self._function.law(self._played_as(regime), states)
                with self._as_champion(champion):
                    before = self._function.law(self._played_as(regime), states)
                found_B = before.divergence(after)
            name = self._plan.regimes[regime].name
            mean[name] = float(found_B.mean())
            tail[name] = float(torch.quantile(found_B, 0.99))
        return mean, tail

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
                state = {**self._model.policy.net.state_dict(), **self._played_as(regime)}
                kept |= {
                    f"{_GOLDEN}{regime}/{name}": tensor.cpu().numpy().copy()
                    for name, tensor in state.items()
                }
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
    return [Decision.from_json(line) for line in path.read_text().splitlines()]


def write_decisions(folder: Path, decisions: Sequence[Decision]) -> None:
    """Write the decisions of a phase, whole."""
    lines = [" ".join(decision.to_json().split("\n")) for decision in decisions]
    write_whole(folder / DECISIONS, "\n".join(lines) + "\n")


def extras(snapshot: Snapshot) -> dict[str, NDArray[np.generic]]:
    """What travels with champions beside the learner's state: golden policies, kept states."""
    prefixes = (_GOLDEN, _STATES)
    return {name: rows for name, rows in snapshot.arrays.items() if name.startswith(prefixes)}


def golden_weights(snapshot: Snapshot, regime: int) -> dict[str, Tensor]:
    """Weights of the best accepted policy of a regime; nothing where there is none."""
    prefix = f"{_GOLDEN}{regime}/"
    return {
        name.removeprefix(prefix): torch.tensor(rows)
        for name, rows in snapshot.arrays.items()
        if name.startswith(prefix)
    }


def named_states(regime: int, states: Mapping[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    """States kept of a regime, as a snapshot's arrays."""
    return {f"{_STATES}{regime}/{name}": rows.cpu().numpy() for name, rows in states.items()}


def kept_states(snapshot: Snapshot) -> dict[int, dict[str, Tensor]]:
    """States that a snapshot keeps, by regime."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, rows in snapshot.arrays.items():
        if key.startswith(_STATES):
            regime, _, name = key.removeprefix(_STATES).partition("/")
            found.setdefault(int(regime), {})[name] = torch.tensor(rows)
    return found


@contextmanager
def replaced(model: MarketPPO, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let the networks have other weights for a while."""
    net = model.policy.net
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items() if name in tensors}
    net.load_state_dict({**net.state_dict(), **tensors})
    try:
        yield
    finally:
        net.load_state_dict({**net.state_dict(), **kept})


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
    found = {"gate/accepted": float(decision.accepted), "gate/alpha": decision.alpha}
    for row in decision.evidence:
        found[f"gate/{row.regime}/{row.against}_low"] = row.low
    return found
