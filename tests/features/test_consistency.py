"""The measure of how much a value depends on where the history begins."""

import dataclasses

import numpy as np
import pytest

from features import FeatureError
from features.consistency import start_dependence
from features.registry import lookup
from tests.features.random_markets import random_bars


def test_a_window_depends_on_its_bars_alone() -> None:
    bars = random_bars(0, 300, 2, trouble=False)
    assert start_dependence(lookup("realised_volatility").bind({}), bars) <= 1e-14


def test_an_average_within_its_memory_has_forgotten() -> None:
    bars = random_bars(0, 900, 2)
    atr = lookup("atr").bind({})
    assert 0.0 < start_dependence(atr, bars) < 1e-12


def test_a_memory_that_is_too_short_shows() -> None:
    """Half of it: Wilder's average keeps (13/14)^k of the past."""
    bars = random_bars(0, 900, 1, trouble=False)
    atr = lookup("atr").bind({})
    hasty = dataclasses.replace(atr, memory=60)
    apart = start_dependence(hasty, bars, starts=20)
    assert 1e-4 < apart < 1e-1
    assert apart < start_dependence(dataclasses.replace(atr, memory=30), bars, starts=20)


def test_a_path_is_never_forgotten() -> None:
    bars = random_bars(0, 900, 1, trouble=False)
    assert start_dependence(lookup("obv").bind({}), bars) > 1e-6


def test_refusals() -> None:
    bars = random_bars(0, 100, 2)
    atr = lookup("atr").bind({})
    with pytest.raises(FeatureError, match=rf"memory of {atr.memory}, found at most 9\d"):
        start_dependence(atr, bars)
    level = lookup("exogenous_level").bind({"series": "vix"})
    with pytest.raises(FeatureError, match="expected the published series"):
        start_dependence(level, bars)


def test_constant_values_do_not_depend() -> None:
    bars = random_bars(0, 60, 1, trouble=False)
    month = lookup("month").bind({})
    assert start_dependence(month, bars) == 0.0
    assert np.isfinite(start_dependence(lookup("turn_of_month").bind({}), bars))
