"""The registry of best accepted policies."""

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.acceptance import Golden

FIRST = {"bull": np.array([1.0, 2.0, 3.0]), "bear": np.array([0.0, 0.5, 1.0])}
SAME = {"bull": "seed 1", "bear": "seed 1"}


def first() -> Golden:
    return Golden().accept("phase0", 0, FIRST, SAME)


def test_the_first_champion_is_golden_everywhere() -> None:
    assert {name: each.checkpoint for name, each in first().regimes.items()} == {
        "bull": "phase0",
        "bear": "phase0",
    }
    np.testing.assert_array_equal(first().scores("bull", "seed 1"), FIRST["bull"])


def test_a_better_policy_becomes_golden_where_it_is_better() -> None:
    scores = {"bull": FIRST["bull"] - 0.1, "bear": FIRST["bear"] + 0.1}
    found = first().accept("phase1", 1, scores, SAME)
    assert found.regimes["bull"].checkpoint == "phase0"
    assert (found.regimes["bear"].checkpoint, found.regimes["bear"].update) == ("phase1", 1)
    assert found.regimes["bear"].mean == pytest.approx(0.6)
    assert first().regimes["bear"].checkpoint == "phase0"


def test_scores_of_other_episodes_are_never_paired() -> None:
    assert first().scores("bull", "seed 2") is None
    assert first().scores("flat", "seed 1") is None
    with pytest.raises(
        ValueError, match=r"golden of regime bull: .*'seed 2', found 'seed 1'; play"
    ):
        first().accept("phase1", 1, FIRST, {"bull": "seed 2", "bear": "seed 2"})


def test_a_golden_policy_played_again_is_compared_on_the_new_episodes() -> None:
    lucky = {"bull": np.array([9.0, 9.0]), "bear": np.array([9.0, 9.0])}
    again = {"bull": np.array([9.5, 9.5]), "bear": np.array([1.0, 1.0])}
    other = {"bull": "seed 2", "bear": "seed 2"}
    found = first().accept("phase1", 1, lucky, other, golden=again)
    assert found.regimes["bull"].checkpoint == "phase0"
    assert found.regimes["bull"].mean == 9.5
    assert found.regimes["bear"].checkpoint == "phase1"
    np.testing.assert_array_equal(found.scores("bull", "seed 2"), again["bull"])


def test_a_regime_that_was_not_played_keeps_its_golden_policy() -> None:
    found = first().accept("phase1", 1, {"bull": FIRST["bull"] + 1.0}, SAME)
    assert found.regimes["bear"] == first().regimes["bear"]


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of regime bull: expected finite"):
        first().accept("phase1", 1, {"bull": np.array([np.nan])}, SAME)


def test_the_registry_survives_json() -> None:
    assert Golden.from_json(first().to_json()) == first()
    assert Golden.from_json(Golden().to_json()) == Golden()
    with pytest.raises(ValidationError):
        Golden.from_json('{"regimes": {"bull": {"mean": 1}}}')
