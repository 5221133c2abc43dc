"""A peer that cannot be installed or measured is left out; ours must work."""

import sys

import pytest

from benchmarks import environment
from benchmarks.cases import Case
from benchmarks.environment import Series, Worker, measure
from benchmarks.peers import setup
from benchmarks.peers.setup import PEERS, PeerError
from benchmarks.run import QUICK
from benchmarks.tables import TITLES


def test_a_failing_peer_is_skipped_and_the_rest_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Case("perennial index A=1 N=1", ("index", "1", "1", "1", "1"))
    peer = Case("a peer", (), "anytrading_worker.py", "anytrading")
    visits = []

    def visit(case: Case, repetitions: int, seconds: float) -> list[dict[str, float]]:
        visits.append(case.name)
        if case is peer:
            raise PeerError("a peer: no")
        return [{"steps_per_cpu_s": seconds}] * repetitions

    monkeypatch.setattr(environment, "visit", visit)
    series = Series()
    measure(series, [peer, ours], rounds=3, repetitions=2, seconds=0.5)
    assert series.skipped == {"a peer": "a peer: no"}
    assert visits == ["a peer", *[ours.name] * 3]
    assert series.figures()[ours.name] == {
        "median": 0.5,
        "lowest": 0.5,
        "highest": 0.5,
        "count": 6,
        "unit": "steps/CPU-s",
    }


def test_a_failed_installation_is_one_line_without_paths(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = "import sys; sys.exit('/somewhere: no such thing')"
    with pytest.raises(PeerError) as caught:
        setup._call("anytrading", sys.executable, "-c", code)
    assert str(caught.value) == "anytrading: cannot install or look into it (CalledProcessError)"
    assert "/somewhere: no such thing" in capsys.readouterr().err


def test_our_own_worker_must_not_fail() -> None:
    with pytest.raises(RuntimeError, match=r"worker 'broken' failed:\n(.|\n)*ValueError"):
        Worker(Case("broken", ("index", "one", "16", "30", "1")))


def test_every_peer_has_requirements_and_every_benchmark_a_short_form() -> None:
    for peer in PEERS:
        text = (setup.HERE / "requirements" / f"{peer}.txt").read_text()
        assert "==" in text, f"{peer}: an exact version"
    assert set(QUICK) == set(TITLES)
