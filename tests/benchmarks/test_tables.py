"""The page of results is made of the JSON alone; targets name figures that are measured."""

import json
import re
from typing import Any

import pytest

from benchmarks import options
from benchmarks.cases import cases, stream_cases
from benchmarks.main_job import CACHES, PHASES
from benchmarks.record import RESULTS, spread
from benchmarks.tables import markdown, number, table
from benchmarks.targets import TARGETS, Target, leg_figure
from benchmarks.training import LEGS

PROVENANCE = {
    "command": "python -m benchmarks.environment --rounds 3",
    "date": "2026-11-20 12:00 UTC",
    "commit": "0123456789ab",
    "machine": {
        "processor": "A Processor",
        "cores": 2,
        "memory_gib": 24.0,
        "load_average": [0.1, 0.2, 0.3],
        "python": "3.11.9",
        "packages": {"numpy": "2.4.6"},
    },
}


def environment() -> dict[str, Any]:
    rates = {
        "perennial index A=1 N=1024": [60e6, 50e6, 70e6],
        "perennial window A=1 F=16 W=30 N=1024": [5e6],
        "TorchTrade A=1 F=16 W=1 N=1024": [5e6],
        "TorchTrade A=1 F=16 W=30 N=1024": [1e6],
    }
    return PROVENANCE | {
        "peers": {"torchtrade": {"torchtrade": "0.1.0"}},
        "figures": {n: spread(v) | {"unit": "steps/CPU-s"} for n, v in rates.items()},
        "comparisons": [
            {
                "peer": "TorchTrade A=1 F=16 W=30 N=1024",
                "ours": "perennial window A=1 F=16 W=30 N=1024",
            },
            {"peer": "gym-anytrading A=1 F=16 W=1", "ours": "perennial index A=1 N=1024"},
        ],
        "skipped": {"gym-anytrading A=1 F=16 W=1": "anytrading: cannot install"},
    }


def training() -> dict[str, Any]:
    shares = {"environment": 0.2, "policy": 0.3, "update": 0.4, "bookkeeping": 0.1}
    row = {
        "steps_per_second": spread([90_000.0]),
        "steps_per_cpu_second": spread([50_000.0]),
        "cores_used": spread([1.8]),
        "shares": shares,
    }
    return PROVENANCE | {
        "settings": {"num_envs": 256},
        "legs": {"ours (1 torch thread)": row},
        "amdahl": {"ours (1 torch thread)": 1.25},
        "speed_up": {
            "ours (1 torch thread)": {"steps_per_second": 1.0, "steps_per_cpu_second": 1.0}
        },
        "skipped": {},
    }


def test_spread_is_the_median_with_its_range() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == {
        "median": 2.5,
        "lowest": 1.0,
        "highest": 10.0,
        "count": 4,
    }


def test_table_has_a_rule_and_rows() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert [number(v) for v in (0.70412, 12.345, 60_000_000.0)] == ["0.704", "12.3", "60,000,000"]


def test_page_of_the_environment() -> None:
    page = markdown({"environment": environment()})
    assert "| perennial index A=1 N=1024 | 60,000,000 | 50,000,000 | 70,000,000 | 3 |" in page
    verdicts = dict(
        re.findall(r"^\| (index.*?|copied.*?) \| >= .* \| (.*) \|$", page, re.MULTILINE)
    )
    assert verdicts["index observations, 1 asset, N=1024"] == "reached"
    assert verdicts["index observations, 1 asset, N=4096"] == "not measured"
    assert verdicts["index against TorchTrade's W=1, N=1024"] == "not reached"  # 12 of 15
    assert verdicts["copied windows against TorchTrade, W=30, N=1024"] == "not reached"  # 5 of 10
    assert "| peer | steps/CPU-s | index | window | VectorEnv window | Env window |" in page
    assert "| TorchTrade A=1 F=16 W=30 N=1024 | 1,000,000 |  | 5x |  |  |" in page
    assert "| gym-anytrading A=1 F=16 W=1 | anytrading: cannot install |" in page
    for text in ("--rounds 3", "2026-11-20", "A Processor, 2 cores, 24.0 GiB", "torchtrade 0.1.0"):
        assert text in page
    assert "## Training" not in page


