"""The whole state of a ``MarketPPO`` as plain values, and back: what exact resume stands on."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.checkpoint import CheckpointError, Snapshot
from training.sb3.ppo import MarketPPO

_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_current_progress_remaining",
)


def capture(model: MarketPPO, files: Mapping[str, str] | None = None) -> Snapshot:
    """Take a snapshot at an update boundary; later changes of the model do not reach it.

    Args:
        model: the learner.
        files: the caller's own text files.

    Raises:
        RuntimeError: the model is in the middle of a rollout or has not begun.
    """
    if not model.at_update_boundary or not isinstance(model._last_obs, np.ndarray):  # noqa: SLF001 - SB3 keeps its state in underscored names
        raise RuntimeError(
            "snapshot: expected a model between two updates of a learn() call, "
            f"found one {'that never began' if model.at_update_boundary else 'inside a rollout'}"
        )
    arrays = {f"env/{name}": array.copy() for name, array in model.vec_env.state().items()}
    arrays |= {f"memory/{name}": array.copy() for name, array in model.memory().items()}
    arrays["observation"] = model._last_obs.copy()  # noqa: SLF001 - see above
    arrays["episode_starts"] = np.asarray(model._last_episode_starts).copy()  # noqa: SLF001 - see above
    arrays["generator"] = model.generator.get_state().numpy().copy()
    trainer: dict[str, Any] = {name: getattr(model, name) for name in _COUNTERS}
    trainer["episodes"] = list(model.ep_info_buffer or ())
    trainer["threads"] = torch.get_num_threads()
    trainer["identity"] = model.identity()
    trainer["warned"] = sorted(model.warned)
    trainer["peaks"] = dict(model.peaks)
    weights = {name: tensor.clone() for name, tensor in model.policy.net.state_dict().items()}
    remembered = {} if model.remedy is None else model.remedy.state()
    continual = {name: tensor.detach().clone() for name, tensor in remembered.items()}
    return Snapshot(weights, _optimizer_state(model), arrays, trainer, dict(files or {}), continual)


def restore(model: MarketPPO, snapshot: Snapshot) -> None:
    """Bring a freshly built model of the same configuration to the state of a snapshot.

    Continue with ``model.learn(total - model.num_timesteps, reset_num_timesteps=False)``.

    Raises:
        CheckpointError: the snapshot is of another kind of agent, or its tensors do not fit.
    """
    check_fits(model, snapshot)
    model.policy.net.load_state_dict(dict(snapshot.weights))
    load_optimizers(model, snapshot.optimizer)
    model.vec_env.load_state(_part(snapshot.arrays, "env/"))
    model.load_memory(_part(snapshot.arrays, "memory/"))
    model.generator.set_state(torch.tensor(snapshot.arrays["generator"]))
    model._last_obs = snapshot.arrays["observation"].copy()  # noqa: SLF001 - SB3 keeps its state in underscored names
    model._last_episode_starts = snapshot.arrays["episode_starts"].copy()  # noqa: SLF001 - see above
    for name in _COUNTERS:
        setattr(model, name, snapshot.trainer[name])
    model.warned = set(snapshot.trainer.get("warned", ()))
    model.peaks = dict(snapshot.trainer.get("peaks", {}))
    load_continual(model, snapshot)
    size = model._stats_window_size  # noqa: SLF001 - see above
    model.ep_info_buffer = deque(snapshot.trainer["episodes"], maxlen=size)
    model.ep_success_buffer = deque(maxlen=size)
    model.at_update_boundary = True


def load_continual(model: MarketPPO, snapshot: Snapshot) -> None:
    """Let the model's remedies remember what those of a snapshot did.

    Raises:
        CheckpointError: the snapshot has none where the model has, or that of other remedies.
    """
    if model.remedy is None:
        if snapshot.continual:
            raise CheckpointError(
                "continual.safetensors: expected none for a learner without remedies, found "
                f"{len(snapshot.continual)} tensors"
            )
        return
    try:
        model.remedy.load_state(snapshot.continual)
    except ValueError as error:
        raise CheckpointError(f"continual.safetensors: {error}") from error


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _optimizer_state(model: MarketPPO) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for role, optimizer in model.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for name, tensor in state.items():
                tensors[f"{role}/{index}/{name}"] = tensor.clone()
    return tensors


def load_optimizers(model: MarketPPO, tensors: Mapping[str, Tensor]) -> None:
    """Give the model's optimisers the moments of a snapshot.

    Raises:
        CheckpointError: they are of other parameters.
    """
    for role, optimizer in model.optimizers.items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            owner, index, name = key.split("/")
            if owner == role:
                # The optimiser keeps what it is given, and its steps would change the snapshot.
                state.setdefault(int(index), {})[name] = tensor.clone()
        for number, entries in state.items():
            if number >= len(parameters) or entries["exp_avg"].shape != parameters[number].shape:
                raise CheckpointError(
                    f"optimizer.safetensors: {role}/{number}: expected moments of one of "
                    f"{len(parameters)} parameters, found {tuple(entries['exp_avg'].shape)}"
                )
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def check_fits(model: MarketPPO, snapshot: Snapshot) -> None:
    """Check that the weights of a snapshot mean in this model what they meant in their own.

    Raises:
        CheckpointError: other actions, options or execution, or tensors of other shapes.
    """
    saved = snapshot.trainer.get("identity", {})
    for name, expected in model.identity().items():
        if saved.get(name, expected) != expected:
            raise CheckpointError(
                f"trainer.json: identity: {name}: expected {expected}, found {saved[name]}"
            )
    check_shapes("weights", model.policy.net.state_dict(), snapshot.weights)


def check_shapes(what: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Compare tensors by name and shape.

    Raises:
        CheckpointError: one is missing, foreign or of another shape.
    """
    for name in sorted(expected.keys() | found.keys()):
        wanted = tuple(expected[name].shape) if name in expected else "no such tensor"
        given = tuple(found[name].shape) if name in found else "no such tensor"
        if wanted != given:
            raise CheckpointError(f"{what}: {name}: expected {wanted}, found {given}")
