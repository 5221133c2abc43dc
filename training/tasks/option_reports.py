"""What the reports show of agents made of options: their history and scores, named for people."""

from collections.abc import Sequence

from agents.options import FrozenOption, OptionConfig, RuleOption
from envs.config import ActionConfig
from evaluation.optimality_states import Slice
from evaluation.option_result import OptionReport
from evaluation.report_options import OptionInputs
from meta_controller.config import MetaControllerConfig


def option_names(options: Sequence[OptionConfig]) -> tuple[str, ...]:
    """Names of options for people: their number, and their rule or run."""
    return tuple(f"option {number}{_kind(option)}" for number, option in enumerate(options))


def report_inputs(
    report: OptionReport,
    meta: MetaControllerConfig,
    account: str,
    action: ActionConfig,
    *,
    symbols: Sequence[str] = (),
    slices: Sequence[Slice] = (),
    additive: bool = True,
) -> OptionInputs:
    """What a report draws.

    Args:
        report: history and scores.
        meta: the controller and its execution.
        account: whose history it is.
        action: how actions become holdings.
        symbols: assets of recorded data.
        slices: targets over the state, on markets with a known answer.
        additive: whether holdings are units.
    """
    return OptionInputs(
        report=report,
        account=account,
        config=meta,
        action=action,
        symbols=symbols,
        slices=slices,
        additive=additive,
    )


def _kind(option: OptionConfig) -> str:
    match option:
        case RuleOption():
            return f" ({option.name.replace('_', ' ')})"
        case FrozenOption():
            return f" ({option.run.rstrip('/').rpartition('/')[2]})"
        case _:
            return ""
