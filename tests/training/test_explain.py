"""``perennial explain``: what it tells is what the agent did, and why is read off the numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import open_dict

import perennial
from envs.config import LevelsAction, SimplexAction, TradingConfig
from evaluation.option_history import OptionHistory, history_on_market
from training.agents import build_learner, policy_of
from training.checkpoint import Snapshot
from training.commands.explain_text import told
from training.config import TrainConfig
from training.explain import asked, explain
from training.explain_words import Controls, reason
from training.learning import checkpoints, choose, chosen, learner_text
from training.tasks.choice import open_task
from training.tasks.market import MarketTask

MARKET = ("market=garleanu_pedersen", "market.world.regime=belief", "agent=options")
HARD = "agent.meta_controller.execution.mode=hard"
MIXED = "agent.options=[{kind: learned},{kind: rule,name: equal_weight},{kind: rule,name: cash}]"
SMALL = ("evaluation.optimality.episodes=4", "evaluation.optimality.length=40", "seeds=2")


def begin(folder: Path, *words: str) -> Path:
    """A run at a checkpoint of networks that nobody trained, but whose gate has something to say.

    Options, terminations and gate depend on the state, other than where training starts.
    """
    with initialize_config_module("conf", version_base="1.3"):
        overrides = ["debug=tiny", "seeds=1", "device=cpu", "threads=1", *words]
        cfg = compose("train", overrides=overrides)
    with open_dict(cfg):
        cfg.pop("resume")
    config = TrainConfig.from_hydra(cfg)
    task = open_task(config)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps(config.to_container()))
    task.keep_provenance(folder)
    for seed in range(config.seeds):
        model = build_learner(config, task, seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.policy.net.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        files = {"config.yaml": learner_text(config, seed), **task.files}
        snapshot = Snapshot(dict(model.policy.net.state_dict()), {}, {}, {}, files)
        checkpoints(config, folder / f"seed-{seed}").save(1024, snapshot)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    begin(folder / "blended", *MARKET, *SMALL)
    begin(folder / "hard", *MARKET, *SMALL, HARD)
    begin(folder / "single", *MARKET, *SMALL, "agent.options=[{kind: learned}]")
    begin(folder / "flat", MARKET[0], *SMALL)
    begin(folder / "data", "agent=options", "regime=rule", MIXED)
    return folder


def policy_in(folder: Path, seed: int) -> tuple[Any, MarketTask]:
    """The agent of a run, and its market."""
    config = TrainConfig.from_yaml(folder / "config.yaml")
    task = open_task(config)
    assert isinstance(task, MarketTask)
    model = build_learner(config, task, seed)
    choose(chosen(config, checkpoints(config, folder / f"seed-{seed}")), model, task)
    return policy_of(model), task


def test_the_weights_are_those_that_the_account_has_carried(runs: Path) -> None:
    policy, task = policy_in(runs / "blended", 1)
    settings = task.config.evaluation.optimality
    whole = history_on_market(policy, task.problem, settings, lane=2)
    found = explain(runs / "blended", at="17", seed=1, episode=2).history
    assert len(found.times) == 18
    assert np.ptp(found.weights_TK[:, 0]) > 0.05
    for name in ("weights_TK", "previous_TK", "deviation_TK", "belief_TR", "reward_T", "price_T"):
        expected, shown = getattr(whole, name)[:18], getattr(found, name)
        assert np.allclose(shown, expected, rtol=1e-5, atol=1e-6), name
    assert found.regime_T is not None
    assert whole.regime_T is not None
    assert np.array_equal(found.regime_T, whole.regime_T[:18])


@pytest.mark.parametrize("name", ["blended", "hard"])
def test_what_was_asked_for_is_held_in_the_next_bar(runs: Path, name: str) -> None:
    first = explain(runs / name, at="11", episode=1).decision
    second = explain(runs / name, at="12", episode=1).decision
    assert abs(first.taken_M - first.held_M) > 1e-4
    assert second.held_M == pytest.approx(first.taken_M, rel=1e-6)
    assert np.ptp(first.asked_KM) > 1e-4, "the options differ"
    assert first.reward == "expected quadratic utility"


def test_one_option_that_acts_earns_what_it_would_have_earned_alone(runs: Path) -> None:
    for at in ("0", "9", None):
        found = explain(runs / "hard", at=at, episode=3)
        acting = int(found.history.weights_TK[-1].argmax())
        assert found.history.weights_TK[-1, acting] == 1.0
        assert found.decision.earned == found.decision.payoff_K[acting]
        assert np.ptp(found.decision.payoff_K) > 0.0
    assert found.place.bar == "bar 39"
    single = explain(runs / "single", at="5")
    assert single.decision.payoff_K.tolist() == [single.decision.earned]
    assert reason(single.history, single.controls).startswith("option 0 is the only option")


def test_recorded_data_is_played_from_the_beginning_of_the_span(runs: Path) -> None:
    found = explain(runs / "data", at="2011-01-01")
    assert found.place.bar.startswith("2010-12-31"), "the first of January is a holiday"
    history, decided = found.history, found.decision
    assert history.times[-1] == np.datetime64("2010-12-31T21:00", "ns").astype(np.int64)
    assert history.names == ("option 0", "option 1 (equal weight)", "option 2 (cash)")
    assert decided.positions[-1] == "cash"
    assert decided.asked_KM[2, -1] == pytest.approx(1.0, abs=1e-5)
    listed_A = np.array([symbol != "FB" for symbol in decided.symbols])
    assert np.array_equal(np.isfinite(decided.price_A), listed_A), "FB was listed in 2012"
    assert np.allclose(decided.asked_KM[1, :-1], listed_A / listed_A.sum(), atol=1e-5)
    assert np.array_equal(decided.asked_KM[0, :-1] > 0.0, listed_A)
    assert decided.earned == history.reward_T[-1]
    assert decided.asked_KM.sum(axis=1) == pytest.approx([1.0] * 3)
    assert decided.held_M.sum() == pytest.approx(1.0, abs=1e-5)
    again = explain(runs / "data", at=found.place.bar)
    assert again.history.weights_TK.tolist() == history.weights_TK.tolist()
    last = explain(runs / "data")
    assert last.place.possible.endswith(f"to {last.place.bar}")
    assert last.place.where == "the test span"
    assert history.times[0] == last.history.times[0]
    assert len(history.times) < len(last.history.times)
    earlier = explain(runs / "data", at="2009-07-04")
    assert earlier.place.bar.startswith("2009-07-02"), "the third was a holiday, then a weekend"
    assert earlier.place.where == "the validation span"
    assert earlier.history.times[0] < earlier.history.times[-1] < history.times[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flat"], r"flat: expected an agent made of options \(agent=options\), found a flat one"),
        (["blended", "--seed", "2"], r"seed: expected one of 0 .. 1 in this run, was 2"),
        (["blended", "--episode", "4"], r"episode: expected one of 0 .. 3.*, was 4"),
        (["blended", "--at", "40"], r"at: expected a bar of the path, 0 .. 39, was 40"),
        (["blended", "--at", "2011-01-01"], r"at: expected a bar of the path.*was 2011-01-01"),
        (["data", "--episode", "0"], r"episode: expected none on recorded data.*was 0"),
        (["data", "--at", "soon"], r"at: expected a date such as 2013-02-28.*, found soon"),
        (["data", "--at", "2013-03-02"], r"at: expected a time from 2000-.* to 2013-02-28.*was"),
        (["data", "--at", "1999-12-31"], r"at: expected a time from 2000-.* to 2013-02-28.*was"),
        (["nowhere"], r"expected the folder of a run, found none"),
    ],
)
def test_what_cannot_be_explained_is_said(
    runs: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perennial.main(["explain", str(runs / words[0]), *words[1:]]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_person_reads_a_table_and_a_sentence(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(runs / "data")
    assert perennial.main(["explain", folder, "--at", "2011-01-01", "--all"]) == 0
    text = capsys.readouterr().out
    found = explain(runs / "data", at="2011-01-01")
    assert text.startswith(f"{folder}, seed 0: 2010-12-31")
    assert "(the last decision up to 2011-01-01)" in text.splitlines()[0]
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    for option, name in enumerate(found.history.names):
        assert f"{found.history.weights_TK[-1, option]:.2f}" in rows[name]
        assert f"{found.decision.payoff_K[option]:+.4g}" in rows[name]
    assert all(symbol in rows for symbol in found.decision.symbols)
    assert reason(found.history, found.controls) in text.splitlines()
    assert "FB none" in text
    assert perennial.main(["explain", folder, "--at", "2011-01-01", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bar"] == found.place.bar
    assert [o["now"] for o in document["options"]] == found.history.weights_TK[-1].tolist()
    assert document["options"][2]["positions"]["cash"] == pytest.approx(1.0, abs=1e-5)
    assert document["done"]["hindsight"] == found.decision.earned
    assert document["regime"] is None


@pytest.mark.parametrize(("controller", "gated"), [("residual", True), ("fallback", False)])
def test_a_gate_is_told_of_where_there_is_one(runs: Path, controller: str, gated: bool) -> None:
    found = explain(runs / "blended", at="5")
    found = replace(found, controls=replace(found.controls, controller=controller))
    _, _, _, options, legend = told(found, every=False)
    heads = options.splitlines()[0].split()
    assert ("GATE" in heads) is ("GATE" in legend) is gated
    alike = [part for part in heads if part != "GATE"]
    assert alike[:6] == ["OPTION", "FALLBACK", "PROPOSAL", "ENDS", "BEFORE", "NOW"]
    first = options.splitlines()[1].removeprefix("option 0").split()
    shown = [found.history.fallback_TK, found.history.proposal_TK, found.history.termination_TK]
    expected = [f"{table_TK[-1, 0]:.2f}" for table_TK in shown]
    assert [first[0], *first[2 if gated else 1 :][:2]] == expected
    begun = told(replace(found, history=explain(runs / "blended", at="0").history), every=False)
    row = begun[3].splitlines()[1].removeprefix("option 0").split()
    assert row[4 if gated else 3] == "none"


def history(**changes: Any) -> OptionHistory:
    """Two bars of two options: the second takes the lead as its regime becomes likely."""
    plain: dict[str, Any] = {
        "names": ("momentum", "option 1"),
        "regime_names": ("regime 0", "regime 1"),
        "actions": ("A",),
        "times": np.array([7, 8]),
        "price_T": np.array([1.0, 2.0]),
        "weights_TK": np.array([[0.6, 0.4], [0.4, 0.6]]),
        "previous_TK": np.array([[0.6, 0.4], [0.6, 0.4]]),
        "proposal_TK": np.array([[0.6, 0.4], [0.1, 0.9]]),
        "fallback_TK": np.array([[0.6, 0.4], [0.07, 0.93]]),
        "termination_TK": np.array([[0.1, 0.1], [0.5, 0.25]]),
        "deviation_TK": np.zeros((2, 2)),
        "belief_TR": np.array([[0.6, 0.4], [0.07, 0.93]]),
        "option_action_TKD": np.zeros((2, 2, 1)),
        "action_TD": np.zeros((2, 1)),
        "reward_T": np.zeros(2),
        "regime_T": None,
    }
    return OptionHistory(**(plain | changes))


CONTROLS = Controls(controller="residual", hard=False, beta_max=0.5, map_KR=np.eye(2))


def test_the_leader_is_explained_by_the_belief() -> None:
    assert reason(history(), CONTROLS) == (
        "option 1 led (0.60) because the belief in regime 1 rose from 0.40 to 0.93 (the gate adds "
        "little); its termination was 0.25 (at most 0.5), 40% of all weight was given anew, and "
        "the weights moved by 20.0%."
    )
    gated = history(deviation_TK=np.array([[0.0, 0.0], [1.0, -0.5]]))
    assert "and the gate leans against it (logit -1.50 against the others)" in reason(
        gated, CONTROLS
    )


def test_the_leader_is_explained_by_the_gate_or_by_inertia() -> None:
    gate = np.array([[0.0, 0.0], [4.0, 0.0]])
    moved = history(
        deviation_TK=gate,
        proposal_TK=np.array([[0.6, 0.4], [0.8, 0.2]]),
        weights_TK=np.array([[0.6, 0.4], [0.7, 0.3]]),
    )
    assert (
        "momentum led (0.70) because the gate prefers it (logit +4.00 against option 1, which the "
        "fallback favours: the belief in regime 1 rose from 0.40 to 0.93)"
    ) in reason(moved, CONTROLS)
    free = replace(CONTROLS, controller="free")
    assert "because the gate prefers it (logit +4.00 against the others)" in reason(moved, free)
    slow = history(weights_TK=np.array([[0.6, 0.4], [0.55, 0.45]]))
    assert (
        "momentum led (0.55) because it had led before (0.60) and gives way slowly: the controller "
        "proposed option 1 (0.90), as the belief in regime 1 rose"
    ) in reason(slow, CONTROLS)


@pytest.mark.parametrize(
    ("controller", "words"),
    [
        ("fallback", "because the belief in regime 1 rose from 0.40 to 0.93;"),
        ("oracle", "because the regime was regime 1, which it is told;"),
        ("fixed", "because the controller always takes option 1;"),
        ("uniform", "because the controller gives all options the same weight;"),
        ("multiplicative_weights", "it is the best expert;"),
    ],
)
def test_controllers_without_a_gate_have_reasons_of_their_own(controller: str, words: str) -> None:
    assert words in reason(history(), replace(CONTROLS, controller=controller))


def test_one_option_at_a_time_is_explained_by_chance() -> None:
    hard = replace(CONTROLS, hard=True)
    held = np.array([[1.0, 0.0], [0.0, 1.0]])
    switched = history(weights_TK=held, previous_TK=held[[0, 0]])
    assert reason(switched, hard).startswith(
        "option 1 took over from momentum, whose termination was 0.50: when an option ends, option "
        "1 is drawn with a chance of 0.90, the largest, because the belief in regime 1 rose"
    )
    stayed = history(weights_TK=held[[0, 0]], previous_TK=held[[0, 0]])
    assert reason(stayed, hard).startswith(
        "momentum acted, as in the bar before (bar 2 in a row), which had a chance of 0.55: its "
        "termination was 0.50, and when an option ends, momentum is drawn with a chance of 0.10, "
        "although the controller favoured option 1 (0.90) because"
    )


def test_an_option_that_failed_is_named() -> None:
    failed_K = np.array([True, False])
    words = reason(history(), CONTROLS, failed_K)
    assert words.startswith(reason(history(), CONTROLS))
    assert words.endswith(" No finite output came from momentum, whose weight went to the others.")


def test_a_belief_that_fell_is_told_with_the_one_before() -> None:
    fell = history(belief_TR=np.array([[0.02, 0.98], [0.07, 0.93]]))
    words = "because the belief in regime 1 was 0.93 (in the bar before 0.98) (the gate adds little"
    assert words in reason(fell, CONTROLS)


def test_a_run_without_a_checkpoint_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.yaml", "data.json"):
        (tmp_path / name).write_text((runs / "single" / name).read_text())
    assert perennial.main(["explain", str(tmp_path)]) == 2
    folder = tmp_path / "seed-0" / "checkpoints"
    assert f"{folder}: expected a complete checkpoint, found none" in capsys.readouterr().err


def test_positions_that_actions_ask_for() -> None:
    logits = TradingConfig(action=SimplexAction(parametrisation="logits"))
    found = asked(np.log([[1.0, 2.0, 1.0]]), np.zeros(3), logits, np.array([True, False]))
    assert found == pytest.approx(np.array([[0.5, 0.0, 0.5]]))
    weights = TradingConfig(action=SimplexAction())
    found = asked(np.array([[0.3, 0.2]]), np.zeros(3), weights, np.array([True, True]))
    assert found == pytest.approx(np.array([[0.3, 0.2, 0.5]]))
    levels = TradingConfig(action=LevelsAction(levels=(-1.0, 0.0, 2.0)))
    found = asked(np.array([[2.0], [0.0]]), np.zeros(1), levels, np.array([True]))
    assert found.tolist() == [[2.0], [-1.0]]
