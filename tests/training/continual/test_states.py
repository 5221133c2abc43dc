"""States that remedies look back on: of the trained policy, and read as it reads them."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.continual.law import Draw
from meta_controller.beliefs import BeliefSource
from tests.training.sb3.option_scenarios import Constant, collect, make_learner, shaken
from tests.training.sb3.scenarios import make_learner as make_flat
from training.agents import policy_of
from training.continual.states import _rows, collect_states, function_of, rollout_states
from training.sb3.option_ppo import OptionPPO
from training.sb3.ppo import MarketPPO

OPTIONS: dict[str, dict[str, Any]] = {
    "blended": {"mode": "blended"},
    "hard": {"mode": "hard", "meta": {"execution": {"mode": "hard"}}},
    "recurrent": {"mode": "blended", "policy": {"recurrent": 4}},
    "injected": {"mode": "blended", "injected": {3: Constant([0.4, 0.3])}, "actions": "weights"},
    "discrete": {"mode": "hard", "actions": "levels", "meta": {"execution": {"mode": "hard"}}},
}
ALL = ["flat", "flat discrete", *OPTIONS]


def learner(name: str) -> MarketPPO:
    """A learner whose outputs are far from zero."""
    if name.startswith("flat"):
        model = make_flat(discrete=name != "flat")
        with torch.no_grad():
            for parameter in model.policy.net.actor_parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=model.generator))
        return model
    return shaken(make_learner(**OPTIONS[name]))


def beliefs_of(model: MarketPPO) -> BeliefSource:
    return model.policy.beliefs if isinstance(model, OptionPPO) else BeliefSource("features", ())


@pytest.mark.parametrize("name", ALL)
def test_states_are_as_many_as_wanted_and_the_same_again(name: str) -> None:
    one, again = (collect_states(learner(name), 50, 40, seed=3) for _ in range(2))
    other = collect_states(learner(name), 50, 40, seed=4)
    expected = {"bars", "account"}
    if not name.startswith("flat"):
        expected |= {"belief", "previous", "first"}
        expected |= {"hidden"} if name == "recurrent" else set()
        expected |= {"injected"} if name == "injected" else set()
    assert one.keys() == expected
    for key, rows in one.items():
        assert len(rows) == 50
        assert torch.equal(rows, again[key]), key
    assert not torch.equal(one["bars"], other["bars"])


@pytest.mark.parametrize("name", ALL)
def test_states_of_a_rollout_are_spread_over_it_and_draw_nothing(name: str) -> None:
    model = learner(name)
    _, callback = model._setup_learn(model.n_steps * model.n_envs)
    model.collect_rollouts(model.vec_env, callback, model.rollout, model.n_steps)
    rows, before = _rows(model), model.generator.get_state()
    count = len(rows["bars"])
    for most in (count, 10 * count):
        found = rollout_states(model, most)
        assert found.keys() == rows.keys()
        for key, tensor in found.items():
            assert torch.equal(tensor, rows[key]), key
    some = rollout_states(model, 7)
    chosen = [place * count // 7 for place in range(7)]
    assert all(torch.equal(tensor, rows[key][chosen]) for key, tensor in some.items())
    assert torch.equal(model.generator.get_state(), before)


@pytest.mark.parametrize("name", ALL)
def test_more_states_take_more_rollouts(name: str) -> None:
    model = learner(name)
    rollout = model.n_steps * model.n_envs
    states = collect_states(model, 3 * rollout - 5, 1, seed=3)
    assert len(states["bars"]) == 3 * rollout - 5
    rows = torch.cat([states["bars"][:, None].float(), states["account"]], dim=1)
    assert len(torch.unique(rows, dim=0)) > 1.5 * rollout


@pytest.mark.parametrize("name", ALL)
def test_the_law_is_that_by_which_the_states_were_played(name: str) -> None:
    model = learner(name)
    collect_states(model, 50, 1, seed=3)
    law = function_of(model, beliefs_of(model)).law({}, _rows(model))
    with torch.no_grad():
        batch, _ = model.samples()
        chosen_B = torch.zeros(len(batch.bars_B), dtype=torch.int64)
        expected_B = batch.log_prob_B
        if isinstance(model, OptionPPO):
            found = batch._asdict()
            if law.choice_BO.shape[1] > 1:
                chosen_B = found["executed_BK"].argmax(dim=1)
            expected_B = expected_B + found["choice_log_prob_B"]
        log_prob_B = law.log_prob(Draw(chosen_B, batch.actions_BD))
    torch.testing.assert_close(log_prob_B, expected_B, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["flat", "blended", "recurrent", "injected"])
def test_the_law_is_centred_on_what_the_policy_does(name: str) -> None:
    model = learner(name)
    model._setup_learn(model.n_steps * model.n_envs, None)
    if isinstance(model, OptionPPO):
        collect(model)
    else:
        callback = model._setup_learn(1, None)[1]
        model.collect_rollouts(model.vec_env, callback, None, model.n_steps)
    rollout, space = model.rollout, model.action_space
    function = function_of(model, beliefs_of(model))
    with torch.no_grad():
        output_BD = function.law({}, _rows(model)).output_BOD[:, 0]
    output_TND = output_BD.numpy().reshape(model.n_steps, model.n_envs, -1)
    policy = policy_of(model)
    policy.reset(model.n_envs)
    running_N = np.ones(model.n_envs, dtype=np.bool_)
    compared = 0
    for step in range(model.n_steps):
        acted_ND = policy.act(rollout.observation_SNO[step])
        wanted_ND = np.clip(output_TND[step], space.low, space.high)  # type: ignore[attr-defined]  # a box
        np.testing.assert_allclose(acted_ND[running_N], wanted_ND[running_N], rtol=1e-4, atol=1e-5)
        compared += int(running_N.sum())
        running_N &= ~rollout.done_TN[step]
    assert compared > model.n_envs


def test_no_noise_and_no_head_start_is_left() -> None:
    """The twin acts as the policy did at the end of its training."""
    quiet = {"noise_final": -3.0}
    model = make_learner(mode="blended", ppo=quiet, meta={"head_start": 10**6})
    collect_states(model, 10, 1, seed=0)
    assert not model.rollout.forced
    log_std = model.policy.network.log_std
    assert torch.equal(log_std, torch.full_like(log_std, -3.0))
