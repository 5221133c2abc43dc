"""Rule policies: weights by hand, the mask, the schedule, and the turnover they promise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents import rules

Rule = (
    rules.Cash
    | rules.EqualWeight
    | rules.BuyAndHold
    | rules.InverseVolatility
    | rules.TimeSeriesMomentum
    | rules.MeanReversion
    | rules.RandomWeights
)
ALL = np.ones((10, 3), dtype=bool)


def observe(bar: int, *weights: float) -> NDArray[np.float32]:
    """An index observation of one account; cash is what the weights leave."""
    return np.array([[bar, *weights, 1.0 - sum(weights), 0.0, 1.0]], dtype=np.float32)


def begun(rule: Rule, num_envs: int = 1) -> Rule:
    rule.reset(num_envs)
    return rule


def test_cash_sells_everything() -> None:
    rule = begun(rules.Cash(ALL))
    assert rule.act(observe(0, 0.3, 0.3, 0.3)).tolist() == [[0.0, 0.0, 0.0]]


def test_equal_weight_counts_only_what_trades() -> None:
    tradable = ALL.copy()
    tradable[0, 1] = False
    rule = begun(rules.EqualWeight(tradable))
    np.testing.assert_allclose(rule.act(observe(0, 0.0, 0.0, 0.0)), [[0.5, 0.0, 0.5]])
    np.testing.assert_allclose(rule.act(observe(1, 0.6, 0.0, 0.4)), [[1 / 3, 1 / 3, 1 / 3]])


def test_a_halted_position_is_left_alone() -> None:
    tradable = ALL.copy()
    tradable[1, 1] = False
    rule = begun(rules.EqualWeight(tradable))
    rule.act(observe(0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(rule.act(observe(1, 0.5, 0.2, 0.3)), [[0.4, 0.2, 0.4]], atol=1e-7)


def test_between_scheduled_bars_nothing_is_ordered() -> None:
    schedule = np.zeros(10, dtype=bool)
    schedule[5] = True
    rule = begun(rules.EqualWeight(ALL, schedule))
    np.testing.assert_allclose(rule.act(observe(3, 0.0, 0.0, 0.0)), np.full((1, 3), 1 / 3))
    held = observe(4, 0.5, 0.125, 0.25)
    np.testing.assert_array_equal(rule.act(held), held[:, 1:4].astype(np.float64))
    np.testing.assert_allclose(rule.act(observe(5, 0.5, 0.2, 0.3)), np.full((1, 3), 1 / 3))


def test_buy_and_hold_holds() -> None:
    rule = begun(rules.BuyAndHold(ALL))
    np.testing.assert_allclose(rule.act(observe(0, 0.0, 0.0, 0.0)), np.full((1, 3), 1 / 3))
    # Bought, and the second fell at once: no cash is left, so nothing is asked again.
    np.testing.assert_array_equal(rule.act(observe(1, 0.375, 0.25, 0.375)), [[0.375, 0.25, 0.375]])
    drifted = observe(2, 0.5, 0.125, 0.25)
    np.testing.assert_array_equal(rule.act(drifted), [[0.5, 0.125, 0.25]])


def test_buy_and_hold_asks_again_for_what_lapsed_from_cash_alone() -> None:
    rule = begun(rules.BuyAndHold(ALL))
    rule.act(observe(0, 0.0, 0.0, 0.0))
    # The second order lapsed and the others rose: they are not sold.
    np.testing.assert_array_equal(rule.act(observe(1, 0.375, 0.0, 0.375)), [[0.375, 0.25, 0.375]])
    np.testing.assert_array_equal(rule.act(observe(2, 0.375, 0.125, 0.375)), [[0.375, 0.25, 0.375]])
    np.testing.assert_array_equal(rule.act(observe(3, 0.375, 0.25, 0.375)), [[0.375, 0.25, 0.375]])
    np.testing.assert_array_equal(rule.act(observe(4, 0.375, 0.125, 0.25)), [[0.375, 0.125, 0.25]])


def test_buy_and_hold_repeats_the_sales_that_a_newcomer_needs() -> None:
    tradable = ALL.copy()
    tradable[:2, 2] = False
    rule = begun(rules.BuyAndHold(tradable))
    rule.act(observe(0, 0.0, 0.0, 0.0))
    rule.act(observe(1, 0.5, 0.5, 0.0))
    np.testing.assert_allclose(rule.act(observe(2, 0.5, 0.5, 0.0)), np.full((1, 3), 1 / 3))
    # The sale of the first lapsed; the cash of the second is not enough.
    lapsed = rule.act(observe(3, 0.5, 0.375, 0.125))
    np.testing.assert_allclose(lapsed, [[0.5 - 0.5 * 5 / 21, 0.375 - 0.375 * 5 / 21, 1 / 3]])
    # Then the money is there: only the newcomer trades.
    np.testing.assert_allclose(rule.act(observe(4, 0.375, 0.25, 0.125))[0, :2], [0.375, 0.25])


def test_buy_and_hold_makes_room_for_a_late_starter() -> None:
    tradable = ALL.copy()
    tradable[:2, 2] = False
    rule = begun(rules.BuyAndHold(tradable))
    np.testing.assert_allclose(rule.act(observe(0, 0.0, 0.0, 0.0)), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(rule.act(observe(1, 0.75, 0.25, 0.0)), [[0.75, 0.25, 0.0]])
    # The third gets a third; the others give in proportion.
    np.testing.assert_allclose(rule.act(observe(2, 0.75, 0.25, 0.0)), [[0.5, 1 / 6, 1 / 3]])
    # What its price loses after the fill is not made up for.
    fallen = observe(3, 0.5, 0.1875, 0.3125)
    np.testing.assert_array_equal(rule.act(fallen), [[0.5, 0.1875, 0.3125]])
    np.testing.assert_array_equal(rule.act(observe(4, 0.5, 0.25, 0.25)), [[0.5, 0.25, 0.25]])


def test_buy_and_hold_keeps_the_money_of_a_delisted_asset() -> None:
    rule = begun(rules.BuyAndHold(ALL))
    rule.act(observe(0, 0.0, 0.0, 0.0))
    rule.act(observe(1, 0.375, 0.25, 0.375))
    np.testing.assert_array_equal(rule.act(observe(2, 0.5, 0.25, 0.0)), [[0.5, 0.25, 0.0]])


def test_inverse_volatility_by_hand() -> None:
    volatility = np.tile([0.1, 0.2, np.nan], (10, 1))
    rule = begun(rules.InverseVolatility(ALL, volatility))
    np.testing.assert_allclose(rule.act(observe(0, 0, 0, 0)), [[2 / 3, 1 / 3, 0.0]])
    unknown = begun(rules.InverseVolatility(ALL, np.full((10, 3), np.nan)))
    np.testing.assert_allclose(unknown.act(observe(0, 0, 0, 0)), np.full((1, 3), 1 / 3))


def test_momentum_by_hand() -> None:
    momentum = np.tile([0.1, -0.2, np.nan], (10, 1))
    rule = begun(rules.TimeSeriesMomentum(ALL, momentum))
    np.testing.assert_allclose(rule.act(observe(0, 0, 0, 0)), [[1 / 3, 0.0, 0.0]])


def test_mean_reversion_by_hand() -> None:
    # Mean +2 %: the first is 12 points behind it, the second 3, the third 15 ahead.
    returns = np.tile([-0.10, -0.01, 0.17], (10, 1))
    rule = begun(rules.MeanReversion(ALL, returns))
    np.testing.assert_allclose(rule.act(observe(0, 0, 0, 0)), [[0.8, 0.2, 0.0]])


def test_mean_reversion_compares_only_what_trades_and_is_known() -> None:
    tradable = ALL.copy()
    tradable[1, 0] = False
    returns = np.tile([-0.50, 0.02, -0.02], (10, 1))
    returns[2, 0] = np.nan
    rule = begun(rules.MeanReversion(tradable, returns))
    # The first neither counts in the mean nor is bought; a position in it stays.
    np.testing.assert_allclose(rule.act(observe(1, 0.4, 0, 0)), [[0.4, 0.0, 0.6]], atol=1e-7)
    np.testing.assert_allclose(rule.act(observe(2, 0, 0, 0)), [[0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    "returns",
    [[np.nan, np.nan, np.nan], [-0.1, np.nan, np.nan], [0.1, 0.1, 0.1]],
    ids=["nothing known", "one known", "all equal"],
)
def test_mean_reversion_holds_nothing_where_nothing_is_behind(returns: list[float]) -> None:
    rule = begun(rules.MeanReversion(ALL, np.tile(returns, (10, 1))))
    assert rule.act(observe(0, 0.3, 0.3, 0.3)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("turnover", [0.0, 0.02, 0.3])
def test_random_weights_turn_over_what_they_should(turnover: float) -> None:
    rule = begun(rules.RandomWeights(np.ones((500, 3), dtype=bool), turnover, rng(1)), 4)
    held = np.zeros((4, 3))
    moved = []
    for bar in range(400):
        observation = np.column_stack(
            [np.full(4, bar), held, 1.0 - held.sum(1), np.zeros(4), np.ones(4)]
        )
        target = rule.act(observation.astype(np.float32))
        moved.append(0.5 * (np.abs(target - held).sum(1) + np.abs((target - held).sum(1))))
        held = target
    # The first bar builds the portfolio and is not counted.
    assert np.mean(moved[1:]) == pytest.approx(turnover, abs=2e-3)


def test_random_lanes_differ_and_seeds_repeat() -> None:
    observation = np.repeat(observe(0, 0.0, 0.0, 0.0), 2, axis=0)
    first = begun(rules.RandomWeights(ALL, 0.1, rng(3)), 2).act(observation)
    again = begun(rules.RandomWeights(ALL, 0.1, rng(3)), 2).act(observation)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 0.01


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def every_rule(
    tradable: NDArray[np.bool_], seed: int, future: NDArray[np.float64] | None = None
) -> list[Rule]:
    """Each rule on random measures, whose last rows may be others."""
    generator = rng(seed)
    volatility = np.abs(generator.normal(size=tradable.shape))
    momentum = generator.normal(size=tradable.shape)
    if future is not None:
        volatility[-len(future) :], momentum[-len(future) :] = np.abs(future), future
    schedule = generator.random(len(tradable)) < 0.5
    return [
        rules.Cash(tradable),
        rules.EqualWeight(tradable, schedule),
        rules.BuyAndHold(tradable),
        rules.InverseVolatility(tradable, volatility, schedule),
        rules.TimeSeriesMomentum(tradable, momentum, schedule),
        rules.MeanReversion(tradable, momentum, schedule),
        rules.RandomWeights(tradable, 0.2, generator),
    ]


@given(st.integers(0, 2**31))
def test_every_rule_stays_on_the_simplex_and_off_what_does_not_trade(seed: int) -> None:
    generator = rng(seed)
    tradable = generator.random((6, 4)) < 0.7
    for rule in every_rule(tradable, seed):
        rule.reset(2)
        held = np.zeros((2, 4))
        for bar in range(6):
            cash = 1.0 - held.sum(1)
            observation = np.column_stack(
                [np.full(2, bar), held, cash, np.zeros(2), np.ones(2)]
            ).astype(np.float32)
            target = rule.act(observation)
            assert target.min() >= 0.0
            assert target.sum(1).max() <= 1.0 + 1e-12
            frozen = ~tradable[bar]
            # float32 observations carry seven digits; scaling back to the simplex moves no more.
            np.testing.assert_allclose(target[:, frozen], held[:, frozen], atol=1e-6)
            held = target


@given(st.integers(0, 2**31))
def test_the_future_does_not_matter(seed: int) -> None:
    tradable = rng(seed).random((8, 3)) < 0.7
    changed = tradable.copy()
    changed[4:] = ~changed[4:]
    noise = rng(seed + 1).normal(size=(4, 3))
    for kept, other in zip(every_rule(tradable, 5), every_rule(changed, 5, noise), strict=True):
        begun(kept)
        begun(other)
        for bar in range(4):
            observation = observe(bar, 0.2, 0.1, 0.3)
            np.testing.assert_array_equal(kept.act(observation), other.act(observation))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rules.Cash(ALL[0]), r"tradable_TA: expected \(T, A\)"),
        (lambda: rules.EqualWeight(ALL, np.ones(9, dtype=bool)), r"schedule_T: expected \(10,\)"),
        (lambda: rules.InverseVolatility(ALL, np.ones((10, 2))), "volatility_TA: expected"),
        (lambda: rules.TimeSeriesMomentum(ALL, np.ones((9, 3))), "momentum_TA: expected"),
        (lambda: rules.MeanReversion(ALL, np.ones((9, 3))), "return_TA: expected"),
        (lambda: rules.RandomWeights(ALL, 1.5, rng(0)), "turnover: expected a fraction"),
    ],
)
def test_faulty_arguments_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_another_number_of_accounts_is_refused() -> None:
    rule = begun(rules.Cash(ALL), 2)
    with pytest.raises(ValueError, match=r"observation: expected \(2, 7\), found \(1, 7\)"):
        rule.act(observe(0, 0.0, 0.0, 0.0))
