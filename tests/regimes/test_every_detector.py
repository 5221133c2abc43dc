"""One suite for every kind of detector: the protocol, causality, bad input, and what is kept."""

import contextlib
import json
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from regimes.base import Array, Observations, RegimeError, RegimeModel, RegimeWarning
from regimes.config import AnyDetectorConfig
from regimes.detector import Detector
from regimes.kinds import MODELS
from regimes.matching import match
from regimes.online import OnlineDetector, Schedule

TRAIN = 800
QUICK: dict[str, dict[str, object]] = {
    "gaussian_hmm": {"restarts": 2},
    "student_hmm": {"restarts": 2, "nu_grid": [6.0]},
    "switching_regression": {"restarts": 2},
    "dpgmm": {"max_components": 4, "num_starts": 1},
    "sticky_dpgmm": {"max_components": 4, "num_starts": 1},
}
"""Settings with which a fit takes less time; every kind without an entry has its defaults."""


@dataclass(frozen=True)
class Case:
    """A kind of detector, and what it reads."""

    kind: str
    series: int = 1
    regressors: int = 0

    def __str__(self) -> str:
        return f"{self.kind}-{self.series}-{self.regressors}"

    @property
    def config(self) -> Any:
        settings = {"kind": self.kind, **QUICK.get(self.kind, {})}
        return TypeAdapter[Any](AnyDetectorConfig).validate_python(settings)

    def observations(self, bars: int, seed: int = 0) -> Observations:
        """Fat-tailed returns whose volatility and loadings switch between three regimes."""
        rng = np.random.default_rng(seed)
        regime_T = np.cumsum(rng.random(bars) > 0.985) % 3
        x_TM = rng.standard_normal((bars, self.regressors))
        loading_KM = np.array([[0.5, 0.0], [-0.5, 0.5], [0.0, -1.0]])[:, : self.regressors]
        noise_TD = rng.standard_t(5.0, (bars, self.series)) / np.sqrt(5.0 / 3.0)
        level_T = (loading_KM[regime_T] * x_TM).sum(axis=1)
        scale_T = 0.01 * np.array([0.6, 1.2, 3.0])[regime_T]
        return Observations(scale_T[:, None] * (level_T[:, None] + noise_TD), x_TM)


CASES = [
    *(Case(kind) for kind in sorted(MODELS)),
    Case("gaussian_hmm", series=2),
    Case("switching_regression", regressors=2),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@cache
def fitted_model(case: Case) -> RegimeModel:
    model: RegimeModel = case.config.fit(case.observations(TRAIN))
    return model


def detector(case: Case) -> Detector:
    """A fitted detector; the model is fitted once in all tests."""
    new = Detector(case.config)
    document = json.loads(_document(case))
    return type(new).from_json(json.dumps(document))


@cache
def _document(case: Case) -> str:
    return Detector(case.config).fit(case.observations(TRAIN)).to_json()


def assert_probabilities(belief: Array) -> None:
    assert np.isfinite(belief).all()
    assert (belief >= 0.0).all()
    np.testing.assert_allclose(belief.sum(axis=-1), 1.0, atol=1e-9)


@every_case
def test_a_model_says_what_its_regimes_are_like(case: Case) -> None:
    model = fitted_model(case)
    regimes = model.num_regimes
    assert model.kind == case.kind
    assert 1 <= regimes <= case.config.capacity
    assert model.drift.shape == model.volatility.shape == (regimes,)
    assert np.isfinite(model.drift).all()
    assert (model.volatility > 0.0).all()
    assert (np.diff(model.volatility) >= 0.0).all(), "a fresh fit is ordered by volatility"
    assert model.transition.shape == (regimes, regimes)
    assert_probabilities(model.transition)


@every_case
def test_a_fit_leaves_its_input_alone_and_repeats_itself(case: Case) -> None:
    train = case.observations(TRAIN)
    again: RegimeModel = case.config.fit(train)
    assert np.array_equal(train.y_TD, case.observations(TRAIN).y_TD)
    for name, array in fitted_model(case).to_arrays().items():
        assert np.array_equal(array, again.to_arrays()[name], equal_nan=True), name


@every_case
def test_a_filter_is_one_advance_after_the_other(case: Case) -> None:
    model, seen = fitted_model(case), case.observations(300, seed=1)
    one_S, two_S = model.start(), model.start()
    batch = model.filter(seen, one_S)
    rows = zip(seen.y_TD, seen.x_TM, strict=True)
    stream = np.array([model.advance(two_S, y_D, x_M) for y_D, x_M in rows])
    assert batch.shape == (300, model.num_regimes)
    assert np.array_equal(batch, stream)
    assert np.array_equal(one_S, two_S, equal_nan=True)
    assert_probabilities(batch)
    assert np.array_equal(model.filter(seen), batch), "a filter left to itself begins anew"


@every_case
def test_a_detector_updates_as_it_filters_and_goes_on_from_its_state(case: Case) -> None:
    seen = case.observations(200, seed=2)
    one, two = detector(case), detector(case)
    rows = zip(seen.y_TD, seen.x_TM, strict=True)
    stream = np.array([one.update(y_D, x_M) for y_D, x_M in rows])
    first = two.filter(seen.rows(0, 90))
    state = two.state
    rest = two.filter(seen.rows(90, 200))
    assert np.array_equal(stream, np.concatenate([first, rest]))
    two.state = state
    assert np.array_equal(two.filter(seen.rows(90, 200)), rest)
    assert stream.shape == (200, case.config.capacity)


@every_case
@pytest.mark.parametrize("last", [3, 60, 133])
def test_noise_after_a_bar_changes_no_belief_up_to_it(case: Case, last: int) -> None:
    true, noise = case.observations(160, seed=3), case.observations(160, seed=99)
    noisy = Observations(
        np.concatenate([true.y_TD[: last + 1], 3.0 * noise.y_TD[last + 1 :]]),
        np.concatenate([true.x_TM[: last + 1], noise.x_TM[last + 1 :]]),
    )
    model = fitted_model(case)
    one, two = model.filter(true), model.filter(noisy)
    assert np.array_equal(one[: last + 1], two[: last + 1])
    assert not np.array_equal(one, two)


@every_case
def test_what_is_not_in_the_training_span_does_not_reach_the_model(case: Case) -> None:
    longer = case.observations(TRAIN + 100)
    noisy = longer.y_TD.copy()
    noisy[TRAIN:] = 7.0
    one = case.config.fit(longer.rows(0, TRAIN)).to_arrays()
    two = case.config.fit(Observations(noisy, longer.x_TM).rows(0, TRAIN)).to_arrays()
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)


