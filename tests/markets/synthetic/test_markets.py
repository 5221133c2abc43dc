"""What all markets with a known answer promise alike."""

from typing import Any

import numpy as np
import pytest

from markets.synthetic.base import SyntheticMarket
from markets.synthetic.chain import SyntheticMarketError
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.ornstein_uhlenbeck import OrnsteinUhlenbeck
from markets.synthetic.regime_gbm import RegimeGBM


@pytest.fixture(params=[GarleanuPedersen, OrnsteinUhlenbeck, RegimeGBM])
def market(request: pytest.FixtureRequest) -> SyntheticMarket:
    made: SyntheticMarket = request.param()
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_bars": 0}, r"num_bars: expected an integer in \[1, 2\*\*63\), found 0"),
        ({"num_bars": -3}, "num_bars: expected .* found -3"),
        ({"num_bars": 2.5}, "num_bars: expected an integer .* found 2.5"),
        ({"seed": -1}, r"seed: expected an integer in \[0, 2\*\*63\), found -1"),
        ({"seed": 2**63}, "seed: expected"),
        ({"seed": 0.5}, "seed: expected"),
        ({"seed": None}, "seed: expected .* found None"),
        ({"lane": -1}, "lane: expected"),
        ({"episode": -1}, "episode: expected"),
        ({"episode": "first"}, "episode: expected .* found 'first'"),
    ],
)
def test_a_path_refuses_numbers_that_make_no_sense(
    market: SyntheticMarket, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SyntheticMarketError, match=message):
        market.path(**{"num_bars": 3, "seed": 0, **change})


def test_a_path_takes_numpy_integers_and_the_largest_seed(market: SyntheticMarket) -> None:
    path = market.path(np.int64(2), seed=2**63 - 1, lane=np.int32(1))  # type: ignore[arg-type]
    assert np.isfinite(path.state_TS).all()
    assert len(path.state_TS) == 2


@pytest.mark.parametrize("information", ["hidden", "Known", "", None])
def test_an_oracle_refuses_other_information(market: SyntheticMarket, information: Any) -> None:
    with pytest.raises(SyntheticMarketError, match="expected 'known' or 'belief', found"):
        market.oracle(information)


def test_doing_nothing_is_one_rule_for_all(market: SyntheticMarket) -> None:
    world = market.path(4, seed=0).world
    held_NA = np.arange(4.0)[:, None]
    assert np.array_equal(market.rules()["do_nothing"].target(world, held_NA), held_NA)


def test_what_a_belief_shows_has_one_name(market: SyntheticMarket) -> None:
    shown = type(market)(regime="belief").stream().feature_names  # type: ignore[call-arg]
    assert {f"belief_{regime}" for regime in range(market.num_regimes)} <= set(shown)
