"""Mutants of the core that compute the same, with the reason, and more wrong answers; one module per notebook."""

from collections.abc import Callable


def changes(line: str, *pairs: tuple[str, str, str]) -> dict[str, str]:
    """The mutants of one line, (old, new, why they are the same), as `tests.course.mutants` names them."""
    return {f"{line}  ->  {line.replace(old, new)}": why for old, new, why in pairs}


def after(core: Callable, change: Callable) -> Callable:
    """A wrong answer: what the core returns, changed by `change(result, *arguments)`."""

    def changed(*args):
        return change(core(*args), *args)

    return changed
