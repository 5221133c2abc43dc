"""How far from optimal is an agent, on a market whose best policy is known?

`judge_optimality` plays the trained policies of several seeds, the oracle that knows the regime,
the one that filters it (where it exists) and the market's rules on the same fresh episodes, and
says which share of what can be earned the agent earns: S = (J - J0) / (J* - J0), with J0 of doing
nothing and J* of the best policy that has the agent's information. Where the agent is shown a
filter that assumes another chain than the market's, J* is that of the true filter.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from pydantic import TypeAdapter

from agents.policy import Policy
from envs.synthetic import Problem
from evaluation.optimality_result import NOTHING, Check, OptimalityEvaluation, Row
from evaluation.optimality_scores import (
    Earned,
    OptimalityConfig,
    Scores,
    episode_length,
    measure,
)
from evaluation.optimality_states import slices
from evaluation.optimality_statistics import (
    iqm,
    iqm_interval,
    mean_interval,
    optimality_ratio,
    undefined_because,
)
from markets.synthetic.base import Information, Oracle, SyntheticMarket
from markets.synthetic.chain import SyntheticMarketError

__all__ = [
    "Check",
    "Earned",
    "OptimalityConfig",
    "OptimalityEvaluation",
    "Row",
    "Scores",
    "episode_length",
    "iqm",
    "iqm_interval",
    "judge_optimality",
    "mean_interval",
    "measure",
    "optimality_ratio",
    "reference_of",
    "undefined_because",
]


def judge_optimality(
    agents: Mapping[int, Policy], problem: Problem, config: OptimalityConfig | None = None
) -> OptimalityEvaluation:
    """Measure the distance of trained policies from the optimum of their market.

    Args:
        agents: policies by their training seed, deterministic, acting on index observations.
        problem: the market and the rules that they were trained under.
        config: how it is measured.

    Returns:
        Scores, intervals, verdict, and slices of the median seed's policy.

    Raises:
        ValueError: no agent, or a market without the rule `do_nothing`.
        SyntheticMarketError: no oracle is known for the market's parameters.
    """
    if not agents:
        raise ValueError("agents: expected at least one trained policy, found none")
    settings = config or OptimalityConfig()
    market = problem.world
    rules = market.informed().rules()
    if NOTHING not in rules:
        raise ValueError(f"rules: expected {NOTHING!r} among them, found {sorted(rules)}")
    oracles, missing = _oracles(market)
    reference = _reference(market, oracles)
    found = OptimalityEvaluation(
        agents=tuple(
            measure(policy, problem, settings, name="agent", seed=seed)
            for seed, policy in agents.items()
        ),
        oracles={
            name: measure(oracle, problem, settings, name=f"oracle_{name}")
            for name, oracle in oracles.items()
        },
        rules={name: measure(rule, problem, settings, name=name) for name, rule in rules.items()},
        computed={
            name: oracle.value for name, oracle in oracles.items() if oracle.value is not None
        },
        reference=reference,
        view=market.regime,
        missing=missing,
        market=TypeAdapter(type(market)).dump_python(market, mode="json"),
        problem={
            "trade_size": problem.trade_size,
            "dead_zone": problem.dead_zone,
            "expected_reward": problem.expected_reward,
        },
        additive=problem.stream().additive,
        length=episode_length(settings, market.discount),
        discount=market.discount,
        config=settings,
    )
    shown = list(agents.values())[found.shown]
    taken_LNA = found.oracles[reference].holding_LNA
    if found.bound:  # that optimum acts on what the agent does not see
        return found
    return replace(found, slices=slices(shown, oracles[reference], problem, taken_LNA))


def reference_of(market: SyntheticMarket) -> Information:
    """Return which optimum agents on this market are judged by.

    Raises:
        SyntheticMarketError: no oracle is known for the market's parameters.
    """
    return _reference(market, _oracles(market)[0])


def _oracles(market: SyntheticMarket) -> tuple[dict[Information, Oracle], dict[Information, str]]:
    """The oracles that exist, and why the others do not."""
    found: dict[Information, Oracle] = {}
    missing: dict[Information, str] = {}
    wanted: tuple[Information, ...] = get_args(Information)
    for name in wanted if market.num_regimes > 1 else wanted[:1]:
        try:
            found[name] = market.informed().oracle(name)
        except SyntheticMarketError as error:
            missing[name] = str(error)
    if "known" not in found and (market.regime == "known" or not found):
        reasons = "; ".join(missing.values())
        raise SyntheticMarketError(f"oracle: expected one for the agent's information: {reasons}")
    return found, missing


def _reference(market: SyntheticMarket, oracles: Mapping[Information, Oracle]) -> Information:
    """The oracle with the agent's information, or else the one that knows more."""
    return "belief" if market.regime != "known" and "belief" in oracles else "known"
