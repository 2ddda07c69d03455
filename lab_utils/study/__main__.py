"""Where a study begins on the command line: `python -m lab_utils.study`, which is what `make study` does."""

from nanokimi.cli.program import Command, run_program


def _load() -> Command:
    from lab_utils.study.command import run

    return run


if __name__ == "__main__":
    run_program("study", _load)
