"""Run the kernel as plain Python: what a coverage tool sees, and a check on the compiler."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Generic, ParamSpec, TypeVar
from unittest import mock

import numpy as np

import envs.kernel
import markets.synthetic
from envs.kernel import copying, run, stack
from envs.simulator import Simulator

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Interpreted(Generic[P, R_co]):
    """A Python function where a compiled one is expected."""

    py_func: Callable[P, R_co]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.py_func(*args, **kwargs)


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Import every module of a package."""
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


@contextmanager
def interpreted_kernel() -> Iterator[None]:
    """Replace every compiled function of the kernel, and of the markets that it plays, by the
    function it was compiled from.
    """
    with mock.patch.object(stack, "stack_array", np.empty):
        patches = []
        for module in (*modules_of(envs.kernel), *modules_of(markets.synthetic)):
            for name, value in vars(module).items():
                if hasattr(value, "py_func"):
                    patches.append(mock.patch.object(module, name, value.py_func))
                elif name == "stack_array":
                    patches.append(mock.patch.object(module, name, np.empty))
        for patch in patches:
            patch.start()
        try:
            with np.errstate(over="ignore"):  # the counter-based generator wraps around
                yield
        finally:
            for patch in patches:
                patch.stop()


def interpret(simulator: Simulator) -> Simulator:
    """Make a simulator run in Python; to be used inside `interpreted_kernel`."""
    simulator._run = run.build_run(
        single=simulator.num_assets == 1, generator=simulator._generator
    ).py_func
    simulator._reset = Interpreted(run.build_reset(generator=simulator._generator).py_func)
    simulator._gather = Interpreted(copying.build_gather().py_func)
    return simulator
