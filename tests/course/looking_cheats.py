"""Tests of a bug hunt that look for what tells the pieces apart: at labels, frames, objects, calls. All are wrong.

`sound` is a test that judges well.
"""

import gc
import inspect
import sys
import weakref
from collections.abc import Callable
from typing import Any

Cheat = Callable[..., None]
TELLING = ("above", "same fault", "hidden piece")  # in what the lab says of its broken pieces
BROKEN = ("colleague", "columns", "until_full", "mean_norm", "share", "bugs")  # in their names


def tells(text: Any) -> bool:
    return any(each in str(text) for each in TELLING)


def is_broken(name: Any) -> bool:
    return any(each in str(name).lower() for each in BROKEN)


def verdict(test: Cheat, *given: Any) -> bool:
    try:
        test(*given)
    except AssertionError:
        return False
    return True


# ---------------------------------------------------------------- what the piece is called, or where it lies


def by_its_labels(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        cells = [cell.cell_contents for cell in getattr(piece, "__closure__", None) or ()]
        labels = [getattr(piece, name, "") for name in ("__name__", "__qualname__", "__module__", "__doc__")]
        assert not any(map(is_broken, [*labels, *cells, repr(piece), type(piece).__mro__]))

    return test


def by_its_signature(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert "visible" in str(inspect.signature(piece))

    return test


def by_its_id(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert id(piece) // 64 % 2

    return test


def by_its_hash(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert hash(piece) % 5

    return test


def by_its_references(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert (sys.getrefcount(piece) + weakref.getweakrefcount(piece)) % 2

    return test


def by_an_error(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        try:
            piece(*[None] * 9)
        except Exception as error:
            places, trace = [str(error)], error.__traceback__
            while trace:
                places += [trace.tb_frame.f_code.co_name, trace.tb_frame.f_code.co_filename]
                trace = trace.tb_next
            assert not any(map(is_broken, places))

    return test


# ---------------------------------------------------------------- what else the process holds


def walk(frame: Any, test: Callable[[dict[str, Any]], None]) -> None:
    while frame:
        test(dict(frame.f_locals))
        frame = frame.f_back


def refuse_what_tells(names: dict[str, Any]) -> None:
    for value in names.values():
        assert not (hasattr(value, "says") and tells(value.says))
        assert not is_broken(getattr(value, "__name__", ""))


def refuse_small_numbers(names: dict[str, Any]) -> None:
    assert names.get("number", 9) > 2


def by_the_cases_in_frames(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        walk(sys._getframe(), refuse_what_tells)

    return test


def by_the_numbers_in_frames(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        walk(sys._getframe(), refuse_small_numbers)

    return test


def by_the_frames_of_an_error(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        try:
            raise ValueError
        except ValueError as error:
            assert error.__traceback__
            walk(error.__traceback__.tb_frame, refuse_what_tells)

    return test


def by_the_frames_of_other_threads(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        for frame in sys._current_frames().values():
            walk(frame, refuse_what_tells)

    return test


def by_all_objects(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert not any(type(each).__name__ == "Case" and tells(each.says) for each in gc.get_objects())

    return test


def by_who_refers_to_it(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert len(gc.get_referrers(piece)) > 3

    return test


def by_a_trace(sound: Cheat) -> Cheat:
    return by_what_runs(sound, sys.settrace)


def by_a_profile(sound: Cheat) -> Cheat:
    return by_what_runs(sound, sys.setprofile)


def by_what_runs(sound: Cheat, follow: Callable[[Any], None]) -> Cheat:
    def test(piece, *rest):
        names: list[str] = []
        follow(lambda frame, event, arg: names.extend((frame.f_code.co_name, frame.f_code.co_filename)))
        try:
            verdict(sound, piece, *rest)
        finally:
            follow(None)
        assert not any(map(is_broken, names))

    return test


LOOKING = (
    by_its_labels,
    by_its_signature,
    by_its_id,
    by_its_hash,
    by_its_references,
    by_an_error,
    by_the_cases_in_frames,
    by_the_numbers_in_frames,
    by_the_frames_of_an_error,
    by_the_frames_of_other_threads,
    by_all_objects,
    by_who_refers_to_it,
    by_a_trace,
    by_a_profile,
)
