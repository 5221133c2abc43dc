"""PackNet: shares, pruning, and earlier regimes that act as they did, to the bit."""

import pytest
import torch
from torch import Tensor

from agents.continual.config import PackNetConfig
from agents.continual.flat import FlatFunction
from agents.continual.packnet import PackNet
from agents.continual.protocol import Experience, Tensors
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig

ACCOUNT, OUTPUTS, PHASES = 4, 2, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(**settings: object) -> tuple[FlatFunction, PackNet]:
    config = PolicyConfig(encoder=EncoderConfig(), hidden=(9, 8), output_gain=1.0)
    net = ActorCritic(config, 0, ACCOUNT, OUTPUTS, generator=seeded())
    with torch.no_grad():
        for name, parameter in net.actor.named_parameters():
            if "bias" in name:
                parameter.add_(torch.randn(parameter.shape, generator=seeded(3)))
    function = FlatFunction(net, torch.empty(0, 0))
    return function, PackNet(PackNetConfig(**{"phases": PHASES, **settings}), function)  # type: ignore[arg-type]


def states_of(rows: int = 20) -> dict[str, Tensor]:
    return {
        "bars": torch.zeros(rows, dtype=torch.int64),
        "account": torch.randn(rows, ACCOUNT, generator=seeded(1)),
    }


def played(function: FlatFunction, parameters: Tensors) -> Tensor:
    with torch.no_grad():
        return function.law(parameters, states_of()).output_BOD


def copied(function: FlatFunction) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in function.parameters.items()}


class Trainer:
    """Adam on arbitrary gradients, with its moments kept over phases: the worst case."""

    def __init__(self, function: FlatFunction, remedy: PackNet) -> None:
        self.function, self.remedy = function, remedy
        self.adam = torch.optim.Adam(list(function.parameters.values()), lr=0.05)
        self.generator = seeded(7)

    def step(self) -> None:
        for parameter in self.function.parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=self.generator)
        self.remedy.mask()
        self.adam.step()
        self.remedy.after_step(0.05)

    def phase(self, phase: int, regime: int, steps: int = 10) -> None:
        self.remedy.begin(phase, regime)
        for index in range(steps):
            self.remedy.progress(index / steps)
            self.step()
        self.remedy.consolidate(Experience(phase, regime, states_of(), seeded()))


def test_earlier_regimes_act_as_they_did_to_the_bit() -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    ended: dict[int, Tensor] = {}
    for phase, regime in enumerate((4, 0, 2)):
        assert remedy.played_as(regime) == {}
        trainer.phase(phase, regime)
        ended[regime] = played(function, function.parameters)
        for earlier, output in ended.items():
            assert torch.equal(played(function, remedy.played_as(earlier)), output)
    assert not torch.equal(ended[4], ended[2])
    assert not torch.equal(played(function, function.parameters), ended[4])


def test_shares_are_even_and_nothing_is_left() -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    for phase in range(PHASES):
        trainer.phase(phase, phase)
    for name, parameter in function.parameters.items():
        owner = remedy.state()[f"owner/{name}"]
        counts = [int((owner == share).sum()) for share in range(PHASES)]
        if "bias" in name:
            assert counts == [parameter.numel(), 0, 0]
        else:
            assert sum(counts) == parameter.numel()
            assert max(counts) - min(counts) <= 1
            assert counts[0] == -(-parameter.numel() // PHASES)
    assert remedy.figures() == {"free": 0.0, "own": pytest.approx(1 / 3, abs=0.1)}


def test_the_largest_are_kept_when_the_time_has_come() -> None:
    function, remedy = make(retrain=0.25)
    remedy.begin(0, 0)
    before = copied(function)
    remedy.progress(0.74)
    assert all(torch.equal(before[name], p) for name, p in function.parameters.items())
    remedy.progress(0.75)
    for name, parameter in function.parameters.items():
        kept = parameter != 0.0
        if "bias" in name:
            assert torch.equal(parameter, before[name])
            continue
        assert int(kept.sum()) == -(-parameter.numel() // PHASES)
        assert torch.equal(parameter[kept], before[name][kept])
        assert float(before[name][kept].abs().min()) >= float(before[name][~kept].abs().max())


def test_what_is_pruned_stays_zero_and_the_share_learns_on() -> None:
    function, remedy = make(retrain=0.5)
    trainer = Trainer(function, remedy)
    remedy.begin(0, 0)
    for _ in range(5):  # momentum gathers
        trainer.step()
    remedy.progress(0.5)
    pruned = copied(function)
    for _ in range(5):
        remedy.progress(0.9)
        trainer.step()
    for name, parameter in function.parameters.items():
        if "bias" in name:
            assert not torch.equal(parameter, pruned[name])
        else:
            assert torch.equal(parameter == 0.0, pruned[name] == 0.0)
            assert bool((parameter != pruned[name])[pruned[name] != 0.0].all())


def test_the_next_phase_learns_with_what_is_free() -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0)
    ended = copied(function)
    remedy.begin(1, 1)
    assert all(torch.equal(ended[name], p) for name, p in function.parameters.items())
    trainer.step()
    for name, parameter in function.parameters.items():
        owned = remedy.state()[f"owner/{name}"] >= 0
        assert torch.equal(parameter[owned], ended[name][owned])
        assert bool((parameter != ended[name])[~owned].all())


def test_a_gradient_that_is_not_finite_does_not_reach_a_share() -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0)
    remedy.begin(1, 1)
    for parameter in function.parameters.values():
        parameter.grad = torch.full_like(parameter, torch.nan)
    remedy.mask()
    owned = {n: remedy.state()[f"owner/{n}"] >= 0 for n in function.parameters}
    for name, parameter in function.parameters.items():
        assert parameter.grad is not None
        assert not parameter.grad[owned[name]].any()
        assert bool(parameter.grad[~owned[name]].isnan().all())


