"""Declaring, finding and parametrising features."""

import importlib
import linecache
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features import FeatureConfig, FeatureError, FeaturePipeline, FeatureSpec, catalogue
from features.fingerprint import fingerprint
from features.registry import Array, Window, feature, lookup
from features.stream import FeatureStream
from markets.bars import Bars
from tests.features.random_markets import random_bars, weekdays

MODULE = "tests.features.user_features"


def declare(function: Callable[..., Any], **changes: Any) -> None:
    feature(**{"unit": "1", "source": "a test", **changes})(function)


class TestUsersOwnFeature:
    def test_works_by_configuration(self) -> None:
        spec = FeatureSpec(name="overnight_gap", parameters={"horizon": 2})
        config = FeatureConfig(features=(spec,), modules=(MODULE,))
        bars = random_bars(0, 80, 1, trouble=False)
        pipeline = FeaturePipeline(config)
        assert pipeline.names == ("overnight_gap_2", "tradable")
        assert pipeline.warmup == 2
        raw_T = pipeline.raw(bars)[0][:, 0, 0]
        expected_T = 2.0 * np.log(bars.open[2:, 0] / bars.close[:-2, 0])
        np.testing.assert_allclose(raw_T[2:], expected_T, rtol=1e-14)

    def test_nan_is_refused_with_place_and_time(self) -> None:
        importlib.import_module(MODULE)
        close_TA = np.array([[5.0, 1.0], [5.0, 2.0], [5.0, 3.0], [5.0, 2.9]])
        fields: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), close_TA)
        bars = Bars.from_arrays(weekdays(4), ("A", "B"), **fields, volume=close_TA)
        message = (
            "B: feature broken_on_falls: expected finite values from bar 1 of an asset on (its "
            "declared warm-up), found nan at bar 3 (2015-01-06T"
        )
        pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="broken_on_falls"),)))
        with pytest.raises(FeatureError, match=re.escape(message)):
            pipeline.raw(bars)
        pipeline.fit(bars, (0, 3)).prime(bars.rows(0, 3))
        with pytest.raises(FeatureError, match=r"B: feature broken_on_falls: .*2015-01-06T"):
            pipeline.update(bars.rows(3, 4))

    def test_wrong_shape_is_refused(self) -> None:
        importlib.import_module(MODULE)
        config = FeatureConfig(features=(FeatureSpec(name="too_short"),))
        with pytest.raises(FeatureError, match=r"1 array\(s\) of shape \(80,\), found \[\(79,\)\]"):
            FeaturePipeline(config).raw(random_bars(0, 80, 1, trouble=False))

    def test_one_array_in_place_of_a_pair_is_refused(self) -> None:
        importlib.import_module(MODULE)
        config = FeatureConfig(features=(FeatureSpec(name="no_pair"),))
        with pytest.raises(FeatureError, match=r"2 array\(s\) of shape \(80,\), found \[\(80,\)\]"):
            FeaturePipeline(config).raw(random_bars(0, 80, 1, trouble=False))

    def test_no_feature_changes_what_others_read(self) -> None:
        importlib.import_module(MODULE)
        config = FeatureConfig(features=(FeatureSpec(name="writes_into_its_input"),))
        bars = random_bars(0, 80, 1, trouble=False)
        pipeline = FeaturePipeline(config)
        with pytest.raises(ValueError, match="read-only"):
            pipeline.raw(bars)
        stream = FeatureStream(pipeline.features, bars.symbols)
        stream.update(bars.rows(0, 1))
        with pytest.raises(ValueError, match="read-only"):
            stream.update(bars.rows(1, 2))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("other_name", r"'other_name': warmup: expected a function of .*\(horizon\), found"),
            ("negative_warmup", r"warmup: expected a whole number of bars >= 0 .*found -3"),
        ],
    )
    def test_a_faulty_warmup_is_refused(self, name: str, message: str) -> None:
        importlib.import_module(MODULE)
        with pytest.raises(FeatureError, match=message):
            lookup(name).bind({})
        assert lookup("negative_warmup").bind({"horizon": 5}).warmup == 0

    def test_constant_becomes_neutral(self) -> None:
        importlib.import_module(MODULE)
        bars = random_bars(0, 80, 2, trouble=False)
        pipeline = FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="always_three"),)))
        raw_TAF, _ = pipeline.raw(bars)
        assert np.isnan(raw_TAF[:4]).all(), "the declared warm-up counts, not what is returned"
        assert (raw_TAF[4:] == 3.0).all()
        tensor = pipeline.fit(bars, (0, 50)).transform(bars)
        assert not tensor.asset_TAF[..., 0].any()
        assert pipeline.state.asset["always_three"].center == 3.0
        assert pipeline.state.asset["always_three"].scale == 1.0


