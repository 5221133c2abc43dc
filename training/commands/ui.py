"""``perennial ui``: MLflow or TensorBoard in a browser, on loopback only."""

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from training.commands.output import say

SUMMARY = "open MLflow or TensorBoard for the runs, on this machine only"
EXAMPLES = """\
perennial ui mlflow                # http://127.0.0.1:5000
perennial ui tensorboard           # http://127.0.0.1:6006
perennial ui mlflow --port 5001    # where another program has the port"""

HOST = "127.0.0.1"
"""The runs are shown to this machine only; forward the port (ssh -L) to look from another."""


class PortError(OSError):
    """The port cannot be listened on; says which one and what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("which", choices=("mlflow", "tensorboard"))
    parser.add_argument("--port", type=int, help="default: 5000 for mlflow, 6006 for tensorboard")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--uri", help="tracking store; default: MLFLOW_TRACKING_URI or mlflow.db")


def run(arguments: argparse.Namespace) -> int:
    """Replace this process by the server; it ends with Ctrl-C."""
    if arguments.which == "mlflow":
        port = arguments.port or 5000
        command = mlflow_command(arguments.uri, port)
    else:
        port = arguments.port or 6006
        command = tensorboard_command(arguments.runs, port)
    if command is None:
        return 0
    check_port(port)
    say(f"http://{HOST}:{port}  (Ctrl-C ends it)")
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # 8 processes, 2 GB less
    os.execv(sys.executable, command)  # noqa: S606 - a fixed program, no shell
    return 0


def mlflow_command(uri: str | None, port: int) -> list[str] | None:
    """The command of MLflow's server; None for a store that is a server itself."""
    from training.tracking.mlflow_store import (  # noqa: PLC0415 - the help must answer at once
        client_for,
        resolve_uri,
        sqlite_path,
    )

    store = resolve_uri(uri)
    if store.startswith(("http://", "https://")):
        say(f"{store} is a server: open it in a browser")
        return None
    path = sqlite_path(store)
    if path is not None:
        client_for(store)  # makes the file, once, under a lock
    artifacts = (
        [] if path is None else ["--default-artifact-root", str(path.parent / "mlartifacts")]
    )
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    return [*command, "--host", HOST, "--port", str(port), "--workers", "1", *artifacts]


def tensorboard_command(runs: Path, port: int) -> list[str]:
    """The command of TensorBoard over the folder of runs."""
    if not runs.is_dir():
        raise FileNotFoundError(f"{runs}: expected the folder of the runs, found none")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs)]
    return [*command, "--host", HOST, "--port", str(port)]


def check_port(port: int) -> None:
    """Make sure that the port is free.

    Raises:
        PortError: It is not; names a free one.
    """
    if not 0 < port < 65536:
        raise PortError(f"port: expected 1 to 65535, found {port}")
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
    except OSError as error:
        reason = "in use" if error.errno == errno.EADDRINUSE else str(error)
        raise PortError(
            f"port {port}: expected a free port on {HOST}, found it {reason}; --port {free_port()} "
            "is free"
        ) from error


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
