"""One conformance suite for all controllers, and what sets each apart."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from meta_controller.config import (
    LEARNED,
    ControllerConfig,
    ExecutionConfig,
    FixedController,
    MetaControllerConfig,
)
from meta_controller.controllers import Controller, make_controller

KINDS = tuple(each.kind for each in get_args(get_args(ControllerConfig)[0]))
OPTIONS, ACCOUNT, EMBEDDING, BATCH = 3, 4, 6, 9
REGIMES = (0, OPTIONS, OPTIONS - 1, OPTIONS + 2)
ADAPTER: TypeAdapter[Any] = TypeAdapter(ControllerConfig)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    kind: str,
    regimes: int = OPTIONS,
    *,
    execution: ExecutionConfig | None = None,
    options: int = OPTIONS,
    embedding: int = EMBEDDING,
    **fields: Any,
) -> Controller:
    config = MetaControllerConfig(
        controller=ADAPTER.validate_python({"kind": kind, **fields}),
        execution=execution or ExecutionConfig(),
    )
    return make_controller(
        config,
        num_options=options,
        num_regimes=regimes,
        embedding=embedding,
        account_size=ACCOUNT,
        generator=seeded(),
    )


def trained(controller: Controller) -> Controller:
    """As if it had learned something: no gate is zero any more."""
    generator = seeded(9)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.normal_(generator=generator)
    return controller


class Bars:
    """Inputs of a controller in a batch of states, and its answers."""

    def __init__(
        self, controller: Controller, belief_BR: Tensor, embedding: int = EMBEDDING
    ) -> None:
        rows = len(belief_BR)
        self.controller = controller
        self.fallback_BK = controller.fallback(belief_BR)
        self.account_BP = torch.randn(rows, ACCOUNT, generator=seeded(1))
        self.logits_BK = 3.0 * torch.randn(rows, OPTIONS, generator=seeded(2))
        self.half = controller.gate_half(torch.randn(5, embedding, generator=seeded(3)))
        self.rows_B = torch.arange(rows) % 5
        self.memory_BX = controller.start(rows)
        if self.memory_BX is not None:
            payoffs = torch.randn(rows, OPTIONS, generator=seeded(4))
            self.memory_BX = controller.learn(self.memory_BX, payoffs)

    @torch.no_grad()
    def answers(self, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Proposal and terminations of some of the states."""
        given = (self.rows_B[rows], self.account_BP[rows])
        deviation = self.controller.deviation(self.half, *given)
        memory = None if self.memory_BX is None else self.memory_BX[rows]
        proposal = self.controller.propose(self.fallback_BK[rows], deviation, memory)
        return proposal, self.controller.termination(self.logits_BK[rows])


def beliefs(regimes: int) -> Tensor:
    """Random beliefs, with rows that are certain, empty, and not numbers."""
    belief_BR = torch.softmax(torch.randn(BATCH, regimes, generator=seeded(5)), dim=1)
    if regimes:
        belief_BR[0], belief_BR[1], belief_BR[2] = 0.0, float("nan"), 0.0
        belief_BR[2, 0] = 1.0
    return belief_BR


def test_every_kind_is_in_the_suite() -> None:
    assert set(KINDS) == {
        "residual",
        "free",
        "fallback",
        "oracle",
        "fixed",
        "uniform",
        "multiplicative_weights",
    }


