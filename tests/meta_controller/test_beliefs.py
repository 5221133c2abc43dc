"""Where a belief is found, and in which order."""

import pytest
import torch

from meta_controller.beliefs import BeliefSource, one_hot


def test_columns_are_found_by_name_in_the_order_of_the_regimes() -> None:
    names = ("return_1", "regime_2", "regime_0", "regime_1", "regime_age", "regime_10")
    assert BeliefSource.find(names, "features").columns == (2, 3, 1, 5)
    assert BeliefSource.find(("position", "belief_0", "belief_1"), "account").columns == (1, 2)
    assert BeliefSource.find(("position",), "account").columns == ()


@pytest.mark.parametrize("columns", [(1, 2), (3, 0), (0, 2, 1, 3), (2,)])
def test_columns_are_read_as_they_are_listed(columns: tuple[int, ...]) -> None:
    table, bars = torch.arange(20.0).reshape(5, 4), torch.tensor([4, 0, 4])
    expected = table[bars][:, list(columns)]
    features = BeliefSource("features", columns)
    assert torch.equal(features.read(table, bars, torch.zeros(3, 1)), expected)
    whole = features.table(table)
    assert whole is not None
    assert torch.equal(whole, table[:, list(columns)])
    account = BeliefSource("account", columns)
    assert torch.equal(account.read(torch.zeros(5, 0), bars, table[bars]), expected)
    assert account.table(table) is None


def test_nothing_is_read_where_nothing_is_told() -> None:
    found = BeliefSource("features", ()).read(
        torch.zeros(5, 4), torch.tensor([1]), torch.ones(1, 2)
    )
    assert found.shape == (1, 0)
    assert BeliefSource("features", ()).table(torch.zeros(5, 4)) is None


def test_certain_beliefs() -> None:
    assert one_hot([1, 0], 3).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
