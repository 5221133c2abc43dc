"""Options that do not learn, as a configuration names them: rules, and agents trained before."""

from collections.abc import Sequence

from agents.options import FrozenOption, OptionConfig, RuleOption
from agents.policy import Policy
from training.option_frozen import frozen_option
from training.option_rules import rule_option
from training.tasks.task import Task


def injected_options(options: Sequence[OptionConfig], task: Task) -> dict[int, Policy]:
    """The options that act by themselves, by number.

    Args:
        options: of an agent.
        task: what they act on.

    Raises:
        ConfigError: a rule whose market lacks its data, or a run that does not fit.
        CheckpointError: the checkpoint of a frozen agent is damaged.
    """
    found: dict[int, Policy] = {}
    for number, option in enumerate(options):
        where = f"agent.options[{number}]"
        if isinstance(option, RuleOption):
            found[number] = rule_option(option, task.market, task.trading.action, where)
        elif isinstance(option, FrozenOption):
            found[number] = frozen_option(option, task, where, injected_options)
    return found
