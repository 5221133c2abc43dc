"""Options that do not learn, as a configuration names them: rules, and agents trained before."""

from collections.abc import Sequence

from agents.options import LearnedOption, OptionConfig
from agents.policy import Policy
from training.tasks.task import Task


def injected_options(options: Sequence[OptionConfig], task: Task) -> dict[int, Policy]:
    """The options that act by themselves, by number.

    Raises:
        ConfigError: a rule whose market lacks its data, or a run that does not fit.
    """
    del task
    return {k: option for k, option in enumerate(options) if not isinstance(option, LearnedOption)}  # type: ignore[misc]