@every_case
def test_bars_without_an_observation_carry_the_belief(case: Case) -> None:
    seen = case.observations(200, seed=4)
    y_TD, x_TM = seen.y_TD.copy(), seen.x_TM.copy()
    y_TD[:5] = y_TD[50:80] = y_TD[120] = np.nan
    x_TM[60] = np.nan
    belief = fitted_model(case).filter(Observations(y_TD, x_TM))
    assert_probabilities(belief)
    shorter = np.abs(np.diff(belief[51:80], axis=0)).sum(axis=1)
    assert (shorter <= np.abs(np.diff(belief[49:51], axis=0)).sum() + 0.5).all()


@every_case
def test_a_fit_reads_around_bars_without_an_observation(case: Case) -> None:
    train = case.observations(TRAIN)
    y_TD = train.y_TD.copy()
    y_TD[0] = y_TD[100:110] = y_TD[::7] = np.nan
    model = case.config.fit(Observations(y_TD, train.x_TM))
    assert np.isfinite(model.volatility).all()
    assert_probabilities(model.filter(Observations(y_TD, train.x_TM)))


@every_case
@pytest.mark.parametrize("size", [1.0, 1e6, 1e100, 1e-300])
def test_beliefs_stay_probabilities_through_outliers(case: Case, size: float) -> None:
    seen = case.observations(120, seed=5)
    y_TD = seen.y_TD.copy()
    y_TD[30], y_TD[31], y_TD[60:70] = size, -size, size
    belief = fitted_model(case).filter(Observations(y_TD, seen.x_TM))
    assert_probabilities(belief)


@every_case
@pytest.mark.parametrize("size", [1e13, 1e150, 1e200, 1e308])
def test_an_observation_that_cannot_be_judged_is_told_and_forgotten(
    case: Case, size: float
) -> None:
    seen = case.observations(120, seed=5)
    y_TD = seen.y_TD.copy()
    y_TD[30], y_TD[31, 0], y_TD[60:70, -1] = size, -size, size
    wild = Observations(y_TD, seen.x_TM)
    _assert_told_and_forgotten(case, wild, [*range(30, 32), *range(60, 70)])


