"""``perennial regimes``: the list cannot drift, and what is drawn is what a detector believed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import open_dict

import perennial
from markets.bars import Bars
from markets.sources.catalog import config_of
from markets.sources.config import load_dataset
from markets.splits import Rows
from regimes.base import Array, Observations, RegimeModel
from regimes.config import RegimeConfig
from regimes.detector import Detector
from regimes.inputs import observations_of
from regimes.jump import JumpConfig
from regimes.matching import by_volatility
from regimes.mixture_sticky import StickyDPGMMConfig
from tests.features.random_markets import random_bars
from training import regime_view
from training.checkpoint import Snapshot
from training.config import TrainConfig
from training.errors import ConfigError
from training.learning import checkpoints, learner_text
from training.preparation import prepare
from training.regime_catalog import choices, configured, detectors, entries
from training.regime_view import first_share, view, view_of_run
from training.tasks.data import DataTask

ROOT = Path(__file__).resolve().parents[2]
RULE = ("regime=rule", "regime.refit_every=100")


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own: figures go to the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def nasdaq() -> Bars:
    return load_dataset(config_of("nasdaq")).bars


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with beliefs of the rule, at its first checkpoint."""
    folder = tmp_path_factory.mktemp("regimes") / "seen"
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("train", overrides=["debug=tiny", "seeds=1", "device=cpu", *RULE])
    with open_dict(cfg):
        cfg.pop("resume")
    config = TrainConfig.from_hydra(cfg)
    task = DataTask(config)
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(config.to_container()))
    task.keep_provenance(folder)
    files = {"config.yaml": learner_text(config, 0), **task.files}
    snapshot = Snapshot({"weight": torch.ones(1)}, {}, {}, {}, files)
    checkpoints(config, folder / "seed-0").save(1024, snapshot)
    return folder


def write_csv(path: Path, num_bars: int, close: Callable[[int], float]) -> None:
    lines = ["date,open,high,low,close,volume"]
    for bar in range(num_bars):
        day = np.datetime64("2020-01-01") + bar
        lines.append(f"{day},{','.join([f'{close(bar):.6f}'] * 4)},1000")
    path.write_text("\n".join(lines) + "\n")


