"""A detector: one filter in two forms, slots, the fall back, and what it refuses."""

import warnings

import numpy as np
import pytest

from regimes.base import Array, Observations, RegimeError, RegimeModel, RegimeWarning
from regimes.detector import Detector
from regimes.detector_document import DetectorState
from regimes.hmm import StudentHMMConfig
from regimes.matching import Labels
from tests.regimes.fakes import BrokenModel, FakeConfig, fake_model, volatile


def fitted(config: FakeConfig | None = None, bars: int = 400) -> Detector:
    return Detector(config or FakeConfig()).fit(volatile(bars))


def broken(train: Observations, warm: RegimeModel | None) -> RegimeModel:
    model = fake_model([0.01, 0.03])
    return BrokenModel(model.drift, model.volatility, model.transition)


def test_a_batch_is_as_many_updates() -> None:
    history = volatile(300, seed=1)
    one, two = fitted(), fitted()
    batch = one.filter(history)
    assert np.array_equal(batch, [two.update(value) for value in history])
    assert batch.shape == (300, 4)
    np.testing.assert_allclose(batch.sum(axis=1), 1.0, rtol=1e-12)
    assert one.bars == two.bars == 300


def test_a_batch_goes_on_where_the_last_one_ended() -> None:
    history = volatile(300, seed=1)
    detector = fitted()
    parts = [detector.filter(part) for part in np.split(history, [0, 100, 101])]
    assert np.array_equal(np.concatenate(parts), fitted().filter(history))
    detector.restart()
    assert np.array_equal(detector.filter(history), fitted().filter(history))


def test_slots_without_a_regime_hold_nothing() -> None:
    detector = fitted()
    assert detector.ids == (0, 1, None, None)
    assert (detector.filter(volatile(50))[:, 2:] == 0.0).all()


def test_the_belief_of_a_regime_lies_in_its_slot() -> None:
    detector = fitted()
    labels = Labels(ids=(7, 4), slots=(3, 1), capacity=4, next_id=8)
    belief = detector.update(0.01)
    state = detector.state
    detector.adopt(detector.model, labels, state.filter_S, state.belief_K)
    assert detector.ids == (None, 4, None, 7)
    assert detector.bars == 1
    detector.state = state
    found = detector.update(0.01)
    other = fitted()
    other.update(0.01)
    expected = other.update(0.01)
    assert found[[3, 1]].tolist() == expected[[0, 1]].tolist()
    assert belief[2] == 0.0


def test_the_descriptors_are_those_of_the_model_under_the_belief() -> None:
    detector = fitted()
    found = detector.beliefs(volatile(100))
    model = detector.model
    np.testing.assert_allclose(found.volatility_T, found.belief_TC[:, :2] @ model.volatility)
    np.testing.assert_allclose(found.drift_T, found.belief_TC[:, :2] @ model.drift)


def test_a_state_resumes_exactly() -> None:
    history = volatile(200, seed=3)
    detector = fitted()
    detector.filter(history[:100])
    state = detector.state
    rest = detector.filter(history[100:])
    detector.state = state
    assert np.array_equal(detector.filter(history[100:]), rest)
    assert detector.state.bars == 200


def test_a_state_is_a_copy() -> None:
    detector = fitted()
    state = detector.state
    detector.filter(volatile(20))
    assert state.bars == 0
    assert not np.array_equal(state.filter_S, detector.state.filter_S)


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(RegimeError, match=r"filter of shape \(2,\).*found \(3,\)"):
        fitted().state = DetectorState(np.ones(3), np.ones(3), 0, fallen=False)


@pytest.mark.parametrize("state", [None, 42, np.ones(2)])
def test_what_is_no_state_is_refused_in_words(state: object) -> None:
    detector = fitted()
    detector.update(0.01)
    with pytest.raises(RegimeError, match="state: expected a DetectorState, found"):
        detector.state = state  # type: ignore[assignment]  # what users do
    assert detector.bars == 1


@pytest.mark.parametrize("config", [42, None, "student_hmm", StudentHMMConfig])
def test_what_is_no_configuration_is_refused_in_words(config: object) -> None:
    with pytest.raises(RegimeError, match=r"config: expected .*StudentHMMConfig\(\), found"):
        Detector(config)  # type: ignore[arg-type]  # what users do