@pytest.mark.parametrize("retrain", [0.0, 0.2])
def test_a_phase_too_short_to_prune_is_pruned_at_its_end(retrain: float) -> None:
    function, remedy = make(retrain=retrain)
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0, steps=1)
    assert remedy.figures()["free"] > 0.4
    assert torch.equal(played(function, remedy.played_as(0)), played(function, function.parameters))


def test_a_regime_that_is_back_keeps_its_share() -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0)
    first = played(function, function.parameters)
    trainer.phase(1, 1)
    second = played(function, function.parameters)
    owners = {k: t.clone() for k, t in remedy.state().items() if k.startswith("owner/")}
    trainer.phase(2, 0)
    assert not torch.equal(played(function, function.parameters), second)  # free weights went on
    assert torch.equal(played(function, remedy.played_as(0)), first)
    assert torch.equal(played(function, remedy.played_as(1)), second)
    assert all(torch.equal(owners[key], remedy.state()[key]) for key in owners)
    remedy.begin(3, 2)  # and begin at zero again for a new regime
    assert torch.equal(played(function, function.parameters), second)


def test_no_room_for_another_regime() -> None:
    function, remedy = make(phases=2)
    trainer = Trainer(function, remedy)
    trainer.phase(0, 5)
    trainer.phase(1, 3)
    trainer.phase(2, 5)
    with pytest.raises(ValueError, match=r"at most 2 regimes, found regime 1 after \[5, 3\]"):
        remedy.begin(3, 1)


def test_a_phase_that_was_not_consolidated() -> None:
    _, remedy = make()
    remedy.begin(0, 0)
    remedy.begin(0, 0)  # goes on
    with pytest.raises(ValueError, match="phase 0 to be consolidated before phase 1"):
        remedy.begin(1, 1)


def test_only_protected_parts_are_shared_out() -> None:
    function, remedy = make(protect=("trunk",))
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0)
    trainer.phase(1, 1)
    head = copied(function)["actor.output.weight"]
    assert bool((head != 0.0).all())
    assert "actor.output.weight" not in remedy.played_as(0)
    trainer.phase(2, 2)
    assert bool((function.parameters["actor.output.weight"] != head).all())


@pytest.mark.parametrize("steps", [3, 9])
def test_it_goes_on_in_mid_phase(steps: int) -> None:
    function, remedy = make()
    trainer = Trainer(function, remedy)
    trainer.phase(0, 0)
    remedy.begin(1, 1)
    for index in range(steps):
        remedy.progress(index / 10)
        trainer.step()
    saved = {key: tensor.clone() for key, tensor in remedy.state().items()}
    other, again = make()
    with torch.no_grad():
        for name, parameter in other.parameters.items():
            parameter.copy_(function.parameters[name])
    again.load_state(saved)
    again.begin(1, 1)
    for one, it in ((function, remedy), (other, again)):
        fresh = Trainer(one, it)
        for index in range(steps, 10):
            it.progress(index / 10)
            fresh.step()
        it.consolidate(Experience(1, 1, states_of(), seeded()))
    for name, parameter in function.parameters.items():
        assert torch.equal(parameter, other.parameters[name])
    assert all(torch.equal(t, again.state()[key]) for key, t in remedy.state().items())


def test_a_state_that_does_not_fit() -> None:
    _, remedy = make()
    state = remedy.state()
    with pytest.raises(ValueError, match=r"packnet.phases: expected 3 .* found 4"):
        make(phases=4)[1].load_state({**state, "regimes": torch.full((4,), -1)})
    with pytest.raises(ValueError, match="packnet: expected the state"):
        make(protect=("trunk",))[1].load_state(state)
    with pytest.raises(ValueError, match=r"packnet: expected owner/actor.fusion.bias of \(9,\)"):
        remedy.load_state({**state, "owner/actor.fusion.bias": torch.zeros(2)})


def test_more_phases_than_can_be_numbered() -> None:
    with pytest.raises(ValueError, match="at most 127, found 128"):
        make(phases=128)
