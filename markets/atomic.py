"""Files that appear whole or not at all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["whole_file", "write_whole"]


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` only when everything has been written.

    Args:
        path: the file; its folder is made if it is missing; a file there is replaced.
        durable: wait until it is on the disk; otherwise a power cut may leave a torn file there.

    Yields:
        A binary file to write to. After an error the old file stands and nothing is left behind.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unique for each thread and process, so that concurrent writers do not share it.
    scratch = path.with_name(f".{path.name[:32]}.{os.getpid()}-{threading.get_ident()}")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, see `whole_file`; text as UTF-8."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
