"""The judgement on one answer, and how it shows itself: a small panel in a notebook, the same words in a terminal."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from torch import Tensor

from lab_utils.course.exercise import TEST, Case, Exercise, Mistake
from lab_utils.course.inputs import describe_input
from lab_utils.course.lines_of_a_test import THE_CAUSE
from lab_utils.course.written import as_text
from lab_utils.show.colours import GREEN, GREY, LINE, ON_PAPER, ON_SOFT, QUIET, VERMILION
from lab_utils.show.note import with_code

# The word beside the bar says the same as its colour.
COLOURS = {
    "passed": GREEN,
    "failed": VERMILION,
    "not tried": GREY,
    "begun": GREY,
    "handed over": GREY,
    "interrupted": GREY,
}
LIKE_IT = "Of the pieces by which it is judged, your test passes and refuses the same ones as"
GUESSED = "Whether yours is of this kind, its own lines tell: another test may behave alike."


@dataclass(frozen=True)
class Difference:
    """The first place where an answer is wrong: in which case, what is wrong, and both values."""

    case: str
    says: str
    part: str = ""
    expected: Any = None
    got: Any = None
    place: str = ""  # the learner's own line that raised an error, as a sentence


@dataclass(frozen=True)
class CheckResult:
    """The judgement on one answer; it shows itself as a panel.

    `status` is "passed", "failed", "not tried", "begun" (a body that still raises NotImplementedError), "interrupted",
    or "handed over": then the name stands for the lab's own function.
    """

    exercise: Exercise
    status: str
    n_cases: int
    difference: Difference | None = None
    case: Case | None = None  # the input of the difference
    violated: tuple[str, ...] = ()  # properties of every right answer that this one does not have
    diagnoses: tuple[Mistake, ...] = ()  # several where no case tells them apart
    beside: str = ""  # what else is wrong, as a sentence
    own_parts: tuple[str, ...] = ()  # what it uses of the learner's own that has not passed its check
    find_relations: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False, compare=False)

    @property
    def diagnosis(self) -> Mistake | None:
        """The first of the mistakes that it may be."""
        return self.diagnoses[0] if self.diagnoses else None

    @functools.cached_property
    def relations(self) -> tuple[str, ...]:
        """What is true of an answer whose mistake nobody foresaw. It is searched for, so only where it is read."""
        return () if self.diagnoses else self.find_relations()

    def __repr__(self) -> str:
        return panel_text(self)

    def _repr_html_(self) -> str:
        return panel_html(self)


def panel_text(result: CheckResult) -> str:
    """The panel for a terminal."""
    lines = [f"{result.exercise.name}: {headline(result)}"]
    lines += [f"  {line}" for line in sentences(result)]
    for title, text in side_by_side(result):
        lines += [f"  {title}", *(f"    {line}" for line in text.splitlines())]
    return "\n".join(lines)


def panel_html(result: CheckResult) -> str:
    """The panel for a notebook. Everything that comes from the learner is escaped."""
    # The learner's own line is code already: backticks in it are its own.
    place = result.difference.place if result.difference else ""
    lines = (escape(line) if line == place else with_code(line) for line in sentences(result))
    body = "".join(f'<div style="margin-top:.25em">{line}</div>' for line in lines)
    if values := side_by_side(result):
        cells = "".join(
            f'<div style="flex:{2 if title == "input" else 1} 1 14em;min-width:0">'
            f'<div style="color:{QUIET};font-size:.85em">{with_code(title)}</div>'
            f'<pre style="margin:.2em 0 0;padding:.5em;{ON_SOFT};overflow-x:auto;'
            # Matrices keep their rows; the arguments of an input are cut off nowhere.
            f"white-space:{'pre-wrap' if title == 'input' else 'pre'};word-break:normal;overflow-wrap:anywhere;"
            f'font-size:.85em">{escape(text)}</pre></div>'
            for title, text in values
        )
        body += f'<div style="display:flex;flex-wrap:wrap;gap:1em;margin-top:.5em">{cells}</div>'
    return (
        f'<div role="status" style="border:1px solid {LINE};border-left:6px solid {COLOURS[result.status]};'
        f'border-radius:4px;padding:.6em .9em;max-width:60em;{ON_PAPER}">'
        f"<b><code>{escape(result.exercise.name)}</code>: {escape(headline(result))}</b>{body}</div>"
    )


def headline(result: CheckResult) -> str:
    """The status in a few words: "passed, on all 5 inputs"."""
    words = {
        "failed": "failed",
        "not tried": "not tried yet",
        "begun": "begun, not finished",
        "interrupted": "interrupted",
        "handed over": "this is the lab's own",
    }
    return words.get(result.status, f"passed, on all {result.n_cases} inputs")


def sentences(result: CheckResult) -> list[str]:
    """What the panel says, one sentence per line."""
    name = result.exercise.name
    if result.status == "passed":
        return [result.exercise.moral] if result.exercise.moral else []
    if result.status == "not tried":
        return [f"Write the function in the cell above and run this one again. Stuck? hint({name})"]
    if result.status == "begun":
        return [f"It still ends in NotImplementedError. Put what it shall return there. Stuck? hint({name})"]
    if result.status == "handed over":
        return [
            "Since the handover the name stands for the lab's version. Run your own cell, then this one again."
        ]
    if result.status == "interrupted":
        return ["The check was ended before its end, and does not count. Run this cell again."]
    assert result.difference is not None
    describe = _describe_test if result.exercise.is_hunt else _describe
    found = [describe(result.difference), *filter(None, [result.difference.place])]
    found += [
        f"Every right answer has this property, and yours does not: {says}." for says in result.violated
    ]
    found += [
        f"It uses your own {part}, which has not passed its check: the fault may be there. Run the handover cell of "
        f"{part}, then this one again."
        for part in result.own_parts
    ]
    beside = [result.beside] if result.beside else []
    if result.exercise.is_hunt or not result.diagnoses:
        found += beside
    if result.beside in THE_CAUSE:  # read off the lines, not guessed
        return [*found, f"Stuck? hint({name})"]
    if result.diagnoses:
        return [*found, *_diagnosis_lines(result), *(() if result.exercise.is_hunt else beside)]
    for says in result.relations[:1]:  # where it is right says nothing of what is wrong
        found.append(says if says.startswith(("It is ", "Of the ", "“")) else f"What is wrong: {says}")
    return [*found, *result.relations[1:3], f"Stuck? hint({name})"]


def _diagnosis_lines(result: CheckResult) -> list[str]:
    """What is wrong and where to look, for each mistake that it may be."""
    if result.exercise.is_hunt:
        return _likeness_lines(result)
    if len(result.diagnoses) == 1:
        (known,) = result.diagnoses
        return [f"Diagnosis: {known.says}", f"Look at this: {known.look_at}"]
    return [f"Diagnosis: one of these {len(result.diagnoses)} mistakes.", *_numbered(result)]


def _likeness_lines(result: CheckResult) -> list[str]:
    """Which weak tests say the same of the pieces. What a test asks nobody knows from that: it is told of those."""
    if len(result.diagnoses) == 1:
        (known,) = result.diagnoses
        lines = [
            f"Diagnosis: {LIKE_IT} a known weak test, of which this is true: “{known.says}”",
            f"Look at this: {known.look_at}",
        ]
    else:
        lines = [
            f"Diagnosis: {LIKE_IT} each of these {len(result.diagnoses)} weak tests.",
            *_numbered(result),
        ]
    return [*lines, GUESSED]


def _numbered(result: CheckResult) -> list[str]:
    return [f"{i}. {known.says} Look at this: {known.look_at}" for i, known in enumerate(result.diagnoses, 1)]


def _describe(difference: Difference) -> str:
    """The difference in one sentence, with its part and its case."""
    where = f" ({difference.case})" if difference.case else ""
    if not difference.part:
        return f"{difference.says}{where}"
    return f"{difference.part}{where}: {inside(difference.says)}"


def inside(sentence: str) -> str:
    """A sentence about "it" as it goes on after a colon."""
    return re.sub("^It(?=s? )", "it", sentence)


def _describe_test(difference: Difference) -> str:
    """What a test says of a piece, against what it should say."""
    piece = difference.case
    inside = f"{piece}," if ", " in piece else piece  # a clause ends in a comma too
    if difference.part != TEST:
        if not difference.says.startswith("It raises "):
            return difference.says
        raised = difference.says.removeprefix("It raises ")
        raises = f"For {inside} your test raises {raised}."
        return f"{raises} Only an AssertionError, as `assert` raises it, refuses a piece."
    if difference.got == "passes":
        return f"Your test lets {inside} through. It should fail for it."
    if difference.got == "fails":
        return f"Your test refuses {piece}. It should pass for it."
    return (
        f"Your test passes for {inside} at one time and fails at another. It should say the same each time: "
        "choose its numbers yourself, or from a generator with a seed, write all that a `torch.empty` makes, and "
        "remember nothing."
    )


def side_by_side(result: CheckResult) -> list[tuple[str, str]]:
    """Title and text of the input, of what was expected and of what came, as far as there are such."""
    difference, found = result.difference, []
    if result.case is not None and (text := describe_input(result.exercise, result.case)):
        found.append(("input", text))
    if difference is None or not difference.part or difference.part == TEST:
        return found
    what = "" if difference.part == "result" else f" {difference.part}"
    pair = [
        (f"expected{what}{_shape(difference.expected)}", as_text(difference.expected, difference.got)),
        (f"got{_shape(difference.got)}", as_text(difference.got, difference.expected)),
    ]
    # Where both look the same, as lists of tensors, or numbers in two formats, the first sentence says how they differ.
    look_alike = pair[0][1] == pair[1][1] and _shape(difference.expected) == _shape(difference.got)
    return found if look_alike else found + pair


def _shape(value: Any) -> str:
    return f", shape {tuple(value.shape)}" if isinstance(value, Tensor) and not value.is_nested else ""
