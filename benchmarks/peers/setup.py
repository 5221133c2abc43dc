"""One virtual environment per peer, made on demand from `requirements/`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = ("anytrading", "tradingenv", "finrl", "torchtrade")


def python_of(peer: str) -> Path:
    """Interpreter of the peer's environment; installs it first if it is not there.

    Args:
        peer: one of `PEERS`.

    Raises:
        subprocess.CalledProcessError: the installation failed; pip's output says why.
    """
    folder = HERE / ".venvs" / peer
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        requirements = HERE / "requirements"
        subprocess.run([*pip, "-r", str(requirements / f"{peer}.txt")], check=True)
        bare = requirements / f"{peer}-no-deps.txt"
        if bare.exists():
            subprocess.run([*pip, "--no-deps", "-r", str(bare)], check=True)
        stamp.touch()
    return python
