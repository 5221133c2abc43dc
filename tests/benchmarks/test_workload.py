"""The measured workload: every accounting model works in it, and lanes do not depend on N."""

import numpy as np
import pytest

from benchmarks.ours import Copying, arrays, config
from envs.simulator import TERMS, Simulator

STEPS = 300


@pytest.mark.parametrize("assets", [1, 30])
def test_lanes_have_the_same_bits_whatever_their_number(assets: int) -> None:
    market, settings = arrays(assets, 1), config("index", 30)
    wide = Simulator(market, settings, 1024, seed=0, autoreset="same_step")
    narrow = [
        Simulator(market, settings, n, seed=0, autoreset="same_step", lane_offset=offset)
        for n, offset in ((1, 0), (7, 1), (16, 1008))
    ]
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        actions_ND = rng.uniform(-1.5, 1.5, (1024, assets))
        wide.step(actions_ND)
        for part, (start, stop) in zip(narrow, ((0, 1), (1, 8), (1008, 1024)), strict=True):
            part.step(actions_ND[start:stop])
            assert part.reward_N.tobytes() == wide.reward_N[start:stop].tobytes()
            assert part.equity_N.tobytes() == wide.equity_N[start:stop].tobytes()
            assert part.account_NP.tobytes() == wide.account_NP[start:stop].tobytes()
    assert (wide.episode_N > 0).all(), "episodes ended and began again"


def test_every_accounting_model_is_on() -> None:
    accounts = Simulator(
        arrays(30, 1), config("index", 30), 256, seed=0, record_terms=True, autoreset="same_step"
    )
    rng = np.random.default_rng(0)
    total_7 = np.zeros(len(TERMS))
    for _ in range(STEPS):
        accounts.step(rng.uniform(-1, 1, (256, 30)))
        total_7 += np.abs(accounts.terms_N7).sum(axis=0)
    assert (total_7 > 0.0).all(), dict(zip(TERMS, total_7, strict=True))


def test_copying_measures_shares_of_memcpy() -> None:
    result = Copying(1, 16, 30, 64).measure(0.01)
    assert 0.0 < result["step_share"] < result["copying_share"]
    assert result["memcpy_gb_per_s"] > 0.1
