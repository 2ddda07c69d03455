"""Sound pieces of a bug hunt once more, with other last digits or with more calls: a test may not tell them apart."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import TEST, Case, Parts

ASKS_FOR_EQUAL_NUMBERS = (
    "It passes for {piece}, and refuses the same with other last digits, as another order of adding gives them. So it "
    "asks for exactly equal numbers (`==`, `torch.equal`), or its tolerance is smaller than rounding, which is about "
    "1e-7 of a float32 number. Compare with a tolerance, as `torch.allclose` does."
)
COUNTS_CALLS = (
    "It passes for {piece}, and refuses the same with one call more of what it gets, which changes no number. So it "
    "counts calls, or looks at what they are given. How a piece computes is its own affair: look at what it returns."
)
SHORT = (torch.bfloat16, torch.float16)  # what rounds more than a tolerance may be


def turn_last_digits(out: Tensor, *args: Any, salt: float = 0.0, but_exact: bool = False) -> Tensor:
    """`out`, with every number but 0 one rounding larger or smaller. Its gradients stay.

    Which of the two depends on its place, on the size of `out` and on `salt`, not on `args`, with which it was made.
    With `but_exact` numbers of few bits stay: shares such as 1/2 are the same in every order of adding.
    """
    fixed = out.detach()
    if fixed.dtype in SHORT:
        return out
    places = torch.arange(1, fixed.numel() + 1, dtype=torch.float64) * fixed.numel()
    upwards = ((places + salt).sin() > 0).view(fixed.shape)
    other = fixed.nextafter(torch.where(upwards, torch.inf, -torch.inf).to(fixed.dtype))
    stays = (fixed == 0) | ~fixed.isfinite() | ~other.isfinite()
    if but_exact:
        stays |= fixed * 16 == (fixed * 16).round()
    return out + torch.where(stays, 0, other - fixed)


def changing(change: Callable[..., Any]) -> Callable[[Any], Any]:
    """What makes of a piece one that gives `change(result, *args)`: of a function, or of a module or its class.

    Of an optimizer's class it is what `step` returns.
    """

    def changed(piece: Any) -> Any:
        if isinstance(piece, type):
            main = "forward" if issubclass(piece, nn.Module) else "step"
            methods = {main: changed(getattr(piece, main)), "__module__": piece.__module__}
            return type(piece.__name__, (piece,), methods)
        if isinstance(piece, nn.Module):
            made = object.__new__(changed(type(piece)))
            made.__dict__ = vars(piece)
            return made

        @functools.wraps(piece)
        def call(*args: Any, **kwargs: Any) -> Any:
            return change(piece(*args, **kwargs), *args)

        return call

    return changed


_TURNED = changing(turn_last_digits)  # of a function that returns a tensor


def with_other_last_digits(sound: Sequence[Case], turned: Callable[[Any], Any] = _TURNED) -> list[Case]:
    """The sound pieces, and each once more with other last digits, as `turned(piece)` makes it.

    The first one's double is judged too. The others only tell what a test asks for.
    """
    doubles = [_double(case, turned, "with other last digits", ASKS_FOR_EQUAL_NUMBERS) for case in sound]
    return [*sound, *(replace(each, judged=each is doubles[0]) for each in doubles)]


def with_more_calls(sound: Sequence[Case], call: Callable[..., Any]) -> list[Case]:
    """The sound pieces, and the first once more, which also does `call(*args)` with what it gets."""

    def calling(piece: Callable) -> Callable:
        @functools.wraps(piece)
        def called(*args: Any, **kwargs: Any) -> Any:
            call(*args, **kwargs)
            return piece(*args, **kwargs)

        return called

    return [*sound, _double(sound[0], calling, "with calls that change nothing", COUNTS_CALLS)]


def _double(case: Case, make: Callable[[Any], Any], how: str, tells: str) -> Case:
    return replace(
        case, says=f"{case.says}, {how}", args=(make(case.args[0]),), double_of=case.says, tells=tells
    )


def tell_doubles(cases: Sequence[Case], got: Sequence[Parts | None]) -> str:
    """What a test asks for, seen from a piece that passes it and its double, which does not; empty where none shows."""
    if {TEST: "changes"} in got:
        return ""  # it does not go by what a piece gives
    passes = {case.says for case, its in zip(cases, got, strict=True) if its == {TEST: "passes"}}
    for case, its in zip(cases, got, strict=True):
        if its == {TEST: "fails"} and case.double_of in passes:
            return case.tells.format(piece=case.double_of)
    return ""
