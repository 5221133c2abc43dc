"""Python and machine code agree, with every model on."""

from typing import Any, Literal

import numpy as np
import pytest

from envs.simulator import Simulator
from tests.envs.kernel.interpreted import interpret, interpreted_kernel
from tests.envs.kernel.markets import random_market
from tests.envs.kernel.test_reference import CASES, draw_actions, full_config


def assert_same(compiled: Simulator, python: Simulator) -> None:
    for name, expected in compiled.state_dict().items():
        found = python.state_dict()[name]
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_python_equals_compiled(case: str, autoreset: Literal["same_step", "next_step"]) -> None:
    action, assets, lots, fill, reward = CASES[case]
    market = random_market(3, 120, assets, volatility=0.05, lots=lots)
    config = full_config(action, fill, reward)
    arguments: dict[str, Any] = {"seed": 5, "record_terms": True, "autoreset": autoreset}
    compiled = Simulator(market, config, 4, **arguments)
    rng = np.random.default_rng(4)
    with interpreted_kernel():
        python = interpret(Simulator(market, config, 4, **arguments))
        for step in range(25):
            actions = draw_actions(rng, config, compiled)
            if step % 4 == 3:
                rebalance = step % 8 == 3
                expected = compiled.step_option(
                    actions, [9, 5, 1, 3], 0.1, 0.9, rebalance=rebalance
                )
                found = python.step_option(actions, [9, 5, 1, 3], 0.1, 0.9, rebalance=rebalance)
                np.testing.assert_array_equal(found.duration_N, expected.duration_N)
                np.testing.assert_array_equal(found.reason_N, expected.reason_N)
            else:
                compiled.step(actions)
                python.step(actions)
            assert_same(compiled, python)
            np.testing.assert_array_equal(python.observe_index(), compiled.observe_index())
            np.testing.assert_array_equal(python.observe_window(), compiled.observe_window())
        compiled.reset([1, 2], start=[20, 25])
        python.reset([1, 2], start=[20, 25])
        assert_same(compiled, python)


def test_python_reports_faults() -> None:
    action, assets, lots, fill, reward = CASES["one_asset"]
    market = random_market(3, 120, assets, lots=lots)
    with interpreted_kernel():
        simulator = interpret(Simulator(market, full_config(action, fill, reward), 2, seed=1))
        with pytest.raises(ValueError, match=r"actions\[1, 0\].*lane 1, found nan"):
            simulator.step([[0.0], [np.nan]])
        simulator.reset(start=simulator.last_start)
        for _ in range(90):
            simulator.step([[0.0], [0.1]])
        with pytest.raises(RuntimeError, match="lane 0"):
            simulator.step([[0.0], [0.0]])
