"""Phases of recorded data: what is learned, what is held out, and that nothing sees the future."""

import json
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import open_dict

from envs.config import EpisodeConfig, LongShortAction, TradingConfig
from envs.joined import JoinedSimulator
from envs.market_arrays import MarketArrays
from evaluation.acceptance_config import AcceptanceConfig
from evaluation.backtest import backtest
from evaluation.metrics import RUIN_FLOOR
from markets.splits import Rows
from perennial import main
from regimes.config import RegimeConfig
from risk.measures import max_drawdown
from tests.features.random_markets import after_replaced_by_noise
from training.config import TrainConfig
from training.continual.config import (
    CalendarPhases,
    ContinualConfig,
    DetectorPhases,
    GateConfig,
)
from training.continual.data_phases import DataRegime, Stretch, changes
from training.continual.job import open_stream
from training.continual.phases import Phase, Plan, open_plan
from training.continual.stream import Stream
from training.errors import ConfigError
from training.learning import saved_fits
from training.preparation import assemble
from training.regime_block import REGIMES, regime_block
from training.tasks.data import DataTask

DETECTOR = ("continual=detector", "regime.detector.restarts=1", "regime.detector.nu=8.0")
AGAIN = ContinualConfig(
    phases=CalendarPhases(
        borders=(date(2002, 10, 10), date(2005, 1, 3)),
        names=("fall", "rise", "fall"),
        holdout=0.25,
    )
)


def configuration(*overrides: str) -> TrainConfig:
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "seeds=1", "device=cpu", *overrides])
    with open_dict(cfg):
        cfg.pop("resume")
    return TrainConfig.from_hydra(cfg)


def calendar(*borders: str, holdout: float = 0.25) -> ContinualConfig:
    days = tuple(date.fromisoformat(border) for border in borders)
    return ContinualConfig(phases=CalendarPhases(borders=days, holdout=holdout))


@pytest.fixture(scope="module")
def task() -> DataTask:
    """Five stocks, cut by the calendar."""
    return DataTask(configuration("continual=calendar"))


@pytest.fixture(scope="module")
def detected() -> DataTask:
    """The same, with a detector's beliefs."""
    return DataTask(configuration(*DETECTOR))


def plan_of(task: DataTask, continual: ContinualConfig | None = None) -> Plan:
    chosen = continual or task.config.continual
    assert chosen is not None
    return open_plan(task.config, chosen, task)


def stretches(plan: Plan) -> list[Stretch]:
    found = [
        s for regime in plan.regimes if isinstance(regime, DataRegime) for s in regime.stretches
    ]
    return sorted(found, key=lambda stretch: stretch.phase)


def data(plan: Plan, number: int) -> DataRegime:
    regime = plan.regimes[number]
    assert isinstance(regime, DataRegime)
    return regime


class Constant:
    """Asks for the same weights in every bar."""

    def __init__(self, *weights: float) -> None:
        self.weights = weights

    def reset(self, num_envs: int) -> None:
        """Nothing to forget."""

    def act(self, observation_NO: NDArray[np.float32]) -> NDArray[np.float64]:
        """The weights, for each account."""
        return np.tile(self.weights, (len(observation_NO), 1))


# -- calendar -------------------------------------------------------------------------------------


def test_dates_cut_the_training_span_into_learned_and_held_out_bars(task: DataTask) -> None:
    plan = plan_of(task)
    assert [regime.name for regime in plan.regimes] == ["bust", "recovery", "rise"]
    assert [phase.regime for phase in plan.phases] == [0, 1, 2]
    assert (plan.known, plan.mixed) == (False, True)
    found, train = stretches(plan), task.prepared.split.train
    day_T = task.prepared.bars.ts_event.astype("datetime64[ns]").astype("datetime64[D]")
    assert found[0].learned.start == train.start
    assert found[-1].held.stop == train.stop
    assert [str(day_T[s.learned.start]) for s in found[1:]] == ["2002-10-10", "2005-01-03"]
    for earlier, later in pairwise(found):
        assert later.learned.start - earlier.held.stop == 5, "the split's embargo"
    for stretch in found:
        assert stretch.held.start - stretch.learned.stop == 5
        whole = stretch.held.stop - stretch.learned.start
        assert stretch.held.size == round(0.25 * whole)