def test_a_regressor_that_cannot_be_judged_is_told_and_forgotten() -> None:
    case = Case("switching_regression", regressors=2)
    seen = case.observations(120, seed=5)
    x_TM = seen.x_TM.copy()
    x_TM[30], x_TM[31, 0], x_TM[60:70, 1] = 1e150, -1e101, 1e308
    wild = Observations(seen.y_TD, x_TM)
    _assert_told_and_forgotten(case, wild, [*range(30, 32), *range(60, 70)])


def test_numbers_of_a_bar_without_an_observation_are_not_judged() -> None:
    case = Case("switching_regression", regressors=2)
    one = detector(case)
    belief = one.filter(case.observations(30, seed=5))[-1]
    carried = one.update(np.nan, [1e200, np.inf])
    assert not one.state.fallen
    np.testing.assert_allclose(carried.sum(), 1.0)
    assert not np.array_equal(carried, belief)


def _assert_told_and_forgotten(case: Case, wild: Observations, places: list[int]) -> None:
    """Two stretches of wild bars, from 30 and from 60 on, change nothing but the count of bars."""
    one, two, tame = detector(case), detector(case), detector(case)
    with pytest.warns(RegimeWarning, match="last good belief") as told:
        batch = one.filter(wild)
    bars = [str(warning.message).split(": ")[1] for warning in told]
    assert bars == ["bar 30", "bar 60"], "said once in each stretch"
    rows = zip(wild.y_TD, wild.x_TM, strict=True)
    with pytest.warns(RegimeWarning, match="last good belief") as told:
        stream = np.array([two.update(y_D, x_M) for y_D, x_M in rows])
    assert len(told) == 2
    assert np.array_equal(batch, stream)
    assert np.array_equal(batch[places], batch[[place - 1 for place in places]])
    kept_T = np.ones(len(wild), np.bool_)
    kept_T[places] = False
    rest = tame.filter(Observations(wild.y_TD[kept_T], wild.x_TM[kept_T]))
    assert np.array_equal(batch[kept_T], rest)
    assert np.array_equal(one.state.filter_S, tame.state.filter_S, equal_nan=True)
    assert one.bars == len(wild)


def spoilt(case: Case, how: str) -> Observations:
    train = case.observations(TRAIN)
    y_TD, x_TM = train.y_TD.copy(), train.x_TM.copy()
    match how:
        case "constant":
            y_TD[:] = 0.01
        case "zero":
            y_TD[:] = 0.0
        case "nothing":
            y_TD[:] = np.nan
        case "few":
            return Observations(y_TD[:3], x_TM[:3])
        case "none":
            return Observations(y_TD[:0], x_TM[:0])
        case "collinear":
            y_TD = np.concatenate([y_TD, 2.0 * y_TD[:, :1]], axis=1)
        case "collinear regressors":
            x_TM = np.concatenate([x_TM, x_TM[:, :1] + x_TM[:, 1:2]], axis=1)
    return Observations(y_TD, x_TM)


@every_case
@pytest.mark.parametrize("how", ["constant", "zero", "nothing", "few", "none", "collinear"])
def test_a_span_that_cannot_be_learned_from_is_refused_in_words(case: Case, how: str) -> None:
    with pytest.raises(RegimeError, match="expected") as refused:
        Detector(case.config).fit(spoilt(case, how))
    assert "diverged" not in str(refused.value), "the input is at fault, not the fit"


def test_regressors_that_say_the_same_are_refused() -> None:
    case = Case("switching_regression", regressors=2)
    with pytest.raises(RegimeError, match="expected"):
        Detector(case.config).fit(spoilt(case, "collinear regressors"))


