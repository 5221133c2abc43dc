"""Process set-up: threads, allocator, privacy, device, signals."""

import ast
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training import runtime
from training.signals import StopRequest

PRINT_SETTINGS = """
import os, sys
from training.runtime import *
from training.runtime import THREAD_VARIABLES
threads = int(sys.argv[1]) if sys.argv[1] != "-" else None
settings = configure_process(threads, sys.argv[2])
heavy = {"numpy", "numba", "torch", "mlflow", "ray"} & set(sys.modules)
print([settings.threads, settings.kept, settings.allocator, sorted(heavy)])
names = [*THREAD_VARIABLES, "RAY_USAGE_STATS_ENABLED", "MLFLOW_DISABLE_TELEMETRY"]
print([os.environ.get(name) for name in [*names, "CUDA_VISIBLE_DEVICES"]])
"""
CLEAN = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def settings(threads: str, device: str, **environ: str) -> tuple[list[Any], list[Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_SETTINGS, threads, device],
        env=CLEAN | environ,
        cwd=Path(runtime.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    return ast.literal_eval(first), ast.literal_eval(second)


def test_threads_and_privacy_are_set_before_heavy_imports() -> None:
    summary, values = settings("3", "cpu")
    assert summary == [3, (), is_glibc(), []]
    assert values == ["3"] * 5 + ["0", "true", ""]


def test_what_the_user_set_stands() -> None:
    summary, values = settings("3", "cuda", OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="1")
    assert summary[0] == 1
    assert summary[1] == ("RAY_USAGE_STATS_ENABLED",)
    assert values == ["1"] * 5 + ["1", "true", None]


def test_default_is_the_cores_of_this_process() -> None:
    summary, values = settings("-", "auto")
    assert summary[0] == runtime.available_cores()
    assert values[0] == str(runtime.available_cores())


def test_tuned_allocator_is_left_alone() -> None:
    for tuned in (
        {"MALLOC_TRIM_THRESHOLD_": "1"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"},
    ):
        summary, _ = settings("1", "cpu", **tuned)
        assert summary[2] is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of glibc")
def test_large_arrays_cause_no_page_faults_any_more() -> None:
    program = (
        "import sys, resource\n"
        "from training.runtime import raise_malloc_thresholds\n"
        "if sys.argv[1] == 'raised': assert raise_malloc_thresholds()\n"
        "import numpy as np\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n"
        "    parts = [np.ones(1 << 20) for _ in range(8)]\n"  # 8 MiB each
        "    return sum(float(part[-1]) for part in parts)\n"
        "work(); work(); before = faults()\n"
        "for _ in range(5): work()\n"
        "print(faults() - before)\n"
    )
    counts = {}
    for mode in ("default", "raised"):
        done = subprocess.run(
            [sys.executable, "-c", program, mode],
            env=CLEAN | {"NUMPY_MADVISE_HUGEPAGE": "0"},
            cwd=Path(runtime.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        counts[mode] = int(done.stdout)
    if not is_glibc():
        pytest.skip("no glibc")
    assert counts["raised"] * 10 < counts["default"]


def test_faulty_requests_are_named() -> None:
    with pytest.raises(ValueError, match="threads: expected at least 1, found 0"):
        runtime.configure_process(0)
    with pytest.raises(runtime.DeviceError, match="expected auto, cpu or cuda, found 'tpu'"):
        runtime.configure_process(1, "tpu")  # type: ignore[arg-type] # the fault under test


@pytest.mark.parametrize(
    ("available", "device", "expected"),
    [(False, "cpu", "cpu"), (False, "auto", "cpu"), (True, "auto", "cuda"), (True, "cuda", "cuda")],
)
def test_device_is_resolved(
    monkeypatch: pytest.MonkeyPatch, available: bool, device: runtime.Device, expected: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert runtime.resolve_device(device) == expected


def test_missing_gpu_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(runtime.DeviceError, match=r"built without CUDA.*use device=cpu"):
        runtime.resolve_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(runtime.DeviceError, match="CUDA_VISIBLE_DEVICES is empty"):
        runtime.resolve_device("cuda")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(runtime.DeviceError, match="sees no usable GPU"):
        runtime.resolve_device("cuda")
    with pytest.raises(runtime.DeviceError, match="found 'tpu'"):
        runtime.resolve_device("tpu")  # type: ignore[arg-type] # the fault under test


def test_torch_takes_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(runtime, "_SET_HERE", {})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        assert runtime.limit_torch_threads(1) == torch.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert runtime.limit_torch_threads(1) == 2, "the environment outranks the argument"
    finally:
        torch.set_num_threads(before)


def test_configured_threads_count_unless_the_user_has_set_them() -> None:
    program = (
        "from training.runtime import configure_from_arguments, limit_torch_threads\n"
        "configure_from_arguments(['seed=1'])\n"
        "import numba, os\n"
        "print([limit_torch_threads(1), numba.get_num_threads(), os.environ['OMP_NUM_THREADS']])\n"
    )
    for user, expected in (({}, 1), ({"OMP_NUM_THREADS": "2"}, 2)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=CLEAN | user,
            cwd=Path(runtime.__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        torch_threads, numba_threads, _ = ast.literal_eval(done.stdout)
        assert torch_threads == expected
        assert numba_threads == expected


@pytest.mark.usefixtures("former_environment")
def test_second_call_may_change_what_the_first_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_SET_HERE", {})
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    for name in runtime.THREAD_VARIABLES:
        os.environ.pop(name, None)
    os.environ["MKL_NUM_THREADS"] = "7"
    assert runtime.configure_process(2).threads == 2
    assert runtime.configure_process(3).kept == ("MKL_NUM_THREADS",)
    values = [os.environ[name] for name in runtime.THREAD_VARIABLES]
    assert values == ["3", "7", "3", "3", "3"]


def test_numba_that_is_imported_goes_on_compiling() -> None:
    program = (
        "import numba, os\n"
        "from training.runtime import configure_process, limit_torch_threads\n"
        "numba.njit(parallel=True)(lambda: 1)()\n"
        "before = numba.get_num_threads()\n"
        "for threads in (1, before + 1):\n"
        "    configure_process(threads)\n"
        "    limit_torch_threads(threads)\n"
        "    assert numba.njit(lambda x: x + 1)(1) == 2\n"
        "    print(numba.get_num_threads() - min(threads, before))\n"
        "print(os.environ.get('NUMBA_NUM_THREADS'), os.environ['OMP_NUM_THREADS'])\n"
        "print(before)\n"
    )
    for user in ({}, {"NUMBA_NUM_THREADS": "2"}):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=CLEAN | user,
            cwd=Path(runtime.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        first, second, numba_text, openmp_text, before = done.stdout.split()
        assert (first, second) == ("0", "0")
        assert numba_text == user.get("NUMBA_NUM_THREADS", "None")
        assert int(openmp_text) == int(before) + 1


def test_container_quota_bounds_the_cores(tmp_path: Path) -> None:
    assert runtime._cgroup_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert runtime._cgroup_quota(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    assert runtime._cgroup_quota(tmp_path) == 2.5
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert runtime._cgroup_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert runtime._cgroup_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["threads=2", "seed=3"], "2"),
        (["threads=2", "threads=5"], "5"),
        (["agent.threads=2"], None),
        ([], None),
    ],
)
def test_override_is_seen_before_hydra(arguments: list[str], expected: str | None) -> None:
    assert runtime.peek_override(arguments, "threads") == expected


@pytest.fixture
def former_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("former_environment")
def test_nonsense_on_the_command_line_is_left_to_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "_SET_HERE", {})
    os.environ.pop("OMP_NUM_THREADS", None)
    found = runtime.configure_from_arguments(["threads=many", "device=tpu"])
    assert (found.threads, found.device) == (runtime.available_cores(), "auto")


def test_first_signal_asks_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        assert stop.signal is signal.SIGTERM
        with pytest.raises(KeyboardInterrupt, match="second SIGINT"):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def is_glibc() -> bool:
    return hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
