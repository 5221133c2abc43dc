"""Configurations of regime detection name what is wrong in them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from regimes.config import AnyDetectorConfig, OracleRegime, RegimeConfig
from regimes.inputs import InputConfig
from regimes.kinds import MODELS
from regimes.online import Schedule


def kinds() -> list[str]:
    schema = TypeAdapter(AnyDetectorConfig).json_schema()
    return sorted(schema["discriminator"]["mapping"])


def regime(**fields: object) -> RegimeConfig:
    return TypeAdapter(RegimeConfig).validate_python({"detector": {"kind": "rule"}, **fields})


def test_every_kind_has_its_model() -> None:
    assert kinds() == sorted(MODELS)
    assert all(model.kind == kind for kind, model in MODELS.items())


@pytest.mark.parametrize("kind", kinds())
def test_a_configuration_survives_a_round_trip(kind: str) -> None:
    adapter = TypeAdapter(RegimeConfig)
    config = adapter.validate_python({"detector": {"kind": kind}})
    assert config.detector.kind == kind
    assert config.detector.capacity >= 1
    assert adapter.validate_python(adapter.dump_python(config, mode="json")) == config


def test_the_defaults_learn_once_and_judge_strictly() -> None:
    config = regime()
    assert config.schedule == Schedule(every=None, window=None, agreement=0.8)
    assert config.inputs == InputConfig()
    assert OracleRegime().kind == "oracle"


def test_a_detector_is_built_as_configured() -> None:
    online = regime(refit_every=20, window=300, agreement=0.9, seed=4).build()
    assert online.schedule == Schedule(every=20, window=300, agreement=0.9)
    assert online.detector.seed == 4
    assert online.detector.config.kind == "rule"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"refit_every": 0}, "refit_every"),
        ({"agreement": 1.5}, "agreement"),
        ({"window": 20, "refit_every": 20}, "more bars than refit_every = 20.*was 20"),
        ({"inputs": {"lags": 2}}, "expected 0 for rule.*was 2"),
        ({"inputs": {"series": "prices"}}, "series"),
        ({"detector": {"kind": "oracle"}}, "oracle"),
        ({"detector": {"kind": "rule", "windows": 3}}, "windows"),
        ({"refits": 3}, "refits"),
    ],
)
def test_a_fault_is_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){words}"):
        regime(**fields)