@every_case
def test_a_span_of_one_regime_is_no_fault(case: Case) -> None:
    rng = np.random.default_rng(6)
    shape = (TRAIN, case.series)
    train = Observations(0.01 * rng.standard_normal(shape), np.zeros((TRAIN, 0)))
    if case.regressors:
        train = Observations(train.y_TD, rng.standard_normal((TRAIN, case.regressors)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Detector(case.config).fit(train)
        assert_probabilities(found.filter(train))
        wild = Observations(5.0 * train.y_TD, train.x_TM)
        assert_probabilities(found.filter(wild))


@every_case
def test_a_renumbered_model_believes_the_same(case: Case) -> None:
    model, seen = fitted_model(case), case.observations(150, seed=7)
    order = np.arange(model.num_regimes)[::-1].copy()
    other = model.permuted(order)
    np.testing.assert_allclose(other.filter(seen), model.filter(seen)[:, order], atol=1e-9)
    assert np.array_equal(other.drift, model.drift[order])
    assert np.array_equal(other.volatility, model.volatility[order])
    assert np.array_equal(other.transition, model.transition[np.ix_(order, order)])


@every_case
def test_a_warm_fit_finds_the_same_regimes_in_the_same_order(case: Case) -> None:
    longer = case.observations(TRAIN + 100)
    train, seen = longer.rows(100, TRAIN + 100), longer.rows(100, TRAIN)
    fresh: RegimeModel = case.config.fit(longer.rows(0, TRAIN))
    # Not the order of a fresh fit, so that keeping it is seen.
    before = fresh.permuted(np.roll(np.arange(fresh.num_regimes), 1))
    after = case.config.fit(train, warm=before)
    found = match(before.filter(seen), after.filter(seen))
    assert found.agreement >= 0.8
    kept = found.partner_J[found.partner_J >= 0]
    assert (np.diff(kept) > 0).all(), "one that goes leaves the others in their order"


@every_case
def test_a_warm_fit_refuses_a_model_that_is_not_its_own(case: Case) -> None:
    other = Case("rule" if case.kind != "rule" else "jump")
    with pytest.raises(
        RegimeError, match=f"warm: expected a {case.kind} model, found {other.kind}"
    ):
        case.config.fit(case.observations(TRAIN), warm=fitted_model(other))


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"rule", "sticky_dpgmm"}))
def test_a_warm_fit_refuses_a_model_of_more_regimes(kind: str) -> None:
    case = Case(kind)
    size = "max_components" if kind == "dpgmm" else "num_regimes"
    fewer = TypeAdapter[Any](AnyDetectorConfig).validate_python({"kind": kind, size: 2})
    assert fitted_model(case).num_regimes > 2
    with pytest.raises(RegimeError, match="warm: expected"):
        fewer.fit(case.observations(TRAIN), warm=fitted_model(case))


@pytest.mark.parametrize("kind", ["gaussian_hmm", "sticky_dpgmm"])
def test_a_warm_fit_refuses_a_model_of_other_series(kind: str) -> None:
    with pytest.raises(RegimeError, match=r"warm: expected .*series"):
        Case(kind).config.fit(
            Case(kind, series=2).observations(TRAIN), warm=fitted_model(Case(kind))
        )


@every_case
def test_a_model_is_its_arrays(case: Case) -> None:
    model, seen = fitted_model(case), case.observations(100, seed=8)
    arrays = model.to_arrays()
    again = MODELS[case.kind].from_arrays(arrays)
    assert np.array_equal(again.filter(seen), model.filter(seen))
    assert all(array.dtype == np.float64 for array in arrays.values())
    name = min(arrays)
    with pytest.raises(RegimeError, match=name):
        MODELS[case.kind].from_arrays({key: arrays[key] for key in arrays if key != name})


@every_case
def test_json_keeps_every_bit(case: Case) -> None:
    seen = case.observations(200, seed=9)
    one = detector(case)
    one.filter(seen.rows(0, 77))
    text = one.to_json()
    two = Detector.from_json(text)
    assert two.to_json() == text
    assert (two.config, two.ids, two.labels, two.span) == (
        one.config,
        one.ids,
        one.labels,
        one.span,
    )
    assert np.array_equal(two.filter(seen.rows(77, 200)), one.filter(seen.rows(77, 200)))


@every_case
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), 2, "detector JSON: format"),
        (("config", "kind"), "nonsense", "detector JSON: config.*nonsense"),
        (("span", "bars"), 0, "detector JSON: span.bars.*found 0"),
        (("model",), {}, "detector JSON: model"),
        (("labels", "ids"), [5, 5], "labels"),
        (("state", "belief", "shape"), [99], "detector JSON: state.belief.*99"),
        (("extra",), 1, "detector JSON: extra"),
    ],
)
def test_a_damaged_document_names_the_path(
    case: Case, path: tuple[str, ...], value: object, words: str
) -> None:
    document = json.loads(_document(case))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(RegimeError, match=f"(?s){words}"):
        Detector.from_json(json.dumps(document))


