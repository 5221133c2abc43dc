"""Installed packages against the lock file and against what the distribution requires."""

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from training.collisions import DISTRIBUTION
from training.tracking.provenance import LOCK_NAME, repository_root


def find_lock() -> Path | None:
    """The lock file beside the packages, or None (an installed wheel has none)."""
    path = repository_root() / LOCK_NAME
    return path if path.is_file() else None


def read_lock(path: Path) -> dict[str, Version]:
    """Return the exact versions of a lock file, by normalised name.

    Raises:
        ValueError: A line is no exact version; names the file and the line.
    """
    versions: dict[str, Version] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition("#")[0].partition(";")[0].strip()
        if not text:
            continue
        name, exact, version = text.partition("==")
        if not exact:
            raise ValueError(f"{path}:{number}: expected name==version, found {line!r}")
        versions[canonicalize_name(name.strip())] = Version(version.strip())
    return versions


def installed_versions() -> dict[str, Version]:
    """Return what is installed, by normalised name; the first on the path counts."""
    versions: dict[str, Version] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(canonicalize_name(name), Version(distribution.version))
    return versions


def differences(lock: Path) -> list[str]:
    """Name what is installed in another version than locked, each with both versions.

    What is locked but not installed is an extra that was not asked for. A local part of a version
    (``+cpu``) does not count.
    """
    installed = installed_versions()
    return [
        f"{name} {installed[name]} instead of {version}"
        for name, version in sorted(read_lock(lock).items())
        if name in installed and installed[name].public != version.public
    ]


def unmet_requirements() -> list[str]:
    """Name what the distribution requires at run time and does not find."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [f"{DISTRIBUTION} itself is not installed"]
    installed = installed_versions()
    unmet = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed.get(canonicalize_name(requirement.name))
        if found is None:
            unmet.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(found, prereleases=True):
            unmet.append(f"{requirement.name}{requirement.specifier} expected, found {found}")
    return unmet
