"""Features of the user: found in the current folder, and faults told by the path of the value."""

import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import open_dict

import perennial
from features.registry import catalogue
from training.collisions import find_collisions
from training.config import TrainConfig
from training.errors import ConfigError
from training.own_modules import import_own
from training.preparation import prepare

DOUBLE = """
from features.registry import Array, feature
@feature(unit='1', source='a test', warmup=0)
def {name}(close_T: Array) -> Array:
    return 2.0 * close_T / close_T
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged_features: None) -> None:
    """A folder of its own, and the path as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setenv("PERENNIAL_CACHE", str(tmp_path / "cache"))


def test_a_module_of_the_current_folder_is_found_and_shadows_nothing(tmp_path: Path) -> None:
    Path("own_last_words.py").write_text(DOUBLE.format(name="double_last"))
    Path("talib.py").write_text("raise AssertionError('shadowed')")
    Path("features.py").write_text("raise AssertionError('shadowed')")
    before = list(sys.path)
    import_own(["own_last_words", "talib", "features"])
    import_own(["own_last_words"])
    assert sys.path == [*before, str(tmp_path)]
    assert "double_last" in {feature.name for feature in catalogue()}
    assert find_collisions() == []


def test_without_modules_the_folder_stays_out() -> None:
    before = list(sys.path)
    import_own(())
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "ModuleNotFoundError: No module named 'own_missing_words'"),
        ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
    ],
)
def test_what_cannot_be_imported_is_named(text: str | None, why: str, tmp_path: Path) -> None:
    if text is not None:
        Path("own_missing_words.py").write_text(text)
    with pytest.raises(ConfigError, match=r"^features\.modules: .*'own_missing_words': ") as raised:
        import_own(["own_missing_words"])
    assert why in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_train_and_the_list_find_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own_train_words.py").write_text(DOUBLE.format(name="double_train"))
    words = ["features.modules=[own_train_words]", "features.features=[log_return,double_train]"]
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", *words])
    with open_dict(cfg):
        cfg.pop("resume")
    assert "double_train" in prepare(TrainConfig.from_hydra(cfg)).pipeline.names
    assert perennial.main(["features", "ls", "--modules", "own_train_words"]) == 0
    assert "double_train" in capsys.readouterr().out
    for verb in (
        ["train", "features.modules=[own_nothing]"],
        ["features", "ls", "--modules", "own_nothing"],
        ["features", "plot", "rsi", "--modules", "own_nothing"],
    ):
        assert perennial.main(verb) == 2
        told = capsys.readouterr().err
        assert "features.modules: expected Python modules" in told
        assert "'own_nothing'" in told
