"""Hydra's door: composes the configuration and hands it to the job."""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from training.config import TrainConfig
from training.errors import ConfigError
from training.job import resume_job, start_job


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="train")
def _launch(cfg: DictConfig) -> None:
    overrides = list(HydraConfig.get().overrides.task)
    with open_dict(cfg):
        resume = cfg.pop("resume")
    if resume is None:
        start_job(TrainConfig.from_hydra(cfg), overrides)
    else:
        asked = [text for text in overrides if not text.startswith("resume=")]
        resume_job(resume, OmegaConf.from_dotlist(asked))


def main(argv: list[str]) -> int:
    """Run `perennial train` with Hydra's arguments.

    Raises:
        ConfigError: the configuration cannot be composed or is not valid.
    """
    # Without it Hydra prints errors of its own and exits; ours are caught in one place.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv = ["perennial train", *argv]
    try:
        _launch()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error
    return 0