def test_what_is_held_out_is_never_learned_from(task: DataTask) -> None:
    plan = plan_of(task, AGAIN)
    seen: set[int] = set()
    simulator = plan.simulator({0: 4, 1: 4}, seed=3)
    for _ in range(300):
        seen |= set(simulator.observe_index()[:, 0].astype(int))
        seen |= set(simulator.observe_index(final=True)[:, 0].astype(int))
        simulator.step(np.zeros((8, simulator.action_size)))
    learned = {bar for s in stretches(plan) for bar in range(*s.learned)}
    assert len(seen) > 400
    assert seen - {0} <= learned, "a final observation before the first end is zero"


def test_phases_of_one_name_are_one_regime_whose_bars_share_the_environments(
    task: DataTask,
) -> None:
    plan = plan_of(task, AGAIN)
    assert [regime.name for regime in plan.regimes] == ["fall", "rise"]
    assert [phase.regime for phase in plan.phases] == [0, 1, 0]
    fall = data(plan, 0)
    assert [s.phase for s in fall.stretches] == [0, 2]
    joined = fall.simulator(7, lanes=5)
    assert isinstance(joined, JoinedSimulator)
    assert [part.num_envs for part in joined.parts] == [2, 3]
    bars_N = joined.observe_index()[:, 0]
    first, second = (s.learned for s in fall.stretches)
    assert all(first.start <= bar < first.stop for bar in bars_N[:2])
    assert all(second.start <= bar < second.stop for bar in bars_N[2:])
    one = fall.simulator(7, lanes=1, offset=2)
    assert one.observe_index()[0, 0] == bars_N[2], "the newest, as lane 2 of the whole"
    starts_E = fall.starts(21)
    assert [
        np.sum((starts_E >= s.held.start) & (starts_E < s.held.stop)) for s in fall.stretches
    ] == [11, 10]


def test_a_phase_knows_nothing_of_the_bars_of_later_ones(task: DataTask) -> None:
    plan = plan_of(task, AGAIN)
    first, last = plan.phases[0], plan.phases[2]
    assert [s.phase for s in data(plan.until(first), 0).stretches] == [0]
    assert [s.phase for s in data(plan.until(last), 0).stretches] == [0, 2]
    # From scratch a regime is learned on what its first phase knew, whatever comes later.
    for regime, number in ((0, 0), (1, 1)):
        (alone,) = plan.alone(regime).phases
        assert (alone.number, alone.regime) == (0, regime)
        known = plan.alone(regime).until(alone)
        assert [s.phase for s in data(known, regime).stretches] == [number]
    joint = plan.joint()
    assert joint.until(joint.phases[0]) is joint
    assert isinstance(joint.simulator({0: 2, 1: 1}, 0), JoinedSimulator)
    assert Phase(0, 0, (1,)) == joint.phases[0]


def test_a_stream_learns_and_is_gated_on_what_a_phase_may_know(
    task: DataTask, tmp_path: Path
) -> None:
    plan = plan_of(task, AGAIN)
    stream = Stream(task.config, AGAIN, plan, task, seed=0, folder=tmp_path)
    lanes = task.config.schedule.num_envs
    alone, both = (stream._built(plan.phases[n], {0: lanes}, 0) for n in (0, 2))
    assert not isinstance(alone.vec_env.simulator, JoinedSimulator)
    assert isinstance(both.vec_env.simulator, JoinedSimulator)
    updates = stream._updates(plan.phases[0], alone, GateConfig())
    found = updates._judge(alone, seed=0, episodes=500, regimes=[0])
    first = data(plan, 0).stretches[0].held
    assert len(found[0].earned_E) == first.size - 63


