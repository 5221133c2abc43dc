"""A champion's snapshot: what travels with it beside the learner's state, and how to play as it.

Golden policies, states kept of each regime, and the peaks of accepted updates are arrays of the
snapshot, so that a rejected update leaves no trace in them and a killed run finds them again.

Dimensions: B states, U accepted updates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.checkpoint import Snapshot
from training.sb3.ppo import MarketPPO
from training.sb3.snapshot import load_continual

_GOLDEN, _STATES, _PEAKS = "golden/", "states/", "peaks/"
"""Prefixes of a champion's arrays: weights by regime, states kept of regimes, and (U,) peaks."""

Arrays = dict[str, NDArray[np.generic]]


def extras(snapshot: Snapshot) -> Arrays:
    """What travels with champions beside the learner's state."""
    prefixes = (_GOLDEN, _STATES, _PEAKS)
    return {name: rows for name, rows in snapshot.arrays.items() if name.startswith(prefixes)}


def named_golden(regime: int, weights: Mapping[str, Tensor]) -> Arrays:
    """Weights of the best accepted policy of a regime, as a snapshot's arrays."""
    return {
        f"{_GOLDEN}{regime}/{name}": tensor.cpu().numpy().copy() for name, tensor in weights.items()
    }


def golden_weights(snapshot: Snapshot, regime: int) -> dict[str, Tensor]:
    """Weights of the best accepted policy of a regime; nothing where there is none."""
    prefix = f"{_GOLDEN}{regime}/"
    return {
        name.removeprefix(prefix): torch.tensor(rows)
        for name, rows in snapshot.arrays.items()
        if name.startswith(prefix)
    }


def named_states(regime: int, states: Mapping[str, Tensor]) -> Arrays:
    """States kept of a regime, as a snapshot's arrays."""
    return {f"{_STATES}{regime}/{name}": rows.cpu().numpy() for name, rows in states.items()}


def kept_states(snapshot: Snapshot) -> dict[int, dict[str, Tensor]]:
    """States that a snapshot keeps, by regime."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, rows in snapshot.arrays.items():
        if key.startswith(_STATES):
            regime, _, name = key.removeprefix(_STATES).partition("/")
            found.setdefault(int(regime), {})[name] = torch.tensor(rows)
    return found


def more_peaks(snapshot: Snapshot, peaks: Mapping[str, float], most: int) -> Arrays:
    """Peaks of the accepted updates, with those of one more, as a snapshot's arrays.

    Args:
        snapshot: the champion before it.
        peaks: its own, by name (`MarketPPO.peaks`).
        most: accepted updates that are remembered, U.
    """
    return {
        f"{_PEAKS}{name}": np.append(_past(snapshot, name), value)[-most:]
        for name, value in peaks.items()
    }


def explosions(snapshot: Snapshot, peaks: Mapping[str, float]) -> dict[str, float]:
    """An update's peaks over the medians of those of the accepted updates before it.

    Args:
        snapshot: the champion before it.
        peaks: its own, by name.

    Returns:
        By name; without those of which nothing is remembered, or whose median is 0.
    """
    medians = {name: _past(snapshot, name) for name in peaks}
    known = {name: float(np.median(past)) for name, past in medians.items() if len(past)}
    return {name: peaks[name] / median for name, median in known.items() if median > 0.0}


def _past(snapshot: Snapshot, name: str) -> NDArray[np.float64]:
    return np.asarray(snapshot.arrays.get(f"{_PEAKS}{name}", ()), np.float64)


@contextmanager
def replaced(model: MarketPPO, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let the networks have other weights for a while."""
    net = model.policy.net
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items() if name in tensors}
    net.load_state_dict({**net.state_dict(), **tensors})
    try:
        yield
    finally:
        net.load_state_dict({**net.state_dict(), **kept})


@contextmanager
def as_champion(model: MarketPPO, champion: Snapshot) -> Iterator[None]:
    """Networks and remedies are the champion's for a while."""
    remedy = model.remedy
    mine = {} if remedy is None else {n: t.clone() for n, t in remedy.state().items()}
    try:
        with replaced(model, champion.weights):
            load_continual(model, champion)
            yield
    finally:
        if remedy is not None:
            remedy.load_state(mine)


@contextmanager
def as_golden(model: MarketPPO, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Networks are a golden policy's for a while, which was kept as it was played."""
    remedy, model.remedy = model.remedy, None
    try:
        with replaced(model, weights):
            yield
    finally:
        model.remedy = remedy