class TestErrors:
    def test_unknown_name_has_suggestions(self) -> None:
        with pytest.raises(
            FeatureError, match=r"unknown feature 'momentun': did you mean momentum"
        ):
            FeaturePipeline(FeatureConfig(features=(FeatureSpec(name="momentun"),)))
        with pytest.raises(FeatureError, match=r"known: .*atr.*features\.modules"):
            lookup("zzzzz")

    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            ("momentum", {"horizon": 0}, r"features\.momentum\.horizon: .* or equal to 1, found 0"),
            ("momentum", {"horizont": 5}, r"momentum\.horizont: .*parameters: horizon"),
            ("rsi", {"window": "long"}, r"features\.rsi\.window: .*integer.* found 'long'"),
            ("bollinger", {"width": -1.0}, r"bollinger\.width: .*greater than 0, found -1.0"),
            ("log_return", {"window": 1}, r"log_return\.window: .*parameters: none"),
            ("bollinger", {"width": float("inf")}, r"bollinger\.width: .*finite number, found inf"),
            (
                "macd",
                {"fast": 26, "slow": 12},
                r"features\.macd\.fast: must be < slow \(12\), was 26",
            ),
            ("adosc", {"fast": 10}, r"features\.adosc\.fast: must be < slow \(10\), was 10"),
            ("awesome_oscillator", {"slow": 5}, r"oscillator\.fast: must be < slow \(5\), was 5"),
            ("ultimate_oscillator", {"slow": 9}, r"r\.medium: must be < slow \(9\), was 14"),
            ("mama", {"fast": 0.04}, r"features\.mama\.slow: must be <= fast \(0\.04\), was 0\.05"),
            ("roofing", {"short": 48}, r"features\.roofing\.short: must be < long \(48\), was 48"),
            ("sar_distance", {"acceleration": 0.3}, r"n: must be <= maximum \(0\.2\), was 0\.3"),
            ("drawdown", {"window": 100_001}, r"wdown\.window: .*equal to 100000, found 100001"),
            ("momentum", {"horizon": 10**9}, r"horizon: .*equal to 100000, found 1000000000"),
            ("skewness", {"window": 2}, r"skewness\.window: .* or equal to 3, found 2"),
            ("kurtosis", {"window": 3}, r"kurtosis\.window: .* or equal to 4, found 3"),
            ("idiosyncratic_volatility", {"window": 2}, r"y\.window: .* or equal to 3, found 2"),
        ],
    )
    def test_parameters(self, name: str, parameters: Any, message: str) -> None:
        with pytest.raises(FeatureError, match=message):
            FeaturePipeline(
                FeatureConfig(features=(FeatureSpec(name=name, parameters=parameters),))
            )

    def test_two_numbers_are_two_columns(self) -> None:
        """However near they are; a number without many digits keeps its short name."""
        specs = [
            FeatureSpec(name="ewma_volatility", parameters={"retained": retained})
            for retained in (0.94, 0.9400001, 0.94000011)
        ]
        names = FeaturePipeline(FeatureConfig(features=tuple(specs))).names[:-1]
        assert names[0] == "ewma_volatility_0.94"
        assert len(set(names)) == 3
        assert lookup("bollinger").bind({"width": 2}).label == "bollinger_20_2"

    def test_column_twice(self) -> None:
        specs = (
            FeatureSpec(name="rsi"),
            FeatureSpec(name="rsi", parameters={"window": 14}),
        )
        with pytest.raises(FeatureError, match=r"each column once, found twice: \['rsi_14'\]"):
            FeaturePipeline(FeatureConfig(features=specs))

    def test_unknown_input(self) -> None:
        def wishful(tomorrow_T: Array) -> Array:
            return tomorrow_T

        with pytest.raises(FeatureError, match=r"'wishful': expected .*open_T.* found tomorrow"):
            declare(wishful)

    def test_parameter_without_default(self) -> None:
        def vague(close_T: Array, *, window: Window) -> Array:
            return close_T * window

        with pytest.raises(FeatureError, match="'window' needs a type and a default"):
            declare(vague)

    def test_shared_feature_of_prices(self) -> None:
        def market(close_T: Array) -> Array:
            return close_T

        with pytest.raises(FeatureError, match=r"ts_event_T.*\(scope shared\), found close"):
            declare(market, scope="shared")

    def test_published_series_without_a_name(self) -> None:
        def nameless(exogenous_T: Array) -> Array:
            return exogenous_T

        with pytest.raises(FeatureError, match="needs the parameter 'series: str'"):
            declare(nameless, scope="shared")

    def test_name_taken_by_another_module(self) -> None:
        def rsi(close_T: Array) -> Array:
            return close_T

        with pytest.raises(FeatureError, match=r"'rsi' is declared twice: in features\.indicators"):
            declare(rsi)
        assert lookup("rsi").function.__module__ == "features.indicators.momentum"


