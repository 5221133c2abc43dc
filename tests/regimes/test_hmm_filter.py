"""The forward filter of Markov-switching models: by hand, against the truth, and without a peek."""

import itertools
import math
import time

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM as Reference
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.regime_gbm import RegimeGBM
from regimes.base import Array, Observations, RegimeError
from regimes.hmm import GaussianHMM, MarkovSwitching, StudentHMM, SwitchingRegression
from regimes.hmm_kernel import Moments, Room, expect

TRANSITION_KK = np.array([[0.9, 0.1], [0.2, 0.8]])
STICKY_KK = np.array([[0.97, 0.02, 0.01], [0.03, 0.95, 0.02], [0.01, 0.04, 0.95]])

COVARIANCE_KDD = np.array([[[1, 0.3], [0.3, 1]], [[2, -0.5], [-0.5, 1]], [[4, 1], [1, 5]]])


def two_series(nu: float = math.inf) -> MarkovSwitching:
    form = GaussianHMM if math.isinf(nu) else StudentHMM
    return form.from_parameters(
        transition=STICKY_KK,
        mean=[[0.0, 0.1], [0.2, -0.1], [-0.3, 0.0]],
        covariance=COVARIANCE_KDD,
        nu=nu,
        start=[0.5, 0.3, 0.2],
    )


def regression(nu: float = math.inf) -> SwitchingRegression:
    return SwitchingRegression.from_parameters(
        transition=TRANSITION_KK,
        mean=[0.0, 0.1],
        loadings=[[0.5, -0.2], [-0.3, 0.4]],
        covariance=[1.0, 2.0],
        nu=nu,
    )


MODELS = [two_series(), two_series(4.0), regression(), regression(6.0)]


def draw(model: MarkovSwitching) -> Observations:
    random = np.random.default_rng(0)
    y_TD = random.normal(size=(300, model.num_series))
    y_TD[[5, 6, 40]] = np.nan
    return Observations(y_TD, random.normal(size=(300, model.num_regressors)))


def test_two_bars_by_hand() -> None:
    model = GaussianHMM.from_parameters(
        transition=TRANSITION_KK, mean=[0.0, 1.0], covariance=[1.0, 1.0], start=[0.5, 0.5]
    )
    # Halfway between the means nothing is learnt: (0.5 * 0.9 + 0.5 * 0.2, the rest).
    # log 2 above it the second regime is twice as likely: (0.55, 2 * 0.45) / 1.45 = (11, 18) / 29.
    belief_TK = model.filter(Observations.of([0.5, 0.5 + math.log(2.0)]))
    second = 0.9 * 11 / 29 + 0.2 * 18 / 29
    assert_allclose(belief_TK, [[0.55, 0.45], [second, 1.0 - second]], rtol=1e-14)
    score_T = model.predictive_log_likelihood(Observations.of([0.5, np.nan]))
    assert_allclose(score_T, [-0.125 - 0.5 * math.log(2.0 * math.pi), 0.0], rtol=1e-14)


