"""Modules of the user with features: found where the command is given, and told where not."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from training.errors import ConfigError


def import_own(modules: Sequence[str]) -> None:
    """Import modules of the user, also from the current folder.

    The folder comes last on the path and only where there is something to import: it shadows
    nothing, and a folder of another purpose (`wandb`, `runs`) does not become a package.

    Args:
        modules: their names, as in `features.modules`.

    Raises:
        ConfigError: one cannot be imported; names it and what went wrong.
    """
    if not modules:
        return
    folder = Path.cwd()
    if not {"", str(folder)} & set(sys.path):
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever a user's module may raise
            raise ConfigError(
                f"features.modules: expected Python modules that can be imported, installed or in "
                f"the current folder {folder}, found {module!r}: {type(error).__name__}: {error}"
            ) from error
