"""Where and how a run is tracked."""

from typing import Annotated

from annotated_types import Ge, Gt
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrackingConfig:
    """Configuration of :class:`training.tracking.tracker.RunTracker`."""

    uri: str | None = None
    """MLflow's store: ``sqlite:///FILE``, ``http://HOST:PORT`` or any other tracking URI. None:
    the variable ``MLFLOW_TRACKING_URI``, and without it ``sqlite:///mlflow.db``."""

    experiment: str = "perennial"
    """Name of the MLflow experiment that the runs are put into."""

    mlflow: bool = True
    """Send the journal to MLflow. Off: the journal stays, ``perennial sync RUN`` sends it later."""

    tensorboard: bool = True
    """Write TensorBoard events into the run's folder."""

    batch_seconds: Annotated[float, Gt(0)] = 5.0
    """Time between two batches to MLflow, seconds."""

    finish_seconds: Annotated[float, Ge(0)] = 30.0
    """How long the end of a run waits for MLflow to take the rest, seconds."""
