"""The experiment on detectors: its paths are the markets', and one small run gives a table."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.regime_detection import run
from experiments.regime_detection.detectors import configs, oracle_filter
from experiments.regime_detection.disruption import routes, slowed, waited
from experiments.regime_detection.tables import value_share, write_tables
from experiments.regime_detection.worlds import MARKETS, NOISES, nodes, simulate, transition_of
from markets.synthetic.regime_gbm import RegimeGBM
from regimes.base import Observations


@pytest.mark.parametrize("name", MARKETS)
def test_the_oracle_filter_is_the_markets_own(name: str) -> None:
    """Beliefs from what a detector sees equal those of the compiled Bayes filter of the stream."""
    market = MARKETS[name]
    path = market.path(400, seed=3)
    close_TA = path.world.close_NA
    assert path.world.belief_NK is not None
    if isinstance(market, RegimeGBM):
        y_TD, x_TM = np.diff(np.log(close_TA), axis=0), np.zeros((399, 0))
    else:
        known_TM = path.world.signal_NF if name == "garleanu_pedersen" else close_TA
        y_TD, x_TM = np.diff(close_TA, axis=0), known_TM[:-1]
    first = np.full_like(y_TD[:1], np.nan)
    seen = Observations.of(np.concatenate([first, y_TD]), np.concatenate([x_TM[:1], x_TM]))
    belief_TK = oracle_filter(market, "gaussian").filter(seen)
    late = slice(100, None)  # the first price of a reverting market tells of its first regime
    np.testing.assert_allclose(belief_TK[late], path.world.belief_NK[late], atol=1e-6)


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("noise", NOISES)
def test_paths_have_the_markets_moments(name: str, noise: str) -> None:
    market = MARKETS[name]
    sample = simulate(market, "gaussian" if noise == "gaussian" else "t4", 40, 2000, seed=1)
    regime_NT = sample.worlds.regime_NT
    for now, row_K in enumerate(transition_of(market)):
        following = regime_NT[:, 1:][regime_NT[:, :-1] == now]
        share_K = np.bincount(following, minlength=len(row_K)) / len(following)
        np.testing.assert_allclose(share_K, row_K, atol=0.01)
    change = sample.y_NTD[:, 1:, 0] - sample.y_NTD[:, 1:, 0].mean()
    assert np.isfinite(change).all()
    kurtosis = float((change**4).mean() / (change**2).mean() ** 2)
    assert (kurtosis > 4.5) == (noise == "t4")


def test_nodes_are_standardised() -> None:
    for noise in NOISES:
        node_Q = nodes(noise)
        assert node_Q.mean() == pytest.approx(0.0, abs=1e-12)
        assert node_Q.std() == pytest.approx(1.0)


def test_routes_by_hand() -> None:
    belief_TK = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    assert waited(belief_TK, 1).argmax(axis=1).tolist() == [0, 1, 0, 1, 1]
    assert waited(belief_TK, 2).argmax(axis=1).tolist() == [0, 0, 0, 0, 1]
    half_TK = slowed(belief_TK, 0.5)
    np.testing.assert_allclose(half_TK[:3, 0], [0.9, 0.65, 0.625])
    for weight_TK in routes(belief_TK).values():
        np.testing.assert_allclose(weight_TK.sum(axis=1), 1.0)


def test_a_small_run_gives_scores_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "TRAIN", 600)
    monkeypatch.setattr(run, "TEST", 300)
    monkeypatch.setattr(
        run, "configs", lambda market: {"gaussian_hmm": configs(market)["gaussian_hmm"]}
    )
    lines = [run.score_path("regime_gbm", "gaussian", seed) for seed in (1, 2)]
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(results.read_text().splitlines()[0])["detectors"]
    assert found["oracle"]["skill"] == pytest.approx(1.0)
    assert found["constant"]["skill"] == pytest.approx(0.0)
    assert found["gaussian_hmm"]["accuracy"] > 0.6
    assert value_share(lines, "oracle") == (1.0, 1.0, 1.0)
    text = write_tables(results).read_text()
    assert "| gaussian_hmm |" in text
