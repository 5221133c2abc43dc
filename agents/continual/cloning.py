"""Behaviour cloning: on states that are kept of earlier phases, act as these ended.

Dimensions: B states, O alternatives, D outputs, J regimes that are remembered.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from agents.continual.config import CloningConfig
from agents.continual.law import ActionLaw
from agents.continual.protocol import Experience, PolicyFunction, Remedy, States

_LOG = logging.getLogger(__name__)
_SEED = 2209_13900
_NONE = -1


@dataclass(frozen=True)
class _Memory:
    """States of a regime, and the law that its phase ended with in them."""

    states: dict[str, Tensor]
    law: ActionLaw

    def __len__(self) -> int:
        return len(self.law.choice_BO)

    def tensors(self) -> dict[str, Tensor]:
        named = {f"states/{key}": tensor for key, tensor in self.states.items()}
        named |= {"choice": self.law.choice_BO, "output": self.law.output_BOD}
        if self.law.log_std_BOD is not None:
            named["log_std"] = self.law.log_std_BOD
        return named


class Cloning(Remedy):
    """ClonEx's cloning of the actor (Wolczyk et al. 2022, arXiv:2209.13900).

        penalty = c E_j E_{s kept of j} KL( law kept of j(. | s) || pi(. | s) )

    Each gradient step draws `batch` // J states of each remembered regime, with replacement: all
    regimes weigh the same. While a regime is back, its own memory is left out, for it learns from
    its own states; when its phase ends, new states replace the former ones. Explorations by old
    heads, the other half of ClonEx, are no part of it.

    With `belief` > 0 only states are kept in which the regime is believed in: where regimes
    overlap, a clone of the past in states that belong to the present would forbid to learn.

    Args:
        config: strength, states and batch.
        function: the policy.
    """

    name = "cloning"

    def __init__(self, config: CloningConfig, function: PolicyFunction) -> None:
        self._config, self._function = config, function
        self._memories: dict[int, _Memory] = {}
        self._phase, self._regime = _NONE, _NONE
        self._generator = torch.Generator().manual_seed(_SEED)
        self._divergence: Tensor | None = None

    def begin(self, phase: int, regime: int) -> None:
        """Draw from now on by the phase's own numbers."""
        if phase == self._phase:
            return
        self._phase, self._regime = phase, regime
        self._generator.manual_seed(_SEED + phase)

    def penalty(self) -> Tensor | None:
        """The divergence from what earlier phases ended with; None without any."""
        others = sorted(self._memories.keys() - {self._regime})
        drawn = {regime: self._memories[regime] for regime in others}
        if not drawn or self._config.strength == 0.0:
            return None
        each = max(1, self._config.batch // len(drawn))
        rows = [torch.randint(len(m), (each,), generator=self._generator) for m in drawn.values()]
        parts = [
            {key: tensor[row.to(tensor.device)] for key, tensor in memory.states.items()}
            for memory, row in zip(drawn.values(), rows, strict=True)
        ]
        states = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        present = self._function.law(self._function.parameters, states)
        kept = [_rows(memory.law, row) for memory, row in zip(drawn.values(), rows, strict=True)]
        divergence = _joined(kept).divergence(present).mean()
        self._divergence = divergence.detach()
        return self._config.strength * divergence

    def consolidate(self, experience: Experience) -> None:
        """Keep states of the phase and the policy's law in them.

        Raises:
            ValueError: none can be kept, or nothing is known of the regime that states are chosen
                by.
        """
        order = torch.randperm(_count(experience.states), generator=experience.generator)
        chosen = self._believed(experience, order)[: self._config.states]
        states = {k: _own(t[chosen.to(t.device)]) for k, t in experience.states.items()}
        with torch.no_grad():
            law = self._function.law(self._function.parameters, states)
        deviation = None if law.log_std_BOD is None else _own(law.log_std_BOD)
        law = ActionLaw(_own(law.choice_BO), _own(law.output_BOD), deviation)
        self._memories[experience.regime] = _Memory(states, law)
        self._regime = _NONE

    def remap(self, rows: Callable[[Tensor], Tensor]) -> None:
        """Renumber the kept bars, which are rows of the market's table, for another table.

        To be called when training goes on with data whose table has other rows for the same bars.

        Args:
            rows: from rows of the former table to those of the new one, int64 (B,) to (B,).

        Raises:
            ValueError: the result has another shape or type, or a negative row.
        """
        moved: dict[int, _Memory] = {}
        for regime, memory in self._memories.items():
            if "bars" not in memory.states:
                continue
            bars = memory.states["bars"]
            new = rows(bars)
            if new.shape != bars.shape or new.dtype != bars.dtype or bool((new < 0).any()):
                raise ValueError(
                    f"cloning: expected rows {tuple(bars.shape)} of {bars.dtype}, none negative, "
                    f"found {tuple(new.shape)} of {new.dtype}, least {int(new.min())}"
                )
            moved[regime] = replace(memory, states={**memory.states, "bars": new})
        self._memories |= moved

    def state(self) -> dict[str, Tensor]:
        """All kept states with their laws by regime, the generator and the phase."""
        kept = {
            f"{regime}/{key}": tensor
            for regime, memory in self._memories.items()
            for key, tensor in memory.tensors().items()
        }
        position = torch.tensor([self._phase, self._regime])
        return {**kept, "generator": self._generator.get_state(), "position": position}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy or another policy.
        """
        given = dict(state)
        generator, position = given.pop("generator", None), given.pop("position", None)
        if generator is None or position is None or position.shape != (2,):
            raise ValueError(
                f"cloning: expected a state with generator and position (2,), found {sorted(state)}"
            )
        by_regime: dict[int, dict[str, Tensor]] = {}
        for key, tensor in given.items():
            regime, _, rest = key.partition("/")
            if not regime.isdecimal():
                raise ValueError(f"cloning: expected states by regime, found {key}")
            by_regime.setdefault(int(regime), {})[rest] = tensor
        memories = {regime: self._memory(regime, by_regime[regime]) for regime in by_regime}
        keys = {tuple(sorted(memory.states)) for memory in memories.values()}
        if len(keys) > 1:
            raise ValueError(f"cloning: expected the same of all states, found {sorted(keys)}")
        self._memories = memories
        self._generator.set_state(generator.cpu())
        self._phase, self._regime = position.tolist()

    def figures(self) -> dict[str, float]:
        """States kept, and the mean divergence of the last gradient step, nats."""
        figures = {"states": float(sum(len(memory) for memory in self._memories.values()))}
        if self._divergence is not None:
            figures["divergence"] = float(self._divergence)
        return figures

    def _believed(self, experience: Experience, order: Tensor) -> Tensor:
        """Rows, in the given order, of states in which the regime is believed in enough."""
        least, regime = self._config.belief, experience.regime
        if least == 0.0:
            return order
        with torch.no_grad():
            belief_BR = self._function.belief(experience.states)
        if belief_BR is None:
            raise ValueError(
                f"cloning.belief: expected a policy that is told of regime {regime}, found one "
                "that is told of none"
            )
        if regime >= belief_BR.shape[1]:  # bars that came later belong to none of them
            _LOG.warning(
                "cloning: phase %d keeps states whatever is believed: its regime is none of the %d "
                "that the policy is told of",
                experience.phase,
                belief_BR.shape[1],
            )
            return order
        enough = belief_BR[:, regime].cpu() > least
        chosen = order[enough[order]]
        if not len(chosen):
            raise ValueError(
                f"cloning.belief: expected states with a belief above {least} in regime {regime}, "
                f"found none of {len(order)} (largest {float(belief_BR[:, regime].max()):.3f})"
            )
        if len(chosen) < self._config.batch:
            _LOG.warning(
                "cloning: phase %d keeps %d of %d states, the others have a belief of at most %g "
                "in regime %d",
                experience.phase,
                len(chosen),
                len(order),
                least,
                regime,
            )
        return chosen

    def _memory(self, regime: int, tensors: Mapping[str, Tensor]) -> _Memory:
        """A memory from the tensors of a checkpoint, checked against what the policy plays."""
        device = next(iter(self._function.parameters.values())).device
        moved = {key: tensor.to(device, copy=True) for key, tensor in tensors.items()}
        states = {
            key.removeprefix("states/"): tensor
            for key, tensor in moved.items()
            if key.startswith("states/")
        }
        try:
            law = ActionLaw(moved["choice"], moved["output"], moved.get("log_std"))
            probe = {key: tensor[:1] for key, tensor in states.items()}
            if "bars" in probe:  # rows of the market's table may be about to change
                probe["bars"] = torch.zeros_like(probe["bars"])
            with torch.no_grad():
                present = self._function.law(self._function.parameters, probe)
        except (KeyError, RuntimeError, IndexError) as error:
            raise ValueError(
                f"cloning: expected states and law of this policy for regime {regime}, found "
                f"{ {key: tuple(tensor.shape) for key, tensor in tensors.items()} }"
            ) from error
        sizes = {len(tensor) for tensor in (*states.values(), law.choice_BO, law.output_BOD)}
        found = (law.output_BOD.shape[1:], law.log_std_BOD is None, len(sizes))
        expected = (present.output_BOD.shape[1:], present.log_std_BOD is None, 1)
        if found != expected:
            raise ValueError(
                f"cloning: expected outputs {tuple(expected[0])} of regime {regime} for as many "
                f"states, found {tuple(law.output_BOD.shape)} for {sorted(sizes)}"
            )
        return _Memory(states, law)


def _own(tensor: Tensor) -> Tensor:
    """A copy in plain order, as a checkpoint gives it back: other layouts round otherwise."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _count(states: States) -> int:
    """Number of states.

    Raises:
        ValueError: there are none.
    """
    count = min((len(tensor) for tensor in states.values()), default=0)
    if not count:
        raise ValueError("cloning: expected states of the phase that has ended, found none")
    return count


def _rows(law: ActionLaw, row_B: Tensor) -> ActionLaw:
    """The law in some of its states; deviations that do not depend on the state are repeated."""
    row_B = row_B.to(law.choice_BO.device)
    deviation = law.log_std_BOD
    if deviation is not None:
        same = len(deviation) == 1 < len(law.choice_BO)
        deviation = deviation.expand(len(row_B), -1, -1) if same else deviation[row_B]
    return ActionLaw(law.choice_BO[row_B], law.output_BOD[row_B], deviation)


def _joined(laws: list[ActionLaw]) -> ActionLaw:
    """The laws' states one after the other."""
    deviations = [law.log_std_BOD for law in laws if law.log_std_BOD is not None]
    return ActionLaw(
        torch.cat([law.choice_BO for law in laws]),
        torch.cat([law.output_BOD for law in laws]),
        torch.cat(deviations) if deviations else None,
    )
