"""Where the benchmark begins on the command line: `python -m lab_utils.bench`, which is what `make bench` does."""

from nanokimi.cli.program import Command, run_program


def _load() -> Command:
    from lab_utils.bench.command import run

    return run


if __name__ == "__main__":
    run_program("bench", _load)
