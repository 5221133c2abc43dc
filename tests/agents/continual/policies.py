"""Small policies whose numbers are known, and states for them."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from agents.continual.flat import FlatFunction
from agents.continual.law import ActionLaw
from agents.continual.protocol import Experience, States, Tensors
from agents.encoder import EncoderConfig
from agents.networks import ActorCritic, PolicyConfig
from agents.options import LearnedOption, OptionNetworkConfig, RuleOption
from meta_controller.config import (
    ControllerConfig,
    ExecutionConfig,
    MetaControllerConfig,
    ResidualController,
)
from meta_controller.continual import OptionFunction
from meta_controller.hierarchy import OptionActorCritic

BARS, FEATURES, ACCOUNT, OUTPUTS, OPTIONS, REGIMES, UNITS = 20, 3, 4, 2, 3, 3, 5
SIZES = EncoderConfig(window=2, channels=3, hidden=5, embedding=4)
Kind = Literal["mean", "simplex", "categorical"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(net: nn.Module, seed: int = 5) -> None:
    """Numbers that are not special: biases and gates do not start at zero."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def table() -> Tensor:
    return torch.randn(BARS, FEATURES, generator=seeded(1))


class Linear:
    """A Gaussian policy with mean W x + b: its Fisher information can be written down."""

    def __init__(self, inputs: int = 3, outputs: int = 2, log_std: float = -0.5) -> None:
        self.parameters: dict[str, nn.Parameter] = {
            "weight": nn.Parameter(torch.randn(outputs, inputs, generator=seeded(2))),
            "bias": nn.Parameter(torch.randn(outputs, generator=seeded(3))),
            "unused": nn.Parameter(torch.ones(2)),
        }
        self.log_std = torch.full((outputs,), log_std) + 0.3 * torch.arange(outputs)

    def part(self, group: str) -> Tensors:
        names = {"all": ("weight", "bias", "unused"), "trunk": ("weight", "bias")}
        names |= {"gate": ("unused",), "head:0": ("unused",)}
        if group not in names:
            raise ValueError(f"protect: no part {group!r}")
        parameters = self.parameters
        return {n: torch.ones_like(parameters[n], dtype=torch.bool) for n in names[group]}

    def law(self, parameters: Tensors, states: States) -> ActionLaw:
        given = {**self.parameters, **parameters}
        output = states["x"] @ given["weight"].T + given["bias"]
        return ActionLaw(output.new_ones(len(output), 1), output[:, None], self.log_std[None, None])

    def belief(self, states: States) -> Tensor | None:
        del states
        return None


def inputs(rows: int, width: int = 3, seed: int = 4) -> dict[str, Tensor]:
    """States of the linear policy, with a mean so that gradients of a batch do not cancel."""
    return {"x": 0.5 + torch.randn(rows, width, generator=seeded(seed))}


def experience(
    states: Mapping[str, Tensor], phase: int = 0, regime: int = 0, seed: int = 0
) -> Experience:
    return Experience(phase, regime, states, seeded(seed))


def flat(*, features: int = FEATURES, discrete: bool = False) -> FlatFunction:
    return FlatFunction(
        flat_net(features=features, discrete=discrete),
        table() if features else torch.empty(0, 0),
        discrete=discrete,
    )


def flat_net(*, features: int = FEATURES, discrete: bool = False) -> ActorCritic:
    config = PolicyConfig(encoder=SIZES, hidden=(6, 5), output_gain=1.0)
    net = ActorCritic(
        config, features, ACCOUNT, OUTPUTS, continuous=not discrete, generator=seeded()
    )
    randomised(net)
    return net


def option_net(
    *,
    hard: bool = False,
    continuous: bool = True,
    controller: ControllerConfig | None = None,
    injects: bool = False,
    networks: bool = False,
    linear_path: bool = False,
    recurrent: int = 0,
) -> OptionActorCritic:
    """With `injects` the option in the middle is a rule."""
    execution = ExecutionConfig(mode="hard" if hard else "blended", beta_max=0.6)
    middle = RuleOption(name="cash") if injects else LearnedOption()
    net = OptionActorCritic(
        OptionNetworkConfig(
            encoder=SIZES,
            hidden=(6,),
            experts="networks" if networks else "heads",
            expert_hidden=(5,),
            linear_path=linear_path,
            recurrent=recurrent,
            output_gain=1.0,
        ),
        MetaControllerConfig(controller=controller or ResidualController(), execution=execution),
        (LearnedOption(), middle, LearnedOption()),
        num_features=FEATURES,
        account_size=ACCOUNT,
        outputs=OUTPUTS,
        num_regimes=REGIMES,
        continuous=continuous,
        generator=seeded(),
    )
    randomised(net)
    return net


def options(net: OptionActorCritic, kind: Kind = "mean") -> OptionFunction:
    return OptionFunction(net, table(), kind)


def states_of(rows: int, seed: int = 7, *, injects: bool = False, units: int = 0) -> States:
    """States of flat policies and of options."""
    generator = seeded(seed)
    states = {
        "bars": torch.randint(BARS, (rows,), generator=generator),
        "account": torch.randn(rows, ACCOUNT, generator=generator),
        "belief": torch.softmax(torch.randn(rows, REGIMES, generator=generator), dim=1),
        "previous": torch.softmax(torch.randn(rows, OPTIONS, generator=generator), dim=1),
        "first": torch.rand(rows, generator=generator) < 0.2,
    }
    if injects:
        states["injected"] = torch.randn(rows, OPTIONS, OUTPUTS, generator=generator)
    if units:
        states["hidden"] = torch.randn(rows, units, generator=generator)
    return states
