"""Steps and their parts, against TA-Lib and numpy."""

import importlib
import linecache
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import talib

from features.blocks import (
    AVERAGE_SIZE,
    average_push,
    ring_deviation,
    ring_lag,
    ring_maximum,
    ring_mean,
    ring_minimum,
    ring_push,
    ring_since_maximum,
    ring_since_minimum,
    ring_size,
)
from features.definition import Array
from features.fingerprint import _reachable
from features.registry import feature, lookup
from features.step import Pointer, Step, step

WALK_T = 100.0 + np.cumsum(np.random.default_rng(0).normal(size=400))


@step(state=AVERAGE_SIZE)
def ema_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    window = int(parameters[0])
    out[0] = average_push(state, 0, window, 2.0 / (window + 1.0), bar[0])


@step(state=ring_size)
def window_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    window = int(parameters[0])
    ring_push(state, 0, window, bar[0])
    out[0] = ring_mean(state, 0, window)
    out[1] = ring_deviation(state, 0, window, 0)
    out[2] = ring_maximum(state, 0, window)
    out[3] = ring_minimum(state, 0, window)
    out[4] = ring_since_maximum(state, 0, window)
    out[5] = ring_since_minimum(state, 0, window)
    out[6] = ring_lag(state, 0, window, window - 1)


def in_python(chosen: Step, values_T: Array, columns: int, window: int) -> Array:
    """The same step, bar after bar, in plain Python."""
    state, out_TK = np.zeros(chosen.state(window=window)), np.full((len(values_T), columns), np.nan)
    for value, out_K in zip(values_T, out_TK, strict=True):
        chosen.function(state, np.array([value]), np.array([float(window)]), out_K)
    return out_TK


def test_average_is_talibs() -> None:
    (ema_T,) = ema_step.batch((WALK_T,), window=20)
    np.testing.assert_allclose(ema_T, talib.EMA(WALK_T, 20), rtol=1e-14)


@pytest.mark.parametrize("window", [2, 7, 63])
def test_windows_are_talibs(window: int) -> None:
    mean, deviation, top, bottom, since_top, since_bottom, oldest = window_step.batch(
        (WALK_T,), columns=7, window=window
    )
    np.testing.assert_allclose(mean, talib.SMA(WALK_T, window), rtol=1e-13)
    np.testing.assert_allclose(deviation, talib.STDDEV(WALK_T, window), rtol=1e-8)
    np.testing.assert_array_equal(top, talib.MAX(WALK_T, window))
    np.testing.assert_array_equal(bottom, talib.MIN(WALK_T, window))
    rows = np.arange(len(WALK_T))[window - 1 :]
    np.testing.assert_array_equal(
        rows - since_top[window - 1 :], talib.MAXINDEX(WALK_T, window)[window - 1 :]
    )
    np.testing.assert_array_equal(
        rows - since_bottom[window - 1 :], talib.MININDEX(WALK_T, window)[window - 1 :]
    )
    np.testing.assert_array_equal(oldest[window - 1 :], WALK_T[: len(WALK_T) - window + 1])


@pytest.mark.parametrize(("chosen", "columns"), [(ema_step, 1), (window_step, 7)])
def test_compiled_and_plain_python_agree(chosen: Step, columns: int) -> None:
    compiled = np.stack(chosen.batch((WALK_T[:60],), columns=columns, window=9), axis=1)
    np.testing.assert_allclose(in_python(chosen, WALK_T[:60], columns, 9), compiled, rtol=1e-15)


def test_equal_values_deviate_by_exactly_nothing() -> None:
    deviation = window_step.batch((np.full(30, 0.1),), columns=7, window=20)[1]
    assert deviation[-1] == 0.0
    assert math.isnan(deviation[18])


@step(state=1)
def total_over_step(state: Pointer, bar: Pointer, parameters: Pointer, out: Pointer) -> None:
    state[0] += bar[0]
    out[0] = state[0] / parameters[0]


def test_division_by_zero_is_numpys() -> None:
    (total_T,) = total_over_step.batch((np.array([1.0, -1.0, -1.0]),), by=0.0)
    assert total_T[0] == np.inf
    assert math.isnan(total_T[1])
    assert total_T[2] == -np.inf


class TestChangedCode:
    """A changed line of a step, or of a part that it calls, is another definition and runs."""

    PARTS = """
from markets.compiled import separate
@separate
def part(value):
    return value * 2.0
"""
    STEPS = """
from features.registry import feature
from features.step import step
from probe.parts import part
@step(state=1)
def probe_step(state, bar, parameters, out):
    out[0] = part(bar[0]) + 1.0
@feature(unit="1", source="a test of changed code", step=probe_step)
def probe_of_steps(close_T):
    return close_T * 2.0 + 1.0
"""

    @pytest.mark.parametrize(
        ("old", "new", "value"),
        [("value * 2.0", "value * 3.0", 31.0), ("+ 1.0", "+ 2.0", 22.0), ("0.", "0.", 21.0)],
    )
    def test_is_seen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, value: float
    ) -> None:
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(tmp_path)
        steps, parts = self.STEPS.replace(f"part(bar[0]) {old}", f"part(bar[0]) {new}"), self.PARTS
        before = self.load(tmp_path, self.STEPS, parts)
        code = lookup("probe_of_steps").bind({}).definition
        assert before.probe_step.batch((np.array([10.0]),))[0].tolist() == [21.0]
        after = self.load(tmp_path, steps, parts.replace(old, new))
        changed = lookup("probe_of_steps").bind({}).definition
        assert after.probe_step.batch((np.array([10.0]),))[0].tolist() == [value]
        assert (changed["step"] != code["step"]) == (value != 21.0)
        assert changed["code"] == code["code"], "the batch function is as it was"

    @staticmethod
    def load(folder: Path, steps: str, parts: str) -> ModuleType:
        """The modules as freshly imported; the file of the steps keeps its time."""
        package = folder / "probe"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / "parts.py").write_text(parts)
        if not (package / "steps.py").exists() or (package / "steps.py").read_text() != steps:
            (package / "steps.py").write_text(steps)
        for name in [name for name in sys.modules if name.partition(".")[0] == "probe"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        linecache.clearcache()
        return importlib.import_module("probe.steps")


def test_a_feature_that_is_its_step_has_the_steps_code() -> None:
    """The batch function calls the step: what the step calls belongs to its code, too."""

    @feature(unit="1", source="a test of a step's code", step=window_step)
    def by_its_step(close_T: Array, *, window: int = 5) -> Array:
        return window_step.batch((close_T,), columns=7, window=window)[0]

    assert by_its_step is not None
    reached = _reachable(by_its_step)
    assert {"features.blocks.ring_mean", "features.blocks.ring_sum"} <= set(reached)
    assert f"{__name__}.window_step" in reached
