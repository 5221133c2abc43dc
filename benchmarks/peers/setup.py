"""One virtual environment per peer, made on demand from `requirements/`."""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = {
    "anytrading": ("gym-anytrading", "gymnasium", "numpy", "pandas"),
    "tradingenv": ("gym-trading-env", "gymnasium", "numpy", "pandas"),
    "finrl": ("finrl", "stable-baselines3", "torch", "gymnasium", "numpy", "pandas"),
    "torchtrade": ("torchtrade", "torchrl", "tensordict", "torch", "numpy", "pandas"),
}
"""Name of each peer's environment, and the packages whose versions are recorded."""
LIMIT_SECONDS = 1_800


class PeerError(RuntimeError):
    """A peer cannot be installed or measured here; the rest goes on without it.

    The message is one line without paths, because it is recorded; details go to standard error.
    """


def python_of(peer: str) -> Path:
    """Interpreter of the peer's environment; installs it first if it is not there.

    Args:
        peer: one of `PEERS`.

    Raises:
        PeerError: the installation failed.
    """
    folder = HERE / ".venvs" / peer
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        print(f"installing peer '{peer}' into {folder}", file=sys.stderr, flush=True)
        _call(peer, sys.executable, "-m", "venv", str(folder))
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        requirements = HERE / "requirements"
        _call(peer, *pip, "-r", str(requirements / f"{peer}.txt"))
        bare = requirements / f"{peer}-no-deps.txt"
        if bare.exists():
            _call(peer, *pip, "--no-deps", "-r", str(bare))
        stamp.touch()
    return python


def versions_of(peer: str) -> dict[str, str]:
    """Versions of the peer and of what it stands on.

    Raises:
        PeerError: as `python_of`; or a package is missing there.
    """
    code = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    )
    found: dict[str, str] = json.loads(_call(peer, str(python_of(peer)), "-c", code, *PEERS[peer]))
    return found


def _call(peer: str, *command: str) -> str:
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        print(output if isinstance(output, str) else output.decode(), file=sys.stderr, flush=True)
        step = "make the environment" if "venv" in command else "install or look into it"
        raise PeerError(f"{peer}: cannot {step} ({type(error).__name__})") from error
    return done.stdout
