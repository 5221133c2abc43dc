"""An option for each new regime: one learns when its regime comes, the others stand still."""

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.continual.config import GrowConfig
from agents.continual.frozen import Frozen, refuse_foreign, union
from agents.continual.protocol import PolicyFunction, Remedy

_FREEZES = ("trunk", "gate")
_NONE = -1


class Grow(Remedy):
    """Only the option of the present regime trains among the options' heads.

    Regime r takes option r, as the default regime map of residual and fallback controllers has it
    (a map of one's own must give regime r to option r too, or the option that learns is not the one
    that acts). Where option r does not learn, does not exist or is taken, the regime takes the last
    learned option that is free, which a regime of its own number claims latest. A controller that
    is told nothing of regimes (`free`) finds out by itself who is good at what.

    Other options' heads keep their numbers to the bit: they get no gradient, and the optimiser's
    momentum is undone. Their outputs still move with the trunk, if that is not frozen or protected
    by another remedy; where the trunk is frozen too, an option acts as when its phase ended.
    Deviations (`log_std`) are no part of it.

    A regime that comes back trains its own option again, from where it stood.

    Args:
        config: how a new option starts, and what is frozen beside the options.
        function: the policy; two of its options must learn.

    Raises:
        ValueError: a flat policy, fewer than two options that learn, or a part that it cannot
            freeze.
    """

    name = "grow"

    def __init__(self, config: GrowConfig, function: PolicyFunction) -> None:
        unknown = [part for part in config.freeze if part not in _FREEZES]
        if unknown:
            raise ValueError(f"grow.freeze: expected some of {list(_FREEZES)}, found {unknown}")
        self._config = config
        self._heads = _heads(function)
        if len(self._heads) < 2:
            raise ValueError(
                "grow: expected a policy of options of which two or more learn, found "
                f"{len(self._heads)} (a flat policy has one head)"
            )
        self._all_heads = union(function, ("heads",))
        self._rest = union(function, config.freeze) if config.freeze else {}
        self._parameters = function.parameters
        self._options: dict[int, int] = {}  # by regime, in the order of their first appearance
        self._phase, self._begun, self._option = _NONE, 0, _NONE
        self._frozen = Frozen(function.parameters)
        self._held: dict[str, Tensor] = {}

    def begin(self, phase: int, regime: int) -> None:
        """Turn to the option of the regime, a new one's if it is new.

        Raises:
            ValueError: there are more regimes than options that learn.
        """
        if phase == self._phase:
            return
        before = self._option
        self._option = self._options[regime] if regime in self._options else self._take(regime)
        new = regime not in self._options
        self._options[regime] = self._option
        self._phase, self._begun = phase, self._begun + 1
        if new and self._config.copy and before != _NONE:
            self._copy(before, self._option)
        self._held = self._hold()

    def mask(self) -> None:
        """Other options' heads, and frozen parts, get no gradient."""
        self._frozen.mask(self._held)

    def after_step(self, rate: float) -> None:
        """Put other heads back where the optimiser's momentum moved them."""
        del rate
        self._frozen.restore()

    def state(self) -> dict[str, Tensor]:
        """Which regime has which option, and the present phase."""
        pairs = [[regime, option] for regime, option in self._options.items()]
        pairs += [[_NONE, _NONE]] * (len(self._heads) - len(pairs))
        position = torch.tensor([self._phase, self._begun, self._option])
        return {"position": position, "options": torch.tensor(pairs)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the result of `state`.

        Raises:
            ValueError: it is of another remedy, or of a policy with other options.
        """
        refuse_foreign(self.name, state, self.state())
        options = {r: k for r, k in state["options"].tolist() if r != _NONE}
        strange = sorted(set(options.values()) - self._heads.keys())
        if strange:
            raise ValueError(
                f"{self.name}: expected options of {sorted(self._heads)}, found {strange}"
            )
        self._options = options
        self._phase, self._begun, self._option = state["position"].tolist()
        self._held = self._hold()

    def figures(self) -> dict[str, float]:
        """The option that learns (-1 before the first phase), and how many are in use."""
        return {"option": float(self._option), "options_in_use": float(len(self._options))}

    def _take(self, regime: int) -> int:
        free = [option for option in self._heads if option not in self._options.values()]
        if not free:
            raise ValueError(
                f"grow: expected at most {len(self._heads)} regimes, one for each option that "
                f"learns, found a further one, regime {regime} after {list(self._options)}"
            )
        return regime if regime in free else free[-1]

    @torch.no_grad()
    def _copy(self, source: int, target: int) -> None:
        """Heads are blocks of equal shape: numbers go by their order in the block."""
        for name, mask in self._heads[target].items():
            parameter = self._parameters[name]
            parameter[mask] = parameter[self._heads[source][name]]

    def _hold(self) -> dict[str, Tensor]:
        if self._option == _NONE:
            return {}
        own = self._heads[self._option]
        held = {
            name: mask & ~own[name] if name in own else mask
            for name, mask in self._all_heads.items()
        }
        if self._begun > 1:
            for name, mask in self._rest.items():
                held[name] = held[name] | mask if name in held else mask
        return held


def _heads(function: PolicyFunction) -> dict[int, dict[str, Tensor]]:
    """Masks of each option that learns: options are asked for until all heads are found."""
    wanted = sum(int(mask.sum()) for mask in function.part("heads").values())
    found: dict[int, dict[str, Tensor]] = {}
    option = 0
    while wanted:
        try:
            masks = dict(function.part(f"head:{option}"))
        except ValueError:  # an option that follows a rule
            masks = {}
        if masks:
            found[option] = masks
            wanted -= sum(int(mask.sum()) for mask in masks.values())
        option += 1
    return found
