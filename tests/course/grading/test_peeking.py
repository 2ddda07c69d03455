"""A test of a bug hunt cannot see which piece of code it has: by name, module, text, table, frame or memory."""

import inspect

import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.hints import reveal
from tests.course.grading.test_cheats import judged, prepared  # noqa: F401
from tests.sample import sample

PEEKS = {
    "the table of pieces": """
    from lab_utils.course import anonymous
    known = anonymous._BEHIND[{piece}]
    clue = known.__name__ + known.__module__ + known.__qualname__ + str(known.__doc__) + known.__code__.co_filename
""",
    "names in the module": """
    from lab_utils.course import anonymous
    known = anonymous._BEHIND[{piece}]
    clue = " ".join(name for name, value in known.__globals__.items() if value is known)
""",
    "frames": """
    import sys
    frame, clue = sys._getframe(0).f_back, ""
    while frame:
        for value in frame.f_locals.values():
            clue += str(getattr(value, "says", "")) + str(getattr(getattr(value, "__func__", value), "__name__", ""))
            if isinstance(value, list) and value and hasattr(value[0], "says"): clue += "broken" * len(value)
        frame = frame.f_back
""",
    "the list of pieces": """
    from lab_utils.course import anonymous
    clue = "broken" if len(anonymous._BEHIND) > 1 else ""
""",
}
CLUES = ("column", "key_by_key", "above", "hidden", "broken", "bugs", "same fault")


@pytest.mark.parametrize("peek", PEEKS.values(), ids=PEEKS)
def test_a_test_cannot_see_which_piece_it_has(peek):
    source = f"def test_sound_attend(attend):{peek.format(piece='attend')}"
    source += f"    assert not any(c in clue for c in {CLUES})\n"
    assert judged("test_sound_attend", source)["status"] == "failed"


def test_each_piece_is_met_in_a_process_of_its_own():
    """A test that counts the pieces it has met counts no further than one piece's runs."""
    source = inspect.cleandoc(
        """
        met = []
        def test_sound_attend(attend):
            met.append(attend)
            assert len({id(m) for m in met}) <= 3, "more than one piece's runs"
        """
    )
    assert "lets the piece above through" in judged("test_sound_attend", source)["says"]


def test_the_labs_own_test_cannot_be_borrowed():
    source = """
from lab_utils.course.chapters.ch02_attention import hunts
def test_sound_attend(attend): return hunts.test_sound_attend(attend)"""
    assert "It calls the lab's own test_sound_attend" in judged("test_sound_attend", source)["says"]


@pytest.mark.parametrize("name", sample((e.name for e in all_exercises().values() if e.is_hunt), 8, begin=2))
def test_the_core_of_each_hunt_still_works_on_pieces_without_names(name):
    assert judged(name, reveal(name).source)["status"] == "passed"