def test_page_of_the_training() -> None:
    page = markdown({"training": training()})
    assert "| PPO, end to end | >= 100,000 steps/s | 90,000 | not reached |" in page
    assert "| ours (1 torch thread) | 20.0% | 30.0% | 40.0% | 10.0% | 1.25x |" in page


def test_page_of_the_main_job_says_when_it_is_another_job() -> None:
    figures = {"empty cache: wall": spread([120.0, 100.0]) | {"unit": "s"}}
    record = PROVENANCE | {"overrides": [], "figures": figures}
    page = markdown({"main_job": record})
    assert "| wall time, empty cache of compiled code | <= 180 s | 110 | reached |" in page
    assert "Not the default job" not in page
    other = markdown({"main_job": record | {"overrides": ["debug=tiny"]}})
    assert "| wall time, empty cache of compiled code | <= 180 s |  | not measured |" in other
    assert "Not the default job: `debug=tiny`." in other


def test_a_bound_itself_is_good_enough() -> None:
    figures = {"a": spread([4.0]), "b": spread([2.0])}
    assert Target("", "a", 2.0, "", over="b").met(figures) is True
    assert Target("", "a", 4.0, "", at_most=True).met(figures) is True
    assert Target("", "a", 3.9, "", at_most=True).met(figures) is False
    assert Target("", "a", 2.0, "", over="c").met(figures) is None


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Agents of options in place of measured ones: the flat agent takes these steps a second."""
    flat: list[float] = []

    def measured(market: str, steps: int) -> dict[str, dict[str, float]]:
        del market, steps
        rate = flat.pop(0) if flat else 100.0
        return {
            agent: dict.fromkeys(options.FIGURES, rate if agent == "flat" else 60.0)
            for agent in options.AGENTS
        }

    monkeypatch.setattr(options, "measure_training", measured)
    monkeypatch.setattr(options, "learner", lambda market, agent: (market, agent))
    monkeypatch.setattr(
        options, "calls_of", lambda model, _: dict.fromkeys(options.CALLS, lambda: model)
    )
    return flat


def test_what_options_cost_is_a_ratio_within_a_round(rates: list[float]) -> None:
    rates += [100.0, 50.0, 10.0, 50.0, 120.0, 50.0]  # stocks and signals, in three rounds
    found = options.training(3, 1)
    name = options.ratio_name("stocks", "hard", "steps/CPU-s")
    assert found[name] == spread([0.6, 6.0, 0.5]) | {"unit": "times"}
    assert "stocks, flat over flat: steps/s" not in found
    record = {"options": PROVENANCE | {"figures": found}}
    page = markdown(record)
    line = "training with 4 options (stocks, hard) against the flat agent, steps/CPU-s"
    assert f"| {line} | >= 0.5 times | 0.6 | reached |" in page
    assert "| signals, blended: act, 1 state, 99 % | <= 1,000 us |  | not measured |" in page


def test_decisions_are_timed_in_microseconds(rates: list[float]) -> None:
    del rates
    found = options.inference(2, 0.0)
    late = found[options.call_name("signals", "flat", "act", 1024, "99 %")]
    assert (late["count"], late["unit"]) == (2, "us")
    assert 0.0 < late["median"] < 1e6


@pytest.mark.usefixtures("rates")
def test_targets_and_rivals_name_figures_that_are_measured() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names))
    assert {rival for case in cases() for rival in case.rivals} <= set(names)
    legs = [leg_figure(leg, threads) for leg in LEGS for threads in (1, 2)]
    measured = {
        "environment": {case.name + suffix for case in cases() for suffix, _, _ in case.figures},
        "streams": {case.name for case in stream_cases()},
        "training": set(legs),
        "options": set(options.training(1, 1)) | set(options.inference(1, 0.0)),
        "main_job": {f"{c} cache: {f}" for c in CACHES for f in ("wall", "cpu", *PHASES)},
    }
    for name in ("features", "regimes", "continual"):
        measured[name] = set(json.loads((RESULTS / f"{name}.json").read_text())["figures"])
    for name, targets in TARGETS.items():
        wanted = {t.figure for t in targets()} | {t.over for t in targets() if t.over}
        assert wanted <= measured[name], name
