"""Updates of all options that could have acted, and advantages scaled option by option."""

import math
from dataclasses import replace

import pytest
import torch

from agents.losses import (
    categorical_log_prob,
    clipped_surrogate,
    gaussian_log_prob,
    standardised,
)
from agents.option_losses import (
    all_options_surrogate,
    option_log_probs,
    responsibilities,
    standardised_by_option,
)
from tests.training.sb3.option_scenarios import (
    LANES,
    STEPS,
    Actions,
    Mode,
    collect,
    make_learner,
    samples,
    shaken,
)
from training.sb3.buffer import taken
from training.sb3.option_ppo import OptionPPO
from training.sb3.option_update import OptionObjective, OptionWeights
from training.sb3.update import LossWeights


def test_responsibilities_by_hand() -> None:
    """Chances 1/4 and 3/4, likelihoods 6 : 1: 6/4 against 3/4, so 2/3 and 1/3."""
    chance = torch.tensor([[0.25, 0.75], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    log_prob = torch.tensor([[math.log(6.0), 0.0], [50.0, -50.0], [-200.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([[2 / 3, 1 / 3], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(responsibilities(chance, log_prob), expected)


def test_log_probabilities_are_those_of_each_option_alone() -> None:
    torch.manual_seed(0)
    outputs, log_std = torch.randn(5, 3, 2), torch.randn(3, 2)
    actions, chosen = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    found = option_log_probs(outputs, actions, log_std)
    discrete = option_log_probs(outputs, chosen[:, None].float(), None)
    for k in range(3):
        alone = gaussian_log_prob(actions, outputs[:, k], log_std[k])
        torch.testing.assert_close(found[:, k], alone)
        torch.testing.assert_close(discrete[:, k], categorical_log_prob(chosen, outputs[:, k]))


def test_the_surrogate_by_hand_and_with_one_hot_shares() -> None:
    """Ratios 2 and 1/2 at A = 3 and clip 0.2: 0.25 * min(6, 3.6) + 0.75 * min(1.5, 2.4) = 2.025."""
    log_ratio = torch.tensor([[math.log(2.0), math.log(0.5)]])
    shares = torch.tensor([[0.25, 0.75]])
    found = all_options_surrogate(log_ratio, torch.tensor([3.0]), shares, 0.2)
    assert float(found) == pytest.approx(-2.025)
    torch.manual_seed(0)
    many, gain, option = torch.randn(9, 3), torch.randn(9), torch.randint(3, (9,))
    one_hot = torch.nn.functional.one_hot(option, 3).float()
    alone = clipped_surrogate(many[torch.arange(9), option], gain, 0.2)
    torch.testing.assert_close(all_options_surrogate(many, gain, one_hot, 0.2), alone)


def test_advantages_by_option_by_hand() -> None:
    """Option 0 earned 1 and 3, option 1 earned 10, 20 and 30: each gets mean 0 and deviation 1."""
    gains = torch.tensor([1.0, 10.0, 3.0, 20.0, 30.0])
    options = torch.tensor([0, 1, 0, 1, 1])
    found = standardised_by_option(gains, torch.nn.functional.one_hot(options, 2).float())
    half = 1.0 / math.sqrt(2.0)
    torch.testing.assert_close(found, torch.tensor([-half, -1.0, half, 0.0, 1.0]))
    torch.testing.assert_close(standardised_by_option(gains, torch.ones(5, 1)), standardised(gains))
    single = torch.eye(2)[torch.tensor([0, 1, 1, 1, 1])]
    rare = standardised_by_option(gains, single)  # once: by the moments of all
    torch.testing.assert_close(rare[0], standardised(gains)[0])
    for count in (0, 1):
        assert standardised_by_option(gains[:count], torch.ones(count, 1)).equal(gains[:count])


def hard(actions: Actions = "logits", **terms: object) -> OptionPPO:
    meta = {"execution": {"mode": "hard", "beta_max": 0.6}, "terms": terms}
    model = shaken(make_learner("hard", actions=actions, meta=meta).learn(256))
    return collect(model)


@pytest.mark.parametrize("actions", ["logits", "weights", "levels"])
def test_shares_are_of_the_options_that_could_have_acted(actions: Actions) -> None:
    model = hard(actions, all_options=1.0)
    batch, _ = samples(model)
    assert batch.share_BK.shape == (LANES * STEPS, 3)
    torch.testing.assert_close(batch.share_BK.sum(dim=1), torch.ones(LANES * STEPS))
    acted = (batch.option_log_prob_BK * batch.executed_BK).sum(dim=1)
    torch.testing.assert_close(acted, batch.log_prob_B, atol=1e-5, rtol=1e-5)
    assert float(batch.share_BK.amax(dim=1).min()) < 0.9  # not one-hot
    # What acted is a draw from the shares: in the mean they agree.
    gap = (batch.share_BK - batch.executed_BK).mean(dim=0)
    assert float(gap.abs().max()) < 0.1
    without, _ = samples(hard(actions))
    assert without.share_BK.shape == without.option_log_prob_BK.shape == (LANES * STEPS, 0)


@pytest.mark.parametrize("actions", ["logits", "levels"])
def test_options_that_did_not_act_learn_too(actions: Actions) -> None:
    gradients = {}
    for part in (0.0, 0.5, 1.0):
        model = hard(actions, all_options=part)
        batch, _ = samples(model)
        rows = taken(batch, (batch.executed_BK[:, 0] == 1.0).nonzero().flatten())
        net = model.policy.network
        actor = model.learners(net.encoder.plan(batch.bars_B))[0]
        model.policy.net.zero_grad()
        torch.autograd.backward(actor.loss(rows)[0])
        weight = net.options.trunk.output.weight
        assert weight.grad is not None
        gradients[part] = weight.grad[: net.options.heads].view(3, -1).clone()
    assert gradients[0.0][1:].abs().max() == 0.0
    assert gradients[1.0][1:].abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("mode", ["hard", "alternate"])
def test_half_a_part_is_the_mean_of_both(mode: Mode) -> None:
    execution = {"mode": mode, "hard_share": 0.5, "beta_max": 0.6}
    meta = {"execution": execution, "terms": {"all_options": 1.0}}
    model = collect(shaken(make_learner(mode, meta=meta).learn(128)))
    batch, _ = samples(model)
    wave = 0.3 * torch.sin(torch.arange(3 * LANES * STEPS) * 2.0).view(-1, 3)
    batch = batch._replace(option_log_prob_BK=batch.option_log_prob_BK + wave)
    net, losses = model.policy.network, []
    for part in (0.0, 0.5, 1.0):
        terms = replace(model.agent.meta_controller.terms, all_options=part)
        weights = OptionWeights(LossWeights(0.2, 0.0, 0.5), terms, share=1.0, forced=False)
        plan = net.encoder.plan(batch.bars_B)
        objective = OptionObjective(net, model.policy.features, plan, weights, "simplex")
        with torch.no_grad():
            losses.append(float(objective.policy(batch)[0]))
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2, abs=1e-5)
    assert abs(losses[0] - losses[2]) > 1e-4


def test_scaling_by_option_reaches_the_loss() -> None:
    found = []
    for advantages in ("batch", "option"):
        model = hard(advantages=advantages)
        batch, _ = samples(model)
        actor = model.learners(model.policy.net.encoder.plan(batch.bars_B))[0]
        uneven = batch.advantages_B * (1.0 + 99.0 * batch.executed_BK[:, 1])
        moved = batch._replace(advantages_B=uneven, log_prob_B=batch.log_prob_B - 0.1)
        scaled = actor.loss.__self__._standardised(moved)  # type: ignore[attr-defined]
        found.append([float(scaled[batch.executed_BK[:, k] == 1.0].std()) for k in range(3)])
    assert max(found[0]) / min(found[0]) > 10.0
    assert found[1] == pytest.approx([1.0, 1.0, 1.0], abs=0.02)


def test_by_default_nothing_is_spread() -> None:
    terms = make_learner("hard").agent.meta_controller.terms
    assert (terms.all_options, terms.advantages) == (0.0, "batch")
