"""Where the command line begins: `nanokimi`, or `python -m nanokimi.cli`."""

from nanokimi.cli.program import Command, run_program


def main() -> None:
    """Run the command line and exit with its code."""
    run_program("nanokimi", _load)


def _load() -> Command:
    from nanokimi.cli.commands import run_command

    return run_command


if __name__ == "__main__":
    main()
