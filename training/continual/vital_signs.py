"""Vital signs of a gated update: what is known of a candidate before it is played.

Dimensions: B states, O alternatives, D outputs.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from agents.continual.law import ActionLaw
from agents.continual.protocol import PolicyFunction, States
from evaluation.acceptance import Vitals
from training.checkpoint import Snapshot
from training.continual.champions import as_champion, explosions, kept_states
from training.continual.phases import Plan
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO


class VitalSigns:
    """Examines a learner after an update.

    Args:
        model: the learner.
        function: its policy.
        plan: the phases.
    """

    def __init__(self, model: MarketPPO, function: PolicyFunction, plan: Plan) -> None:
        self._model, self._function, self._plan = model, function, plan

    def of(self, champion: Snapshot, *, diverged: bool) -> Vitals:
        """Vital signs of the learner as it is.

        Args:
            champion: the state that the update began with.
            diverged: whether the learner gave up.
        """
        model = self._model
        finite = not diverged and self._finite()
        laws = self._laws(champion) if finite else {}
        divergence = {name: before.divergence(after) for name, (before, after) in laws.items()}
        found = explosions(champion, model.peaks)
        norms = [ratio for name, ratio in found.items() if name.startswith("gradient_norm")]
        deviations = None
        if finite and not model.policy.discrete:
            log_std = model.policy.log_std.detach()
            deviations = (float(log_std.min()), float(log_std.max()))
        vitals = Vitals(
            finite=finite,
            actions={name: sound_share(after) for name, (_, after) in laws.items()},
            gradient_ratio=_largest(norms),
            value_loss_ratio=found.get("value_loss"),
            log_std=deviations,
            kl_mean={name: float(found_B.mean()) for name, found_B in divergence.items()},
            kl_q99={n: float(torch.quantile(found_B, 0.99)) for n, found_B in divergence.items()},
        )
        # In a head start it is not the controller who decides which option acts.
        decides = finite and isinstance(model, OptionPPO) and not model.rollout.forced
        return self._with_usage(vitals) if decides else vitals

    def _finite(self) -> bool:
        """Whether all numbers of networks and optimisers are."""
        model = self._model
        moments = [s for each in model.optimizers.values() for s in each.state.values()]
        tensors = [
            *model.policy.net.state_dict().values(),
            *(t for s in moments for t in s.values()),
        ]
        return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)

    def _laws(self, champion: Snapshot) -> dict[str, tuple[ActionLaw, ActionLaw]]:
        """Laws of champion and candidate on the states kept of every regime."""
        found, device = {}, self._model.device
        for regime, kept in kept_states(champion).items():
            states = {name: rows.to(device) for name, rows in kept.items()}
            with torch.no_grad():
                after = self._law(regime, states)
                with as_champion(self._model, champion):
                    before = self._law(regime, states)
            found[self._plan.regimes[regime].name] = (before, after)
        return found

    def _law(self, regime: int, states: States) -> ActionLaw:
        """Law of the learner as it is now, playing a regime."""
        parameters = self._plan.played_as(self._model.remedy, regime)
        return _copied(self._function.law(parameters, states))

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


def sound_share(law: ActionLaw) -> float:
    """Share of the states in which every action that the law can take is one.

    An output that is finite becomes an action inside its space by the clip of every policy, and a
    position inside the market's limits by the simulator's projection. One that is not finite is
    what neither can mend: an infinite one would pass for an action at the bound.

    Args:
        law: of the actions in B states.
    """
    sound_B = _finite_rows(law.choice_BO) & _finite_rows(law.output_BOD)
    if law.log_std_BOD is not None:
        sound_B = sound_B & _finite_rows(law.log_std_BOD)
    return float(sound_B.float().mean())


def _finite_rows(tensor: Tensor) -> Tensor:
    return torch.isfinite(tensor).flatten(start_dim=1).all(dim=1)


def _copied(law: ActionLaw) -> ActionLaw:
    """The law as it is now: deviations that are the networks' own tensor change with them."""
    deviations = law.log_std_BOD
    return replace(law, log_std_BOD=None if deviations is None else deviations.clone())


def _largest(values: list[float]) -> float | None:
    """The largest; what is not a number is."""
    return float(np.max(values)) if values else None
