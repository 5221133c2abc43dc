"""An option for each regime: who learns, who stands still, and where a new one starts."""

import pytest
import torch
from torch import Tensor

from agents.continual.config import GrowConfig
from agents.continual.flat import FlatFunction
from agents.continual.grow import Grow
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig
from agents.options import LearnedOption, OptionConfig, OptionNetworkConfig, RuleOption
from meta_controller.config import MetaControllerConfig
from meta_controller.continual import OptionFunction
from meta_controller.hierarchy import OptionActorCritic

ACCOUNT, OUTPUTS = 4, 2
RULE = RuleOption(name="momentum")
LEARNED = LearnedOption()
SHAPES = ("heads", "networks", "heads and linear path", "networks and linear path")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy(
    shape: str = "heads", options: tuple[OptionConfig, ...] = (LEARNED,) * 3
) -> OptionFunction:
    experts, _, linear = shape.partition(" and ")
    net = OptionActorCritic(
        OptionNetworkConfig(
            hidden=(6,),
            experts=experts,  # type: ignore[arg-type]
            expert_hidden=(5, 4),
            linear_path=bool(linear),
            output_gain=1.0,
        ),
        MetaControllerConfig(),
        options,
        num_features=0,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=3,
        continuous=True,
        generator=seeded(),
    )
    with torch.no_grad():
        for index, parameter in enumerate(net.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=seeded(20 + index)))
    return OptionFunction(net, torch.empty(0, 0), "mean")


def outputs(function: OptionFunction) -> Tensor:
    """What each option would do, (B, K, D)."""
    account = torch.randn(9, ACCOUNT, generator=seeded(1))
    net = function._net
    halves = net.halves(torch.empty(1, 0))
    with torch.no_grad():
        learned, _ = net.options.from_halves(
            halves.options, torch.zeros(9, dtype=torch.int64), account
        )
    return learned


class Trainer:
    """Adam on arbitrary gradients, with its moments kept over phases: the worst case."""

    def __init__(self, function: OptionFunction, remedy: Grow) -> None:
        self.function, self.remedy = function, remedy
        self.adam = torch.optim.Adam(list(function.parameters.values()), lr=0.05)
        self.generator = seeded(7)

    def phase(self, phase: int, regime: int, steps: int = 4) -> None:
        self.remedy.begin(phase, regime)
        for _ in range(steps):
            for parameter in self.function.parameters.values():
                parameter.grad = torch.randn(parameter.shape, generator=self.generator)
            self.remedy.mask()
            self.adam.step()
            self.remedy.after_step(0.05)


def numbers(function: OptionFunction, group: str) -> Tensor:
    masks = function.part(group)
    return torch.cat([function.parameters[n].detach()[mask] for n, mask in masks.items()])


@pytest.mark.parametrize("shape", SHAPES)
def test_one_head_learns_at_a_time_to_the_bit(shape: str) -> None:
    function = policy(shape)
    trainer = Trainer(function, Grow(GrowConfig(copy=False), function))
    for phase, regime in enumerate((2, 0, 1, 0)):
        before = {part: numbers(function, part) for part in ("head:0", "head:1", "head:2")}
        trunk, gate = numbers(function, "trunk"), numbers(function, "gate")
        trainer.phase(phase, regime)
        for option in range(3):
            after = numbers(function, f"head:{option}")
            assert torch.equal(after, before[f"head:{option}"]) == (option != regime)
        assert bool((numbers(function, f"head:{regime}") != before[f"head:{regime}"]).all())
        assert bool((numbers(function, "trunk") != trunk).all())
        assert bool((numbers(function, "gate") != gate).all())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_option_starts_where_the_latest_one_stands(shape: str) -> None:
    function = policy(shape)
    remedy = Grow(GrowConfig(), function)
    trainer = Trainer(function, remedy)
    start = outputs(function)
    trainer.phase(0, 1)
    kept = outputs(function)
    remedy.begin(1, 2)
    grown = outputs(function)
    torch.testing.assert_close(
        grown[:, 2], kept[:, 1]
    )  # sums of another column may round otherwise
    assert torch.equal(numbers(function, "head:2"), numbers(function, "head:1"))
    assert torch.equal(grown[:, :2], kept[:, :2])
    assert not torch.equal(start[:, 2], grown[:, 2])
    trainer.phase(1, 2)
    trainer.phase(2, 1)
    before = outputs(function)
    remedy.begin(3, 2)  # which has been
    assert torch.equal(outputs(function), before)


