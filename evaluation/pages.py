"""HTML pages of reports: how their templates are read, and what all of them show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

__all__ = ["PageInputs", "page_template"]


@dataclass(frozen=True, kw_only=True)
class PageInputs:
    """What a report shows beside its evaluation, as plain data; nothing else is looked up."""

    title: str
    """Name of the run."""
    config_text: str = ""
    """The run's configuration as YAML."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of Python and of the packages that matter, and the commit."""
    command: str = ""
    """The command that makes this run again."""
    notes: Sequence[str] = ()
    """What a reader must know."""


def page_template(name: str) -> Template:
    """A template of `evaluation/templates`, by its file name; what it lacks is an error."""
    environment = Environment(
        loader=PackageLoader("evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