@every_case
@pytest.mark.parametrize("value", [1e9, -1e9, 1e300, "NaN", "Infinity", -1.0])
@pytest.mark.parametrize("part", ["filter", "belief"])
def test_a_damaged_state_is_refused_or_harmless(case: Case, part: str, value: object) -> None:
    document = json.loads(_document(case))
    kept = document["state"][part]["values"]
    regimes = len(document["state"]["belief"]["values"])
    for place in range(min(len(kept), 12)):
        document["state"][part]["values"] = [*kept[:place], value, *kept[place + 1 :]]
        text = json.dumps(document)
        if part == "belief" or place < regimes or not isinstance(value, float):
            with pytest.raises(RegimeError, match="state: expected"):
                Detector.from_json(text)
            continue
        # The rest is the model's own: it is refused, or the last good belief stands.
        with warnings.catch_warnings(), contextlib.suppress(RegimeError):
            warnings.simplefilter("ignore", RegimeWarning)
            assert_probabilities(Detector.from_json(text).filter(case.observations(80, seed=10)))


@pytest.mark.parametrize(
    ("kind", "field"), [("rule", "windows_W"), ("dpgmm", "windows_W"), ("bocpd", "longest")]
)
@pytest.mark.parametrize("value", [-5.0, 2.5, 1e9, 1e300])
def test_a_stored_model_of_impossible_size_is_refused(kind: str, field: str, value: float) -> None:
    document = json.loads(_document(Case(kind)))
    document["model"][field]["values"][0] = value
    with pytest.raises(RegimeError, match=f"detector JSON: model: {kind}: {field}: expected"):
        Detector.from_json(json.dumps(document))


@every_case
def test_learning_on_is_causal_resumable_and_the_same_bar_by_bar(case: Case) -> None:
    seen = case.observations(TRAIN + 120, seed=0)
    schedule = Schedule(every=60, window=600, agreement=0.0)

    def started() -> OnlineDetector:
        # The regimes of a bar-by-bar method may merge: nothing is refused here.
        return OnlineDetector(case.config, schedule).fit(seen.rows(0, TRAIN), until=TRAIN)

    batch = started()
    whole = batch.beliefs(seen)
    assert [event.bar for event in batch.events] == [TRAIN + 60, TRAIN + 120]
    assert all(event.accepted for event in batch.events), batch.events
    other = started()
    first = other.filter(seen.rows(0, TRAIN + 50))
    other = OnlineDetector.from_json(other.to_json())
    rest = zip(seen.y_TD[TRAIN + 50 :], seen.x_TM[TRAIN + 50 :], strict=True)
    stream = [other.update(y_D, x_M) for y_D, x_M in rest]
    assert np.array_equal(whole.belief_TC, np.concatenate([first, stream]))
    assert other.events == batch.events
    noisy = seen.y_TD.copy()
    noisy[TRAIN + 70 :] = case.observations(50, seed=77).y_TD
    third = started().beliefs(Observations(noisy, seen.x_TM))
    for name in ("belief_TC", "drift_T", "volatility_T"):
        assert np.array_equal(
            getattr(third, name)[: TRAIN + 70], getattr(whole, name)[: TRAIN + 70]
        )


@every_case
@pytest.mark.parametrize("poison", [0.0, np.nan, 1e300])
def test_a_poisoned_window_is_refused_and_the_old_model_stays(case: Case, poison: float) -> None:
    seen = case.observations(700, seed=0)
    y_TD = seen.y_TD.copy()
    y_TD[240:] = poison
    online = OnlineDetector(case.config, Schedule(every=300, window=350))
    online.fit(case.observations(TRAIN))
    model = online.model
    with pytest.warns(RegimeWarning) as told:
        belief = online.filter(Observations(y_TD, seen.x_TM))
    texts = [str(warning.message) for warning in told]
    assert any("refused, the old model stays" in text for text in texts)
    assert any("last good belief" in text for text in texts) == (poison == 1e300)
    assert not online.events[-1].accepted
    assert online.events[-1].reason
    assert_probabilities(belief)
    if not any(event.accepted for event in online.events):
        assert online.model is model


@every_case
def test_a_model_gone_wrong_leaves_the_last_good_belief(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = case.observations(60, seed=9)
    one = detector(case)
    good = one.filter(seen.rows(0, 30))[-1]
    kind = type(one.model)
    lost = np.full(one.model.num_regimes, np.nan)
    monkeypatch.setattr(kind, "advance", lambda *_: lost.copy())
    monkeypatch.setattr(kind, "filter", lambda *_: np.tile(lost, (30, 1)))
    with pytest.warns(RegimeWarning, match="bar 30: expected probabilities.*last good belief"):
        fallen = one.filter(seen.rows(30, 60))
    assert np.array_equal(fallen, np.tile(good, (30, 1)))
    monkeypatch.undo()
    assert_probabilities(one.filter(seen.rows(30, 60)))
