"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before anything loads OpenMP: the suite takes every core by processes (`-n 2`), and threads of
# theirs would only wait for each other. Runs that tests start set their own numbers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

import features.indicators  # noqa: F401 - declares the features
from features import registry

REPOSITORY = Path(__file__).resolve().parent.parent

# The same examples in every run, so that a change is judged by what it changed; `make fuzz` looks
# for new ones. No deadline: speed is shown by benchmarks, never by a timed test.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own: none of them writes into the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real test data beside the repository; the test skips visibly where it is absent."""
    folder = Path(os.environ.get("PERENNIAL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder}; set PERENNIAL_TEST_DATA to its folder")
    return folder


@pytest.fixture
def packaged_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue as a user finds it, without what other tests have declared."""
    own = {
        feature.name: feature
        for feature in registry.catalogue()
        if feature.function.__module__.startswith("features.")
    }
    monkeypatch.setattr(registry, "_REGISTRY", own)