def test_without_copying_it_starts_at_its_own_weights() -> None:
    function = policy()
    remedy = Grow(GrowConfig(copy=False), function)
    before = numbers(function, "all")
    remedy.begin(0, 0)
    remedy.begin(1, 1)
    assert torch.equal(numbers(function, "all"), before)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_the_trunk_frozen_an_option_acts_as_when_its_phase_ended(shape: str) -> None:
    function = policy(shape)
    trainer = Trainer(function, Grow(GrowConfig(freeze=("trunk", "gate")), function))
    trunk = numbers(function, "trunk")
    trainer.phase(0, 0)
    assert not torch.equal(numbers(function, "trunk"), trunk)  # the first phase trains all
    trunk, gate, first = numbers(function, "trunk"), numbers(function, "gate"), outputs(function)
    trainer.phase(1, 1)
    trainer.phase(2, 2)
    assert torch.equal(numbers(function, "trunk"), trunk)
    assert torch.equal(numbers(function, "gate"), gate)
    assert torch.equal(outputs(function)[:, 0], first[:, 0])
    assert not torch.equal(outputs(function)[:, 1], first[:, 1])


def test_a_gate_alone_may_be_frozen() -> None:
    function = policy()
    trainer = Trainer(function, Grow(GrowConfig(freeze=("gate",)), function))
    trainer.phase(0, 0)
    trunk, gate = numbers(function, "trunk"), numbers(function, "gate")
    trainer.phase(1, 0)  # from the second phase on, though no regime is new
    assert torch.equal(numbers(function, "gate"), gate)
    assert bool((numbers(function, "trunk") != trunk).all())


@pytest.mark.parametrize(
    ("options", "regimes", "expected"),
    [
        ((LEARNED,) * 3, (2, 0, 1), [2, 0, 1]),
        ((LEARNED,) * 3, (5, 0, 7), [2, 0, 1]),
        ((LEARNED,) * 3, (5, 2, 0), [2, 1, 0]),
        ((LEARNED, RULE, LEARNED, LEARNED), (0, 1, 2), [0, 3, 2]),
    ],
)
def test_which_option_a_regime_has(
    options: tuple[OptionConfig, ...], regimes: tuple[int, ...], expected: list[int]
) -> None:
    remedy = Grow(GrowConfig(), policy(options=options))
    found = []
    for phase, regime in enumerate(regimes):
        remedy.begin(phase, regime)
        found.append(int(remedy.figures()["option"]))
    assert found == expected
    remedy.begin(len(regimes), regimes[0])
    assert remedy.figures() == {"option": float(expected[0]), "options_in_use": 3.0}


def test_more_regimes_than_options_that_learn() -> None:
    remedy = Grow(GrowConfig(), policy(options=(LEARNED, RULE, LEARNED)))
    remedy.begin(0, 0)
    remedy.begin(1, 2)
    with pytest.raises(ValueError, match=r"at most 2 regimes.* regime 1 after \[0, 2\]"):
        remedy.begin(2, 1)


def test_a_policy_that_cannot_grow() -> None:
    config = PolicyConfig(encoder=EncoderConfig(), hidden=(6,))
    net = ActorCritic(config, 0, ACCOUNT, OUTPUTS, generator=seeded())
    with pytest.raises(ValueError, match=r"found 1 \(a flat policy has one head\)"):
        Grow(GrowConfig(), FlatFunction(net, torch.empty(0, 0)))
    with pytest.raises(ValueError, match="two or more learn, found 1"):
        Grow(GrowConfig(), policy(options=(RULE, LEARNED)))
    with pytest.raises(ValueError, match="two or more learn, found 0"):
        Grow(GrowConfig(), policy(options=(RULE, RULE)))
    with pytest.raises(
        ValueError, match=r"expected some of \['trunk', 'gate'\], found \['heads'\]"
    ):
        Grow(GrowConfig(freeze=("heads",)), policy())


def test_it_goes_on_with_its_state() -> None:
    function = policy()
    remedy = Grow(GrowConfig(freeze=("gate",)), function)
    trainer = Trainer(function, remedy)
    trainer.phase(0, 2)
    trainer.phase(1, 0)
    again = Grow(GrowConfig(freeze=("gate",)), function)
    again.load_state(remedy.state())
    trainer.remedy = again
    before, gate = outputs(function), numbers(function, "gate")
    again.begin(1, 0)
    assert torch.equal(outputs(function), before)  # nothing is copied twice
    trainer.phase(1, 0)
    assert torch.equal(numbers(function, "gate"), gate)
    again.begin(2, 2)
    assert again.figures()["option"] == 2.0
    assert all(torch.equal(t, again.state()[k]) for k, t in again.state().items())


def test_a_state_that_does_not_fit() -> None:
    state = Grow(GrowConfig(), policy()).state()
    with pytest.raises(ValueError, match=r"expected options of \(2, 2\), found \(3, 2\)"):
        Grow(GrowConfig(), policy(options=(LEARNED, RULE, LEARNED))).load_state(state)
    with pytest.raises(ValueError, match="grow: expected the state"):
        Grow(GrowConfig(), policy()).load_state({})
    four = policy(options=(LEARNED, RULE, LEARNED, LEARNED))
    remedy = Grow(GrowConfig(), four)
    remedy.begin(0, 3)
    with pytest.raises(ValueError, match=r"expected options of \[0, 1, 2\], found \[3\]"):
        Grow(GrowConfig(), policy()).load_state(remedy.state())
