"""One seed's way through the phases: train, consolidate, judge on all regimes, keep.

    seed-0/phase-00/checkpoints/   while the phase is learned, for an exact resume
                    accepted/      the state it ended with, remedies included
                    scores.json    what it is worth in every regime; written last

A phase is over when `scores.json` is there. Consolidation and judgement are functions of the last
checkpoint alone, so that a run that is killed at any instant goes on to the same bits.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger

from agents.continual.config import (
    CloningConfig,
    GrowConfig,
    PackNetConfig,
    RehearsalConfig,
)
from agents.continual.plasticity import plasticity
from agents.continual.protocol import Experience, States
from agents.continual.rehearsal import shared_lanes
from agents.continual.remedies import Remedies
from evaluation.acceptance_power import Sample, check_feasible
from markets.atomic import write_whole
from training.agents import build_learner, policy_of
from training.callbacks import CheckpointCallback, MetricWriter, Watch
from training.checkpoint import CheckpointStore, Snapshot, load
from training.config import TrainConfig
from training.continual.champions import extras, kept_states, named_states, replaced
from training.continual.config import ContinualConfig, GateConfig
from training.continual.phases import Phase, Plan, Scores
from training.continual.seeds import derived_seed
from training.continual.states import collect_states, function_of, rollout_states
from training.continual.updates import REGISTRY, GatedPhase, last_champion, read_decisions
from training.errors import ConfigError
from training.learning import learner_text
from training.sb3.option_config import OptionAgentConfig
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import capture, check_fits, load_continual, load_optimizers, restore
from training.tasks.task import Task

SCORES = "scores.json"
"""File of a phase that is over."""
_CURVE_SEED = 1
"""Added to the judgement's seed: curves are drawn on other episodes than tables."""
_PLASTICITY_STATES = 512
"""Of the last rollout, on which units and ranks are looked at: several for each unit of a layer."""


Follow = Callable[[Phase, int], AbstractContextManager[Watch]]
"""Gives who is told of a phase, of whose steps so many are taken, while it is learned."""


