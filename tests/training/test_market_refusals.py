"""Markets that nobody can judge are refused before the training; errors name the user's keys."""

import pytest
from hydra import compose, initialize_config_module
from omegaconf import open_dict

from training.config import TrainConfig
from training.errors import ConfigError
from training.tasks.choice import open_task


def config(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=list(overrides))
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def test_a_market_without_an_oracle_is_refused_before_the_training() -> None:
    asked = config(
        "market=regime_gbm",
        "market.world.drift=[[0.001,0.001],[0.0,0.0]]",
        "market.world.volatility=[[0.01,0.01],[0.02,0.02]]",
        "market.expected_reward=false",
    )
    with pytest.raises(ConfigError, match=r"market\.world: oracle: .*cost_bps"):
        open_task(asked)


def test_a_lower_bound_is_announced() -> None:
    hidden = config(
        "market=regime_gbm",
        "market.world.regime=belief",
        "market.world.drift=[0.0005,0.0,-0.001]",
        "market.world.volatility=[0.02,0.03,0.04]",
        "market.world.transition=0.98",
    )
    assert any("a lower bound of S" in line for line in open_task(hidden).opening())
    seen = config("market=ornstein_uhlenbeck")
    assert not any("lower bound" in line for line in open_task(seen).opening())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "market.world.transition=[[0.9,0.2],[0.1,0.9]]",
            r"market\.world\.transition\[0\]: expected .* that sum to 1, found a sum of 1\.1$",
        ),
        ("market.world.speed=[0.1,2.5]", r"market\.world\.speed\[1\]: .*less than 2, was 2\.5"),
    ],
)
def test_faults_name_the_keys_of_the_user(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config("market=ornstein_uhlenbeck", override)


@pytest.mark.parametrize("group", ["calendar", "detector"])
def test_phases_of_recorded_data_are_refused_by_their_own_name(group: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^continual\.phases\.kind: .* synthetic market, found {group}$"
    ):
        config("market=garleanu_pedersen", f"continual={group}")


def test_borders_that_do_not_ascend_are_told_as_dates() -> None:
    with pytest.raises(ConfigError, match=r"ascending dates, found 2005-01-03, 2002-10-10$"):
        config("continual=calendar", "continual.phases.borders=[2005-01-03, 2002-10-10]")