def test_held_out_episodes_are_the_same_for_all_and_evenly_spaced(task: DataTask) -> None:
    regime = data(plan_of(task), 0)
    held, starts_E = regime.stretches[0].held, regime.starts(9)
    assert starts_E[0] == held.start
    assert starts_E[-1] + 63 == held.stop - 1
    assert len(starts_E) == 9
    assert set(np.diff(starts_E)) <= {10, 11}
    most = regime.starts(10_000)
    assert np.array_equal(most, np.arange(held.start, held.stop - 63))
    one = regime.judge(Constant(*[0.0] * 6), seed=0, episodes=9)
    two = regime.judge(Constant(*[0.0] * 6), seed=99, episodes=9)
    assert np.array_equal(one.earned_E, two.earned_E)
    assert one.best_E is None


def test_a_score_is_the_log_growth_a_bar_of_a_backtest(task: DataTask) -> None:
    regime = data(plan_of(task, AGAIN), 0)
    policy = Constant(3.0, 1.0, 0.0, 2.0, 1.0, -5.0)
    scores = regime.judge(policy, seed=0, episodes=6)
    assert scores.drawdown_E is not None
    found = zip(scores.earned_E, scores.drawdown_E, regime.starts(6), strict=True)
    for earned, drawdown, start in found:
        rows = (int(start), int(start) + 64)
        ledger = backtest(policy, task.market, task.trading, rows)
        assert len(ledger.equity) == 64
        assert earned == pytest.approx(np.log(ledger.equity[-1] / ledger.equity[0]) / 63, rel=1e-9)
        assert drawdown == pytest.approx(max_drawdown(ledger.equity), rel=1e-9)
    assert np.ptp(scores.earned_E) > 1e-4
    assert np.array_equal(scores.nothing_E, np.zeros(6)), "cash bears no interest here"


def crash(length: int) -> tuple[MarketArrays, TradingConfig]:
    """A price that falls to a hundredth in bar 6, and trading without costs, with interest."""
    price_T1 = np.where(np.arange(40) < 6, 100.0, 1.0)[:, None] * 1.01 ** np.arange(40)[:, None]
    day = 86_400 * 10**9
    market = MarketArrays.from_arrays(
        ts_event=np.arange(40) * day, open_TA=price_T1, close_TA=price_T1, volume_TA=1e9
    )
    plain = TradingConfig.frictionless()
    return market, replace(
        plain,
        action=LongShortAction(),
        financing=replace(plain.financing, credit_annual_rate=0.05),
        observation=replace(plain.observation, kind="index", window=1),
        episode=EpisodeConfig(length=length, random_start=True),
    )


def test_doing_nothing_earns_the_interest_of_cash() -> None:
    market, trading = crash(8)
    regime = DataRegime("a", market, trading, [Stretch(0, Rows(0, 20), Rows(20, 40))])
    scores = regime.judge(Constant(0.0), seed=0, episodes=12)
    assert scores.nothing_E == pytest.approx(np.log1p(0.05 / 365.25), rel=1e-12)
    assert scores.earned_E == pytest.approx(scores.nothing_E, rel=1e-9)
    assert scores.ratio == pytest.approx(0.0, abs=1e-12)


def test_a_ruined_account_keeps_its_loss() -> None:
    market, trading = crash(8)
    regime = DataRegime("a", market, trading, [Stretch(0, Rows(20, 40), Rows(0, 20))])
    scores = regime.judge(Constant(1.0), seed=0, episodes=12)
    ruined_E = regime.starts(12) < 5
    assert 0 < ruined_E.sum() < 12
    # 99 % lost in one bar, and what the new account earns after it does not count.
    assert (scores.earned_E[ruined_E] * 8 < np.log(0.02)).all()
    assert (scores.earned_E[ruined_E] * 8 > np.log(RUIN_FLOOR)).all()
    # Filled at the next open, which is the next close here: a day of interest, seven of growth.
    after_E = regime.starts(12) > 5
    expected = (7 * np.log(1.01) + np.log1p(0.05 / 365.25)) / 8
    assert scores.earned_E[after_E] == pytest.approx(expected, rel=1e-9)
    assert scores.drawdown_E is not None
    assert (scores.drawdown_E[ruined_E] > 0.98).all(), "of the peak, and of the old account alone"
    assert (scores.drawdown_E[after_E] == 0.0).all(), "it only grows"


