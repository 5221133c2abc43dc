"""Guard of the top-level names: ``envs``, ``agents`` and their siblings must be this project's.

The folders are import packages under generic names, so another distribution that installs a
package of the same name (``openai-agents`` installs ``agents``) would be imported instead, or be
broken by ours. The guard runs at the entry points and names the intruder.
"""

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

TOP_LEVEL_NAMES = (
    "markets",
    "risk",
    "features",
    "regimes",
    "envs",
    "agents",
    "meta_controller",
    "evaluation",
    "training",
    "conf",
    "perennial",
)
"""The import names of this distribution."""

DISTRIBUTION = "perennial"
"""The distribution that may provide them."""


class NameCollisionError(RuntimeError):
    """A top-level name of this project is taken by something else."""


@dataclass(frozen=True)
class Collision:
    """One name that is provided from elsewhere.

    Attributes:
        name: The import name.
        found: What provides it: a distribution with its version, or a path.
        location: Where that lies, or None where it is not known.
    """

    name: str
    found: str
    location: Path | None

    def __str__(self) -> str:
        """One line with the name, the expected and the found provider."""
        where = f" at {self.location}" if self.location else ""
        return (
            f"{self.name}: expected to be of {DISTRIBUTION} in {root()}, found {self.found}{where}"
        )


def root() -> Path:
    """The folder that holds the packages: the repository, or a wheel's site-packages."""
    return Path(__file__).resolve().parent.parent


def find_collisions(names: tuple[str, ...] = TOP_LEVEL_NAMES) -> list[Collision]:
    """Return the names that resolve elsewhere or that another distribution provides too."""
    providers = importlib.metadata.packages_distributions()
    collisions = []
    for name in names:
        location = _location(_spec(name))
        others = sorted(set(providers.get(name, ())) - {DISTRIBUTION})
        if others:
            found = ", ".join(f"{other} {_version(other)}" for other in others)
            place = location if location and location.parent != root() else None
            collisions.append(Collision(name, f"the distribution {found}", place))
        elif location is None:
            collisions.append(Collision(name, "nothing that can be imported", None))
        elif location.parent != root() and not _is_own_wrapper(name, location):
            collisions.append(Collision(name, "another module of that name", location))
    return collisions


def guard(names: tuple[str, ...] = TOP_LEVEL_NAMES) -> None:
    """Refuse to start while another package shares one of our names.

    Raises:
        NameCollisionError: Names every intruder and how to remove it.
    """
    collisions = find_collisions(names)
    if collisions:
        lines = "\n".join(f"  {collision}" for collision in collisions)
        raise NameCollisionError(
            f"top-level names are taken by other packages:\n{lines}\n"
            "uninstall them, or use an environment of its own (make setup)"
        )


def _spec(name: str) -> ModuleSpec | None:
    module = sys.modules.get(name)
    if module is not None and module.__spec__ is not None:
        return module.__spec__
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _location(spec: ModuleSpec | None) -> Path | None:
    """The package's folder, or the module's file."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin and spec.has_location else None


def _is_own_wrapper(name: str, location: Path) -> bool:
    """Whether a module file elsewhere was installed by our own distribution (editable install)."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return False
    own = {Path(str(file.locate())).resolve() for file in files if file.name == f"{name}.py"}
    return location in own


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(unknown version)"
