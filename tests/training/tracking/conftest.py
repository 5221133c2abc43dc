"""Stores for the tracking tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from training.tracking.mlflow_store import client_for, resolve_uri


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with a schema: making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client = client_for(resolve_uri(f"sqlite:///{path}"))
    client._tracking_client.store.engine.dispose()
    return path


@pytest.fixture
def store_uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh store; nothing of the user's environment is used."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store.read_bytes())
    return f"sqlite:///{path}?timeout=1"