# -- detector -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likeliest", "confirm", "minimum", "expected"),
    [
        ("0001111", 2, 1, [4]),
        ("0001011", 2, 1, [6]),
        ("0012012", 2, 1, []),
        ("0122222", 3, 1, [4]),
        ("0011100", 2, 1, [3, 6]),
        ("0011100", 2, 4, [4]),
        ("0011000", 1, 5, []),
        ("1000000", 7, 1, []),
        ("", 1, 1, []),
    ],
)
def test_a_phase_begins_when_another_regime_has_lasted(
    likeliest: str, confirm: int, minimum: int, expected: list[int]
) -> None:
    row_T = np.array([int(letter) for letter in likeliest], np.int64)
    assert changes(row_T, confirm, minimum) == expected


@given(
    st.lists(st.integers(0, 2), max_size=60),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(0, 60),
)
def test_later_bars_move_no_border(
    likeliest: list[int], confirm: int, minimum: int, last: int
) -> None:
    whole = changes(np.array(likeliest, np.int64), confirm, minimum)
    assert changes(np.array(likeliest[:last], np.int64), confirm, minimum) == [
        border for border in whole if border < last
    ]
    assert all(b - a >= minimum for a, b in pairwise([0, *whole]))


def test_borders_are_where_the_detector_saw_a_change(detected: DataTask) -> None:
    plan, block = plan_of(detected), detected.prepared.regimes
    assert block is not None
    found, train = stretches(plan), detected.prepared.split.train
    assert len(found) >= 3
    names = [plan.regimes[phase.regime].name for phase in plan.phases]
    assert all(one != two for one, two in pairwise(names))
    for stretch, name in zip(found[1:], names[1:], strict=True):
        first = stretch.learned.start
        confirmed = block.values_TB[first - 19 : first + 1, :3].argmax(axis=1)
        assert set(confirmed) == {int(name.removeprefix("regime "))}
    assert found[0].learned.start == train.start
    assert all(b.learned.start - a.learned.start >= 250 for a, b in pairwise(found))


