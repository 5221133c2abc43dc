"""Progress on a terminal, in a pipe, and in silence."""

import io

import pytest

from training.progress import Mode, TrainingProgress
from training.wording import duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def test_rate_time_left_and_reward_are_right() -> None:
    clock = Clock()
    stream = io.StringIO()
    with TrainingProgress(1000, seeds=3, stream=stream, clock=clock) as progress:
        progress.begin_seed(2, seed=7)
        assert progress.rate() is None
        assert progress.seconds_left() is None
        clock.now += 2.0
        progress.update(200, reward=0.123456)
        assert progress.rate() == 100.0
        assert progress.seconds_left() == 18.0, "800 of this seed and 1000 of the next at 100/s"
        expected = "seed 7 (2/3), 200 of 1,000 steps (20%), 100 steps/s, 18 s left, reward 0.1235"
        assert progress.line() == expected
        assert stream.getvalue() == "", "five seconds have not passed"
    assert stream.getvalue() == f"{expected}\n", "the end is always told"


def test_quick_seeds_are_told_too() -> None:
    clock = Clock()
    stream = io.StringIO()
    with TrainingProgress(100, seeds=2, stream=stream, clock=clock) as progress:
        for index in (1, 2):
            progress.begin_seed(index, seed=index)
            clock.now += 1.0
            progress.update(90)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("seed 1 (1/2), 90 of 100 steps")
    assert second.startswith("seed 2 (2/2), 90 of 100 steps")


def test_rate_follows_the_last_seconds() -> None:
    clock = Clock()
    progress = TrainingProgress(10_000, mode="quiet", clock=clock)
    progress.begin_seed(1, seed=0)
    steps = 0
    for second in range(60):
        clock.now += 1.0
        steps += 10 if second < 30 else 100
        progress.update(steps)
    assert progress.rate() == pytest.approx(100.0)


def test_resumed_seed_does_not_count_former_steps_as_speed() -> None:
    clock = Clock()
    progress = TrainingProgress(1000, mode="quiet", clock=clock)
    progress.begin_seed(1, seed=0, done=500)
    clock.now += 1.0
    progress.update(510)
    assert progress.rate() == 10.0
    assert progress.seconds_left() == 49.0


def test_pipe_gets_a_line_every_few_seconds_and_the_last_one() -> None:
    clock = Clock()
    stream = io.StringIO()
    with TrainingProgress(100, stream=stream, clock=clock, seconds=5.0) as progress:
        assert progress.mode == "lines"
        progress.begin_seed(1, seed=0)
        for step in range(1, 101):
            clock.now += 0.13
            progress.update(step, reward=1.0)
        progress.note("done")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[-2].startswith("seed 0, 100 of 100 steps (100%)")
    assert lines[-1] == "done"
    assert "\x1b" not in stream.getvalue()


def test_terminal_gets_a_bar_with_everything() -> None:
    clock = Clock()
    stream = Terminal()
    with TrainingProgress(100, seeds=2, stream=stream, clock=clock) as progress:
        assert progress.mode == "bar"
        progress.begin_seed(1, seed=5)
        clock.now += 1.0
        progress.update(50, reward=-0.5)
        progress.note("checkpoint [kept]")
    text = stream.getvalue()
    for part in ("seed 5 (1/2)", "50%", "50 steps/s", "3 s left", "reward -0.5"):
        assert part in text
    assert "checkpoint [kept]" in text, "brackets are no markup"


@pytest.mark.parametrize(("term", "mode"), [("dumb", "lines"), ("xterm", "bar")])
def test_mode_follows_the_terminal(monkeypatch: pytest.MonkeyPatch, term: str, mode: Mode) -> None:
    monkeypatch.setenv("TERM", term)
    assert TrainingProgress(1, stream=Terminal()).mode == mode


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    clock = Clock()
    with TrainingProgress(10, mode="quiet", stream=stream, clock=clock) as progress:
        progress.begin_seed(1, seed=0)
        clock.now += 60.0
        progress.update(10, 1.0)
        progress.note("nothing")
    assert stream.getvalue() == ""


def test_faulty_requests_are_named() -> None:
    with pytest.raises(ValueError, match="at least one step and one seed, found 0, 1"):
        TrainingProgress(0)
    with pytest.raises(ValueError, match="expected auto, bar, lines or quiet, found 'loud'"):
        TrainingProgress(1, mode="loud")  # type: ignore[arg-type] # the fault under test


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0 s"), (41.6, "42 s"), (187.0, "3 min 07 s"), (7500.0, "2 h 05 min")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