@pytest.mark.parametrize("regimes", REGIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_proposals_are_on_the_simplex_whatever_the_belief(kind: str, regimes: int) -> None:
    controller = trained(make(kind, regimes))
    proposal, _ = Bars(controller, beliefs(regimes)).answers()
    assert proposal.shape == (BATCH, OPTIONS)
    assert float(proposal.min()) >= 0.0
    torch.testing.assert_close(proposal.sum(dim=1), torch.ones(BATCH))


@pytest.mark.parametrize("regimes", REGIMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embedding", [0, EMBEDDING])
def test_a_batch_is_its_rows(kind: str, regimes: int, embedding: int) -> None:
    controller = trained(make(kind, regimes, embedding=embedding))
    bars = Bars(controller, beliefs(regimes), embedding)
    whole = bars.answers()
    for row in range(BATCH):
        for one, all_rows in zip(bars.answers(slice(row, row + 1)), whole, strict=True):
            torch.testing.assert_close(one[0], all_rows[row], atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_terminations_are_learned_or_constant(kind: str, capped: bool) -> None:
    execution = ExecutionConfig(beta_max=0.3, capped=capped)
    controller = make(kind, execution=execution)
    bars = Bars(controller, beliefs(OPTIONS))
    _, beta = bars.answers()
    assert beta.shape == (BATCH, OPTIONS)
    if kind in LEARNED:
        torch.testing.assert_close(beta, 0.3 * torch.sigmoid(bars.logits_BK))
        assert float(beta.min()) > 0.0
        assert float(controller.termination(torch.full((1, OPTIONS), 1e4)).max()) <= 0.3 + 1e-7
    else:
        assert torch.equal(beta, torch.full_like(beta, 0.3 if capped else 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_learns_says_so(kind: str) -> None:
    controller = make(kind)
    assert controller.learns == (kind in LEARNED) == bool(list(controller.parameters()))
    assert controller.told == (kind == "oracle")
    assert controller.remembers == (kind == "multiplicative_weights")
    assert (controller.start(2) is not None) == controller.remembers
    deviation = controller.deviation(
        controller.gate_half(torch.zeros(1, EMBEDDING)), torch.tensor([0]), torch.zeros(1, ACCOUNT)
    )
    assert (deviation is not None) == controller.learns


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_option_has_all_the_weight(kind: str) -> None:
    controller = make(kind, 2, options=1)
    memory = controller.start(2)
    deviation = torch.ones(2, 1) if controller.learns else None
    proposal = controller.propose(controller.fallback(torch.rand(2, 2)), deviation, memory)
    assert proposal.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_memories_go_where_the_controller_goes(kind: str) -> None:
    memory = make(kind).to("meta").start(2)
    assert memory is None or memory.device.type == "meta"


@pytest.mark.parametrize("regimes", REGIMES)
def test_a_residual_gate_begins_at_the_floored_fallback(regimes: int) -> None:
    bars = Bars(make("residual", regimes, floor=0.05), beliefs(regimes))
    proposal, _ = bars.answers()
    floored = bars.fallback_BK.clamp_min(0.05)
    torch.testing.assert_close(proposal, floored / floored.sum(dim=1, keepdim=True))


def test_a_residual_gate_tilts_the_fallback() -> None:
    # (1/2, 1/4, 1/4) tilted by g = (0, log 2, 0): (2, 2, 1) / 5.
    controller = make("residual")
    fallback = torch.tensor([[0.5, 0.25, 0.25]])
    deviation = torch.tensor([[0.0, 2.0, 0.0]]).clamp_min(1.0).log()
    found = controller.propose(fallback, deviation, None)
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.4, 0.2]]))


def test_a_free_gate_begins_even_and_knows_nothing_of_regimes() -> None:
    controller = make("free")
    even = Bars(controller, beliefs(OPTIONS)).answers()[0]
    torch.testing.assert_close(even, torch.full_like(even, 1 / 3))
    ours = Bars(trained(controller), beliefs(OPTIONS)).answers()[0]
    theirs = Bars(controller, beliefs(OPTIONS).flip(1)).answers()[0]
    assert torch.equal(ours, theirs)
    assert float((ours - 1 / 3).abs().max()) > 0.01


@pytest.mark.parametrize("kind", ["fallback", "oracle"])
def test_what_follows_the_belief_proposes_the_fallback(kind: str) -> None:
    bars = Bars(make(kind), beliefs(OPTIONS))
    assert torch.equal(bars.answers()[0], bars.fallback_BK)


def test_a_fixed_option_and_the_mean_of_all() -> None:
    alone = Bars(make("fixed", option=2), beliefs(3)).answers()[0]
    assert alone.tolist() == [[0.0, 0.0, 1.0]] * BATCH
    even = Bars(make("uniform"), beliefs(3)).answers()[0]
    torch.testing.assert_close(even, torch.full((BATCH, 3), 1 / 3))


def test_extreme_gates_stay_on_the_simplex() -> None:
    for kind in LEARNED:
        controller = make(kind)
        deviation = torch.tensor([[1e4, -1e4, 0.0], [-1e30, -1e30, -1e30]])
        found = controller.propose(torch.full((2, 3), 1 / 3), deviation, None)
        torch.testing.assert_close(found.sum(dim=1), torch.ones(2))


def refused(build: Callable[[], object], words: str) -> None:
    with pytest.raises((ValueError, ValidationError), match=words):
        build()


def test_faults_name_what_was_expected_and_found() -> None:
    refused(lambda: make("fixed", option=3), r"controller\.option: expected one of 0 \.\. 2, was 3")
    refused(lambda: FixedController(option=-1), "option")
    refused(lambda: make("residual", floor=0.0), "floor")
    refused(lambda: make("residual", floor=0.6), "floor")
    refused(lambda: make("free", hidden=()), "hidden")
    refused(lambda: make("multiplicative_weights", rate=0.0), "rate")
    refused(lambda: make("multiplicative_weights", share=1.1), "share")
    refused(lambda: make("uniform", option=1), "option")
    refused(lambda: make("guess"), "residual")
    table = MetaControllerConfig(regime_map=((1.0, 0.0), (0.0, 1.0)))
    refused(
        lambda: make_controller(
            table,
            num_options=3,
            num_regimes=2,
            embedding=0,
            account_size=1,
            generator=seeded(),
        ),
        "regime_map: expected 3 rows of 2 numbers",
    )
