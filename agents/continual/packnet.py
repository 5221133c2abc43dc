"""PackNet: weights are shared out among regimes, and what is given is given for good."""

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.continual.config import PackNetConfig
from agents.continual.frozen import Frozen, refuse_foreign, union
from agents.continual.protocol import Experience, PolicyFunction, Remedy

_FREE = -1
_MOST = 127
"""Shares that an int8 can number."""
_ROUNDING = 1e-9


class PackNet(Remedy):
    """PackNet (Mallya & Lazebnik 2018, arXiv:1711.05769), as Continual World does it for actors.

    A regime trains all weights that are still free. When `1 - retrain` of its phase is done, the
    largest of them by magnitude become its share, 1 / `phases` of each tensor (the last regime
    takes what is left); the others are zero for the rest of the phase, which trains the share
    alone. The next phase learns with what is free, from zero, on top of all earlier shares, which
    stay bit for bit as they are. Played in regime j, the policy has only the shares up to that of
    j, and so acts as it did when the phase of j ended; parts that are not protected go on.

    Biases are the first regime's from its pruning on (Continual World, arXiv:2105.10919). A share
    is at least one number for the first regime, so that no layer falls silent.

    A regime that comes back keeps its share as it is: later shares are built upon it. What it
    learns then, it learns with free weights that no one will own. The method has no better answer.

    Args:
        config: how many regimes, and which parts.
        function: the policy.

    Raises:
        ValueError: more regimes than can be numbered, or a part that the policy does not have.
    """

    name = "packnet"

    def __init__(self, config: PackNetConfig, function: PolicyFunction) -> None:
        if config.phases > _MOST:
            raise ValueError(f"packnet.phases: expected at most {_MOST}, found {config.phases}")
        self._config = config
        self._masks = union(function, config.protect)
        self._parameters = {name: function.parameters[name] for name in self._masks}
        self._owner = {
            name: torch.full_like(mask, _FREE, dtype=torch.int8)
            for name, mask in self._masks.items()
        }
        self._regimes: list[int] = []  # in the order of their shares
        self._phase, self._share, self._closed = -1, -1, 0
        self._pruned = False
        self._frozen = Frozen(self._parameters)
        self._held = self._hold()

    def begin(self, phase: int, regime: int) -> None:
        """Free what the last phase pruned; a new regime gets the next share.

        Raises:
            ValueError: there is no room for another regime, or the last one was not consolidated.
        """
        if phase == self._phase:
            return
        if self._share == self._closed:
            raise ValueError(
                f"packnet: expected phase {self._phase} to be consolidated before phase {phase} "
                "begins, found its weights not shared out"
            )
        if regime not in self._regimes:
            if len(self._regimes) == self._config.phases:
                raise ValueError(
                    f"packnet.phases: expected at most {self._config.phases} regimes, found "
                    f"regime {regime} after {self._regimes}"
                )
            self._regimes.append(regime)
        self._phase, self._share, self._pruned = phase, self._regimes.index(regime), False
        if self._closed:
            self._clear()
        self._held = self._hold()

    def progress(self, done: float) -> None:
        """Prune when the time has come."""
        due = 1.0 - self._config.retrain - _ROUNDING
        if self._share == self._closed and not self._pruned and done >= due:
            self._prune()

    def mask(self) -> None:
        """Earlier shares and pruned weights get no gradient."""
        self._frozen.mask(self._held)

    def after_step(self, rate: float) -> None:
        """Put earlier shares and pruned weights back where the optimiser's momentum moved them."""
        del rate
        self._frozen.restore()

    def consolidate(self, experience: Experience) -> None:
        """Close the share of the regime; prune where the phase was too short to have done so."""
        del experience
        if self._share != self._closed:
            return
        if not self._pruned:
            self._prune()
        self._closed += 1
        self._held = self._hold()

    def played_as(self, regime: int) -> dict[str, Tensor]:
        """Parameters with the shares up to the regime's own; none for one without a share yet."""
        if regime not in self._regimes[: self._closed]:
            return {}
        share = self._regimes.index(regime)
        played = {}
        for name, parameter in self._parameters.items():
            owner = self._owner[name]
            absent = self._masks[name] & ((owner == _FREE) | (owner > share))
            played[name] = parameter.detach().masked_fill(absent, 0.0)
        return played

    def state(self) -> dict[str, Tensor]:
        """Who owns what, and how far the phase is."""
        numbers = [self._config.phases, self._phase, self._share, self._closed, int(self._pruned)]
        known = self._regimes + [-1] * (self._config.phases - len(self._regimes))
        owners = {f"owner/{name}": owner for name, owner in self._owner.items()}
        return {"position": torch.tensor(numbers), "regimes": torch.tensor(known), **owners}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy, another policy or another number of phases.
        """
        refuse_foreign(self.name, state, self.state())
        phases, self._phase, self._share, self._closed, pruned = state["position"].tolist()
        if phases != self._config.phases:
            raise ValueError(
                f"packnet.phases: expected {phases} as when the weights were first shared out, "
                f"found {self._config.phases}"
            )
        self._pruned = bool(pruned)
        self._regimes = [regime for regime in state["regimes"].tolist() if regime >= 0]
        self._owner = {
            name: state[f"owner/{name}"].to(owner.device, copy=True)
            for name, owner in self._owner.items()
        }
        self._held = self._hold()

    def figures(self) -> dict[str, float]:
        """Share of the protected numbers that is free, and that the present regime owns."""
        total = sum(int(mask.sum()) for mask in self._masks.values())
        owned = sum(int((owner >= 0).sum()) for owner in self._owner.values())
        own = sum(int((owner == self._share).sum()) for owner in self._owner.values())
        return {"free": 1.0 - owned / total, "own": own / total if self._share >= 0 else 0.0}

    def _hold(self) -> dict[str, Tensor]:
        """What must not move: earlier shares, and after the pruning all but the present one."""
        pruned = self._pruned and self._share == self._closed
        held = {
            name: mask & (self._owner[name] != self._share) if pruned else self._owner[name] >= 0
            for name, mask in self._masks.items()
        }
        return {name: mask for name, mask in held.items() if mask.any()}

    @torch.no_grad()
    def _clear(self) -> None:
        """What is free starts at zero."""
        for name, mask in self._masks.items():
            self._parameters[name].masked_fill_(mask & (self._owner[name] == _FREE), 0.0)

    @torch.no_grad()
    def _prune(self) -> None:
        """Give the largest free numbers to the present regime; the other free ones become zero."""
        for name, mask in self._masks.items():
            owner = self._owner[name].clone()
            free = (mask & (owner == _FREE)).flatten()
            magnitude = self._parameters[name].flatten().abs().masked_fill(~free, -1.0)
            order = torch.sort(magnitude, descending=True, stable=True).indices
            bias = "bias" in name
            taken = int(free.sum()) if bias else self._size(int(mask.sum()), int(free.sum()))
            owner.view(-1)[order[:taken]] = self._share
            self._owner[name] = owner
        self._pruned = True
        self._clear()
        self._held = self._hold()

    def _size(self, total: int, free: int) -> int:
        """Numbers of the present share: the total is cut as evenly as whole numbers allow."""
        phases = self._config.phases
        if self._share == phases - 1:
            return free
        return -(-total * (self._share + 1) // phases) + (-total * self._share // phases)
