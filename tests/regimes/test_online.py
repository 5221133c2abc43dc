"""Learning on: only from the past, refused when the regimes are not found again, resumable."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from regimes.base import Array, Observations, RegimeError, RegimeModel, RegimeWarning
from regimes.memory import Memory
from regimes.online import OnlineDetector, Schedule, _told_apart
from regimes.rule import RuleConfig
from tests.regimes.fakes import FakeConfig, FakeModel, estimated, fake_model, volatile

SCHEDULE = Schedule(every=50, window=200)


def started(
    config: FakeConfig | None = None, schedule: Schedule | None = SCHEDULE, until: int = 0
) -> OnlineDetector:
    return OnlineDetector(config or FakeConfig(), schedule).fit(volatile(400), until=until)


def told(*models: RegimeModel | Exception) -> FakeConfig:
    """Fits that come to these models, one after the other."""
    left: Iterator[RegimeModel | Exception] = iter(models)

    def how(train: Observations, warm: RegimeModel | None) -> RegimeModel:
        model = next(left)
        if isinstance(model, Exception):
            raise model
        return model

    return FakeConfig(how=how)


def test_a_batch_with_refits_is_as_many_updates() -> None:
    history = volatile(600, seed=1)
    one, two = started(), started()
    batch = one.filter(history)
    assert np.array_equal(batch, [two.update(value) for value in history])
    assert [event.bar for event in one.events] == [200 + 50 * step for step in range(9)]
    assert one.events == two.events
    assert any(event.accepted for event in one.events)
    assert np.array_equal(one.model.volatility, two.model.volatility)


@pytest.mark.parametrize("cut", [1, 199, 200, 201, 250, 333])
def test_batches_may_be_cut_anywhere(cut: int) -> None:
    history = volatile(400, seed=1)
    detector = started()
    parts = [detector.filter(history[:cut]), detector.filter(history[cut:])]
    assert np.array_equal(np.concatenate(parts), started().filter(history))


@pytest.mark.parametrize("last", [150, 199, 200, 201, 349, 350, 351])
def test_noise_after_a_bar_changes_nothing_up_to_it(last: int) -> None:
    history = volatile(600, seed=1)
    noisy = history.copy()
    noisy[last + 1 :] = np.random.default_rng(9).normal(0.0, 0.02, len(noisy) - last - 1)
    true, other = started(), started()
    after = other.beliefs(noisy)
    before = true.beliefs(history)
    for name in ("belief_TC", "drift_T", "volatility_T"):
        one, two = getattr(before, name), getattr(after, name)
        assert np.array_equal(one[: last + 1], two[: last + 1])
        assert not np.array_equal(one, two)
    past = [event for event in true.events if event.bar <= last + 1]
    assert list(other.events[: len(past)]) == past


def test_the_belief_of_the_bar_of_a_refit_is_the_old_models() -> None:
    history = volatile(260, seed=1)
    with_refits, without = started().filter(history), started(schedule=Schedule()).filter(history)
    assert np.array_equal(with_refits[:200], without[:200])
    assert not np.array_equal(with_refits[200], without[200])


def test_after_a_refit_the_filter_has_seen_the_window() -> None:
    history = volatile(201, seed=1)
    detector = started()
    found = detector.filter(history)[-1]
    model = detector.model
    assert detector.events[-1].accepted
    assert np.array_equal(found[:2], model.filter(Observations.of(history[:201]))[-1])


def test_there_is_no_refit_within_the_training_span() -> None:
    detector = started(until=300)
    detector.filter(volatile(450))
    assert [event.bar for event in detector.events] == [350, 400, 450]


def test_the_window_is_by_default_as_long_as_the_training_span() -> None:
    detector = started(schedule=Schedule(every=50))
    detector.filter(volatile(450))
    assert [event.bar for event in detector.events] == [400, 450]


def test_a_window_that_shares_nothing_with_the_last_one_is_refused() -> None:
    with pytest.raises(RegimeError, match="more bars than the 50 between"):
        started(schedule=Schedule(every=50, window=50))


def test_renumbered_regimes_keep_their_slots() -> None:
    first = fake_model([0.01, 0.03])
    detector = started(told(first, first.permuted(np.array([1, 0]))))
    history = volatile(240, seed=1)
    plain = started(told(first), Schedule()).filter(history)
    np.testing.assert_allclose(detector.filter(history), plain, atol=1e-4)
    (event,) = detector.events
    assert event.accepted
    assert event.ids == (1, 0)
    assert event.agreement == 1.0
    assert event.raw == 0.0
    assert detector.ids == (0, 1, None, None)


def test_a_new_regime_gets_a_new_id_and_a_slot() -> None:
    grown = fake_model([0.01, 0.03, 0.5])
    detector = started(told(fake_model([0.01, 0.03]), grown, fake_model([0.01, 0.03]), grown))
    history = volatile(300, seed=1)
    history[230:245] = 0.5 * np.sign(history[230:245])
    detector.filter(history)
    ids = [event.ids for event in detector.events]
    assert ids[0][:2] == (0, 1)
    assert len(ids[0]) == 3
    assert max(ids[-1]) > max(ids[0])


def test_a_refit_that_finds_other_regimes_is_refused() -> None:
    detector = started(told(fake_model([0.01, 0.03]), fake_model([0.002, 0.01], stay=0.6)))
    model = detector.model
    with pytest.warns(
        RegimeWarning, match=r"refit at bar 200 refused, the old model stays: .*80%.*found"
    ):
        detector.filter(volatile(240, seed=1))
    (event,) = detector.events
    assert not event.accepted
    assert event.agreement is not None
    assert event.agreement < 0.8
    assert event.ids == (0, 1)
    assert detector.model is model


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (0.754, ("80%", "75%")),
        (0.7962, ("80.0%", "79.6%")),
        (0.79962, ("80.00%", "79.96%")),
        (0.8, ("80.000000000000000%", "80.000000000000000%")),
    ],
)
def test_shares_that_differ_are_told_apart(found: float, told: tuple[str, str]) -> None:
    assert _told_apart(0.8, found) == told


@pytest.mark.parametrize(
    "failure",
    [
        RegimeError("fake: it diverged"),
        np.linalg.LinAlgError("not positive definite"),
        FloatingPointError("overflow"),
        fake_model([0.01, np.nan]),
        FakeModel(np.zeros(2), np.ones(2), np.full((2, 2), np.nan)),
    ],
    ids=["refused", "singular", "overflow", "moments", "beliefs"],
)
def test_a_refit_that_diverges_leaves_the_old_model(failure: RegimeModel | Exception) -> None:
    detector = started(told(fake_model([0.01, 0.03]), failure))
    history = volatile(240, seed=1)
    with pytest.warns(RegimeWarning, match="refused, the old model stays"):
        found = detector.filter(history)
    plain = started(told(fake_model([0.01, 0.03])), Schedule()).filter(history)
    assert np.array_equal(found, plain)
    (event,) = detector.events
    assert (event.accepted, event.agreement, event.raw) == (False, None, None)


def test_a_poisoned_window_does_not_reach_the_beliefs() -> None:
    history: Array = volatile(500, seed=1)
    history[210:] = np.nan
    detector = started()
    with pytest.warns(RegimeWarning, match="expected 10 bars, found"):
        found = detector.filter(history)
    assert np.isfinite(found).all()
    assert not detector.events[-1].accepted


def test_a_refit_begins_at_the_model_in_use() -> None:
    seen: list[RegimeModel | None] = []

    def how(train: Observations, warm: RegimeModel | None) -> RegimeModel:
        seen.append(warm)
        return estimated(train, warm)

    detector = started(FakeConfig(how=how))
    first = detector.model
    detector.filter(volatile(200, seed=1))
    assert seen[0] is None
    assert seen[1] is first


def test_a_state_resumes_exactly_over_refits() -> None:
    history = volatile(600, seed=1)
    detector = started()
    detector.filter(history[:275])
    state = detector.state
    rest, events = detector.filter(history[275:]), detector.events
    detector.state = state
    assert np.array_equal(detector.filter(history[275:]), rest)
    assert detector.events == events
    other = started()
    other.state = state
    assert np.array_equal(other.filter(history[275:]), rest)


def test_after_refusals_models_are_still_compared_on_half_a_window() -> None:
    same = fake_model([0.01, 0.03])
    failures = [RegimeError("no") for _ in range(6)]
    detector = started(told(same, *failures, same))
    with pytest.warns(RegimeWarning, match="no"):
        detector.filter(volatile(500, seed=1))
    assert [event.accepted for event in detector.events] == [False] * 6 + [True]
    assert detector.events[-1].agreement == 1.0


def kept() -> OnlineDetector:
    """A detector of a real kind, which has a form on disk, after its first refit."""
    schedule = Schedule(every=50, window=200, agreement=0.0)
    detector = OnlineDetector(RuleConfig(), schedule).fit(volatile(400))
    detector.filter(volatile(230, seed=1))
    assert len(detector.events) == 1
    return detector


def test_json_keeps_the_memory_the_events_and_the_schedule() -> None:
    one = kept()
    two = OnlineDetector.from_json(one.to_json())
    assert two.to_json() == one.to_json()
    assert (two.events, two.schedule, two.ids) == (one.events, one.schedule, one.ids)
    rest = volatile(200, seed=2)
    assert np.array_equal(one.filter(rest), two.filter(rest))
    assert two.to_json() == one.to_json()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 7, "regimes JSON: format"),
        ("window", 0, "regimes JSON: window.*greater than 0, found 0"),
        ("memory_y", {"shape": [3, 1], "values": [0.0] * 3}, "memory|x: expected shape"),
        ("memory_y", {"shape": [2, 1], "values": [0.0]}, "memory_y.*expected 2 values.*found 1"),
        ("events", [{"bar": -1}], r"regimes JSON: events\.0"),
        ("schedule", {"agreement": 2.0}, r"regimes JSON: schedule\.agreement"),
    ],
)
def test_a_damaged_document_names_the_path(key: str, value: object, words: str) -> None:
    document = json.loads(kept().to_json())
    document[key] = value
    with pytest.raises(RegimeError, match=words):
        OnlineDetector.from_json(json.dumps(document))


def test_a_memory_that_cannot_have_been_seen_is_refused() -> None:
    document = json.loads(kept().to_json())
    for name, width in (("memory_y", 1), ("memory_x", 0)):
        document[name] = {"shape": [3, width], "values": [0.0] * 3 * width}
    with pytest.raises(
        RegimeError, match=r"memory: expected .* = \(1, 0, 200\), found \(1, 0, 3\)"
    ):
        OnlineDetector.from_json(json.dumps(document))


def test_the_memory_keeps_the_last_bars_in_order() -> None:
    memory = Memory(4, Observations.of([0.0]))
    for step in range(11):
        memory.append(float(step), None)
        last = memory.observations().y_TD[:, 0].tolist()
        assert last == [float(value) for value in range(max(0, step - 3), step + 1)]
    memory.extend(Observations.of(np.arange(20.0, 30.0)))
    assert memory.observations().y_TD[:, 0].tolist() == [26.0, 27.0, 28.0, 29.0]
    assert len(Memory(0, Observations.of([0.0]))) == 0


def test_what_is_no_state_is_refused_in_words() -> None:
    with pytest.raises(RegimeError, match="state: expected an OnlineState, found None"):
        started().state = None  # type: ignore[assignment]  # what users do
    with pytest.raises(RegimeError, match="config: expected a detector's configuration"):
        OnlineDetector(42)  # type: ignore[arg-type]  # what users do
