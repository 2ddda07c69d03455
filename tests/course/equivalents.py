"""Mutants of the core that compute the same, with the reason, and more wrong answers; one module per notebook."""

from collections.abc import Callable


def name_mutants(line: str, *pairs: tuple[str, str, str]) -> dict[str, str]:
    """The reasons why mutants of one line compute the same, by the names that `tests.course.mutants` gives them.

    Each of `pairs` is (old, new, reason).
    """
    return {f"{line}  ->  {line.replace(old, new)}": why for old, new, why in pairs}


def after(core: Callable, change: Callable) -> Callable:
    """A wrong answer: what the core returns, changed by `change(result, *arguments)`."""

    def answer(*args):
        return change(core(*args), *args)

    return answer
