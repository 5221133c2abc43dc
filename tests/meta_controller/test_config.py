"""Ranges of the meta-controller's settings, in the words that a user reads."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from meta_controller.config import ExecutionConfig, MetaControllerConfig, TermsConfig
from training.config import TrainConfig
from training.errors import ConfigError
from training.sb3.option_config import OptionAgentConfig

AGENT: TypeAdapter[OptionAgentConfig] = TypeAdapter(OptionAgentConfig)


@pytest.mark.parametrize("beta_max", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_the_largest_termination_is_a_probability_above_zero(beta_max: float) -> None:
    with pytest.raises(ValidationError, match="beta_max"):
        ExecutionConfig(beta_max=beta_max)


@pytest.mark.parametrize(("beta_max", "initial"), [(0.1, 0.1), (0.05, 0.1), (1.0, 1.0), (1.0, 0.0)])
def test_terminations_begin_below_the_largest(beta_max: float, initial: float) -> None:
    with pytest.raises(ValidationError, match="initial_termination"):
        ExecutionConfig(beta_max=beta_max, initial_termination=initial)
    assert ExecutionConfig(beta_max=1.0, initial_termination=0.999).beta_max == 1.0


@pytest.mark.parametrize("name", ["switch_cost", "termination", "balance", "diversity", "anchor"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf")])
def test_terms_are_not_negative(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        TypeAdapter(TermsConfig).validate_python({name: value})


def test_weights_of_a_map_are_not_negative() -> None:
    with pytest.raises(ValidationError, match="regime_map"):
        MetaControllerConfig(regime_map=((1.0, -0.5),))


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"options": []}, ("options",)),
        ({"options": [{"kind": "guess"}]}, ("options", 0)),
        (
            {"meta_controller": {"execution": {"beta_max": 1.5}}},
            ("meta_controller", "execution", "beta_max"),
        ),
        (
            {"meta_controller": {"execution": {"beta_max": 0.05}}},
            ("meta_controller", "execution"),
        ),
        ({"meta_controller": {"controller": {"kind": "hedge"}}}, ("meta_controller", "controller")),
        ({"meta_controller": {"head_start": -1}}, ("meta_controller", "head_start")),
    ],
)
def test_faults_of_an_agent_name_their_path(given: dict[str, Any], path: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        AGENT.validate_python(given)
    assert path in [fault["loc"][: len(path)] for fault in caught.value.errors()]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"kind": "options", "options": []}, r"agent\.(options\.)?options"),
        (
            {"kind": "options", "meta_controller": {"execution": {"beta_max": 0.0}}},
            r"agent\.(options\.)?meta_controller\.execution\.beta_max",
        ),
        (
            {"kind": "options", "meta_controller": {"execution": {"beta_max": 0.1}}},
            "initial_termination: expected below beta_max = 0.1, was 0.1",
        ),
    ],
)
def test_a_run_says_where_the_fault_is(agent: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrainConfig.from_container({"agent": agent})
