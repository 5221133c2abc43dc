"""The command line, one word with verbs that hand over to the packages.

Everything is in :mod:`training.commands`; this file stays thin because an editable install may
copy it. ``perennial --help`` imports nothing heavy.
"""

import sys
from collections.abc import Sequence

from training.commands.main import run


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console command.

    Args:
        argv: Arguments without the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 a mistake of the user, 130 interrupted.
    """
    return run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
