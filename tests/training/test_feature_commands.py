"""`perennial features` and `perennial cache`: what they print, write, and refuse."""

import argparse
import json
import os
import re
import shlex
import time
from pathlib import Path

import pytest

import perennial
from features import FeatureConfig, FeaturePipeline, FeatureSpec, catalogue
from features.cache.disk import DiskStore
from markets.sources.config import parse_config
from training.commands import features as features_command
from training.commands.cache import size


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged_features: None) -> None:
    """A folder and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERENNIAL_CACHE", str(tmp_path / "cache"))


def test_ls_has_every_feature_under_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["features", "ls", "--long"]) == 0
    lines = capsys.readouterr().out.splitlines()
    known = [feature for feature in catalogue() if feature.function.__module__[:5] == "featu"]
    family, listed = "", {}
    for line in lines:
        if match := re.fullmatch(r"(\w+) \((\d+)\)", line):
            family = match[1]
        elif line and not line.startswith("NAME"):
            listed[line.split()[0]] = family
    assert {f.name: f.family for f in known}.items() <= listed.items()
    header = next(line for line in lines if line.startswith("NAME"))
    assert header.split() == [
        *("NAME", "PARAMETERS", "UNIT", "WARM-UP", "STATE", "SCOPE", "INPUTS", "SOURCE")
    ]
    rsi = next(line for line in lines if line.startswith("rsi "))
    assert re.search(r"window=14 .* 14 .* fading .* asset .* close .* Wilder", rsi)
    assert re.search(r"^obv .* path ", "\n".join(lines), re.MULTILINE)


def test_the_short_list_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["features", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    header = next(line for line in lines if line.startswith("NAME"))
    assert header.split()[-2:] == ["SCOPE", "INPUTS"]
    shown = {line.split()[0]: line for line in lines if line}
    assert shown["rsi"].endswith(" asset  C")
    assert shown["yang_zhang"].endswith(" asset  OHLC")
    assert shown["beta"].endswith(" asset   C, market")
    assert shown["month"].endswith(" shared  ts_event")
    assert not [name for name in shown if shown[name].endswith(("Wilder", "TA-Lib"))]


def test_ls_of_one_family_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert perennial.main(["features", "ls", "--family", "momentum", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["family"] for row in rows} == {"momentum"}
    assert {"name", "inputs", "parameters", "unit", "warmup", "state", "source"} <= rows[0].keys()
    assert perennial.main(["features", "ls", "--family", "astrology"]) == 2
    assert "family: expected one of calendar, " in capsys.readouterr().err


def test_plot_writes_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["features", "plot", "macd", "us_stocks", "--last", "100"]
    assert perennial.main([*words, "fast=6", "slow=20"]) == 0
    assert capsys.readouterr().out == "macd_6_20_9.png\n"
    assert (tmp_path / "macd_6_20_9.png").read_bytes()[:4] == b"\x89PNG"
    assert perennial.main([*words, "--symbols", "AAPL,IBM", "--out", "deep/x.svg"]) == 0
    svg = (tmp_path / "deep" / "x.svg").read_text()
    assert svg.startswith("<svg")
    assert "AAPL" in svg
    assert "IBM" in svg


def test_plot_joins_a_packaged_series(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["features", "plot", "--out", "x.png", "exogenous_level", "series=vix", "nasdaq"]
    assert perennial.main(words) == 0
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rsj"], "unknown feature 'rsj': did you mean"),
        (["rsi", "nasdaq", "window"], "window: expected name=value beside the data set nasdaq"),
        (["rsi", "window=1"], "features.rsi.window"),
        (["rsi", "window="], "perennial: window: expected name=value with a number, a word or a"),
        (["rsi", "window=[9]"], "as window=14, found 'window=[9]'"),
        (["rsi", "window=[9"], "as window=14, found 'window=[9'"),
        (["rsi", "window=2020-01-01"], "as window=14, found 'window=2020-01-01'"),
        (["rsi", "=9"], "=9: expected name=value"),
        (["rsi", "windows=9"], "features.rsi.windows: Extra inputs"),
        (["rsi", "--symbols", "AAPL,XYZ"], "symbols: expected some of AAPL, FB, GOOG"),
        (["rsi", "--out", "x.bmp"], "out: expected a .png or .svg file"),
        (["rsi", "--last", "1"], "last: expected 2 bars or more, found 1"),
        (["rsi", "--train", "0"], "train: expected a share"),
        (["rsi", "nothing.csv"], "nothing.csv: expected one of"),
        (["exogenous_level", "series=tea"], "expected a published series of"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perennial.main(["features", "plot", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1, "a line"


def test_a_word_too_many_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ls", "rsi"], ["plot", "rsi", "--data", "nasdaq"], ["plot"]):
        assert perennial.main(["features", *words]) == 2
        assert capsys.readouterr().err.startswith("usage: perennial features")


def test_every_example_of_the_help_can_be_drawn_or_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.commands.features._ls", lambda *_, **__: 0)
    seen: list[argparse.Namespace] = []

    def plot(arguments: argparse.Namespace) -> int:
        seen.append(arguments)
        return 0

    monkeypatch.setattr("training.commands.features._plot", plot)
    monkeypatch.setattr("training.own_modules.import_own", list)
    for line in features_command.EXAMPLES.splitlines():
        assert perennial.main(shlex.split(line, comments=True)[1:]) == 0
    assert [(args.name, args.dataset, args.values) for args in seen] == [
        ("rsi", None, []),
        ("macd", "us_stocks", []),
        ("macd", "nasdaq", ["fast=6", "slow=20"]),
        ("exogenous_level", "aapl_adjusted", ["series=vix"]),
        ("my_feature", "my.csv", []),
    ]


def test_own_features_are_listed_and_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_words.py").write_text(
        "from features.registry import Array, feature\n"
        "@feature(unit='1', source='a test', warmup=0)\n"
        "def double_close(close_T: Array) -> Array:\n"
        "    return 2.0 * close_T / close_T\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert perennial.main(["features", "ls", "--family", "my_words", "--modules", "my_words"]) == 0
    assert "double_close" in capsys.readouterr().out
    words = ["features", "plot", "double_close", "--modules", "my_words"]
    assert perennial.main(words) == 0
    assert (tmp_path / "double_close.png").exists()


def test_cache_is_shown_and_emptied(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert perennial.main(["cache", "info"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^entries  0$", text, re.MULTILINE)
    assert str(tmp_path / "cache" / "features") in text
    bars = parse_config({"dataset": "aapl_adjusted"}).load().bars
    specs = (FeatureSpec(name="rsi"), FeatureSpec(name="macd"))
    FeaturePipeline(FeatureConfig(features=specs)).raw(bars)
    assert perennial.main(["cache", "info"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^entries  2$", text, re.MULTILINE)
    assert re.search(r"size     35\.\d KiB \(.* 4\.0 GiB", text)
    assert "1509 bars of AAPL, 2019-01-02 to 2024-12-30" in text
    assert perennial.main(["cache", "info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["entries"], len(facts["data"])) == (2, 1)
    one = next((tmp_path / "cache").rglob("*.npy"))
    long_ago = time.time() - 3 * 86400
    os.utime(one, (long_ago, long_ago))
    assert perennial.main(["cache", "clear", "--older-than", "2d"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"removing entries not used for 2d of {tmp_path / 'cache' / 'features'}"
    assert re.fullmatch(r"removed 1 entries, \d+\.\d KiB", told[1])
    assert perennial.main(["cache", "clear"]) == 0
    assert "removed 1 entries" in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert perennial.main(["cache", "clear", "--older-than", "soon"]) == 2
    assert "expected a time such as 12h, 30d or 2w, found 'soon'" in capsys.readouterr().err


def test_the_folder_is_named_before_it_is_emptied(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def clear(_: DiskStore, older_than: float = 0.0) -> tuple[int, int]:
        told.append(capsys.readouterr().out)
        return 0, int(older_than)

    monkeypatch.setattr(DiskStore, "clear", clear)
    assert perennial.main(["cache", "clear", "--path", str(tmp_path / "other")]) == 0
    assert told == [f"removing entries of {tmp_path / 'other' / 'features'}\n"]
    assert capsys.readouterr().out == "removed 0 entries, 0 B\n"


def test_cache_in_another_place(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert perennial.main(["cache", "info", "--path", str(tmp_path / "other")]) == 0
    assert str(tmp_path / "other" / "features") in capsys.readouterr().out
    silent = f"unix://{tmp_path}/nothing.sock"
    assert perennial.main(["cache", "info", "--url", silent]) == 2
    assert "expected an answer of" in capsys.readouterr().err


def test_sizes_are_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1536, 4 * 2**30, 3 * 2**40)] == [
        *("0 B", "1023 B", "1.5 KiB", "4.0 GiB", "3.0 TiB")
    ]
