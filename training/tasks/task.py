"""The face that the job, the learner and the judgement see of what is learned on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policy import Policy
from envs.config import TradingConfig
from envs.feed import Market
from envs.simulator import Simulator
from meta_controller.beliefs import BeliefSource
from training.config import TrainConfig
from training.tasks.foreign import Seen

PROVENANCE = "data.json"
"""File of a run that says what it learns on; a run goes on only while it stays true."""


@dataclass(frozen=True)
class Result:
    """What a judgement came to."""

    verdict: str
    """In words."""
    headline: dict[str, float]
    """Figures by which runs are compared."""


@dataclass(frozen=True)
class Score:
    """What a learner is worth on what it neither learns on nor is judged on."""

    name: str
    """Under which it is recorded."""
    value: float
    """Higher is better."""


class Task(Protocol):
    """What is learned on: episodes of one market, apart for training, choice and judgement."""

    @property
    def sha256(self) -> str:
        """Digest of the data, or of the market's parameters."""
        ...

    @property
    def features(self) -> NDArray[np.float32]:
        """Features that all environments share, (T, C); (0, 0) where each has its own."""
        ...

    @property
    def market(self) -> Market:
        """The market as the environments play it."""
        ...

    @property
    def trading(self) -> TradingConfig:
        """The rules that agents trade by."""
        ...

    @property
    def beliefs(self) -> BeliefSource:
        """Where the belief about regimes stands in what agents observe."""
        ...

    @property
    def true_regimes(self) -> int:
        """Regimes of the market; 0 where nobody knows them."""
        ...

    @property
    def files(self) -> Mapping[str, str]:
        """Text files by name that a checkpoint needs beside the weights and its configuration."""
        ...

    def seen_by(self, config: TrainConfig, files: Mapping[str, str]) -> Seen:
        """What an agent of another run observes here.

        Args:
            config: of its run.
            files: of its checkpoint, by name.

        Raises:
            ConfigError: it knows another kind of market, other assets, accounts or actions, or
                needs more bars than lie before the training; or it learned on what is chosen or
                tested on here.
        """
        ...

    def opening(self) -> list[str]:
        """Lines that say what is about to be learned on."""
        ...

    def keep_provenance(self, folder: Path) -> None:
        """Write `PROVENANCE` into a run's folder, or check this task against the one there.

        Raises:
            ManifestError: the run was started on something else.
        """
        ...

    def simulator(self, seed: int) -> Simulator:
        """Return the environments that the agent of a seed learns in (same-step autoreset)."""
        ...

    def score(self, policy: Policy) -> Score | None:
        """Judge a policy for the choice of checkpoints; None where nothing is kept for that."""
        ...

    def judge(self, agents: Mapping[int, Policy], folder: Path, into: str = "evaluation") -> Result:
        """Judge trained policies by seed, and write the folder ``into`` in the run's."""
        ...
