"""Which task a configuration asks for."""

from collections.abc import Mapping
from types import MappingProxyType

from training.config import TrainConfig
from training.tasks.data import DataTask
from training.tasks.market import MarketTask
from training.tasks.task import Task


def open_task(config: TrainConfig, saved: Mapping[str, str] = MappingProxyType({})) -> Task:
    """Prepare what a run learns on.

    Args:
        config: of the run.
        saved: files of one of its checkpoints by name, from which fits are taken.

    Raises:
        ConfigError: the configuration does not fit the data.
        ValueError: as the packages say; the data, the split or the features do not fit.
    """
    return DataTask(config, saved=saved) if config.market is None else MarketTask(config)
