"""The markets with a known answer behind the Gymnasium interface, one environment each."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

from gymnasium.vector import AutoresetMode

from envs.default_market import ConfigurationError, validated
from envs.synthetic import Problem
from envs.trading_env import TradingEnv
from envs.vector_env import TradingVectorEnv
from markets.synthetic.base import RegimeView
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM

World = GarleanuPedersen | OrnsteinUhlenbeck | RegimeGBM
Told = Literal["window", "index"]


class SyntheticEnv(TradingEnv):
    """What the three environments share: a `Problem`, and fresh paths of its market.

    Attributes:
        problem: The market, its rules, and how a solution's targets become actions.
    """

    kind: ClassVar[type[World]]

    def __init__(  # noqa: PLR0913 - keyword-only options of one object
        self,
        world: World | Mapping[str, Any] | None = None,
        *,
        regime: RegimeView | None = None,
        episode_length: int = 256,
        expected_reward: bool = False,
        trade_size: float | None = None,
        dead_zone: float = 0.0,
        belief: bool = False,
        observation: Told = "window",
        lane: int = 0,
        render_mode: str | None = None,
    ) -> None:
        self.problem = build_problem(
            resolve_world(self.kind, world, regime),
            episode_length=episode_length,
            expected_reward=expected_reward,
            trade_size=trade_size,
            dead_zone=dead_zone,
        )
        super().__init__(
            self.problem.stream(belief=belief),
            self.problem.trading(),
            observation=observation,
            lane=lane,
            render_mode=render_mode,
        )


class SyntheticVectorEnv(TradingVectorEnv):
    """What the three vector environments share; lane i equals the scalar one of `lane=i`.

    Attributes:
        problem: The market, its rules, and how a solution's targets become actions.
    """

    kind: ClassVar[type[World]]

    def __init__(  # noqa: PLR0913 - keyword-only options of one object
        self,
        num_envs: int = 1,
        world: World | Mapping[str, Any] | None = None,
        *,
        regime: RegimeView | None = None,
        episode_length: int = 256,
        expected_reward: bool = False,
        trade_size: float | None = None,
        dead_zone: float = 0.0,
        belief: bool = False,
        observation: Told = "window",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        record_terms: bool = False,
        copy: bool = True,
        lane_offset: int = 0,
    ) -> None:
        self.problem = build_problem(
            resolve_world(self.kind, world, regime),
            episode_length=episode_length,
            expected_reward=expected_reward,
            trade_size=trade_size,
            dead_zone=dead_zone,
        )
        super().__init__(
            num_envs,
            self.problem.stream(belief=belief),
            self.problem.trading(),
            observation=observation,
            autoreset_mode=autoreset_mode,
            record_terms=record_terms,
            copy=copy,
            lane_offset=lane_offset,
        )


def resolve_world(
    kind: type[World], world: World | Mapping[str, Any] | None, regime: RegimeView | None
) -> World:
    """Return a market of one kind.

    Args:
        kind: Its class.
        world: The market, a mapping of its fields, or None for the defaults.
        regime: Replaces the market's own `regime`.

    Raises:
        ConfigurationError: Another kind of market, an unknown field or a value that it refuses.
    """
    if not isinstance(world, kind | Mapping | None):
        msg = f"world: expected a {kind.__name__} or a mapping of its fields, found {world!r}"
        raise ConfigurationError(msg)
    named: dict[str, Any] = {}
    if isinstance(world, Mapping):
        named = dict(world)
    elif world is not None:
        if regime is None:
            return world
        named = {field.name: getattr(world, field.name) for field in fields(world)}
    if regime is not None:
        named["regime"] = regime
    return validated("world", kind, named)


def build_problem(world: World, **arguments: Any) -> Problem:  # noqa: ANN401 - validated
    """Return the problem of a market and of the arguments that an environment was given.

    Raises:
        ConfigurationError: A value that it refuses.
    """
    return validated("problem", Problem, {"world": world, **arguments})


class GarleanuPedersenEnv(SyntheticEnv):
    """Trade mean-reverting signals under quadratic costs and risk: `perennial/GarleanuPedersen-v0`.

    With signals f_t, holdings x_t after the trade u_t at the close of bar t, and the Markov regime
    k = k_t, which governs the bar t + 1 (A assets, S signals, K regimes):

        C_{t+1} - C_t = B_k f_t + chol(Sigma_k) eps
        f_{t+1,s} = (1 - phi_{k,s}) f_{t,s} + sqrt(1 - (1 - phi_{k,s})^2) e_s

    Prices are levels that may turn negative.

    ## Action space
    `Box(-1, 1, (A,), float32)`

    | index | meaning | range | unit |
    |---|---|---|---|
    | i | trade u of asset i | -1 .. 1 | `problem.size` units |

    With a dead zone d (default 0), u = `size` sign(a) max(abs(a) - d, 0) / (1 - d). Holdings stay
    within +-`world.holding_limit`; a trade beyond it ends there and counts as projected, as does
    an action outside of the space.

    ## Observation space
    `Box(float32)`, (S + V + A + A + 3,): the market at the close of t, then the account.

    | index | content | range | unit |
    |---|---|---|---|
    | 0 .. S - 1 | signals f_t | +-1e12 | standard deviations |
    | S .. S + V - 1 | the regime, see below | 0 .. 1 | probability |
    | then A | last price change (0 at the start) | +-1e12 | standard deviations |
    | then A | holding x_{t-1} | +-1e6 | `world.holding_scale` units |
    | then 1 | cash | +-1e6 | equity |
    | then 1 | drawdown from the episode's highest equity | 0 .. 1e6 | that equity |
    | then 1 | 1, always: the objective has no end | 0 .. 1 | |

    `regime="known"`: one-hot k_t (V = K); `"belief"`: P(k_t | all seen up to the close of t), by
    the Bayes filter (V = K); `"hidden"`: nothing (V = 0). `observation="index"` puts the number of
    the bar in front.

    ## Order of events in `step`
    1. The agent has seen everything up to the close of bar t.
    2. The trade fills at that close, which is the open of the bar u = t + 1, and its cost is paid.
    3. Bar u happens under k_t, and so do the signals; then k_u is drawn from row k_t of
       `world.transition`.
    4. Reward of the change of equity from t to u, then the observation of u.

    ## Reward
        x_t'(C_{t+1} - C_t) - gamma / 2 x_t' Sigma_k x_t - 1/2 u_t' Lambda_k u_t,    currency

    With `expected_reward=True`, its expectation given the state, k_t and the trade: B_k f_t takes
    the place of C_{t+1} - C_t. The objective is E sum_t delta^t reward_t, delta = `world.discount`.

    ## Oracle
    `world.oracle("known")`: x_t = J_k^-1 (Lambda_k x_{t-1} + H_k f_t) with J, H of coupled Riccati
    equations. `world.oracle("belief")`, for the regime hidden: the same with the filter's
    probabilities in place of certainty; refused where Sigma or Lambda depends on k.

    >>> from envs.synthetic_env import GarleanuPedersenEnv
    >>> env = GarleanuPedersenEnv()
    >>> observation, info = env.reset(seed=0)
    >>> oracle = env.problem.world.oracle("known")
    >>> action = env.problem.follow(oracle, env.simulator)[0]
    >>> observation, reward, terminated, truncated, info = env.step(action)
    >>> info["projected"]
    False

    ## Start and end of an episode
    No holdings; k_0 and f_0 from their stationary laws (frozen regimes: uniform). Every episode is
    a fresh path, drawn from (seed, lane, number of the episode) alone. Truncated after
    `episode_length` steps; terminated only if all of `problem.initial_cash` is lost, a hundred
    times what holdings at their limits lose if every bar goes against them.

    ## Info
    As `TradingEnv`, with `expected_reward` (of the last step given the state at its decision, k_t
    and the trade; 0 after `reset`) and `regime` (k_t at the close of the present bar).

    ## Arguments
    | name | default | meaning |
    |---|---|---|
    | `world` | None: `GarleanuPedersen()` | the market, or a mapping of its fields |
    | `regime` | None: the world's | `"known"`, `"belief"` or `"hidden"` |
    | `episode_length` | 256 | bars |
    | `expected_reward` | False | reward the expectation instead of what happened |
    | `trade_size` | None | units that an action of 1 trades; None: see `Problem` |
    | `dead_zone` | 0 | actions up to this size trade nothing, in [0, 1) |
    | `belief` | False | run the filter even where the observation does not show it |
    | `observation` | `"window"` | or `"index"`: the number of the bar in front |
    | `lane`, `render_mode` | 0, None | as `TradingEnv` |

    ## Version history
    - v0: first version.
    """

    kind = GarleanuPedersen


class GarleanuPedersenVectorEnv(SyntheticVectorEnv):
    """N lanes of `GarleanuPedersenEnv` with paths of their own; the rest as `TradingVectorEnv`."""

    kind = GarleanuPedersen


class OrnsteinUhlenbeckEnv(SyntheticEnv):
    """Trade a mean-reverting price under proportional costs: `perennial/OrnsteinUhlenbeck-v0`.

    With the Markov regime k = k_t, which governs the bar t + 1:

        C_{t+1} = C_t + kappa_k (m_k - C_t) + sigma_k eps

    Prices are spreads between instruments and may turn negative.

    ## Action space
    `Box(-1, 1, (A,), float32)`, a trade of each asset in units, as in `GarleanuPedersenEnv`;
    holdings stay within +-`world.limit`.

    ## Observation space
    `Box(float32)`, (2 A + V + A + 3,): the market at the close of t, then the account.

    | index | content | range | unit |
    |---|---|---|---|
    | 2 i | price of asset i less its average | +-1e12 | standard deviations |
    | 2 i + 1 | its last change (0 at the start) | +-1e12 | standard deviations |
    | 2 A .. 2 A + V - 1 | the regime, as in `GarleanuPedersenEnv` | 0 .. 1 | probability |
    | then A + 3 | account, as in `GarleanuPedersenEnv` | | |

    ## Order of events in `step`
    As `GarleanuPedersenEnv`.

    ## Reward
        x_t'(C_{t+1} - C_t) - gamma / 2 x_t' Sigma_k x_t - c sum_i abs(u_{t,i}),    currency

    with Sigma_k = sigma_k^2 times the correlation of the shocks. With `expected_reward=True`,
    kappa_k (m_k - C_t) takes the place of C_{t+1} - C_t. The objective is
    E sum_t delta^t reward_t, delta = `world.discount`.

    ## Oracle
    `world.oracle("known")`: a no-trade band [l_k(C), h_k(C)], by dynamic programming: inside of it
    nothing is traded, outside to its nearest edge; for independent shocks.
    `world.oracle("belief")`, for the regime hidden: the same with edges that depend on the
    filter's probability, for one asset and two regimes. A dead zone lets a noisy policy do
    nothing, as the best one does most of the time.

    >>> from envs.synthetic_env import OrnsteinUhlenbeckEnv
    >>> env = OrnsteinUhlenbeckEnv()
    >>> observation, info = env.reset(seed=0)
    >>> myopic = env.problem.world.rules()["myopic"]
    >>> action = env.problem.follow(myopic, env.simulator)[0]
    >>> observation, reward, terminated, truncated, info = env.step(action)
    >>> info["bar"], info["projected"]
    (1, False)

    ## Start and end of an episode
    No holdings; k_0 from the stationary law, C_0 ~ N(m_k, sigma_k^2 / (1 - (1 - kappa_k)^2)) for
    k = k_0. Fresh paths and ends as in `GarleanuPedersenEnv`.

    ## Info
    As `GarleanuPedersenEnv`.

    ## Arguments
    As `GarleanuPedersenEnv`, with `world` an `OrnsteinUhlenbeck` or a mapping of its fields.

    ## Version history
    - v0: first version.
    """

    kind = OrnsteinUhlenbeck


class OrnsteinUhlenbeckVectorEnv(SyntheticVectorEnv):
    """N lanes of `OrnsteinUhlenbeckEnv` with paths of their own; the rest as `TradingVectorEnv`."""

    kind = OrnsteinUhlenbeck


class RegimeGBMEnv(SyntheticEnv):
    """Size positions as drift and volatility switch: `perennial/RegimeGBM-v0`.

    With the Markov regime k = k_t, which governs the bar t + 1:

        log(C_{t+1} / C_t) ~ N(log(1 + m_k) - s_k^2 / 2, s_k^2),    so that E[R_{t+1}] = m_k

    for the simple return R.

    ## Action space
    `Box(-1, 1, (A,), float32)`

    | index | meaning | range | unit |
    |---|---|---|---|
    | i | target weight of asset i: w = a `world.limit` | -1 .. 1 | `world.limit` of equity |

    Weights whose absolute values sum to more than `world.limit` are scaled down, and count as
    projected. The rest of the equity is cash without interest, borrowed where it is negative.

    ## Observation space
    `Box(float32)`, (V + A + A + 3,): the market at the close of t, then the account.

    | index | content | range | unit |
    |---|---|---|---|
    | 0 .. V - 1 | the regime, as in `GarleanuPedersenEnv` | 0 .. 1 | probability |
    | then A | last log return (0 at the start) | +-1e12 | its mean s_k over k |
    | then A | weight that is held | +-1e6 | equity |
    | then 1 | cash | +-1e6 | equity |
    | then 1 | drawdown from the episode's highest equity | 0 .. 1e6 | that equity |
    | then 1 | 1, always: the objective has no end | 0 .. 1 | |

    ## Order of events in `step`
    As `GarleanuPedersenEnv`; orders are sized with the equity before costs.

    ## Reward
        log(E_{t+1} / E_t),    E_{t+1} / E_t = 1 + w'R - c sum_i abs(w_i - w_i before the trade)

    with c = `world.cost_bps` 1e-4. With `expected_reward=True`, its expectation given k_t and w,
    for one asset; of several it is not known, and asking for it is an error. The objective is
    E sum_t delta^t reward_t, delta = `world.discount`.

    ## Oracle
    `world.oracle("known")` and `world.oracle("belief")`: without costs the growth-optimal (Kelly)
    weights of up to four assets, with costs and one asset a no-trade band of weights by dynamic
    programming (under belief: of two regimes).

    >>> from envs.synthetic_env import RegimeGBMEnv
    >>> env = RegimeGBMEnv(regime="belief", world={"cost_bps": 0.0})
    >>> observation, info = env.reset(seed=0)
    >>> oracle = env.problem.world.oracle("belief")
    >>> action = env.problem.follow(oracle, env.simulator)[0]
    >>> observation, reward, terminated, truncated, info = env.step(action)
    >>> info["costs"]
    0.0

    ## Start and end of an episode
    All cash, prices of 100, k_0 from its stationary law. Fresh paths and ends as in
    `GarleanuPedersenEnv`; terminated only where everything is lost.

    ## Info
    As `GarleanuPedersenEnv`; `expected_reward` is known for one asset, and NaN with several.

    ## Arguments
    As `GarleanuPedersenEnv` without `trade_size` and `dead_zone`, with `world` a `RegimeGBM` or a
    mapping of its fields.

    ## Version history
    - v0: first version.
    """

    kind = RegimeGBM


class RegimeGBMVectorEnv(SyntheticVectorEnv):
    """N lanes of `RegimeGBMEnv` with paths of their own; the rest as `TradingVectorEnv`."""

    kind = RegimeGBM
