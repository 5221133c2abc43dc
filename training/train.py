"""Hydra's door: composes the configuration and hands it to the job."""

import difflib
import os
import re
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from training.config import TrainConfig, known_paths
from training.errors import ConfigError
from training.job import resume_job, start_job
from training.resume import resumed_folder

_errors: list[Exception] = []
"""Errors of the jobs of one call: Hydra would print them in its own way and end the process."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="train")
def _launch(cfg: DictConfig) -> None:
    try:
        _start(cfg, list(HydraConfig.get().overrides.task))
    except Exception as error:  # noqa: BLE001 - kept for `main`; the next job of a sweep goes on
        _errors.append(error)


def _start(cfg: DictConfig, overrides: list[str]) -> None:
    with open_dict(cfg):
        resume = cfg.pop("resume")
    if resume is None:
        start_job(TrainConfig.from_hydra(cfg), overrides)
    else:
        resume_job(Path(resume), overrides)


def _in_words(message: str) -> str:
    """Hydra's message without its search paths; an unknown key with the key that was meant."""
    unknown = re.match(r"Could not override '([^']+)'", message)
    if unknown:
        known = sorted(known_paths(TrainConfig))
        close = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.6)
        hint = f"; did you mean '{close[0]}'?" if close else "; see perennial train --cfg job"
        return f"{unknown[1]}: unknown key{hint}"
    return message.split("Config search path:", maxsplit=1)[0].rstrip()


def _resumed(argv: list[str]) -> bool:
    """Go on with a run, if that is what is asked for."""
    try:
        folder = resumed_folder(argv)
        if folder is not None:
            resume_job(folder, argv)
    except HydraException as error:
        raise ConfigError(_in_words(str(error))) from error
    return folder is not None


def main(argv: list[str]) -> int:
    """Run `perennial train` with Hydra's arguments.

    Raises:
        ConfigError: the configuration cannot be composed or is not valid.
        ExceptionGroup: several jobs of a sweep failed; a single error is raised as it is.
    """
    # Without it Hydra prints errors of its own and exits; ours are shown in one place.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv = ["perennial train", *argv]
    _errors.clear()
    # Hydra begins with the default agent and data, whose keys may not be those of a resumed run.
    if _resumed(argv):
        return 0
    try:
        _launch()
    # Those of the jobs are in `_errors`: a ValueError is Hydra's, of flags that exclude each other.
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_in_words(str(error))) from error
    if len(_errors) > 1:
        raise ExceptionGroup(f"{len(_errors)} runs of the sweep failed", _errors)
    if _errors:
        raise _errors[0]
    return 0