def test_a_bar_without_an_observation_carries_the_belief() -> None:
    detector = fitted()
    before = detector.filter(volatile(50))[-1]
    carried = detector.update(np.nan)
    np.testing.assert_allclose(carried[:2], before[:2] @ detector.model.transition)


def test_a_belief_that_is_not_finite_falls_back_to_the_last_good_one_and_says_so() -> None:
    detector = fitted(FakeConfig(how=broken))
    good = detector.filter(volatile(50))[-1]
    with pytest.warns(RegimeWarning, match=r"fake: bar 50: expected probabilities.*last good"):
        fallen = detector.update(2.0)
    assert np.array_equal(fallen, good)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(detector.update(3.0), good), "said once, not at every bar"
    state = detector.state
    recovered = detector.update(0.01)
    assert np.isfinite(recovered).all()
    assert state.fallen
    assert not detector.state.fallen


def test_the_fall_back_is_the_same_in_a_batch() -> None:
    history = volatile(60)
    history[[20, 21, 40]] = 2.0
    one, two = fitted(FakeConfig(how=broken)), fitted(FakeConfig(how=broken))
    with pytest.warns(RegimeWarning) as told:
        batch = one.filter(history)
    with pytest.warns(RegimeWarning):
        stream = [two.update(value) for value in history]
    assert np.array_equal(batch, stream)
    assert [str(warning.message).split(":")[1] for warning in told] == [" bar 20", " bar 40"]
    assert np.array_equal(batch[20], batch[19])


def test_without_any_good_belief_nothing_is_known() -> None:
    detector = fitted(FakeConfig(how=broken))
    with pytest.warns(RegimeWarning):
        assert detector.update(2.0).tolist() == [0.5, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("observation", "regressors", "words"),
    [
        ([0.1, 0.2], None, "1 series and 0 regressors.*found 2 and 0"),
        (0.1, [1.0], "found 1 and 1"),
        (np.inf, None, "found an infinity"),
    ],
)
def test_what_cannot_be_taken_in_is_named(
    observation: object, regressors: object, words: str
) -> None:
    detector = fitted()
    with pytest.raises(RegimeError, match=words):
        detector.update(observation, regressors)  # type: ignore[arg-type]  # what users do
    assert detector.bars == 0


def test_a_batch_of_other_series_is_refused() -> None:
    with pytest.raises(RegimeError, match="found 2 and 0"):
        fitted().filter(np.zeros((5, 2)))
    with pytest.raises(RegimeError, match="infinity"):
        fitted().filter([0.1, np.inf])


def test_nothing_can_be_asked_before_the_fit() -> None:
    detector = Detector(FakeConfig())
    for ask in (
        lambda: detector.model,
        lambda: detector.ids,
        lambda: detector.state,
        lambda: detector.update(0.1),
        lambda: detector.filter([0.1]),
        detector.to_json,
        detector.restart,
    ):
        with pytest.raises(RegimeError, match=r"call fit\(train\) first"):
            ask()


def raising(error: Exception) -> FakeConfig:
    def how(train: Observations, warm: RegimeModel | None) -> RegimeModel:
        raise error

    return FakeConfig(how=how)


@pytest.mark.parametrize(
    "error", [np.linalg.LinAlgError("singular"), FloatingPointError("overflow"), ValueError("x")]
)
def test_nothing_comes_out_of_a_fit_from_deep_inside(error: Exception) -> None:
    with pytest.raises(RegimeError, match=f"fake: the fit diverged: {error}"):
        Detector(raising(error)).fit(volatile(100))


@pytest.mark.parametrize(
    ("volatility", "words"),
    [([0.1, np.nan], "diverged"), ([0.1] * 5, "1 to 4 regimes"), ([0.1, 0.0], "volatilities > 0")],
)
def test_a_model_that_cannot_be_used_is_refused(volatility: list[float], words: str) -> None:
    with pytest.raises(RegimeError, match=words):
        Detector(FakeConfig(how=lambda *_: fake_model(volatility))).fit(volatile(100))


def test_the_training_span_is_recorded() -> None:
    train: Array = volatile(100)
    train[[0, 50]] = np.nan
    span = Detector(FakeConfig()).fit(train, ts_event=(5, 500)).span
    assert (span.bars, span.observed, span.series, span.regressors) == (100, 98, 1, 0)
    assert span.scale == pytest.approx(np.nanstd(train))
    assert span.ts_event == (5, 500)
