"""The Python blocks of the guides run as they stand, one after the other."""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from training.regime_catalog import configured, detectors

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.usefixtures("packaged_features")
@pytest.mark.parametrize(
    ("guide", "blocks"), [("features", 6), ("regimes", 4), ("options", 2), ("continual", 2)]
)
def test_the_blocks_of_a_guide_run(
    guide: str, blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("PERENNIAL_CACHE", str(tmp_path / "cache"))
    text = (DOCS / f"{guide}.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": guide}
    ran = 0
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        # A block that begins with its name is a file of the reader's.
        if named := re.match(r"# (\S+\.(?:py|yaml))\n", block):
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, f"{guide}.md, block {ran + 1}", "exec"), names)
            ran += 1
    assert ran == blocks
    if guide == "features":
        assert abs(names["row"].asset_TAF).max() > 0.0
        assert names["batch_TAF"].shape == (names["nasdaq"].num_bars, 1, 2)
    elif guide == "options":
        assert names["weights"].shape == (1, 3)
        assert len(names["state"][0]) == 16
    elif guide == "continual":
        assert any("there are 64" in line for line in names["words"])
    else:
        assert 0.5 < names["value"]["hmm"] / names["value"]["oracle"] <= 1.05
        assert names["blended"].mean > 0.0


def test_the_guide_has_the_class_of_every_detector() -> None:
    text = (DOCS / "regimes.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| `(\w+Config)` \| `([\w.]+)` \|$", text, re.MULTILINE)
    assert sorted(name for name, _, _ in found) == sorted(detectors())
    for name, class_name, module in found:
        chosen = type(configured(name).detector)
        assert chosen is getattr(import_module(module), class_name)
        assert chosen.__module__ == module
