"""How much a policy's law depends on each of its parameters: the diagonal of Fisher information.

Dimensions: B states, O alternatives, D outputs.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from agents.continual.law import ActionLaw, Draw
from agents.continual.protocol import PolicyFunction, States, Tensors

Score = Callable[[ActionLaw, Draw | None], Tensor]
"""What is differentiated: a number of each state, (B,)."""
PER_CHUNK = 2**21
"""Numbers of gradients that are held at a time (8 MiB in single precision, and as much again for
their squares). Fewer and more were slower."""


def fisher_information(
    function: PolicyFunction,
    states: States,
    generator: torch.Generator,
    *,
    names: Sequence[str] | None = None,
    draws: int = 1,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    r"""Diagonal of the policy's Fisher information, by drawn actions.

        F_p = E_s E_{a ~ pi(. | s)} ( d log pi(a | s) / d theta_p )^2

    The square is of the gradient of each state by itself. That of a minibatch's mean gradient, and
    that with the actions and advantages of the training, are other numbers (Kunstner et al. 2019,
    "Limitations of the empirical Fisher approximation", arXiv:1905.12558). Where one option acts at
    a time, log pi(a | s) is that of option and action. Log deviations are no parameters.

    All actions are drawn before any gradient is taken, so the result does not depend on the chunk.
    Memory: twice `PER_CHUNK` numbers, or two gradients where the policy is larger than that.

    Args:
        function: the policy, under its present parameters.
        states: B of them.
        generator: source of the actions.
        names: parameters of interest; None = all.
        draws: actions of each state.
        chunk: states whose gradients are taken at once; None = as many as memory allows.

    Returns:
        Tensors in the shapes of the parameters, units of 1 / parameter^2.

    Raises:
        ValueError: no states, or information that is not finite.
    """
    count = count_states(states)
    with torch.no_grad():
        law = function.law(function.parameters, states)
    total: dict[str, Tensor] = {}
    for _ in range(draws):
        found = mean_over_states(
            function, states, _log_prob, torch.square, law.draw(generator), names, chunk
        )
        for name, tensor in found.items():
            total[name] = total[name] + tensor / draws if name in total else tensor / draws
    _require_finite("Fisher information", total, count)
    return total


def output_sensitivity(
    function: PolicyFunction,
    states: States,
    *,
    names: Sequence[str] | None = None,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    r"""Mean size of the gradient of the outputs' squared length.

        Omega_p = E_s | d g(s) / d theta_p |,   g(s) = sum_o P(o | s) ||y_o(s)||^2 + ||P(. | s)||^2

    with y_o the means, or logits, of alternative o. With one alternative g is ||y||^2 as published
    (Aljundi et al. 2018, arXiv:1711.09601, section 4.1); where one option acts at a time, options
    count as much as they act, and the choice is an output too.

    Args:
        function: the policy, under its present parameters.
        states: B of them.
        names: parameters of interest; None = all.
        chunk: states whose gradients are taken at once; None = as many as memory allows.

    Returns:
        Tensors in the shapes of the parameters.

    Raises:
        ValueError: no states, or a result that is not finite.
    """
    count = count_states(states)
    found = mean_over_states(function, states, _squared_length, torch.abs, None, names, chunk)
    _require_finite("importance", found, count)
    return found


@torch.no_grad()  # parameters that are not asked for would carry a graph into the result
def mean_over_states(
    function: PolicyFunction,
    states: States,
    score: Score,
    size: Callable[[Tensor], Tensor],
    draw: Draw | None = None,
    names: Sequence[str] | None = None,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """E_s size( d score(s) / d theta ), a gradient of each state by itself.

    Args:
        function: the policy, under its present parameters.
        states: B of them.
        score: what is differentiated.
        size: of a gradient, number by number: its square, or absolute value.
        draw: actions of the states that the score reads.
        names: parameters of interest; None = all.
        chunk: states whose gradients are taken at once; None = as many as `PER_CHUNK` allows.
    """
    wanted = function.parameters if names is None else {n: function.parameters[n] for n in names}
    given = {name: parameter.detach() for name, parameter in wanted.items()}

    def alone(parameters: Tensors, state: States, drawn: Draw | None) -> Tensor:
        row = {key: tensor[None] for key, tensor in state.items()}
        taken = None if drawn is None else Draw(drawn.alternative_B[None], drawn.action_BD[None])
        return score(function.law(parameters, row), taken).squeeze(0)

    each = torch.func.vmap(torch.func.grad(alone), in_dims=(None, 0, None if draw is None else 0))
    count = count_states(states)
    rows = chunk or max(1, PER_CHUNK // max(1, sum(p.numel() for p in given.values())))
    # Double precision: sums of thousands of chunks must not depend on where they are cut.
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in given.items()}
    for start in range(0, count, rows):
        part = {key: tensor[start : start + rows] for key, tensor in states.items()}
        drawn = None if draw is None else Draw(*(tensor[start : start + rows] for tensor in draw))
        for name, gradient in each(given, part, drawn).items():
            total[name] += size(gradient).sum(dim=0)
    return {name: (tensor / count).to(given[name].dtype) for name, tensor in total.items()}


def normalised(importance: Tensors, masks: Tensors) -> dict[str, Tensor]:
    """Importance of protected numbers, with mean 1 over those of each tensor; zero elsewhere.

    Fisher information grows with 1 / sigma^2 and differs by orders of magnitude between layers;
    with mean 1 a strength means the same in every policy. A tensor of zeros stays zero.

    Args:
        importance: by parameter, >= 0.
        masks: what is protected of each.
    """
    found = {}
    for name, mask in masks.items():
        kept = torch.where(mask, importance[name].double(), 0.0)
        mean = kept.sum() / mask.sum()
        found[name] = torch.where(mean > 0.0, kept / mean, kept).to(importance[name].dtype)
    return found


def require_gradient(
    remedy: str, function: PolicyFunction, groups: Sequence[str], importance: Tensors
) -> None:
    """Refuse a protected part of the policy on which nothing depends.

    A single head may be without a gradient: its option does not act in the phase. The trunk, all
    heads together, or the gate cannot.

    Args:
        remedy: whose configuration it is.
        function: the policy.
        groups: parts that are protected.
        importance: of the parameters.

    Raises:
        ValueError: a part whose importance is zero in every state.
    """
    for group in groups:
        masks = function.part(group)
        if group.startswith("head:"):
            continue
        if not any(bool(importance[name][mask].any()) for name, mask in masks.items()):
            raise ValueError(
                f"{remedy}.protect: expected parts that actions depend on, found {group!r} without "
                f"a gradient in any state ({', '.join(masks)})"
            )


def count_states(states: States) -> int:
    """Number B of states.

    Raises:
        ValueError: there are none.
    """
    count = min((len(tensor) for tensor in states.values()), default=0)
    if not count:
        raise ValueError("states: expected those of the phase that has ended, found none")
    return count


def first_states(states: States, most: int) -> dict[str, Tensor]:
    """At most so many states, which are in random order."""
    return {key: tensor[:most] for key, tensor in states.items()}


def _log_prob(law: ActionLaw, draw: Draw | None) -> Tensor:
    assert draw is not None  # noqa: S101 - actions were drawn
    return law.log_prob(draw)


def _squared_length(law: ActionLaw, draw: Draw | None) -> Tensor:
    del draw
    length_BO = law.output_BOD.square().sum(dim=2)
    return (law.choice_BO * length_BO).sum(dim=1) + law.choice_BO.square().sum(dim=1)


def _require_finite(what: str, found: Mapping[str, Tensor], count: int) -> None:
    for name, tensor in found.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(
                f"{what}: expected finite numbers for {name} {tuple(tensor.shape)} over {count} "
                f"states, found {bad} that are not"
            )