def test_the_list_is_that_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.stem for path in (ROOT / "conf" / "regime").glob("*.yaml"))
    assert list(choices()) == names
    assert perennial.main(["regimes", "ls", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sorted(listed) == names
    assert listed["bocpd"]["sources"] == ["Adams & MacKay 2007"]
    assert "Fox et al. 2011" in listed["hmm"]["sources"]
    assert listed["hmm"]["kind"] == "student_hmm"
    assert listed["rule"]["most"] == 4
    twins = {name: entry["same_as"] for name, entry in listed.items() if entry["same_as"]}
    assert twins == {"hmm": "student_hmm"}
    assert {name for name in names if not listed[name]["detects"]} == {"none", "oracle"}
    assert perennial.main(["regimes", "ls"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("NAME ")
    assert " REGIMES (DEFAULT) " in text.splitlines()[0]
    assert "\nhmm (= student_hmm)   3 " in text
    for entry in entries():
        assert re.search(rf"^{entry.name} .*{re.escape(entry.what)}", text, re.MULTILINE)
        assert entry.what
        assert "\n" not in entry.what
    assert max(map(len, text.splitlines())) <= 185


@pytest.mark.parametrize("name", detectors())
def test_every_detector_can_be_configured_by_words(name: str) -> None:
    assert configured(name).refit_every is None
    assert configured(name, ["regime.refit_every=50", "agreement=0.9"]).agreement == 0.9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "nope: expected one of us_stocks, nasdaq"),
        (["nasdaq", "--regime", "hm"], "regime: expected one of bocpd, .*found hm"),
        (["nasdaq", "--regime", "oracle"], "can be fitted to recorded bars.*found oracle"),
        (["nasdaq", "--out", "x.pdf"], r"x.pdf: expected a file ending in .png or .svg.*'.pdf'"),
        (["nasdaq", "--train", "1.5"], r"train: expected a share of the bars in \(0, 1\], was 1.5"),
        (["nasdaq", "--train", "0.003"], "expected at least 60 bars.*found 14"),
        (["nasdaq", "detector.num_regimes=0"], "detector.num_regimes: .*equal to 1, was 0"),
        (["nasdaq", "detector.num_regime=2"], "did you mean 'detector.num_regimes'"),
        (["nasdaq", "detector.nuu=2"], "did you mean 'detector.nu'"),
        (
            ["nasdaq", "detector.foo=3"],
            "detector.foo: unknown key, was 3; keys of detector: kind, max_it",
        ),
        (["nasdaq", "detectr.nu=2"], "detectr: unknown key, .*did you mean 'detector'"),
        (["nasdaq", "--regime", "jump", "detector.kind=hmm"], "chosen by name, was 'hmm'"),
        (["nasdaq", "two"], "two: expected name=value"),
        (["nasdaq", "detector.nu=[1"], r"detector.nu=\[1: expected name=value"),
        (["nasdaq", "--refit-every", "0"], "refit_every: .*equal to 1, was 0"),
        (["us_stocks", "--symbols", "AAPL,XX"], "found .*XX"),
        (["nasdaq", "--bad"], "unrecognized arguments: --bad"),
        (["nasdaq", "--from-run", "latest"], "--from-run: expected nothing but .*found DATASET"),
        (["--from-run", "latest"], "expected the folder of a run, found none"),
    ],
)
def test_mistakes_are_told_in_a_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perennial.main(["regimes", "plot", *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, told[-1])
    assert len([line for line in told if not line.startswith("usage")]) == 1
    assert not list(Path().iterdir())


def test_data_that_no_detector_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(Path("flat.csv"), 300, lambda _: 10.0)
    assert perennial.main(["regimes", "plot", "flat.csv", "--regime", "rule"]) == 2
    assert "expected a series that varies" in capsys.readouterr().err
    Path("spread.yaml").write_text("kind: files\npath: flat.csv\ninstrument: {additive: true}\n")
    assert perennial.main(["regimes", "plot", "spread.yaml"]) == 2
    assert "expected positive prices" in capsys.readouterr().err
    assert not list(Path().glob("*.png"))


def test_plot_prints_what_it_draws(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["nasdaq", "--regime", "rule", "detector.return_window=40", "--refit-every", "500"]
    assert perennial.main(["regimes", "plot", *words]) == 0
    text = capsys.readouterr().out
    assert "5,031 bars, 1999-01-04 to 2018-12-31; rule fitted on 2,516 of them" in text
    assert all(re.search(rf"^{name} .*%", text, re.MULTILINE) for name in ("bull", "crisis"))
    assert "FROM \\ TO, A BAR" in text
    assert "refits: " in text
    assert text.splitlines()[-1] == "regimes-nasdaq-rule.png"
    assert Path("regimes-nasdaq-rule.png").read_bytes()[:4] == b"\x89PNG"
    assert perennial.main(["regimes", "plot", *words, "--json", "--out", "a.svg"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["train"] == {"bars": 2516, "start": "1999-01-04", "end": "2009-01-02"}
    assert [row["name"] for row in found["regimes"]][-1] == "crisis"
    assert sum(row["share"] for row in found["regimes"]) == pytest.approx(1.0)
    assert np.sum(found["transition"], axis=1) == pytest.approx(1.0)
    assert [event["bar"] for event in found["refits"]] == [3016, 3516, 4016, 4516, 5016]
    assert Path("a.svg").read_text().startswith("<?xml")
    assert not list(Path().glob(".*"))


def test_the_data_set_may_stand_behind_options_and_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["regimes", "plot", "--regime", "rule", "--json"]
    assert perennial.main([*words, "nasdaq", "--out", "a.svg", "detector.return_window=40"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "nasdaq"
    assert perennial.main([*words, "detector.return_window=40"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["figure"]) == ("us_stocks", "regimes-us_stocks-rule.png")


def test_beliefs_are_the_detectors_and_depend_on_no_later_bar(nasdaq: Bars) -> None:
    config = RegimeConfig(detector=JumpConfig())
    train = Rows(0, 2000)
    whole = view(nasdaq, config, train, label="nasdaq", name="jump").history
    early = view(nasdaq.rows(0, 3000), config, train, label="nasdaq", name="jump").history
    assert np.array_equal(whole.belief_TK[:3000], early.belief_TK, equal_nan=True)
    seen = observations_of(nasdaq)
    detector = Detector(config.detector).fit(seen.rows(0, 2000))
    belief_TK = detector.filter(seen)[:, by_volatility(detector.model)]
    known_T = np.asarray(np.isfinite(whole.belief_TK).all(axis=1))
    assert np.array_equal(whole.belief_TK[known_T], belief_TK[known_T])
    # Before its windows are full, a detector has nothing but its prior.
    assert 0 < np.argmax(known_T) < 20
    assert known_T[np.argmax(known_T) :].all()
    assert whole.names == ("calm", "middle", "wild")
    assert np.diff(detector.model.volatility[by_volatility(detector.model)]).min() > 0.0
    assert whole.level_T[-1] == pytest.approx(nasdaq.close[-1, 0] / nasdaq.close[0, 0])


def test_change_points_show_when_they_come(nasdaq: Bars) -> None:
    bars = nasdaq.rows(0, 900)
    config = configured(
        "bocpd", ["detector.num_starts=1", "refit_every=150", "detector.max_run=60"]
    )
    found = view(bars, config, first_share(bars, 0.5), label="nasdaq", name="bocpd")
    alarm_T = found.history.alarm_T
    assert alarm_T is not None
    assert [event.bar for event in found.refits] == [600, 750, 900]
    assert ((alarm_T >= 0.0) & (alarm_T <= 1.0)).all()
    # The first bars of a series are a change; the same floats as the model's own trace says.
    detector = Detector(config.detector).fit(observations_of(bars).rows(0, 450))
    trace_T, _ = detector.model.trace(observations_of(bars))  # type: ignore[attr-defined] # BOCPD
    assert np.array_equal(alarm_T[:600], trace_T[:600])


def test_regimes_that_a_refit_gave_up_are_told_apart() -> None:
    bars = load_dataset(config_of("aapl_adjusted")).bars
    config = RegimeConfig(detector=StickyDPGMMConfig(), refit_every=60, window=400)
    found = view(bars, config, first_share(bars, 0.5), label="aapl", name="sticky_dpgmm").history
    assert found.gone
    assert found.names[-1] == "no longer used"
    assert np.isnan(found.transition_KK[-1]).all()
    known = np.isfinite(found.belief_TK).all(axis=1)
    assert found.belief_TK[known].sum(axis=1) == pytest.approx(1.0)
    assert found.belief_TK[known][-1, -1] == 0.0


class Broken:
    """A fitted model whose beliefs are NaN on some bars."""

    def __init__(self, model: RegimeModel, bad: float) -> None:
        self._model, self._bad = model, bad

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def advance(self, state_S: Array, y_D: Array, x_M: Array) -> Array:
        belief_K = self._model.advance(state_S, y_D, x_M)
        return belief_K * (np.nan if y_D[0] == self._bad else 1.0)

    def filter(self, observations: Observations, state_S: Array | None = None) -> Array:
        belief_TK = self._model.filter(observations, state_S)
        belief_TK[observations.y_TD[:, 0] == self._bad] = np.nan
        return belief_TK


def test_a_belief_that_fell_back_is_told(
    nasdaq: Bars, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = float(observations_of(nasdaq).y_TD[3000, 0])
    fit = JumpConfig.fit

    def broken(self: JumpConfig, train: Observations, **options: object) -> Broken:
        return Broken(fit(self, train, **options), bad)  # type: ignore[arg-type] # as they came

    monkeypatch.setattr(JumpConfig, "fit", broken)
    assert perennial.main(["regimes", "plot", "nasdaq", "--regime", "jump"]) == 0
    told = capsys.readouterr().err
    assert re.search("beware: the belief fell back: jump: bar 3000: expected probabilities", told)


def test_a_run_shows_what_its_agents_saw(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = view_of_run(begun)
    prepared = prepare(TrainConfig.from_yaml(begun / "config.yaml"))
    block = prepared.regimes
    assert block is not None
    assert found.refits == block.refits
    seen_TC = block.values_TB[:, : len(found.history.names)]
    known = np.asarray(np.isfinite(found.history.belief_TK).all(axis=1))
    assert known[prepared.market.first_bar :].all()
    # The same columns, ordered for people: the rule's are, as fitted, from calm to wild.
    assert np.array_equal(found.history.belief_TK[known].astype(np.float32), seen_TC[known])
    assert perennial.main(["regimes", "plot", "--from-run", str(begun)]) == 0
    assert "regimes-seen-rule.png" in capsys.readouterr().out


def test_a_run_without_beliefs_is_refused(begun: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_yaml(begun / "config.yaml")
    plain = tmp_path / "plain"
    plain.mkdir()
    text = json.dumps(replace(config, regime=None).to_container())
    (plain / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="expected a run with a detector of regimes, found none"):
        view_of_run(plain)
    (plain / "config.yaml").write_text(json.dumps(config.to_container()))
    with pytest.raises(ConfigError, match=r"expected a checkpoint with regimes\.json, found none"):
        view_of_run(plain)


def test_dates_are_as_fine_as_the_bars(nasdaq: Bars) -> None:
    found = view(nasdaq, configured("rule"), Rows(0, 1000), label="nasdaq", name="rule")
    assert found.date(0) == "1999-01-04"
    assert found.date(len(nasdaq.ts_event)) == "2018-12-31"
    hours = nasdaq.ts_event[0] + 3600 * 10**9 * np.arange(len(nasdaq.ts_event))
    hourly = replace(found, history=replace(found.history, ts_event=hours))
    assert re.fullmatch(r"1999-01-04T\d\d:\d\d", hourly.date(0))


def test_several_assets_with_gaps_are_one_market() -> None:
    bars = random_bars(num_bars=400)
    config = configured("rule", ["inputs.series=assets", "detector.return_window=30"])
    found = view(bars, config, Rows(0, 250), label="random", name="rule").history
    market_T = np.nan_to_num(observations_of(bars).y_TD[:, 0])
    assert found.level_T == pytest.approx(np.exp(np.cumsum(market_T)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12])
def test_names_go_from_calm_to_wild(count: int) -> None:
    names = regime_view._ranks(count)
    assert len(set(names)) == count
    assert count < 2 or (names[0].endswith(("calm", "calmest")) and "wild" in names[-1])
