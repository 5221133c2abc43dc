"""What the reports show of agents made of options: their history and scores, named for people."""

from collections.abc import Sequence

from agents.options import FrozenOption, OptionConfig, RuleOption
from envs.config import ActionConfig
from evaluation.optimality_states import Slice
from evaluation.option_result import OptionReport
from evaluation.report_options import OptionInputs
from training.config import AgentConfig
from training.sb3.option_config import OptionAgentConfig


def option_names(options: Sequence[OptionConfig]) -> tuple[str, ...]:
    """Names of options for people: their number, and their rule or run."""
    return tuple(f"option {number}{_kind(option)}" for number, option in enumerate(options))


def report_inputs(
    report: OptionReport | None,
    agent: AgentConfig | OptionAgentConfig,
    account: str,
    action: ActionConfig,
    *,
    symbols: Sequence[str] = (),
    slices: Sequence[Slice] = (),
    additive: bool = True,
) -> OptionInputs | None:
    """What a report draws; None of an agent without options.

    Args:
        report: history and scores.
        agent: what was trained.
        account: whose history it is, beside the seed.
        action: how actions become holdings.
        symbols: assets of recorded data.
        slices: targets over the state, on markets with a known answer.
        additive: whether holdings are units.
    """
    if report is None or not isinstance(agent, OptionAgentConfig):
        return None
    return OptionInputs(
        report=report,
        account=f"seed {report.seed}, {account}",
        config=agent.meta_controller,
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
