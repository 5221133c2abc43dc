"""The command line, one word with verbs that hand over to the packages."""


def main() -> None:
    """Entry point of the console command."""
