"""Set the process up, once, in one place, before anything heavy is imported.

Threads, glibc's allocator, usage statistics and the device. What the user has set in the
environment is never overridden; what is set here is set for child processes too.

==============================  =====================  ==========================================
variable                        value                  why
==============================  =====================  ==========================================
``OMP_NUM_THREADS`` and its     the wanted threads     with more threads than free cores, small
kin (``MKL_``, ``OPENBLAS_``,                          networks were measured an order of
``NUMEXPR_``, ``NUMBA_``)                              magnitude slower; ``NUMBA_`` only where
                                                       numba is not imported yet
``RAY_USAGE_STATS_ENABLED``     ``0``                  nothing leaves the machine unasked
``MLFLOW_DISABLE_TELEMETRY``    ``true``               the same
``HF_HUB_DISABLE_TELEMETRY``    ``1``                  the same, where an agent brings the hub in
``DO_NOT_TRACK``                ``true``               the common word for it
``MALLOC_TRIM_THRESHOLD_``,     see below              children do not trim either
``MALLOC_MMAP_THRESHOLD_``
``CUDA_VISIBLE_DEVICES``        empty                  only with ``device=cpu``: no GPU is touched
==============================  =====================  ==========================================
"""

import contextlib
import ctypes
import logging
import math
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

_log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
"""What a user may ask for."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Read by OpenMP (torch), MKL, OpenBLAS (numpy, scipy), numexpr and numba at their import."""

PRIVACY_VARIABLES: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
}
"""Usage statistics of dependencies, off unless the user has said otherwise."""

MMAP_THRESHOLD = 32 * 1024 * 1024
"""Bytes from which glibc asks the kernel for a mapping of its own: the most that it accepts."""

TRIM_THRESHOLD = 1024 * 1024 * 1024
"""Bytes that may lie free at the top of the heap before glibc gives them back."""

_SET_HERE: dict[str, str] = {}
"""Variables that this module has set: a second call may change them."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_TOP_PAD = 16 * 1024 * 1024


class DeviceError(ValueError):
    """The asked device does not exist here; says what was found."""


@dataclass(frozen=True)
class ProcessSettings:
    """What :func:`configure_process` arrived at.

    Attributes:
        threads: Threads for compiled mathematics.
        device: The asked device.
        kept: Variables that the user had set and that were left alone.
        allocator: Whether glibc's thresholds were raised.
    """

    threads: int
    device: Device
    kept: tuple[str, ...]
    allocator: bool


def configure_process(threads: int | None = None, device: Device = "auto") -> ProcessSettings:
    """Prepare the process; call it before numpy, numba or torch are imported.

    Args:
        threads: Threads for compiled mathematics, at least 1. None: ``OMP_NUM_THREADS`` if the
            user has set it, otherwise as many as there are cores for this process.
        device: ``cpu`` hides the GPUs; ``auto`` and ``cuda`` leave them visible.

    Returns:
        What was arrived at. A thread variable of the user outranks ``threads``.

    Raises:
        ValueError: ``threads`` is below 1, or the device has an unknown name.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected at least 1, found {threads}")
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"device: expected auto, cpu or cuda, found {device!r}")
    wanted = _user_threads() or threads or available_cores()
    late = [name for name in ("numpy", "numba", "torch") if name in sys.modules]
    if late:
        _log.debug("%s imported before the process was set up", ", ".join(late))
    values = dict.fromkeys(THREAD_VARIABLES, str(wanted)) | dict(PRIVACY_VARIABLES)
    if "numba" in sys.modules:
        # numba reads its variable again before each compilation and refuses another number once
        # its threads run; limit_torch_threads tells it the number instead.
        del values["NUMBA_NUM_THREADS"]
    if device == "cpu":
        values["CUDA_VISIBLE_DEVICES"] = ""
    kept = _set_missing(os.environ, values)
    return ProcessSettings(wanted, device, kept, raise_malloc_thresholds())


