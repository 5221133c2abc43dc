"""What an agent that remembers is compared with remembers as well."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.option_variants import variants
from meta_controller.config import ResidualController
from meta_controller.policy import HierarchicalPolicy
from tests.evaluation import option_policies
from tests.evaluation.option_policies import Always, on_market

UNITS = 5


def remembered(policy: HierarchicalPolicy, bars: int = 3) -> np.ndarray:
    """State of the recurrent unit after some bars, (N, M)."""
    random = np.random.default_rng(0)
    policy.reset(6)
    for _ in range(bars):
        seen = random.normal(size=(6, policy.network.account_size + 1)).astype(np.float32)
        seen[:, 3] = random.random(6)
        seen[:, 0], seen[:, 4] = 0.0, 1.0 - seen[:, 3]
        assert np.isfinite(policy.act(seen)).all()
    assert policy.last is not None
    assert policy.last.decision.hidden_BM is not None
    return np.asarray(policy.last.decision.hidden_BM.numpy())


def test_every_variant_remembers_as_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    network = replace(option_policies.NETWORK, recurrent=UNITS)
    monkeypatch.setattr(option_policies, "NETWORK", network)
    policy = on_market(ResidualController(hidden=(4,)), [Always(0.3), None, None], noise=1.0)
    own = remembered(policy)
    assert own.shape == (6, UNITS)
    found = variants(policy)
    assert {"gate_frozen", "shift_1", "fixed_0", "uniform"} <= set(found)
    for variant in found.values():
        np.testing.assert_allclose(remembered(variant), own, atol=1e-6)