def test_noise_after_a_bar_moves_no_border_up_to_it(detected: DataTask) -> None:
    config, prepared = detected.config, detected.prepared
    borders = [s.learned.start for s in stretches(plan_of(detected))]
    last, block = borders[2], prepared.regimes
    assert isinstance(config.regime, RegimeConfig)
    assert block is not None
    noisy = after_replaced_by_noise(prepared.bars, last, seed=1)
    split = config.recorded.split.splits(noisy.ts_event)[0]
    again = regime_block(config.regime, noisy, split.train, block.text)
    other = assemble(config, noisy, prepared.manifest, split, prepared.pipeline, again)
    found = [s.learned.start for s in stretches(plan_of(DataTask(config, other)))]
    assert found[:3] == borders[:3]
    assert found[3:] != borders[3:], "the future is another one"


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("continual", "message"),
    [
        (calendar("2000-06-05"), r"borders: expected days after 2000-06-05, .* found 2000-06-05"),
        (calendar("2008-01-02"), r"borders: .* up to 2007-12-21, its last, found 2008-01-02"),
        (
            calendar("2002-10-12", "2002-10-13"),
            r"phase 1 \(2002-10-12\), from 2002-10-14: expected .* 63 bars, found 0 and 0",
        ),
        (calendar("2002-10-10", holdout=0.02), r"phase 0 .* 65 held out .* found \d+ and 12"),
        (calendar("2002-10-10", holdout=0.89), r"phase 0 .* 64 bars to learn from .* found 59 and"),
        (
            ContinualConfig(phases=DetectorPhases()),
            r"expected a detector of regimes \(regime=hmm.*found regime=none",
        ),
    ],
)
def test_phases_that_the_data_does_not_have_are_refused(
    continual: ContinualConfig, message: str, task: DataTask
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(task, continual)


def test_a_detector_that_sees_no_change_is_told(detected: DataTask) -> None:
    never = ContinualConfig(phases=DetectorPhases(confirm=5000))
    with pytest.raises(ConfigError, match=r"a change .* lasts for 5000 bars \(confirm\).*none"):
        plan_of(detected, never)
    short = ContinualConfig(phases=DetectorPhases(minimum=60))
    with pytest.raises(ConfigError, match=r"phase \d+ \(regime \d\), from .*44 held out"):
        plan_of(detected, short)


def test_a_synthetic_market_and_episodes_without_length_are_refused(task: DataTask) -> None:
    market = configuration("market=garleanu_pedersen")
    with pytest.raises(ConfigError, match="kind: expected regimes on a synthetic market"):
        open_plan(market, calendar("2002-10-10"))
    endless = configuration("env.episode.length=null", "env.episode.random_start=false")
    with pytest.raises(ConfigError, match=r"env\.episode\.length: expected a number of bars"):
        open_plan(endless, calendar("2002-10-10"), DataTask(endless, task.prepared))


def test_a_gate_must_know_that_episodes_overlap(task: DataTask) -> None:
    def gated(block: float | None, episodes: int) -> ContinualConfig:
        acceptance = AcceptanceConfig(block=block, episodes=episodes)
        return replace(AGAIN, gate=GateConfig(acceptance=acceptance))

    with pytest.raises(ConfigError, match=r"block: expected null \(measured\) or at least 63, as"):
        plan_of(task, gated(1.0, 256))
    assert plan_of(task, gated(63.0, 256)).regimes
    assert plan_of(task, gated(None, 256)).regimes
    assert plan_of(task, gated(1.0, 2)).regimes, "two episodes of a regime need not overlap"


def test_remedies_call_regimes_by_the_detectors_columns(detected: DataTask) -> None:
    plan = plan_of(detected)
    numbers = [plan.number(phase) for phase in plan.phases]
    names = [plan.regimes[phase.regime].name for phase in plan.phases]
    assert names == [f"regime {number}" for number in numbers]
    assert numbers[0] != plan.phases[0].regime, "or counting would do as well"
    later = plan.with_regime(plan.regimes[0], 3).with_regime(plan.regimes[0], 3)
    assert [later.number(phase) for phase in later.phases[-2:]] == [3, 4]
    assert len({later.number(phase) for phase in later.phases}) == len(later.regimes)


@pytest.mark.parametrize(
    ("remedy", "agent", "message"),
    [
        ("{kind: cloning, belief: 0.8}", "ppo", "cloning.belief: expected 0 where phases"),
        ("{kind: grow}", "options", "grow: expected a controller that is told nothing"),
    ],
)
def test_the_calendars_phases_are_not_the_detectors_regimes(
    remedy: str, agent: str, message: str, tmp_path: Path
) -> None:
    words = ["continual=calendar", "regime=rule", f"agent={agent}"]
    config = configuration(*words, f"continual.remedies=[{remedy}]")
    assert config.continual is not None
    task = DataTask(config)
    stream = open_stream(config, plan_of(task), task, 0, tmp_path)
    with pytest.raises(ConfigError, match=message):
        stream.check()


def test_the_opening_tells_of_spans_and_of_what_never_returns(task: DataTask) -> None:
    lines = plan_of(task, AGAIN).opening
    assert "0: fall, learned 2000-06-05 to 2002-" in lines[0]
    assert len(lines) == 4
    assert lines[3].startswith("phase   never seen again after their phase: rise;")


# -- a whole stream -------------------------------------------------------------------------------


def test_a_stream_of_detected_phases_is_learned_and_keeps_its_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = ["debug=tiny", "seeds=1", "device=cpu", "threads=1", f"run={folder}"]
    more = ["tracking=journal", "schedule.total_steps=1024", "continual.phases.minimum=600"]
    remedies = "continual.remedies=[{kind: rehearsal}]"
    assert main(["train", *words, *more, *DETECTOR, remedies]) == 0
    out = capsys.readouterr().out
    assert "phase   0: regime " in out
    assert "fitted on the whole training span" in out
    scores = sorted((folder / "seed-0").glob("phase-*/scores.json"))
    assert len(scores) >= 2
    last = json.loads(scores[-1].read_text())
    assert last["best"] == [None] * len(last["regimes"])
    assert len(set(last["earned"])) == len(last["regimes"])
    assert (folder / "evaluation" / "report.html").is_file()
    config = TrainConfig.from_yaml(folder / "config.yaml")
    assert list(saved_fits(config, folder)) == [REGIMES]