def limit_torch_threads(threads: int | None = None) -> int:
    """Tell torch and numba their threads; call it once, before torch has computed anything.

    The configuration may hold another number than :func:`configure_process` could see on the
    command line; this one counts.

    Args:
        threads: As many; None: the cores of this process. An ``OMP_NUM_THREADS`` that the user
            has set outranks it.

    Returns:
        The number that torch uses.
    """
    import torch  # noqa: PLC0415 - configure_process has to come before it

    wanted = _user_threads() or threads or available_cores()
    if "numba" in sys.modules:
        import numba  # noqa: PLC0415 - only where kernels are compiled anyway

        # Starts numba's pool, which gives OpenMP its own number: so torch comes after it.
        numba.set_num_threads(min(wanted, int(numba.config.NUMBA_NUM_THREADS)))
    torch.set_num_threads(wanted)
    with contextlib.suppress(RuntimeError):  # refused once torch has computed in parallel
        torch.set_num_interop_threads(1)
    return torch.get_num_threads()


def resolve_device(device: Device = "auto") -> str:
    """Return ``cpu`` or ``cuda`` for what was asked.

    Raises:
        DeviceError: ``cuda`` was asked for and torch cannot use it; says why.
    """
    if device == "cpu":
        return "cpu"
    import torch  # noqa: PLC0415 - configure_process has to come before it

    if torch.cuda.is_available():
        return "cuda"
    if device == "auto":
        return "cpu"
    if device != "cuda":
        raise DeviceError(f"device: expected auto, cpu or cuda, found {device!r}")
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} is built without CUDA"
    elif os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        reason = "CUDA_VISIBLE_DEVICES is empty"
    else:
        reason = f"torch {torch.__version__} sees no usable GPU or driver"
    raise DeviceError(f"device: expected a CUDA device, found none ({reason}); use device=cpu")


def available_cores() -> int:
    """Cores that this process may use: its affinity, bounded by the container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(cores, math.ceil(quota))) if quota else max(1, cores)


def raise_malloc_thresholds() -> bool:
    """Stop glibc from giving memory back to the kernel after each large array.

    By default glibc trims the heap as soon as the top 128 KiB of it are free, and maps arrays of
    some megabytes anew each time: the page faults cost half of a training's CPU time in a
    measured prototype. A no-op on other C libraries, and where the user tuned the allocator.

    Returns:
        Whether the thresholds were raised.
    """
    ours = {
        "MALLOC_TRIM_THRESHOLD_": str(TRIM_THRESHOLD),
        "MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD),
    }
    tuned = any(os.environ.get(name, value) != value for name, value in ours.items())
    if tuned or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - raises AttributeError on another C library
        mallopt = library.mallopt
    except (OSError, TypeError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    options = (
        (_M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        (_M_TOP_PAD, _TOP_PAD),
    )
    accepted = [mallopt(option, value) for option, value in options]
    if all(accepted):
        os.environ.update(ours)
    return all(accepted)


def peek_override(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of a ``name=value`` argument, the last one given, before Hydra is there."""
    values = [text.partition("=")[2] for text in arguments if text.startswith(f"{name}=")]
    return values[-1] if values else None


def configure_from_arguments(arguments: Sequence[str]) -> ProcessSettings:
    """Prepare the process for a command line, heeding ``threads=`` and ``device=`` if given.

    Values that make no sense here are left for the configuration's own, better error.
    """
    threads, device = peek_override(arguments, "threads"), peek_override(arguments, "device")
    count = int(threads) if threads and threads.isdecimal() and int(threads) > 0 else None
    known = cast("Device", device) if device in ("auto", "cpu", "cuda") else "auto"
    return configure_process(count, known)


def _user_threads() -> int | None:
    """What the user, not this module, has set."""
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if text == _SET_HERE.get("OMP_NUM_THREADS"):
        return None
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _set_missing(environ: MutableMapping[str, str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Set what is absent or was set here; return the names of the user with another value."""
    mine = {
        name: value
        for name, value in values.items()
        if name not in environ or environ[name] == _SET_HERE.get(name)
    }
    kept = tuple(name for name in values if name not in mine and environ[name] != values[name])
    environ.update(mine)
    _SET_HERE.update(mine)
    return kept


def _cgroup_quota(folder: Path) -> float | None:
    """Cores that the control group allows (version 2, then 1), or None."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((folder / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((folder / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota_us / period_us if quota_us > 0 else None
    return None
