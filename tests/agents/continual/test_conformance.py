"""What every remedy must do, in a small training that calls it as a trainer does."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load, save
from torch import Tensor

from agents.continual.config import RemedyConfig
from agents.continual.flat import FlatFunction
from agents.continual.kinds import make_remedy
from agents.continual.protocol import Experience, Remedy
from agents.continual.remedies import Remedies
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig
from agents.options import LearnedOption, OptionNetworkConfig
from meta_controller.config import ExecutionConfig, MetaControllerConfig
from meta_controller.continual import OptionFunction
from meta_controller.hierarchy import OptionActorCritic

ADAPTER: TypeAdapter[Any] = TypeAdapter(RemedyConfig)
BARS, FEATURES, ACCOUNT, OUTPUTS, OPTIONS = 30, 3, 4, 2, 3
SMALL = EncoderConfig(window=2, channels=2, hidden=4, embedding=3)
RATE, UPDATES, STEPS, ROWS = 1e-2, 3, 1, 16
STREAM = (1, 0, 1, 2)
"""Regimes of the phases: one comes back before the last is met."""
KINDS: dict[str, dict[str, Any]] = {
    "ewc": {"states": 16},
    "online_ewc": {"states": 16},
    "l2": {},
    "mas": {"states": 16},
    "si": {},
    "initial_weights": {"strength": 1.0},
    "packnet": {"phases": 3, "retrain": 0.4},
    "cloning": {"states": 12, "batch": 8},
    "rehearsal": {},
    "grow": {"freeze": ("gate",)},
}
WEIGHTS = ("ewc", "online_ewc", "l2", "mas", "si")
"""Those that pull parameters to where a phase left them."""
CASES = [
    (kind, policy)
    for kind in KINDS
    for policy in ("flat", "blended", "hard")
    if (kind, policy) != ("grow", "flat")
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def configured(kind: str, **settings: Any) -> RemedyConfig:
    config: RemedyConfig = ADAPTER.validate_python({"kind": kind, **KINDS[kind], **settings})
    return config


def function_of(policy: str, hidden: int = 6) -> FlatFunction | OptionFunction:
    table = torch.randn(BARS, FEATURES, generator=seeded(1))
    if policy == "flat":
        config = PolicyConfig(encoder=SMALL, hidden=(hidden, 5), output_gain=1.0)
        net = ActorCritic(config, FEATURES, ACCOUNT, OUTPUTS, generator=seeded())
        return FlatFunction(net, table)
    meta = MetaControllerConfig(
        execution=ExecutionConfig(mode="hard" if policy == "hard" else "blended")
    )
    options = OptionActorCritic(
        OptionNetworkConfig(encoder=SMALL, hidden=(hidden,), output_gain=1.0),
        meta,
        (LearnedOption(),) * OPTIONS,
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=True,
        generator=seeded(),
    )
    return OptionFunction(options, table, "mean")


def states_of(policy: str, seed: int, rows: int = ROWS) -> dict[str, Tensor]:
    generator = seeded(seed)
    market = {
        "bars": torch.randint(BARS, (rows,), generator=generator),
        "account": torch.randn(rows, ACCOUNT, generator=generator),
    }
    if policy == "flat":
        return market
    return market | {
        "belief": torch.softmax(torch.randn(rows, 3, generator=generator), dim=1),
        "previous": torch.softmax(torch.randn(rows, OPTIONS, generator=generator), dim=1),
        "first": torch.rand(rows, generator=generator) < 0.2,
    }


@dataclass
class Training:
    """A policy that learns by Adam what each regime wants, moments reset between phases."""

    policy: str
    configs: Sequence[RemedyConfig] | None
    """None = no remedies are called at all."""
    stream: tuple[int, ...] = STREAM
    steps: int = STEPS
    function: FlatFunction | OptionFunction = field(init=False)
    remedies: Remedies | None = field(init=False, default=None)
    adam: torch.optim.Adam = field(init=False)
    done: int = 0
    """Updates that are done."""

    def __post_init__(self) -> None:
        self.function = function_of(self.policy)
        if self.configs is not None:
            self.remedies = Remedies(self.configs, self.function)
        self.reset()

    def reset(self) -> None:
        self.adam = torch.optim.Adam(list(self.function.parameters.values()), lr=RATE)

    def play(self, updates: int | None = None) -> "Training":
        """Go on for some updates, or to the end."""
        last = len(self.stream) * UPDATES
        until = last if updates is None else min(last, self.done + updates)
        if self.done % UPDATES:
            self.begin()
        while self.done < until:
            self.update()
        return self

    def begin(self) -> None:
        phase = self.done // UPDATES
        if self.remedies is not None:
            self.remedies.begin(phase, self.stream[phase])

    def update(self) -> None:
        phase, index = divmod(self.done, UPDATES)
        if index == 0:
            self.reset()
            self.begin()
        if self.remedies is not None:
            self.remedies.progress(index / UPDATES)
        for step in range(self.steps):
            self.step(states_of(self.policy, 1000 * self.done + step), self.stream[phase])
        self.done += 1
        if index == UPDATES - 1 and self.remedies is not None:
            left = states_of(self.policy, 77 + phase, 24)
            self.remedies.consolidate(Experience(phase, self.stream[phase], left, seeded(phase)))

    def step(self, states: dict[str, Tensor], regime: int) -> None:
        self.adam.zero_grad()
        law = self.function.law(self.function.parameters, states)
        wanted_BD = (regime - 1.0) * states["account"][:, :OUTPUTS] + 0.5 * regime
        miss_BO = (law.output_BOD - wanted_BD[:, None, :]).square().sum(dim=2)
        (law.choice_BO * miss_BO).sum(dim=1).mean().backward()  # type: ignore[no-untyped-call]
        if self.remedies is not None:
            self.remedies.observe()
            term = self.remedies.penalty()
            if term is not None:
                term.backward()  # type: ignore[no-untyped-call]
            self.remedies.mask()
        torch.nn.utils.clip_grad_norm_(list(self.function.parameters.values()), 10.0)
        self.adam.step()
        if self.remedies is not None:
            self.remedies.after_step(RATE)

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.function.parameters.items()}

    def checkpoint(self) -> tuple[bytes, bytes, dict[str, Any], int]:
        remembered = {} if self.remedies is None else self.remedies.state()
        return (
            save(self.weights()),
            save(remembered),
            copy.deepcopy(self.adam.state_dict()),
            self.done,
        )

    def resumed(self, saved: tuple[bytes, bytes, dict[str, Any], int]) -> "Training":
        weights, remembered, moments, done = saved
        fresh = Training(self.policy, self.configs, self.stream, self.steps, done=done)
        with torch.no_grad():
            for name, tensor in load(weights).items():
                fresh.function.parameters[name].copy_(tensor)
        assert fresh.remedies is not None
        fresh.remedies.load_state(load(remembered))
        fresh.adam.load_state_dict(moments)
        return fresh


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[key].dtype and torch.equal(tensor, other[key])
        for key, tensor in one.items()
    )


def only(training: Training) -> Remedy:
    assert training.remedies is not None
    (remedy,) = training.remedies.each
    return remedy


@pytest.mark.parametrize(("kind", "policy"), CASES)
def test_its_state_is_all_of_it_at_any_update(kind: str, policy: str) -> None:
    """Loaded into a fresh one it is the same state, which counts its floats."""
    config = configured(kind)
    training = Training(policy, [config])
    while training.done < len(STREAM) * UPDATES:
        training.play(1)
        remedy = only(training)
        saved = {key: tensor.clone() for key, tensor in remedy.state().items()}
        fresh = make_remedy(config, function_of(policy))
        fresh.load_state(load(save(saved)))
        assert equal(fresh.state(), saved)
        assert fresh.floats == remedy.floats == sum(t.numel() for t in saved.values())
        figures = remedy.figures()
        assert all(type(value) is float and math.isfinite(value) for value in figures.values())
    assert only(training).floats > 0
    assert only(training).name == kind


@pytest.mark.parametrize(("kind", "policy"), CASES)
def test_a_resumed_training_ends_with_the_same_bits(kind: str, policy: str) -> None:
    """From the middle of the first phase, after the second, and from the middle of the last."""
    whole = Training(policy, [configured(kind)])
    parts = [whole.resumed(whole.play(updates).checkpoint()) for updates in (2, 4, 5)]
    whole.play()
    assert [part.done for part in parts] == [2, 6, 11]
    for part in parts:
        assert equal(part.play().weights(), whole.weights())
        assert equal(only(part).state(), only(whole).state())


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_does_not_depend_on_when_the_state_was_read(kind: str) -> None:
    """What a checkpoint holds is not changed by going on, nor the training by being saved."""
    training, unread = (Training("blended", [configured(kind)]) for _ in range(2))
    training.play(4)
    held = only(training).state()
    noted = {key: tensor.clone() for key, tensor in held.items()}
    training.play()
    assert equal(held, noted)
    assert equal(unread.play().weights(), training.weights())


@pytest.mark.parametrize("policy", ["flat", "blended", "hard"])
def test_no_remedy_is_plain_training_to_the_bit(policy: str) -> None:
    plain, none = Training(policy, None).play(), Training(policy, []).play()
    assert equal(none.weights(), plain.weights())
    assert none.remedies is not None
    assert none.remedies.state() == none.remedies.figures() == none.remedies.played_as(0) == {}


@cache
def plain_weights() -> dict[str, Tensor]:
    """What the blended policy learns without remedies."""
    return Training("blended", None).play().weights()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {"form": form}) for kind in WEIGHTS for form in ("proximal", "penalty")),
        ("initial_weights", {}),
        ("cloning", {}),
    ],
)
def test_a_strength_of_zero_is_plain_training_to_the_bit(
    kind: str, settings: dict[str, Any]
) -> None:
    zero = Training("blended", [configured(kind, strength=0.0, **settings)]).play()
    strong = Training("blended", [configured(kind, **settings)]).play()
    assert equal(zero.weights(), plain_weights())
    assert not equal(strong.weights(), plain_weights())


@pytest.mark.parametrize(("kind", "policy"), CASES)
def test_a_foreign_state_is_refused(kind: str, policy: str) -> None:
    state = only(Training(policy, [configured(kind)]).play(4)).state()
    fresh = make_remedy(configured(kind), function_of(policy))
    broken = [{**state, "foreign": torch.zeros(2)}, {"foreign": torch.zeros(2)}]
    broken += [{k: t for k, t in state.items() if k != key} for key in state]
    for each in broken:
        with pytest.raises(ValueError, match=kind):
            fresh.load_state(each)
    remedies = Remedies([configured(kind)], function_of(policy))
    with pytest.raises(ValueError, match="found another/thing"):
        remedies.load_state({"another/thing": torch.zeros(2)})
    with pytest.raises(ValueError, match="expected that of no remedy"):
        Remedies([], function_of(policy)).load_state({f"{kind}/x": torch.zeros(2)})


@pytest.mark.parametrize("kind", [*WEIGHTS, "initial_weights", "packnet"])
def test_the_state_of_a_wider_policy_is_refused(kind: str) -> None:
    state = only(Training("flat", [configured(kind)]).play(4)).state()
    with pytest.raises(ValueError, match=kind):
        make_remedy(configured(kind), function_of("flat", hidden=7)).load_state(state)


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float((t - other[key]).square().sum()) for key, t in one.items()))


@pytest.mark.parametrize("form", ["proximal", "penalty"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_protected_numbers_move_less(kind: str, form: str) -> None:
    moved = {}
    for strength in (0.0, 100.0):
        config = configured(kind, strength=strength, form=form)
        training = Training("flat", [config], stream=(0, 2), steps=10).play(UPDATES)
        learned = training.weights()
        moved[strength] = distance(training.play().weights(), learned)
    assert 0.0 < moved[100.0] < 0.8 * moved[0.0]


def test_initial_weights_are_left_less_far() -> None:
    start = Training("flat", None).weights()
    moved = [
        distance(
            Training("flat", [configured("initial_weights", strength=s)]).play().weights(), start
        )
        for s in (0.0, 100.0)
    ]
    assert 0.0 < moved[1] < 0.8 * moved[0]


@pytest.mark.parametrize("part", ["trunk", "heads", "head:1", "gate"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_only_protected_parts_are_pulled(kind: str, part: str) -> None:
    config = configured(kind, form="penalty", protect=(part,))
    training = Training("blended", [config]).play(UPDATES)
    with torch.no_grad():
        for parameter in training.function.parameters.values():
            parameter.add_(0.1)
    training.adam.zero_grad()
    term = only(training).penalty()
    assert term is not None
    term.backward()  # type: ignore[no-untyped-call]
    pulled = 0
    for name, parameter in training.function.parameters.items():
        mask = training.function.part(part).get(name, torch.zeros_like(parameter, dtype=torch.bool))
        if parameter.grad is not None:
            assert not parameter.grad[~mask].any()
            pulled += int((parameter.grad[mask] != 0.0).sum())
    assert pulled > 0


def test_penalties_add_up() -> None:
    configs = [
        configured("ewc", form="penalty"),
        configured("l2", form="penalty", strength=0.3),
        configured("rehearsal"),
        configured("cloning"),
    ]
    training = Training("blended", configs).play(4)
    assert training.remedies is not None
    state = training.remedies.state()
    together = training.remedies.penalty()
    training.remedies.load_state(state)  # the same draws
    terms = [term for each in training.remedies.each if (term := each.penalty()) is not None]
    assert together is not None
    assert len(terms) == 3
    assert all(float(term.detach()) > 0.0 for term in terms)
    assert float(together.detach()) == pytest.approx(
        sum(float(t.detach()) for t in terms), rel=1e-6
    )


def test_several_remedies_go_on_with_one_state() -> None:
    kinds = ("ewc", "si", "packnet", "cloning", "rehearsal", "initial_weights", "grow")
    settings: dict[str, dict[str, Any]] = {"packnet": {"protect": ("trunk",)}}
    configs = [configured(kind, **settings.get(kind, {})) for kind in kinds]
    whole = Training("blended", configs).play(7)
    part = whole.resumed(whole.checkpoint())
    assert equal(part.play().weights(), whole.play().weights())
    assert whole.remedies is not None
    assert {key.partition("/")[0] for key in whole.remedies.state()} == set(kinds)
    assert {key.partition("/")[0] for key in whole.remedies.figures()} <= set(kinds)


@pytest.mark.parametrize("other", ["l2", "initial_weights"])
@pytest.mark.parametrize("kind", ["packnet", "grow"])
def test_what_is_frozen_stays_so_beside_a_remedy_that_moves_numbers(kind: str, other: str) -> None:
    """In either order: a pull after the step must not have the last word."""
    for pair in ((kind, other), (other, kind)):
        configs = [configured(each) for each in pair]
        training = Training("blended", configs, stream=(1, 2)).play(UPDATES)
        assert training.remedies is not None
        head = training.function.part("head:1")
        before, weights = training.remedies.played_as(1), training.weights()
        training.play()
        after = training.remedies.played_as(1)
        assert equal(dict(after), dict(before))
        if kind == "grow":
            now = training.weights()
            assert all(torch.equal(now[n][mask], weights[n][mask]) for n, mask in head.items())
        else:
            assert before


def test_two_of_one_kind_are_refused() -> None:
    configs = [configured("l2"), configured("ewc"), configured("l2", strength=1.0)]
    with pytest.raises(ValueError, match=r"found several of \['l2'\]"):
        Remedies(configs, function_of("flat"))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("cloning", "rehearsal", "grow")])
def test_a_part_that_the_policy_does_not_have(kind: str) -> None:
    with pytest.raises(ValueError, match=r"protect: .*found 'gate'"):
        make_remedy(configured(kind, protect=("gate",)), function_of("flat"))