def test_the_start_is_the_stationary_law() -> None:
    assert_allclose(regression().start(), [2 / 3, 1 / 3], rtol=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_densities_are_those_of_scipy(model: MarkovSwitching) -> None:
    observations = draw(model).rows(0, 1)
    z_P = np.concatenate([[1.0], observations.x_TM[0]])
    density = 0.0
    for start, loading_DP, scatter_DD in zip(
        model.start(), model.loading_KDP, model.scatter_KDD, strict=True
    ):
        law = (
            stats.multivariate_normal(loading_DP @ z_P, scatter_DD)
            if math.isinf(model.nu)
            else stats.multivariate_t(loading_DP @ z_P, scatter_DD, df=int(model.nu))
        )
        density += start * law.pdf(observations.y_TD[0])
    assert_allclose(model.predictive_log_likelihood(observations), [math.log(density)], rtol=1e-12)


def test_the_covariance_of_a_t_law_is_the_one_asked_for() -> None:
    assert_allclose(two_series(4.0).covariance_KDD, two_series().covariance_KDD, rtol=1e-14)
    assert_allclose(two_series(4.0).scatter_KDD, two_series().scatter_KDD / 2.0, rtol=1e-14)


def test_last_rows_and_likelihood_are_those_of_hmmlearn() -> None:
    model = two_series()
    reference = Reference(3, covariance_type="full")
    reference.startprob_, reference.transmat_ = model.start(), model.transition
    reference.means_, reference.covars_ = model.loading_KDP[:, :, 0], model.scatter_KDD
    y_TD = np.random.default_rng(1).normal(size=(400, 2)) * 1.5
    belief_TK = model.filter(Observations.of(y_TD))
    # At its last row alone a smoothed probability has seen no future; ours is predicted on.
    for last in (1, 2, 17, 400):
        filtered_K = reference.predict_proba(y_TD[:last])[-1]
        assert_allclose(belief_TK[last - 1], filtered_K @ model.transition, rtol=1e-9)
    score = model.predictive_log_likelihood(Observations.of(y_TD)).sum()
    assert_allclose(score, reference.score(y_TD), rtol=1e-12)


@pytest.mark.parametrize(
    "market",
    [
        RegimeGBM(),
        RegimeGBM(
            drift=((0.0005, 0.0), -0.001, 0.0),
            volatility=(0.01, (0.02, 0.03), 0.04),
            correlation=((1.0, 0.6), (0.6, 1.0)),
            transition=0.97,
        ),
    ],
)
def test_true_parameters_give_the_exact_filter_of_regime_gbm(market: RegimeGBM) -> None:
    world = market.path(2000, seed=3).world
    law = market.law
    scale_KAA = law.volatility_KA[:, :, None] * law.volatility_KA[:, None, :]
    model = GaussianHMM.from_parameters(
        transition=law.transition_KK,
        mean=law.log_drift_KA,
        covariance=scale_KAA * (law.root_AA @ law.root_AA.T),
    )
    belief_TK = model.filter(Observations.of(np.diff(np.log(world.close_NA), axis=0)))
    assert world.belief_NK is not None
    assert_allclose(model.start(), world.belief_NK[0], atol=1e-12)
    assert_allclose(belief_TK, world.belief_NK[1:], atol=1e-9)


@pytest.mark.parametrize(
    "market",
    [
        GarleanuPedersen(),
        GarleanuPedersen(
            loadings=(((0.3, 0.0), (0.1, 0.1)), ((-0.2, 0.1), (0.0, -0.3))),
            covariance=((1.0, 0.4), (0.4, 2.0)),
        ),
    ],
)
def test_true_loadings_give_the_exact_filter_of_garleanu_pedersen(market: GarleanuPedersen) -> None:
    world = market.path(2000, seed=4).world
    system = market.system
    model = SwitchingRegression.from_parameters(
        transition=system.transition_KK,
        mean=np.zeros((market.num_regimes, market.num_assets)),
        loadings=system.loading_KAS,
        covariance=system.covariance_KAA,
    )
    change_TA = np.diff(world.close_NA, axis=0)
    belief_TK = model.filter(Observations.of(change_TA, world.signal_NF[:-1]))
    assert world.belief_NK is not None
    assert_allclose(belief_TK, world.belief_NK[1:], atol=1e-9)
    assert belief_TK.std(axis=0).min() > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_bar_by_bar_gives_the_same_bits(model: MarkovSwitching) -> None:
    observations = draw(model)
    batch_state_K, state_K = model.start(), model.start()
    belief_TK = model.filter(observations, batch_state_K)
    for row in range(len(observations)):
        belief_K = model.advance(state_K, observations.y_TD[row], observations.x_TM[row])
        assert_array_equal(belief_K, belief_TK[row])
    assert_array_equal(state_K, batch_state_K)
    assert_array_equal(state_K, belief_TK[-1])


@pytest.mark.parametrize("model", MODELS)
def test_the_future_changes_nothing(model: MarkovSwitching) -> None:
    observations = draw(model)
    belief_TK = model.filter(observations)
    score_T = model.predictive_log_likelihood(observations)
    random = np.random.default_rng(7)
    for row in random.integers(0, 299, size=5):
        y_TD, x_TM = observations.y_TD.copy(), observations.x_TM.copy()
        y_TD[row + 1 :] = 50.0 * random.normal(size=y_TD[row + 1 :].shape)
        x_TM[row + 1 :] = random.normal(size=x_TM[row + 1 :].shape)
        other = Observations(y_TD, x_TM)
        assert_array_equal(model.filter(other)[: row + 1], belief_TK[: row + 1])
        assert_array_equal(model.predictive_log_likelihood(other)[: row + 1], score_T[: row + 1])


def test_a_bar_without_an_observation_carries_the_belief_on() -> None:
    model = two_series()
    observations = draw(model)
    belief_TK = model.filter(observations)
    assert_allclose(belief_TK[5], belief_TK[4] @ model.transition, rtol=1e-14)
    assert_allclose(belief_TK[6], belief_TK[5] @ model.transition, rtol=1e-14)
    state_K = belief_TK[4].copy()
    carried_K = model.advance(state_K, np.array([0.3, np.inf]), np.empty(0))
    assert_array_equal(carried_K, belief_TK[5])


def test_nothing_but_gaps_stays_at_the_stationary_law() -> None:
    model = regression()
    belief_TK = model.filter(Observations.of(np.full(10_000, np.nan), np.zeros((10_000, 2))))
    assert_allclose(belief_TK, np.broadcast_to(model.start(), belief_TK.shape), rtol=1e-12)


@given(
    values=st.lists(st.floats(-1.7e308, 1.7e308), min_size=2, max_size=12),
    nu=st.sampled_from([math.inf, 4.0]),
)
def test_beliefs_are_probabilities_whatever_comes(values: list[float], nu: float) -> None:
    model = two_series(nu)
    y_TD = np.array(values[: len(values) // 2 * 2]).reshape(-1, 2)
    belief_TK = model.filter(Observations.of(y_TD))
    assert np.isfinite(belief_TK).all()
    assert belief_TK.min() >= 0.0
    assert_allclose(belief_TK.sum(axis=1), 1.0, rtol=1e-14)
    assert np.isfinite(model.predictive_log_likelihood(Observations.of(y_TD))).all()


@pytest.mark.parametrize("size", [1e6, 1e160, 1e300])
def test_an_outlier_speaks_for_the_widest_regime(size: float) -> None:
    model = GaussianHMM.from_parameters(
        transition=TRANSITION_KK, mean=[0.0, 0.0], covariance=[1.0, 4.0]
    )
    belief_TK = model.filter(Observations.of([0.0, size, 0.0]))
    assert np.isfinite(belief_TK).all()
    if size < 1e150:
        assert_allclose(belief_TK[1], TRANSITION_KK[1], rtol=1e-12)


def test_an_impossible_regime_stays_impossible() -> None:
    model = GaussianHMM.from_parameters(
        transition=np.eye(2), mean=[0.0, 1000.0], covariance=[1.0, 1.0], start=[1.0, 0.0]
    )
    belief_TK = model.filter(Observations.of([1000.0, 1e9, 0.0]))
    assert_array_equal(belief_TK, [[1.0, 0.0]] * 3)


@pytest.mark.parametrize("nu", [math.inf, 5.0])
def test_forward_backward_equals_the_sum_over_all_paths(nu: float) -> None:
    y_T, x_TM = np.array([0.2, -1.0, np.nan, 2.0, 0.5]), np.linspace(-1.0, 1.0, 5)[:, None]
    model = SwitchingRegression.from_parameters(
        transition=TRANSITION_KK, mean=[0, 0.5], loadings=[[0.3], [-1.0]], covariance=[1, 3], nu=nu
    )
    weight_TK, count_KK, density_TK = np.zeros((5, 2)), np.zeros((2, 2)), np.ones((5, 2))
    for row, regime in itertools.product((0, 1, 3, 4), (0, 1)):
        centre = model.loading_KDP[regime, 0] @ [1.0, x_TM[row, 0]]
        scale = math.sqrt(model.scatter_KDD[regime, 0, 0])
        density_TK[row, regime] = (
            stats.norm(centre, scale) if math.isinf(nu) else stats.t(nu, centre, scale)
        ).pdf(y_T[row])
    total = 0.0
    for path in itertools.product((0, 1), repeat=5):
        moves = list(itertools.pairwise(path))
        chance = 0.5 * math.prod(TRANSITION_KK[move] for move in moves)
        chance *= math.prod(density_TK[row, regime] for row, regime in enumerate(path))
        total += chance
        for row, regime in enumerate(path):
            weight_TK[row, regime] += chance
        for move in moves:
            count_KK[move] += chance
    moments = Moments(np.empty((2, 3, 3)), np.empty(2), np.empty((2, 2)))
    forward_TK, density_TK, room_TK = np.empty((3, 5, 2))
    room = Room(forward_TK, density_TK, room_TK, np.empty(1), np.empty(3))
    score = expect(y_T[:, None].copy(), x_TM, model._law, room, moments)
    assert_allclose(score, math.log(total), rtol=1e-12)
    assert_allclose(moments.count_KK, count_KK / total, rtol=1e-12)
    assert_allclose(room.forward_TK, weight_TK / total, rtol=1e-12)
    seen = [0, 1, 3, 4]
    assert_allclose(moments.mass_K, weight_TK[seen].sum(axis=0) / total, rtol=1e-12)
    z_TQ = np.column_stack([np.ones(5), x_TM, y_T])[seen]
    for regime in range(2):
        rest_T = z_TQ[:, 2] - z_TQ[:, :2] @ model.loading_KDP[regime, 0]
        distance_T = rest_T**2 / model.scatter_KDD[regime, 0, 0]
        u_T = np.ones(4) if math.isinf(nu) else (nu + 1.0) / (nu + distance_T)
        expected_QQ = (z_TQ * (weight_TK[seen, regime] / total * u_T)[:, None]).T @ z_TQ
        assert_allclose(moments.moment_KQQ[regime], expected_QQ, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_one_bar_takes_microseconds(model: MarkovSwitching) -> None:
    state_K, y_D, x_M = model.start(), np.zeros(model.num_series), np.zeros(model.num_regressors)
    model.advance(state_K, y_D, x_M)
    fastest = math.inf
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(100):
            model.advance(state_K, y_D, x_M)
        fastest = min(fastest, (time.perf_counter() - begin) / 100)
    assert fastest < 50e-6


@pytest.mark.parametrize("model", MODELS)
def test_arrays_bring_back_the_same_bits(model: MarkovSwitching) -> None:
    arrays = model.to_arrays()
    again = type(model).from_arrays(arrays)
    assert all(np.isfinite(array).all() and array.dtype == float for array in arrays.values())
    assert again.nu == model.nu
    assert_array_equal(again.filter(draw(model)), model.filter(draw(model)))
    assert_array_equal(again.volatility, model.volatility)


@pytest.mark.parametrize("model", MODELS)
def test_regimes_in_another_order_have_the_same_beliefs(model: MarkovSwitching) -> None:
    order_K = np.roll(np.arange(model.num_regimes), 1)
    other = model.permuted(order_K)
    assert_array_equal(other.volatility, model.volatility[order_K])
    assert_allclose(other.filter(draw(model)), model.filter(draw(model))[:, order_K], rtol=1e-11)


def test_a_model_is_immutable() -> None:
    model = two_series()
    with pytest.raises(ValueError, match="read-only"):
        model.transition[0, 0] = 0.5
    state_K = model.start()
    state_K[0] = 0.9
    assert model.start()[0] == 0.5


def test_hidden_markov_models_do_not_read_regressors() -> None:
    model = two_series()
    series = draw(model)
    beside = Observations(series.y_TD, np.ones((len(series), 3)))
    assert_array_equal(model.filter(beside), model.filter(series))


def test_drift_and_volatility_are_those_of_the_mean_series() -> None:
    model = two_series()
    assert_allclose(model.drift, [0.05, 0.05, -0.15], rtol=1e-12)
    assert_allclose(model.volatility**2, [2.6 / 4, 2.0 / 4, 11.0 / 4], rtol=1e-12)
    # Regressors of variance 1 add the squares of their loadings.
    assert_allclose(regression().drift, [0.0, 0.1], atol=1e-15)
    assert_allclose(regression().volatility ** 2, [1.29, 2.25], rtol=1e-12)


GOOD: dict[str, object] = {
    "transition": TRANSITION_KK,
    "mean": [0.0, 1.0],
    "covariance": [1.0, 2.0],
}


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        (GaussianHMM, {"transition": [[0.9, 0.2], [0.5, 0.5]]}, "transition.*sum to 1.*0.2"),
        (GaussianHMM, {"transition": [[1.1, -0.1], [0.5, 0.5]]}, "transition.*probabilities"),
        (GaussianHMM, {"transition": [[0.5, 0.5]]}, "square"),
        (GaussianHMM, {"transition": 1.0}, "rows of probabilities"),
        (GaussianHMM, {"transition": np.full((3, 3), 1 / 3)}, "transition: expected shape"),
        (GaussianHMM, {"start": [0.5, 0.6]}, "start.*sum to 1"),
        (GaussianHMM, {"covariance": [1.0, -2.0]}, "positive definite"),
        (GaussianHMM, {"covariance": [1.0, 2.0, 3.0]}, "scatter_KDD: expected shape"),
        (GaussianHMM, {"mean": [0.0, np.nan]}, "loading_KDP: expected finite"),
        (GaussianHMM, {"mean": 0.0}, "expected shapes"),
        (GaussianHMM, {"nu": 5.0}, "infinite nu"),
        (GaussianHMM, {"loadings": [[1.0], [2.0]]}, "no regressors"),
        (StudentHMM, {}, "finite nu"),
        (StudentHMM, {"nu": 2.0}, "nu: expected a number > 2"),
        (SwitchingRegression, {"loadings": [[1.0]]}, "expected shapes"),
    ],
)
def test_parameters_that_make_no_sense(
    form: type[MarkovSwitching], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RegimeError, match=message):
        form.from_parameters(**(GOOD | changes))  # type: ignore[arg-type]


def test_stored_arrays_that_make_no_sense() -> None:
    arrays = two_series().to_arrays()
    with pytest.raises(RegimeError, match="expected the fields"):
        GaussianHMM.from_arrays({"nu": arrays["nu"]})
    with pytest.raises(RegimeError, match="nu: expected a number"):
        GaussianHMM.from_arrays(arrays | {"nu": np.zeros(2)})
    with pytest.raises(RegimeError, match="loading: expected shape"):
        GaussianHMM.from_arrays(arrays | {"loading_KDP": np.zeros(2)})


@pytest.mark.parametrize(
    ("y", "x", "state"),
    [([0.0, 1.0], [0.0, 0.0], 2), ([0.0], [0.0], 2), ([0.0], [0.0, 0.0], 3)],
)
def test_bars_of_another_width(y: list[float], x: list[float], state: int) -> None:
    state_K: Array = np.full(state, 1.0 / state)
    with pytest.raises(RegimeError, match="expected 1 series, 2 regressors and a state of 2"):
        regression().advance(state_K, np.array(y), np.array(x))
