"""What an agent of another run may not have seen of the bars that are tested."""

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from features.pipeline import FeaturePipeline
from training.config import TrainConfig
from training.errors import ConfigError
from training.tasks.choice import open_task

LATER = (
    "split.train=['2000-03-01','2007-12-31']",
    "split.validation=['2008-01-01','2008-06-30']",
    "split.test=['2008-07-01','2013-03-01']",
)
"""Tested from within the span that the default split chooses checkpoints on."""


def configuration(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "tracking=journal", *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


EARLIER = (
    "split.train=['2000-03-01','2006-12-31']",
    "split.validation=['2007-01-01','2009-12-31']",
    "split.test=['2010-01-01','2013-03-01']",
)
"""Tested where the default split tests, with checkpoints chosen where that one learns."""
NO_CHOICE = ("split.train=['2000-03-01','2006-12-31']", "split.validation=null")


def test_an_agent_that_learned_on_what_is_chosen_on_is_refused() -> None:
    other = configuration()
    files = open_task(other).files
    until = np.datetime64(
        FeaturePipeline.from_json(files["features.json"]).state.span.ts_event[1], "ns"
    )
    told = (
        rf"validation span, which begins 2007-01-03, found one that learned until {str(until)[:10]}"
    )
    with pytest.raises(ConfigError, match=told):
        open_task(configuration(*EARLIER)).seen_by(other, files)
    welcome = open_task(configuration(*NO_CHOICE)).seen_by(other, files)
    assert len(welcome.features_TC)


def test_an_agent_that_was_chosen_on_tested_bars_is_refused() -> None:
    other = configuration("schedule.select=best")
    files = open_task(other).files
    with pytest.raises(ConfigError, match=r"begins 2008-07-.*was chosen on bars until 2009-12-"):
        open_task(configuration(*LATER)).seen_by(other, files)
    other = configuration("schedule.select=last")
    assert len(open_task(configuration(*LATER)).seen_by(other, files).features_TC)


def test_an_agent_that_was_chosen_before_the_test_is_welcome() -> None:
    other = configuration("schedule.select=best")
    task = open_task(configuration())
    seen = task.seen_by(other, open_task(other).files)
    assert seen.features_TC.shape == task.features.shape
