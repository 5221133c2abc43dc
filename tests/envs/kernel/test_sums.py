"""Sums in a fixed order: the same bits on every machine, whatever was compiled before."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import envs.kernel
from envs.kernel import run, step
from envs.kernel.copying import build_gather
from envs.kernel.jit import hashed_sources, separate
from envs.kernel.layout import padded_width
from envs.kernel.stack import stack_array
from envs.kernel.sums import row_sum
from markets.synthetic import (
    garleanu_pedersen_stream,
    ornstein_uhlenbeck_stream,
    regime_gbm_stream,
)
from tests.envs.kernel.interpreted import modules_of

GENERATORS = (garleanu_pedersen_stream, ornstein_uhlenbeck_stream, regime_gbm_stream)


@separate
def compiled_sum(values_E: NDArray[np.float64], first: int, width: int) -> float:
    size = values_E.size
    scratch = stack_array(size)
    for index in range(size):
        scratch[index] = values_E[index]
    return row_sum(scratch, first, width)


def test_order_by_hand() -> None:
    # 1e16 + 1 = 1e16 in float64, so that the order shows.
    values = np.zeros(16)
    values[[0, 1, 4, 9]] = [1e16, 1.0, -1e16, 2.0]
    assert float(np.cumsum(values)[-1]) == 2.0  # one after the other: 1 is lost
    # s_0 = 1e16, s_1 = 1 + 2, s_4 = -1e16; t_0 = s_0 + s_4 = 0, t_1 = 3.
    assert row_sum(values, 0, 16) == 3.0
    assert compiled_sum(values, 0, 16) == 3.0


@pytest.mark.parametrize("width", [1, 8, 16, 32, 56])
def test_compiled_sum_has_the_bits_of_the_definition(width: int) -> None:
    rng = np.random.default_rng(width)
    for first in (0, 1, 8, 13):
        values = rng.normal(size=80) * 10.0 ** rng.integers(-12, 12, 80)
        found = compiled_sum(values, first, width)
        assert found.hex() == row_sum(values, first, width).hex()
        exact = float(np.sum(values[first : first + width].astype(np.longdouble)))
        assert found == pytest.approx(exact, abs=1e-14 * np.abs(values).max() * width)


def test_rows_are_whole_vectors() -> None:
    assert [padded_width(assets) for assets in (1, 2, 8, 9, 30)] == [1, 8, 8, 16, 32]


def is_compiled(value: object) -> bool:
    return hasattr(value, "py_func") and hasattr(value, "targetoptions")


def reachable(function: Any, found: dict[int, Any]) -> None:
    """Collect compiled functions that a compiled function calls, and the values that it reads."""
    if id(function) in found:
        return
    found[id(function)] = function
    if not is_compiled(function):
        return
    python = function.py_func
    names = set(python.__code__.co_names)
    scope = inspect.getclosurevars(python)
    for value in (*scope.globals.values(), *scope.nonlocals.values()):
        if isinstance(value, ModuleType):
            for name in names & set(vars(value)):
                reachable(getattr(value, name), found)
        else:
            reachable(value, found)


def entry_points() -> Iterator[Any]:
    for generator in range(len(GENERATORS) + 1):
        for single in (False, True):
            yield run.build_run(single=single, generator=generator)
        yield run.build_reset(generator=generator)
    yield build_gather()


def test_nothing_is_compiled_with_the_freedom_to_reorder() -> None:
    # Re-associated sums took another order after something else had been compiled.
    compiled: dict[int, Any] = {}
    for entry in entry_points():
        reachable(entry, compiled)
    for module in (*modules_of(envs.kernel), *GENERATORS):
        for value in vars(module).values():
            reachable(value, compiled)
    functions = [value for value in compiled.values() if is_compiled(value)]
    assert step.step_block in functions
    assert len(functions) > 100
    assert [f for f in functions if f.targetoptions.get("fastmath")] == []


def test_the_hash_covers_all_that_is_compiled() -> None:
    hashed = {str(path) for path in hashed_sources(synthetic=True)}
    assert {module.__file__ for module in GENERATORS} <= hashed
    compiled: dict[int, Any] = {}
    for entry in entry_points():
        reachable(entry, compiled)
    for value in compiled.values():
        origin = value.py_func if is_compiled(value) else value
        home = inspect.getmodule(origin if callable(origin) else type(origin))
        name = getattr(home, "__name__", "")
        if name.startswith(("envs", "markets")):
            assert inspect.getfile(home or envs.kernel) in hashed, origin


def test_a_table_does_not_hash_the_markets_that_are_generated() -> None:
    table, synthetic = (hashed_sources(synthetic=flag) for flag in (False, True))
    assert set(table) < set(synthetic)
    names = {path.name for path in set(synthetic) - set(table)}
    assert names == {"chain.py", *(f"{m.__name__.rpartition('.')[2]}.py" for m in GENERATORS)}
