"""A decision of an agent of options as text for people, and as plain values for programs."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.commands.output import columns
from training.explain import WEIGHT, Decided, Explanation
from training.explain_words import GATED, reason

__all__ = ["plain", "told"]

Array = NDArray[np.float64]

_TELLING: Final = 3
"""Positions that are shown of each option: those on which options differ most."""
_MOST: Final = 6
"""Prices and holdings that are shown."""
_HEADS: Final = ("OPTION", "FALLBACK", "GATE", "PROPOSAL", "ENDS", "BEFORE", "NOW")
_GATE: Final = _HEADS.index("GATE")


def told(found: Explanation, *, every: bool) -> list[str]:
    """Paragraphs for people.

    Args:
        found: the decision.
        every: show every asset, not only the largest and those on which options differ.
    """
    place, decided = found.place, found.decision
    other = place.asked is not None and place.asked not in place.bar
    asked = f" (the last decision up to {place.asked})" if other else ""
    opening = f"{found.run}, seed {found.seed}: {place.bar}{asked}, in {place.where}"
    why = reason(found.history, found.controls, decided.failed_K)
    parts = [opening, why, columns(_facts(found, every=every)), columns(_options(found))]
    if every:
        parts.append(columns(_positions(found)))
    return [*parts, columns(_legend(found))]


def plain(found: Explanation) -> dict[str, object]:
    """All of it as JSON has it; what is not known is null."""
    history, place, controls, decided = (
        found.history,
        found.place,
        found.controls,
        found.decision,
    )
    return {
        "run": found.run,
        "seed": found.seed,
        "bar": place.bar,
        "in": place.where,
        "asked": place.asked,
        "possible": place.possible,
        "bars_before": len(history.times) - 1,
        "controller": controls.controller,
        "execution": "hard" if controls.hard else "blended",
        "beta_max": controls.beta_max,
        "price": _named(decided.symbols, decided.price_A),
        "unit": decided.unit,
        "held": _named(decided.positions, decided.held_M),
        "belief": _named(history.regime_names, history.belief_TR[-1]),
        "regime": None if history.regime_T is None else int(history.regime_T[-1]),
        "options": [_option(found, option) for option in range(len(history.names))],
        "done": {
            "positions": _named(decided.positions, decided.taken_M),
            "action": history.action_TD[-1].tolist(),
            "hindsight": _finite(decided.earned),
        },
        "reward": decided.reward,
        "reason": reason(history, controls, decided.failed_K),
    }


def _option(found: Explanation, option: int) -> dict[str, object]:
    history, decided = found.history, found.decision
    gated = found.controls.controller in GATED
    return {
        "name": history.names[option],
        "fallback": float(history.fallback_TK[-1, option]),
        "gate": float(history.deviation_TK[-1, option]) if gated else None,
        "proposal": float(history.proposal_TK[-1, option]),
        "termination": float(history.termination_TK[-1, option]),
        "before": float(history.previous_TK[-1, option]) if len(history.times) > 1 else None,
        "now": float(history.weights_TK[-1, option]),
        "positions": _named(decided.positions, decided.asked_KM[option]),
        "action": history.option_action_TKD[-1, option].tolist(),
        "hindsight": _finite(float(decided.payoff_K[option])),
    }


def _facts(found: Explanation, *, every: bool) -> list[tuple[str, str]]:
    """The market, the account and what was believed, a row each."""
    history, controls, decided = found.history, found.controls, found.decision
    way = "one option at a time" if controls.hard else "all options by their weights"
    held = _listed(decided.positions, decided.held_M, _digits(decided), every=every)
    price = _listed(decided.symbols, decided.price_A, ",.2f", every=every)
    rows = [
        ("agent", f"{way}, {controls.controller.replace('_', ' ')} controller"),
        ("price", price),
        ("held", f"{held} ({decided.unit})"),
    ]
    if history.regime_names:
        belief = zip(history.regime_names, history.belief_TR[-1], strict=True)
        rows.append(("belief", ", ".join(f"{name} {share:.2f}" for name, share in belief)))
    if history.regime_T is not None:
        rows.append(("truth", f"regime {history.regime_T[-1]}"))
    return rows


def _listed(names: Sequence[str], values_M: Array, digits: str, *, every: bool) -> str:
    """Names with their values; of many the largest, and how many more there are."""
    most = len(names) if every else _MOST
    order = np.argsort(-np.abs(np.nan_to_num(values_M)), kind="stable")[:most]
    words = [
        f"{names[number]} {values_M[number]:{digits}}"
        if np.isfinite(values_M[number])
        else f"{names[number]} none"
        for number in sorted(order)
    ]
    more = len(names) - len(words)
    return ", ".join(words) + (f" and {more:,} more" if more else "")


def _options(found: Explanation) -> list[tuple[str, ...]]:
    """A row for each option, and one for what was done."""
    history, decided = found.history, found.decision
    gated = found.controls.controller in GATED
    shown = _telling(decided)
    alone = [f"ALONE {decided.positions[number]}" for number in shown]
    heads = _HEADS if gated else (*_HEADS[:_GATE], *_HEADS[_GATE + 1 :])
    rows: list[tuple[str, ...]] = [(*heads, *alone, "HINDSIGHT")]
    for option, name in enumerate(history.names):
        numbers = [
            table_TK[-1, option]
            for table_TK in (
                history.fallback_TK,
                history.proposal_TK,
                history.termination_TK,
                history.previous_TK,
                history.weights_TK,
            )
        ]
        cells = [f"{number:.2f}" for number in numbers]
        if len(history.times) == 1:
            cells[-2] = "none"
        if gated:
            cells.insert(_GATE - 1, f"{history.deviation_TK[-1, option]:+.2f}")
        hindsight = "failed" if decided.failed_K[option] else f"{decided.payoff_K[option]:+.4g}"
        rows.append((name, *cells, *_alone(decided, decided.asked_KM[option], shown), hindsight))
    done = _alone(decided, decided.taken_M, shown)
    rows.append(("done", *[""] * (len(heads) - 1), *done, f"{decided.earned:+.4g}"))
    return _ranged(rows)


def _legend(found: Explanation) -> list[tuple[str, str]]:
    """What the columns are."""
    decided = found.decision
    last = f"{decided.reward} that it would have earned in the next bar, which nobody knew then"
    gate = "logit that was learned and is added to the fallback's, or stands alone if free"
    gated = found.controls.controller in GATED
    return [
        ("FALLBACK", "share by the belief in regimes alone"),
        *([("GATE", gate)] if gated else []),
        ("PROPOSAL", "share that the controller asks for"),
        ("ENDS", "termination: probability that the option ends, and the controller chooses anew"),
        ("BEFORE, NOW", "share of the agent's action in the bar before, and in this one"),
        ("ALONE", f"{decided.unit} that the option by itself would ask for; done: the agent"),
        ("HINDSIGHT", last),
    ]


def _ranged(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Every column but the first aligned to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        (row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        for row in rows
    ]


def _digits(decided: Decided) -> str:
    """Format of positions: weights to a tenth of a percent, units to four digits."""
    return ".3f" if decided.unit == WEIGHT else ".4g"


def _alone(decided: Decided, asked_M: Array, shown: list[int]) -> list[str]:
    """What is asked for of the shown positions, a cell each."""
    return [_number(asked_M[number], _digits(decided)) for number in shown]


def _number(value: float, digits: str) -> str:
    """A number without a sign before zero."""
    return f"{value:{digits}}".replace("-0.000", "0.000")


def _telling(decided: Decided) -> list[int]:
    """Positions on which the options differ most, in their order."""
    spread_M = np.ptp(np.concatenate([decided.asked_KM, decided.held_M[None]]), axis=0)
    return sorted(int(n) for n in np.argsort(-spread_M, kind="stable")[:_TELLING])


def _positions(found: Explanation) -> list[tuple[str, ...]]:
    """A row for each position: before, of every option alone, and what was done."""
    decided = found.decision
    rows: list[tuple[str, ...]] = [("POSITION", "HELD", *found.history.names, "DONE")]
    for number, name in enumerate(decided.positions):
        values = (decided.held_M[number], *decided.asked_KM[:, number], decided.taken_M[number])
        rows.append((name, *(_number(value, _digits(decided)) for value in values)))
    return _ranged(rows)


def _named(names: Sequence[str], values_M: Array) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in zip(names, values_M.tolist(), strict=True)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
