"""What an adaptation has left is a run to go on from: adapted again, judged, seed by seed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.ledger import Ledger
from markets.manifest import ManifestError
from markets.sources.config import load_dataset, parse_config
from markets.sources.protocol import Dataset
from perennial import main
from tests.training.continual.adaptations import (
    BEARABLE,
    files,
    kept,
    left,
    of_seed,
    request,
    same,
    train,
    written,
)
from training.checkpoint import CheckpointError, CheckpointStore, load
from training.continual.adapt import adapt
from training.continual.adapt_evaluate import evaluate_result, open_result
from training.continual.adapt_power import sample_of
from training.continual.adapt_request import lineage
from training.continual.adapt_setting import prepare_adaptation
from training.continual.phases import Scores
from training.errors import ConfigError

FIRST = 1132
"""Bars of the first run and of the first adaptation."""


@pytest.fixture(scope="module")
def bars() -> Dataset:
    """Apple up to the end of 2024."""
    return load_dataset(parse_config({"dataset": "aapl_adjusted"}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, bars: Dataset) -> Path:
    """A folder with a run of two seeds, files of bars, and an adaptation of the first seed."""
    folder = tmp_path_factory.mktemp("home")
    train(folder / "run", "seeds=2", "data.end=2021-12-31")
    written(bars.bars.rows(0, FIRST), folder / "spring.csv")
    written(bars.bars.rows(FIRST - 10, bars.bars.num_bars), folder / "rest.csv")
    adapt(
        replace(request(folder / "run", str(folder / "spring.csv")), seed=0),
        into=folder / "once",
        tell=lambda _: None,
    )
    return folder


# -- adapted again --------------------------------------------------------------------------------


def test_an_accepted_agent_goes_on_with_its_phases_goldens_and_error_rate(
    home: Path, tmp_path: Path
) -> None:
    assert of_seed(home / "once")["accepted"]
    before, told = files(home / "once"), list[str]()
    asked = request(home / "once", str(home / "rest.csv"))
    twice = adapt(replace(asked, steps=None), into=tmp_path / "twice", tell=told.append)
    assert files(home / "once") == before
    record = of_seed(twice)
    assert record["accepted"], record["reasons"]
    assert record["from"].startswith(f"{home / 'once'}/seed-0/checkpoint/step-")
    decision = record["decisions"][0]
    assert decision["update"] == 2, "the first adaptation has spent its share"
    rivals = {(row["regime"], row["against"]) for row in decision["evidence"]}
    first, second = "since 2022-01-03", "since 2023-07-03"
    assert rivals >= {(name, "golden") for name in ("before", first)}
    assert (second, "champion") in rivals
    checked = " ".join(check["name"] for check in decision["checks"])
    assert "regime before: mean KL" in checked
    assert f"regime {first}: mean KL" in checked
    assert "new     375 bars from 2022-01-03 to 2023-06-30" in told[0]
    assert "new     377 bars from 2023-07-03 to 2024-12-30" in told[0]
    assert "of overlapping episodes" in told[0]
    assert "the run's checkpoint before it" in told[0]
    golden = json.loads(kept(twice).files["golden.json"])
    assert set(golden["regimes"]) == {"before", first, second}
    adopted = CheckpointStore(twice / "seed-0" / "phase-01" / "accepted").latest()
    assert adopted is not None
    assert same(load(adopted), kept(home / "once")), "the champion is what was accepted before"
    assert not same(kept(twice), kept(home / "once"))
    assert "Accepted: the agent has learned 1,024 steps" in told[2], "as many as before"


def test_a_rejected_adaptation_passes_the_old_agent_on(home: Path, tmp_path: Path) -> None:
    strict = request(
        home / "run", str(home / "spring.csv"), floor="1e-12", alpha="1e-6", tolerance="0"
    )
    once = adapt(replace(strict, seed=0), into=tmp_path / "once", tell=lambda _: None)
    assert not of_seed(once)["accepted"]
    setting = prepare_adaptation(request(once, str(home / "rest.csv")))
    champion = setting.champions[0]
    assert same(champion.snapshot, left(home / "run"))
    assert champion.update == 4, "three attempts were judged"
    regimes = {n.split("/")[1] for n in champion.snapshot.arrays if n.startswith("states/")}
    assert regimes == {"0", "1"}, "later gates look at states of both regimes"
    told = list[str]()
    twice = adapt(request(once, str(home / "rest.csv")), into=tmp_path / "t", tell=told.append)
    assert "noise of an episode 0 " not in told[0], "no pair of different policies was at hand"
    assert "champion's own gain" in told[0]
    assert of_seed(twice)["decisions"][0]["update"] == 4
    evidence = of_seed(twice)["decisions"][0]["evidence"]
    assert {row["regime"] for row in evidence} == {"before", "since 2022-01-03", "since 2023-07-03"}


def test_bars_of_earlier_adaptations_are_found_again(
    home: Path, bars: Dataset, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(home, moved)
    asked = json.loads((moved / "once" / "adapt.json").read_text())
    asked |= {"run": "/nowhere/run", "data": str(moved / "spring.csv")}
    (moved / "once" / "adapt.json").write_text(json.dumps(asked))
    assert lineage(moved / "once").first == moved / "run", "beside the result"
    rest = str(home / "rest.csv")
    written(bars.bars, moved / "spring.csv")  # the file has grown since
    setting = prepare_adaptation(request(moved / "once", rest))
    assert np.array_equal(setting.task.prepared.bars.close, bars.bars.close)
    held = [regime.stretches[0].held for regime in setting.plan.regimes]  # type: ignore[attr-defined]
    assert [rows.stop for rows in held[1:]] == [FIRST, bars.bars.num_bars]
    frame = bars.bars.to_pandas().reset_index()
    frame["volume"] += np.arange(len(frame)) == 800
    frame.to_csv(moved / "spring.csv", index=False)
    with pytest.raises(ManifestError, match="sha256: expected"):
        prepare_adaptation(request(moved / "once", rest))
    shutil.rmtree(moved / "run")
    with pytest.raises(ConfigError, match=r"adapt\.json: expected the run /nowhere/run, which it"):
        prepare_adaptation(request(moved / "once", rest))


def test_nothing_goes_on_from_what_is_not_over(home: Path, tmp_path: Path) -> None:
    open_one = tmp_path / "open"
    shutil.copytree(home / "once", open_one)
    (open_one / "decision.json").unlink()
    with pytest.raises(ConfigError, match=r"adaptation that is over.*perennial adapt .*--into"):
        prepare_adaptation(request(open_one))
    with pytest.raises(ConfigError, match="expected an adaptation that is over"):
        evaluate_result(open_one)
    (open_one / "adapt.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"adapt\.json: expected a request of perennial adapt"):
        prepare_adaptation(request(open_one))
    gone = tmp_path / "gone"
    shutil.copytree(home / "once", gone)
    shutil.rmtree(gone / "seed-0" / "checkpoint")
    with pytest.raises(CheckpointError, match="expected a complete checkpoint, found none"):
        prepare_adaptation(request(gone))


def test_a_result_is_not_resumed_as_a_training(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"resume={home / 'once'}"]) == 2
    told = capsys.readouterr().err
    assert "found one of perennial adapt" in told
    assert f"--data {home / 'spring.csv'}" in told
    assert f"--into {home / 'once'}" in told


# -- judged ---------------------------------------------------------------------------------------


def test_a_result_is_judged_on_new_bars_and_on_the_test_span(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = home / "once"
    assert main(["evaluate", str(once)]) == 0
    told = capsys.readouterr().out
    assert "new bars, held out, 2023-01-" in told
    assert "test span of the first run, 2021-" in told
    assert f"report  {once / 'evaluation' / 'report.html'}" in told
    assert f"perennial adapt {(home / 'run').resolve()} --data" in (
        once / "evaluation" / "report.html"
    ).read_text().replace("&#x27;", "'")
    table = json.loads((once / "evaluation" / "before_after.json").read_text())
    assert [(row["span"], row["seed"], row["accepted"]) for row in table] == [
        ("new bars, held out", 0, True),
        ("test span of the first run", 0, True),
    ]
    assert all(row["before"] != row["after"] for row in table)
    setting = open_result(once)
    held = setting.plan.regimes[1].stretches[0].held  # type: ignore[attr-defined]
    test = setting.task.prepared.split.test
    for row, rows, folder in zip(
        table, (held, test), ("evaluation", "evaluation-test"), strict=True
    ):
        ledger = Ledger.from_parquet(once / folder / "test" / "agent-0.parquet")
        days = setting.task.prepared.bars.ts_event[rows.start : rows.stop]
        assert np.array_equal(ledger.ts_event, days)
        years = setting.task.prepared.bars.bars_per_year
        growth = float(np.log1p(ledger.returns).mean()) * years
        assert row["after"] == pytest.approx(growth)
    run = Ledger.from_parquet(home / "run" / "evaluation" / "test" / "agent-0.parquet")
    assert table[1]["before"] == pytest.approx(
        float(np.log1p(run.returns).mean()) * years, rel=0.01
    )
    assert main(["evaluate", str(once), "--controller", "uniform"]) == 2
    assert "expected a run of an agent made of options" in capsys.readouterr().err


# -- seed by seed ---------------------------------------------------------------------------------


def test_every_seed_of_a_run_is_adapted_and_judged(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adapt", str(home / "run"), "--data", str(home / "spring.csv"), "--steps", "1024"]
    words += ["--gate.floor", BEARABLE["floor"], "--gate.resamples", BEARABLE["resamples"]]
    new = tmp_path / "new"
    assert main([*words, "--into", str(new)]) == 0
    told = capsys.readouterr().out
    assert "gate    seed 0: Regime before: ruling out" in told
    assert "gate    seed 1: Regime before: ruling out" in told
    assert told.count("Where a loss cannot be ruled out the gate keeps the champion") == 1
    assert "SEED  VERDICT   ATTEMPTS  WHY" in told
    found = json.loads((new / "decision.json").read_text())
    assert sorted(found["accepted"] + found["rejected"]) == [0, 1]
    assert same(kept(new, 0), kept(home / "once", 0)), "seeds do not depend on each other"
    assert not same(kept(new, 1), kept(new, 0))
    assert found["seeds"]["1"]["from"].startswith(f"{home / 'run'}/seed-1/checkpoints/step-")
    status = json.loads((new / "status.json").read_text())
    assert status["headline"]["adapt/accepted"] == len(found["accepted"])
    setting = prepare_adaptation(request(new, str(home / "rest.csv")))
    assert list(setting.champions) == [0, 1]
    with pytest.raises(ConfigError, match=r"--seed: expected one of the run's, 0 \.\. 0, found 1"):
        prepare_adaptation(replace(request(home / "once"), seed=1))


def test_a_seed_that_can_never_pass_is_named(home: Path, tmp_path: Path) -> None:
    never = request(home / "run", str(home / "spring.csv"), floor="0", tolerance="0")
    with pytest.raises(ConfigError, match=r"seed 1, regime before: .*--seed N adapts one seed"):
        adapt(never, into=tmp_path / "new", tell=lambda _: None)
    assert not (tmp_path / "new").exists()


# -- what the gate can see ------------------------------------------------------------------------


def test_the_gain_that_the_tolerance_is_a_share_of_is_noisy_too() -> None:
    def scores(*earned: float) -> Scores:
        return Scores(np.array(earned), np.ones(3), None)

    champion, before = scores(2.0, 3.0, 4.0), scores(2.0, 4.0, 4.0)
    found = sample_of(champion, before, 2, 0.5)
    # Differences 0, -1, 0, and half of the gains 1, 2, 3.
    assert found.deviation == pytest.approx(np.std([0.5, 0.0, 1.5], ddof=1))
    assert (found.episodes, found.gain) == (2, 2.0), "of three that overlap two are independent"
    assert sample_of(champion, None, 9, 0.5).deviation == pytest.approx(1.5)
    losing = sample_of(scores(0.0, 1.0, 0.0), scores(0.0, 1.0, 1.0), 9, 0.5)
    assert losing.deviation == pytest.approx(np.std([0.0, 0.0, -1.0], ddof=1)), "no share of a loss"
    assert losing.episodes == 3