class Stream:
    """One seed's stream.

    Args:
        config: of the run.
        continual: its phases and remedies.
        plan: the phases opened.
        task: the market as a whole, whose agents and files these are.
        seed: of networks, noise and episodes.
        folder: the seed's.
    """

    def __init__(
        self,
        config: TrainConfig,
        continual: ContinualConfig,
        plan: Plan,
        task: Task,
        *,
        seed: int,
        folder: Path,
    ) -> None:
        if continual.joint:
            steps = config.schedule.total_steps * len(plan.phases)
            config = replace(config, schedule=replace(config.schedule, total_steps=steps))
            plan = plan.joint()
        self._config, self._continual, self.plan, self._task = config, continual, plan, task
        self._seed, self.folder = seed, folder

    def check(self) -> None:
        """Build the first phase's learner and its remedies, to see that all fits.

        Raises:
            ConfigError: a remedy that does not fit the agent, too few environments, or a gate that
                no update can ever pass.
        """
        if self._continual.gate is not None:
            self._require_feasible(self._continual.gate)
        self._learner(self.plan.phases[0])
        for phase in self.plan.phases:
            self._lanes(phase)
        for remedy in self._continual.remedies:
            if isinstance(remedy, PackNetConfig):
                self._require_told(remedy)
            if isinstance(remedy, GrowConfig):
                self._require_options(remedy)
            if isinstance(remedy, CloningConfig) and remedy.belief:
                self._require_belief(remedy)

    def _require_told(self, config: PackNetConfig) -> None:
        """Refuse shares of a network that nobody can choose among."""
        regimes = len(self.plan.played)
        if config.phases < regimes:
            raise ConfigError(
                f"continual.remedies: packnet.phases: expected at least {regimes}, one for each "
                f"regime of the stream, found {config.phases}"
            )
        if not self.plan.known:
            raise ConfigError(
                "continual.remedies: packnet: expected an agent that is told which regime it is in "
                "(a market with market.world.regime=known), as it plays each with a share of the "
                "network of its own, found one that is not"
            )

    def _require_belief(self, config: CloningConfig) -> None:
        """Refuse states that are chosen by a belief which nobody has."""
        if self.plan.numbers is None:
            raise ConfigError(
                "continual.remedies: cloning.belief: expected 0 where phases are no regimes that "
                "the agent is told of (those of a calendar are not the detector's), found "
                f"{config.belief:g}"
            )
        if not self._task.beliefs.columns:
            raise ConfigError(
                "continual.remedies: cloning.belief: expected 0 where nothing is known of regimes "
                "(a belief comes by regime=hmm, or by market.world.regime=belief), found "
                f"{config.belief:g}"
            )

    def _require_feasible(self, gate: GateConfig) -> None:
        """Refuse a gate that rejects a policy which is exactly as good, on noiseless episodes."""
        total = self._config.schedule.total_steps
        updates = math.ceil(total / (gate.every or total)) * len(self.plan.phases)
        perfect = Sample(deviation=1e-12, episodes=gate.acceptance.episodes, gain=1.0)
        samples = {self.plan.regimes[regime].name: perfect for regime in self.plan.played}
        found = check_feasible(samples, gate.acceptance, updates)
        if found.never:
            raise ConfigError(
                f"continual.gate.acceptance: expected one that an update can pass, found one that "
                f"none can: {found.never[0]}"
            )

    def _require_options(self, config: GrowConfig) -> None:
        """Go through the phases with a learner that is thrown away."""
        agent = self._config.agent
        if self.plan.numbers is None and isinstance(agent, OptionAgentConfig):
            kind = agent.meta_controller.controller.kind
            if self._task.beliefs.columns and kind != "free":
                raise ConfigError(
                    "continual.remedies: grow: expected a controller that is told nothing of "
                    "regimes (kind=free) where phases are not those of a detector, or the option "
                    f"that learns is not the one that acts, found {kind}"
                )
        model = self._built(self.plan.phases[0], self._lanes(self.plan.phases[0]), self._seed)
        try:
            grow = Remedies([config], function_of(model, self._task.beliefs))
            for phase in self.plan.phases:
                grow.begin(phase.number, self.plan.number(phase))
        except ValueError as error:
            raise ConfigError(f"continual.remedies: {error}") from error

    def run(self, follow: Follow) -> bool:
        """Go through the phases, or on from where the last process was.

        Returns:
            Whether all are over; False where a stop request came.

        Raises:
            CheckpointError: a checkpoint is damaged, of another configuration or other remedies.
        """
        for phase in self.plan.phases:
            if not (self.phase_folder(phase) / SCORES).exists() and not self._go(phase, follow):
                return False
        return True

    def phase_folder(self, phase: Phase) -> Path:
        """Where a phase is kept."""
        return self.folder / f"phase-{phase.number:02d}"

    def accepted(self, phase: Phase) -> Snapshot:
        """The state that a finished phase left.

        Raises:
            CheckpointError: it is damaged or missing.
        """
        store = self._store(phase, "accepted", 1)
        store.require_complete()
        steps = store.steps()
        return load(steps[max(steps)], configuration=self._text)

    def adopt(self, phase: Phase, snapshot: Snapshot) -> None:
        """Take over a phase that another run has learned; nothing happens where it is over.

        Args:
            phase: the last one that is over.
            snapshot: what it left.

        Raises:
            CheckpointError: it is of another kind of agent.
        """
        if (self.phase_folder(phase) / SCORES).exists():
            return
        model = self._built(phase, {phase.regime: self._config.schedule.num_envs}, self._seed)
        check_fits(model, snapshot)
        model.policy.net.load_state_dict(dict(snapshot.weights))
        arrays, gate = dict(snapshot.arrays), self._continual.gate
        if gate is not None and phase.regime not in kept_states(snapshot):
            arrays |= named_states(phase.regime, self._states(phase, model, gate.states))
        files = {REGISTRY: "{}", **snapshot.files, **self._files}
        store = self._store(phase, "accepted", 1)
        store.save(
            int(snapshot.trainer["num_timesteps"]), replace(snapshot, arrays=arrays, files=files)
        )
        record = {"phase": phase.number, "regime": phase.regime, "adopted": True}
        write_whole(self.phase_folder(phase) / SCORES, json.dumps(record, indent=1) + "\n")

    # -- a phase ------------------------------------------------------------------------------

    def _go(self, phase: Phase, follow: Follow) -> bool:
        """Learn a phase, or on; returns False where a stop request ended it early."""
        model, remedies = self._learner(phase)
        store = self._store(phase, "checkpoints", self._config.schedule.keep)
        latest = store.latest()
        if latest is not None:
            restore(model, load(latest, configuration=self._text))
        remedies.begin(phase.number, self.plan.number(phase))
        gate = self._continual.gate
        updates = None if gate is None else self._updates(phase, model, gate)
        with follow(phase, model.num_timesteps) as watch:
            if updates is None:
                self._train(model, store, watch)
                over = model.num_timesteps >= self._config.schedule.total_steps
            else:
                over = updates.run(watch)
            if not over:
                return False
            self._consolidate(phase, model, remedies)
            watch.log(self._judge(phase, model, remedies), model.num_timesteps)
        return True

    def _train(self, model: MarketPPO, store: CheckpointStore, watch: Watch) -> None:
        """Take the steps that are left; checkpoints have no score, they are not chosen from."""

        def judged(model: MarketPPO) -> None:
            watch.log(self.curve(model), model.num_timesteps)

        model.set_logger(Logger(folder=None, output_formats=[MetricWriter(watch.log)]))
        callback = CheckpointCallback(self._config.schedule, store, self._files, watch, judged)
        left = self._config.schedule.total_steps - model.num_timesteps
        if left > 0 and not watch.stop.requested:
            model.learn(left, callback=callback, reset_num_timesteps=store.latest() is None)
            callback.finish()

    def _updates(self, phase: Phase, model: MarketPPO, gate: GateConfig) -> GatedPhase:
        """The phase as updates that must be accepted; the learner becomes the champion."""
        past = self.plan.phases[: phase.number]
        updates = GatedPhase(
            self._config,
            gate,
            self.plan,
            phase,
            model,
            function_of(model, self._task.beliefs),
            judge=partial(self.judged, plan=self.plan.until(phase)),
            curve=self.curve,
            seed=self._seed,
            folder=self.phase_folder(phase),
            files=self._files,
            earlier=sum(len(read_decisions(self.phase_folder(each))) for each in past),
        )
        updates.begin(self.accepted(past[-1]) if past else None)
        return updates

    def _learner(self, phase: Phase) -> tuple[MarketPPO, Remedies]:
        """A learner at the beginning of a phase, with what the one before it has left."""
        continual, number = self._continual, phase.number
        seed = derived_seed(self._seed, "phase", number) if number else self._seed
        model = self._built(phase, self._lanes(phase), seed)
        try:
            remedies = Remedies(continual.remedies, function_of(model, self._task.beliefs))
        except ValueError as error:
            raise ConfigError(f"continual.remedies: {error}") from error
        model.remedy = remedies
        if isinstance(model, OptionPPO) and not self.plan.mixed:
            # One regime a phase: one option is meant to act.
            model.warned |= {"one_takes_all", "blind_to_regimes"}
        if not number:
            return model, remedies
        before = self.accepted(self.plan.phases[number - 1])
        check_fits(model, before)
        noise = model.policy.net.log_std.detach().clone()
        model.policy.net.load_state_dict(dict(before.weights))
        load_continual(model, before)
        if continual.reset_noise:
            model.policy.net.log_std.detach().copy_(noise)
        if not continual.reset_optimizer:
            load_optimizers(model, before.optimizer)
        return model, remedies

    def _lanes(self, phase: Phase) -> dict[int, int]:
        """How many environments play each regime: the phase's, and those beside it or rehearsed.

        Raises:
            ConfigError: too few environments for the regimes.
        """
        lanes, regimes = self._config.schedule.num_envs, self.plan.seen(phase)
        shares = [r.share for r in self._continual.remedies if isinstance(r, RehearsalConfig)]
        if phase.beside:
            if lanes <= len(phase.beside):
                raise ConfigError(
                    f"schedule.num_envs: expected at least {len(phase.beside) + 1}, one for each "
                    f"regime that is learned at once, found {lanes}"
                )
            regimes, shares = phase.beside, [1.0 - 1.0 / (len(phase.beside) + 1)]
        try:
            earlier = shared_lanes(shares[0], lanes, regimes) if shares else {}
        except ValueError as error:
            raise ConfigError(f"schedule.num_envs: {error}") from error
        return {phase.regime: lanes - sum(earlier.values())} | earlier

    def _built(self, phase: Phase, lanes: Mapping[int, int], seed: int) -> MarketPPO:
        simulator = self.plan.until(phase).simulator(lanes, seed)
        return build_learner(self._config, self._task, seed, simulator)

    def _consolidate(self, phase: Phase, model: MarketPPO, remedies: Remedies) -> None:
        """Let the remedies take the phase in, and keep the state that it ended with."""
        store = self._store(phase, "accepted", 1)
        if store.steps():
            accepted = self.accepted(phase)
            # Consolidation may change weights too: what has found no room is pruned.
            model.policy.net.load_state_dict(dict(accepted.weights))
            load_continual(model, accepted)
            return
        wanted = max((getattr(r, "states", 0) for r in self._continual.remedies), default=0)
        gate = self._continual.gate
        states: States = {}
        if self._continual.remedies or gate is not None:
            states = self._states(phase, model, max(wanted, gate.states if gate else 1))
        if self._continual.remedies:
            generator = torch.Generator().manual_seed(
                derived_seed(self._seed, "consolidate", phase.number)
            )
            remedies.consolidate(
                Experience(phase.number, self.plan.number(phase), states, generator)
            )
        snapshot = capture(model, self._files)
        if gate is not None:
            champion = last_champion(self.phase_folder(phase), self._text)
            kept = {name: rows[: gate.states] for name, rows in states.items()}
            snapshot = replace(
                snapshot,
                arrays={
                    **snapshot.arrays,
                    **extras(champion),
                    **named_states(phase.regime, kept),
                },
                files={**snapshot.files, REGISTRY: champion.files[REGISTRY]},
            )
        store.save(model.num_timesteps, snapshot)

    def _states(self, phase: Phase, model: MarketPPO, wanted: int) -> States:
        """States of the phase's regime under the policy that it ended with."""
        seed = derived_seed(self._seed, "states", phase.number)
        twin = self._built(phase, {phase.regime: self._config.schedule.num_envs}, seed)
        twin.policy.net.load_state_dict(model.policy.net.state_dict())
        length = twin.vec_env.simulator.config.episode.length or model.n_steps
        return collect_states(twin, wanted, length, seed)

    def _judge(self, phase: Phase, model: MarketPPO, remedies: Remedies) -> dict[str, float]:
        """Judge on all regimes, and write down that the phase is over."""
        settings = self._config.evaluation.optimality
        found = self.scores(model, seed=settings.seed, episodes=settings.episodes)
        names = [regime.name for regime in self.plan.regimes]
        record = {
            "phase": phase.number,
            "regime": phase.regime,
            "regimes": names,
            "steps": model.num_timesteps,
            "ratio": [scores.ratio for scores in found],
            "earned": [float(scores.earned_E.mean()) for scores in found],
            "nothing": [float(scores.nothing_E.mean()) for scores in found],
            "best": [None if s.best_E is None else float(s.best_E.mean()) for s in found],
            "stored_floats": remedies.floats,
        }
        if not phase.number:
            record["before"] = [each.ratio for each in self._untrained(phase)]
        write_whole(self.phase_folder(phase) / SCORES, json.dumps(record, indent=1) + "\n")
        return {f"score/{name}": s.ratio for name, s in zip(names, found, strict=True)}

    def _untrained(self, phase: Phase) -> list[Scores]:
        """What the networks are worth before the first step."""
        model, _ = self._learner(phase)
        settings = self._config.evaluation.optimality
        return self.scores(model, seed=settings.seed, episodes=settings.episodes)

    def scores(self, model: MarketPPO, *, seed: int, episodes: int) -> list[Scores]:
        """What the policy is worth in every regime, on the episodes of a seed."""
        every = range(len(self.plan.regimes))
        found = self.judged(model, seed=seed, episodes=episodes, regimes=every)
        return [found[regime] for regime in every]

    def judged(
        self,
        model: MarketPPO,
        *,
        seed: int,
        episodes: int,
        regimes: Sequence[int],
        plan: Plan | None = None,
    ) -> dict[int, Scores]:
        """What the policy is worth in some regimes.

        Where the regime is known to the agent, it acts with what is kept for that regime.

        Args:
            model: whose policy.
            seed: of the episodes.
            episodes: in each regime.
            regimes: their numbers.
            plan: what is known of them at the time; None = the whole one.
        """
        found, plan = {}, plan or self.plan
        for number in regimes:
            with replaced(model, self.plan.played_as(model.remedy, number)):
                policy = policy_of(model)
                found[number] = plan.regimes[number].judge(policy, seed=seed, episodes=episodes)
        return found

    def curve(self, model: MarketPPO) -> dict[str, float]:
        """Scores on a few other episodes, by name of the regime, and figures of plasticity."""
        seed = self._config.evaluation.optimality.seed + _CURVE_SEED
        found = self.scores(model, seed=seed, episodes=self._continual.curve_episodes)
        names = [regime.name for regime in self.plan.regimes]
        scores = {f"curve/{name}": each.ratio for name, each in zip(names, found, strict=True)}
        return scores | self._plasticity(model)

    def _plasticity(self, model: MarketPPO) -> dict[str, float]:
        """Whether the policy can still learn, on states of the last rollout."""
        states = rollout_states(model, _PLASTICITY_STATES)
        function = function_of(model, self._task.beliefs)
        found = plasticity(model.policy.net, function, states)
        return {f"plasticity/{name}": value for name, value in found.items()}

    def _store(self, phase: Phase, name: str, keep: int) -> CheckpointStore:
        return CheckpointStore(self.phase_folder(phase) / name, keep_last=keep)

    @cached_property
    def _files(self) -> dict[str, str]:
        return {"config.yaml": self._text, **self._task.files}

    @cached_property
    def _text(self) -> str:
        return learner_text(self._config, self._seed)
