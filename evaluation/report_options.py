"""What the reports say of options: who acted when, whether the gate follows the regimes, collapse.

Everything is told of one account, which the history is of; scores are means over many.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from envs.config import ActionConfig
from evaluation.bootstrap import Interval
from evaluation.drawing import COLOURS
from evaluation.optimality_states import Slice
from evaluation.option_drawing import option_colours
from evaluation.option_history import OptionHistory
from evaluation.option_maps import mean_targets, states_figure, targets_figure
from evaluation.option_plots import (
    believed,
    disruption,
    switches,
    switches_figure,
    weights_figure,
)
from evaluation.option_result import OptionReport, OptionScores, words_of
from evaluation.option_score_plots import (
    CurvePoint,
    ablations_figure,
    curve_figure,
    matrix_figure,
    shown,
)
from evaluation.option_scores import holdings_share
from meta_controller.config import LEARNED, MetaControllerConfig
from meta_controller.diagnostics import Trace, collapses, diagnose

__all__ = ["OptionInputs", "OptionWords", "option_figures", "option_words"]

Array = NDArray[np.float64]

_NONE: Final = "\N{EN DASH}"
_AGENT: Final = "Agent"
_FOLLOWS: Final = (
    (0.01, "has nothing to do with"),
    (0.05, "hardly follows"),
    (0.15, "partly follows"),
    (1.1, "follows"),
)
"""Words for the normalised mutual information of option and regime, by its upper end."""


@dataclass(frozen=True, kw_only=True)
class OptionInputs:
    """What the section on options shows, as plain data."""

    report: OptionReport
    """Who acted in one account, and what options and controller are worth."""
    account: str
    """Whose history that is, such as "seed 3, first episode"."""
    config: MetaControllerConfig
    """The controller and its execution."""
    action: ActionConfig
    """How actions become holdings."""
    symbols: Sequence[str] = ()
    """Names of the assets of recorded data."""
    slices: Sequence[Slice] = ()
    """Targets over the state, on markets with a known answer."""
    additive: bool = True
    """Holdings of the slices are units; otherwise weights of equity."""

    @property
    def history(self) -> OptionHistory:
        """Who acted."""
        return self.report.history


@dataclass(frozen=True)
class OptionWords:
    """The section in words and tables.

    Attributes:
        account: which account is shown.
        tiles: label, value and what stands below it.
        sentences: what is seen, in plain words.
        faults: collapses, each with its remedy.
        moves: figures of switches and disruption, as name, value and meaning.
        usage: a row an option: name, colour, mean weight, weight by regime.
        heading: names of the columns of `usage` after the first.
        left_out: assets that the figure of targets leaves out.
    """

    account: str
    tiles: tuple[tuple[str, str, str], ...]
    sentences: tuple[str, ...]
    faults: tuple[str, ...]
    moves: tuple[tuple[str, str, str], ...]
    usage: tuple[tuple[str, str, tuple[str, ...]], ...]
    heading: tuple[str, ...]
    left_out: int


def option_figures(inputs: OptionInputs) -> dict[str, Callable[[], Figure]]:
    """What draws each figure that there is something to draw for, by name."""
    history, scores, cap = inputs.history, inputs.report.scores, _cap(inputs.config)
    drawn: dict[str, Callable[[], Figure]] = {
        "option_weights": lambda: weights_figure(history),
        "option_switches": lambda: switches_figure(history, cap),
    }
    if scores.regime_names:
        drawn["option_scores"] = lambda: matrix_figure(
            _matrix(scores), scores.regime_names, own=_AGENT, unit=scores.unit
        )
    held = _held(inputs)
    if any(part.options is not None for part in inputs.slices):
        drawn["option_states"] = lambda: states_figure(
            inputs.slices, history.names, additive=inputs.additive
        )
    elif held is not None:
        drawn["option_targets"] = lambda: targets_figure(held)
    hard = _hard(inputs.config)
    points = _curve(scores, hard=hard)
    if any(point.cap is not None for point in points):
        drawn["option_curve"] = lambda: curve_figure(
            points, cap=cap, unit=scores.unit, switching=hard
        )
    gaps = _ablations(scores)
    if gaps:
        drawn["option_ablations"] = lambda: ablations_figure(gaps, unit=scores.unit)
    return drawn


def option_words(inputs: OptionInputs) -> OptionWords:
    """Describe who acted, and why, for a page."""
    history = inputs.history
    found = _diagnosed(inputs)
    faults = collapses(found, inputs.config)
    regimes = history.regime_names if history.belief_TR.shape[1] > 1 else ()
    return OptionWords(
        account=inputs.account,
        tiles=_tiles(inputs, found),
        sentences=tuple(_sentences(inputs, found)),
        faults=tuple(fault[:1].upper() + fault[1:] + "." for fault in faults.values()),
        moves=_moves(inputs, found),
        usage=_usage(history),
        heading=("of all bars", *(f"{name} believed" for name in regimes)),
        left_out=0 if (held := _held(inputs)) is None else mean_targets(held).left_out,
    )


def _matrix(scores: OptionScores) -> dict[str, Sequence[Interval]]:
    alone = dict(zip(scores.names, scores.alone_KR, strict=True))
    return {**alone, _AGENT: scores.agent_R}


def _curve(scores: OptionScores, *, hard: bool) -> list[CurvePoint]:
    """What each limit earns; one option at a time moves all or nothing, but more or less often."""
    if hard:
        return [CurvePoint(p.beta_max, p.churn, p.value) for p in scores.limits]
    points = [CurvePoint(p.beta_max, p.disruption_max, p.value) for p in scores.limits]
    values = {variant.name: variant.value for variant in scores.variants}
    # Of the two ways to act one at a time, the one of the training where both are there.
    single = next((name for name in ("sampled", "mode") if name in values), None)
    return points if single is None else [*points, CurvePoint(None, 1.0, values[single])]


def _ablations(scores: OptionScores) -> dict[str, Interval]:
    """Gain of each variant, by its name for people."""
    return {words_of(v.name, scores.names): v.gain for v in scores.variants}


def _held(inputs: OptionInputs) -> OptionHistory | None:
    """The history with actions as weights of equity; None where actions are not targets."""
    history, action = inputs.history, inputs.action
    match action.kind:
        case "simplex":
            limit = 1.0
        case "long_short":
            limit = action.gross
        case "levels":
            limit = float(np.abs(action.levels).max())
        case _:
            return None
    targets_TKA = limit * holdings_share(history.option_action_TKD, action)
    done_TA = limit * holdings_share(history.action_TD[:, None], action)[:, 0]
    assets = targets_TKA.shape[2]
    names = [*inputs.symbols, "cash"][:assets] if inputs.symbols else history.actions
    return replace(history, option_action_TKD=targets_TKA, action_TD=done_TA, actions=tuple(names))


def _cap(config: MetaControllerConfig) -> float | None:
    """Largest disruption of a step; None where nothing limits it.

    One option at a time moves everything at a switch; a controller that does not learn moves at
    once, unless it is capped.
    """
    limited = config.controller.kind in LEARNED or config.execution.capped
    return config.execution.beta_max if limited and not _hard(config) else None


def _hard(config: MetaControllerConfig) -> bool:
    return config.execution.mode == "hard"


def _diagnosed(inputs: OptionInputs) -> dict[str, float]:
    history = inputs.history

    def lane(values_TX: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values_TX, np.float64))[:, None]

    first_T1 = torch.zeros((len(history.times), 1), dtype=torch.bool)
    first_T1[0] = True
    trace = Trace(
        lane(history.weights_TK),
        lane(history.previous_TK),
        first_T1,
        lane(history.belief_TR),
        lane(history.termination_TK),
    )
    return diagnose(trace, inputs.config.execution.beta_max)


def _tiles(inputs: OptionInputs, found: Mapping[str, float]) -> tuple[tuple[str, str, str], ...]:
    history = inputs.history
    usage_K = history.weights_TK.mean(axis=0)
    most = int(usage_K.argmax())
    changes = len(switches(history))
    lasting = len(history.times) / (changes + 1)
    cap, hard = _cap(inputs.config), _hard(inputs.config)
    allowed = "one option at a time" if hard else "no limit" if cap is None else f"allowed {cap:g}"
    tiles = [
        ("Acts most", history.names[most], f"{usage_K[most]:.0%} of the weight"),
        ("Use of the options", shown(found["usage_entropy"]), "0: one only, 1: all evenly"),
        ("Lead changes", f"{changes:,}", f"every {lasting:,.1f} bars" if changes else "never"),
        (
            "Largest disruption",
            shown(float(disruption(history).max())),
            allowed,
        ),
    ]
    if "regime_information" in found and len(history.names) > 1:
        shared = shown(found["regime_information"])
        tiles.append(("Shared with the regime", shared, "mutual information, 0 to 1"))
    return tuple(tiles)


def _sentences(inputs: OptionInputs, found: Mapping[str, float]) -> list[str]:
    history = inputs.history
    usage_K = history.weights_TK.mean(axis=0)
    if len(history.names) == 1:
        return [f"There is one option, {history.names[0]}, which acts alone: nothing is chosen."]
    order = np.argsort(-usage_K, kind="stable")
    first, *others = [f"{history.names[k]} {usage_K[k]:.0%}" for k in order[:3]]
    rest = len(order) - 1 - len(others)
    more = f", and {rest} more" if rest > 0 else ""
    told = [f"Shares of the weight over all bars: {first}, {', '.join(others)}{more}."]
    told += [*_by_regime(history, found), *_against_fallback(inputs), _steps(inputs)]
    return told + _of_ablations(inputs)


def _by_regime(history: OptionHistory, found: Mapping[str, float]) -> list[str]:
    if history.belief_TR.shape[1] < 2:
        return ["The controller is told nothing of regimes."]
    chosen_T = believed(history)
    leaders = []
    for regime in np.unique(chosen_T[chosen_T >= 0]):
        mean_K = history.weights_TK[chosen_T == regime].mean(axis=0)
        lead = int(mean_K.argmax())
        name = history.regime_names[regime]
        leaders.append(f"while {name} is believed most, {history.names[lead]} ({mean_K[lead]:.0%})")
    shared = found["regime_information"]
    if not leaders or not np.isfinite(shared):
        return [f"Who leads: {'; '.join(leaders)}." if leaders else "No regime was believed."]
    words = next(words for end, words in _FOLLOWS if shared < end)
    follows = (
        f"Which option acts {words} the belief about the regime (mutual information "
        f"{shown(shared)}, where 1 is one option for each regime)."
    )
    return [f"Who leads: {'; '.join(leaders)}.", follows]


def _against_fallback(inputs: OptionInputs) -> list[str]:
    history = inputs.history
    if inputs.config.controller.kind not in LEARNED or history.belief_TR.shape[1] < 2:
        return []
    apart = float(0.5 * np.abs(history.proposal_TK - history.fallback_TK).sum(axis=1).mean())
    told = f"What the gate proposes differs from the regime-proportional fallback in {apart:.0%}"
    return [f"{told} of the weight on average."]


def _steps(inputs: OptionInputs) -> str:
    moved_T = disruption(inputs.history)
    cap = _cap(inputs.config)
    largest, mean = float(moved_T.max()), float(moved_T[1:].mean()) if len(moved_T) > 1 else 0.0
    if _hard(inputs.config):
        return f"One option acts at a time; it changes in {mean:.1%} of the bars."
    limit = "no limit" if cap is None else f"at most {cap:.0%} may"
    return f"A bar moves {mean:.1%} of the weight on average and {largest:.0%} at most ({limit})."


def _of_ablations(inputs: OptionInputs) -> list[str]:
    """What the agent would lose, in words; intervals that contain zero say nothing."""
    scores = inputs.report.scores
    better = [name for name, gap in _ablations(scores).items() if gap.low > 0.0]
    alone = [f"fixed_{k}" for k in range(len(scores.names))] if len(scores.names) > 1 else []
    # One part that does as well as the whole is the plainest sign that the rest adds nothing.
    equal = [
        words_of(variant.name, scores.names)
        for variant in scores.variants
        if variant.name in alone and variant.gain.low <= 0.0 <= variant.gain.high
    ]
    unknown = [words_of(name, scores.names) for name in scores.added_nothing]
    unknown = [name for name in unknown if name not in better]
    told = []
    if better:
        told.append(f"It would do better, beyond the interval, with: {'; '.join(better)}.")
    if equal:
        told.append(f"It does not differ, beyond the interval, from: {'; '.join(equal)}.")
    if unknown:
        told.append(
            "It does not do worse, beyond the interval, with: "
            f"{'; '.join(unknown)}. What these take away adds nothing that can be seen here."
        )
    return told


def _moves(inputs: OptionInputs, found: Mapping[str, float]) -> tuple[tuple[str, str, str], ...]:
    history = inputs.history
    changes, bars = len(switches(history)), len(history.times)
    moved_T = disruption(history)[1:]
    known = len(moved_T) > 0
    return (
        ("Switches of the lead", f"{changes:,}", f"bars with another leading option, of {bars:,}"),
        ("Mean duration of a lead", f"{bars / (changes + 1):,.1f} bars", "bars over leads"),
        (
            "Churn",
            f"{moved_T.mean():.2%}" if known else _NONE,
            "mean disruption D; the rate of switches where one option acts",
        ),
        ("Disruption, 99% of bars below", shown(found.get("disruption_p99", np.nan)), "of D"),
        ("Largest disruption", shown(found.get("disruption_max", np.nan)), _limit(inputs)),
        (
            "Disruption of the holdings",
            _brief(_moved_holdings(inputs)),
            "mean share of the gross limit that is traded because weights change",
        ),
        ("Usage entropy", shown(found["usage_entropy"]), "0: one option only, 1: all evenly"),
        ("Blend entropy", shown(found["blend_entropy"]), "the same within a bar, on average"),
    )


def _limit(inputs: OptionInputs) -> str:
    cap = _cap(inputs.config)
    if _hard(inputs.config):
        return "1 at every switch"
    return "of D; no limit" if cap is None else f"of D; β_max = {cap:g}"


def _moved_holdings(inputs: OptionInputs) -> float:
    """Mean of 1/2 sum_a |sum_k (w(k) - w'(k)) h_k(a)| over bars; the first bar is no step."""
    history = inputs.history
    step_TK = (history.weights_TK - history.previous_TK)[1:]
    if not len(step_TK):
        return float("nan")
    share_TKA = holdings_share(history.option_action_TKD[1:], inputs.action)
    moved_TA = np.einsum("tk,tka->ta", step_TK, share_TKA)
    return float(0.5 * np.abs(moved_TA).sum(axis=1).mean())


def _brief(value: float) -> str:
    return f"{value:.2g}" if np.isfinite(value) else _NONE


def _usage(history: OptionHistory) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Mean weight of each option, over all bars and by the regime believed most."""
    bars = [np.ones(len(history.times), np.bool_)]
    if history.belief_TR.shape[1] > 1:
        chosen_T = believed(history)
        bars += [chosen_T == regime for regime in range(history.belief_TR.shape[1])]
    mean_CK = [
        history.weights_TK[rows].mean(axis=0) if rows.any() else np.full(len(history.names), np.nan)
        for rows in bars
    ]
    codes = {code: f"var(--{name})" for name, code in COLOURS.items()}
    colours = [codes.get(code, code) for code in option_colours(len(history.names))]
    return tuple(
        (name, colours[k], tuple(f"{m[k]:.0%}" if np.isfinite(m[k]) else _NONE for m in mean_CK))
        for k, name in enumerate(history.names)
    )
