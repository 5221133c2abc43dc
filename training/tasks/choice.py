"""Which task a configuration asks for."""

from training.config import TrainConfig
from training.tasks.data import DataTask
from training.tasks.market import MarketTask
from training.tasks.task import Task


def open_task(config: TrainConfig) -> Task:
    """Prepare what a run learns on.

    Raises:
        ConfigError: the configuration does not fit the data.
        ValueError: as the packages say; the data, the split or the features do not fit.
    """
    return DataTask(config) if config.market is None else MarketTask(config)