def test_catalogue_is_sorted_and_complete() -> None:
    names = [entry.name for entry in catalogue()]
    assert names == sorted(names)
    assert {"log_return", "macd", "turn_of_month"} <= set(names)


def test_description_of_a_feature() -> None:
    assert lookup("macd").describe() == {
        "name": "macd",
        "family": "trend",
        "scope": "asset",
        "inputs": "close",
        "parameters": "fast=12, slow=26, signal=9",
        "unit": "1 (share of the price)",
        "warmup": "33",
        "carries_state": "yes",
        "source": lookup("macd").source,
    }


class TestFingerprint:
    """The code's fingerprint changes with the code, and with nothing else."""

    SOURCE = '''
import numpy as np
SCALE = 1.0
def helper(x):
    return np.sqrt(x)
def function(close_T):
    """Text."""
    return SCALE * helper(close_T)  # comment
'''

    def fingerprint_of(self, tmp_path: Path, source: str) -> str:
        path = tmp_path / "probe_module.py"
        path.write_text(source)
        namespace: dict[str, Any] = {"__name__": "probe_module"}
        linecache.clearcache()
        exec(compile(source, str(path), "exec"), namespace)
        return fingerprint(namespace["function"])

    @pytest.mark.parametrize(
        ("old", "new", "same"),
        [
            ("# comment", "# other", True),
            ("Text.", "Other text.", True),
            ("    return SCALE", "\n    return   SCALE", True),
            ("np.sqrt(x)", "np.sqrt(x + 0)", False),
            ("SCALE = 1.0", "SCALE = 2.0", False),
            ("SCALE * helper", "SCALE / helper", False),
        ],
    )
    def test_changes(self, tmp_path: Path, old: str, new: str, same: bool) -> None:
        before = self.fingerprint_of(tmp_path, self.SOURCE)
        after = self.fingerprint_of(tmp_path, self.SOURCE.replace(old, new))
        assert (before == after) == same

    @pytest.mark.parametrize("constant", ["1.0", "2.0"])
    def test_sees_through_wrappers_and_compilers(self, tmp_path: Path, constant: str) -> None:
        """A helper behind functools.wraps, or compiled as numba does (the source in `py_func`)."""
        source = """
import functools
class Compiled:
    def __init__(self, function):
        self.py_func = function
def passed_on(function):
    @functools.wraps(function)
    def inner(x):
        return function(x)
    return inner
@Compiled
def one(x):
    return x * 1.0
@passed_on
def two(x):
    return x * 1.0
def function(close_T):
    return one(close_T) + two(close_T)
"""
        before = self.fingerprint_of(tmp_path, source)
        for number in (1, 2):
            parts = source.rsplit("1.0", number)
            changed = (f"{constant}").join([parts[0], "1.0".join(parts[1:])])
            assert (self.fingerprint_of(tmp_path, changed) == before) == (constant == "1.0")

    def test_code_without_source(self) -> None:
        one: dict[str, Any] = {"__name__": "prompt"}
        two: dict[str, Any] = {"__name__": "prompt"}
        exec("def function(x): return x + 1", one)
        exec("def function(x): return x + 2", two)
        assert fingerprint(one["function"]) != fingerprint(two["function"])
