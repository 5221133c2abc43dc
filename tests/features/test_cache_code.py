"""The digest of running code: a line, a helper, a constant; in this process and in a fresh one."""

import functools
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from features.cache.code import running_code
from features.indicators.momentum import rsi

ROOT = Path(__file__).resolve().parents[2]

HELPERS = """\
import numpy as np
WEIGHTS = [0.5, 0.5]
LEVELS = np.array([1.0, 2.0])
class Blend:
    SHARE = 0.25
    def of(self, x):
        return x * self.SHARE
def smooth(x):
    return x * WEIGHTS[0]
"""
FEATURE = """\
import numpy as np
import own_helpers
from features.registry import Array, Horizon, feature
from own_helpers import Blend, LEVELS
@feature(unit="1", source="a test", warmup=0)
def own_{n}(close_T: Array, *, horizon: Horizon = 1) -> Array:
    # a remark
    return LEVELS[0] * own_helpers.smooth(np.ones(len(close_T))) + Blend().of(3.0)
"""
PROGRAM = """\
import json, sys
from features.cache.config import CacheConfig
from features.config import FeatureConfig, FeatureSpec
from features.pipeline import FeaturePipeline
from tests.features.random_markets import random_bars
config = FeatureConfig(
    features=(FeatureSpec(name="own_{n}"), FeatureSpec(name="log_return")),
    cache=CacheConfig(path=sys.argv[1]), modules=("own_features",),
)
pipeline = FeaturePipeline(config)
raw = pipeline.raw(random_bars(1, 80, 1, trouble=False))[0]
print(json.dumps([float(raw[-1, 0, 0]), pipeline.cache.statistics.hits]))
"""


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_a_changed_line_is_never_stale_in_a_fresh_process(tmp_path: Path) -> None:
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    helpers, feature = tmp_path / "own_helpers.py", tmp_path / "own_features.py"
    program = PROGRAM.replace("{n}", "fresh")

    def computed() -> tuple[float, int]:
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "cache")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        value, hits = json.loads(done.stdout)
        return value, hits

    helpers.write_text(HELPERS)
    feature.write_text(FEATURE.replace("{n}", "fresh"))
    assert computed() == (0.5 + 0.75, 0)
    assert computed() == (0.5 + 0.75, 2)
    feature.write_text(edited(feature.read_text(), "# a remark", "# another one\n"))
    assert computed() == (0.5 + 0.75, 2), "a comment computes nothing"
    feature.write_text(edited(feature.read_text(), "of(3.0)", "of(4.0)"))
    assert computed() == (0.5 + 1.0, 1)
    helpers.write_text(edited(HELPERS, "[0.5, 0.5]", "[0.25, 0.5]"))
    assert computed() == (0.25 + 1.0, 1), "a constant of another module, reached by its name"
    helpers.write_text(HELPERS)
    assert computed() == (0.5 + 1.0, 2), "the old code again: its values are still known"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The feature's module, imported from files that a test may edit."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_helpers.py").write_text(HELPERS)
    (tmp_path / "own_features.py").write_text(FEATURE.replace("{n}", "reloaded"))
    importlib.invalidate_caches()
    yield importlib.import_module("own_features")
    for name in ("own_features", "own_helpers"):
        sys.modules.pop(name, None)


def reloaded(own: ModuleType, old: str, new: str, name: str = "own_helpers") -> str:
    """Digest after an edit of a file and a new import of both modules."""
    path = Path(str(sys.modules[name].__file__))
    path.write_text(edited(path.read_text(), old, new))
    later = time.time_ns() + 5 * 10**9
    os.utime(path, ns=(later, later))
    importlib.reload(sys.modules["own_helpers"])
    return running_code([importlib.reload(own).own_reloaded])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[0.5, 0.5]", "[0.5, 0.6]"),
        ("[1.0, 2.0]", "[1.0, 2.5]"),
        ("SHARE = 0.25", "SHARE = 0.5"),
        ("x * self.SHARE", "x / self.SHARE"),
        ("x * WEIGHTS[0]", "x * WEIGHTS[1]"),
        ("x * WEIGHTS[0]", "2.0 * x * WEIGHTS[0]"),
        ("def smooth(x):", "def smooth(x, unused=1):"),
    ],
)
def test_everything_that_is_reached_counts(own: ModuleType, old: str, new: str) -> None:
    before = running_code([own.own_reloaded])
    assert running_code([own.own_reloaded]) == before
    assert reloaded(own, old, new) != before
    assert reloaded(own, new, old) == before


def test_the_file_does_not_count_but_what_runs(own: ModuleType) -> None:
    before = running_code([own.own_reloaded])
    path = Path(str(own.__file__))
    path.write_text(edited(path.read_text(), "of(3.0)", "of(4.0)"))
    importlib.invalidate_caches()
    assert running_code([own.own_reloaded]) == before, "the old code still runs"


def test_a_helper_replaced_in_the_running_process_counts(own: ModuleType) -> None:
    before = running_code([own.own_reloaded])
    helpers = sys.modules["own_helpers"]
    old = helpers.smooth
    helpers.smooth = lambda x: x  # type: ignore[attr-defined] # as a notebook may do
    assert running_code([own.own_reloaded]) != before
    helpers.smooth = old  # type: ignore[attr-defined] # back again
    assert running_code([own.own_reloaded]) == before
    helpers.WEIGHTS[0] = 0.75
    assert running_code([own.own_reloaded]) != before
    helpers.LEVELS[1] = 7.0
    changed = running_code([own.own_reloaded])
    helpers.LEVELS[1] = 2.0
    assert running_code([own.own_reloaded]) != changed


@dataclass(frozen=True)
class Factor:
    by: float

    def of(self, x: float) -> float:
        return self.by * x


def made(by: float) -> functools.partial[float]:
    return functools.partial(lambda x, factor: factor.of(x), factor=Factor(by))


def closed(by: float) -> Callable[[float], float]:
    def inner(x: float) -> float:
        return by * x

    return inner


def defaulted(by: float) -> Callable[[float], float]:
    def inner(x: float, *, by: float = by) -> float:
        return by * x

    return inner


@pytest.mark.parametrize("make", [made, closed, defaulted])
def test_values_held_by_functions_count(make: Callable[[float], object]) -> None:
    assert running_code([make(2.0)]) == running_code([make(2.0)])
    assert running_code([make(2.0)]) != running_code([make(3.0)])


def test_containers_and_odd_things_have_a_digest() -> None:
    things = [{"a": [1, (2.0, None)]}, {3}, frozenset({4}), np.float32(5.0), np.log, len, object()]
    digests = [running_code([thing]) for thing in things]
    assert len(set(digests)) == len(things)
    assert digests == [running_code([thing]) for thing in things]


def test_digest_is_the_same_in_every_process() -> None:
    program = (
        "from features.cache.code import running_code\n"
        "from features.indicators.momentum import rsi\n"
        "from features.batch import Batch\n"
        "print(running_code([rsi]), running_code([Batch]))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }
    assert len(runs) == 1
    assert runs.pop().split()[0] == running_code([rsi])
