"""What is said of mutants of the core, wrong answers that nobody foresaw, is computed once more, in another way."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from lab_utils.course.attempt import run_cases
from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.relations.arguments import leaves_of, say_path
from lab_utils.course.relations.standins import StandIns
from nanokimi.router import expert_load
from tests.course.mutants import mutants
from tests.sample import sample


def number(text: str, sizes: dict) -> float:
    """The factor that a sentence names."""
    known = {"half of": 0.5, "twice": 2.0, "log(2) times": math.log(2), "1/log(2) times": 1 / math.log(2)}
    known |= {"2π times": 2 * math.pi, "π times": math.pi}
    if text in known:
        return known[text]
    text = text.removesuffix(" times").removesuffix(" of").replace("²", "**2").replace("sqrt", "math.sqrt")
    for name in sorted(sizes, key=len, reverse=True):
        text = text.replace(f"`{name}`", repr(float(sizes[name])))
    return eval(text, {"math": math})


def sizes_of(exercise, case) -> dict:
    found = {}
    for path, value in leaves_of(exercise, case).items():
        name = say_path(exercise, path).strip("`")
        if isinstance(value, torch.Tensor):
            found |= {f"{name}.shape[{-1 - i}]": n for i, n in enumerate(reversed(value.shape))}
            found |= {f"{name}.shape[{i}]": n for i, n in enumerate(value.shape)}
            found |= {
                f"{name}.numel()": value.numel(),
                f"{name}.shape[:-1].numel()": math.prod(value.shape[:-1]),
            }
            if value.is_floating_point() and value.numel():
                found |= {f"{name}.mean()": value.double().mean(), f"{name}.sum()": value.double().sum()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, list | tuple | str):
            found[f"len({name})"] = len(value)
    return found


def as_array(value) -> np.ndarray:
    return value.double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, dtype=float)


def close(one, other, room) -> bool:
    one, other = as_array(one), as_array(other)
    least = room * np.nanmax(np.abs(other), initial=0.0)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=room, atol=least, equal_nan=True))


FACTOR = r"every number is (half of|twice|[-0-9.e+]+ times|\S*log\(2\) times|2?π times|.*`.+`.*?) what it should be"
CHECKS = {
    FACTOR: lambda m, r, g, s, room: close(g, number(m, s) * as_array(r), room),
    r"every number is the (square) of what": lambda m, r, g, s, room: close(g, as_array(r) ** 2, room),
    r"every number is the (square root) of what": lambda m, r, g, s, room: close(g, as_array(r) ** 0.5, room),
    r"every number is (1) divided by what": lambda m, r, g, s, room: close(g, 1 / as_array(r), room),
    r"every number is ([-0-9.e+]+) too large": lambda m, r, g, s, room: close(g, as_array(r) + float(m), 1e-3),
    r"every number is ([-0-9.e+]+) too small": lambda m, r, g, s, room: close(g, as_array(r) - float(m), 1e-3),
    r"every number is (-?[0-9.e+-]+|nan)$": lambda m, r, g, s, room: np.allclose(as_array(g), float(m), equal_nan=True,
                                                                              rtol=1e-3),
    r"every wrong number is too (large|small)": lambda m, r, g, s, room: bool(
        np.all((as_array(g) - as_array(r)) * (1 if m == "large" else -1) >= -1e-3)),
    r"every number has the (wrong) sign": lambda m, r, g, s, room: close(-as_array(g), r, room),
    r"(True and False are exchanged)": lambda m, r, g, s, room: bool(np.all(as_array(g) != as_array(r))),
    r"right numbers stand in the (opposite) order along the last axis": lambda m, r, g, s, room: close(
        as_array(g)[..., ::-1], r, room),
    r"the right numbers stand at (other) places": lambda m, r, g, s, room: close(
        np.sort(as_array(g), None), np.sort(as_array(r), None), room),
    r"apart from one (factor), the numbers along the last axis": lambda m, r, g, s, room: np.linalg.matrix_rank(
        np.nan_to_num(np.stack([as_array(r), as_array(g)], -2).astype(float)), tol=2e-3 * np.abs(as_array(r)).max()
    ).max() <= 1,
    r"no number is off by more than ([0-9.]+) %": lambda m, r, g, s, room: bool(
        np.all(np.abs(as_array(g) - as_array(r)) <= (float(m) / 100 + 1e-2) * np.abs(as_array(r)) + 1e-5)),
}  # fmt: skip


def differs(right, got, tolerance) -> bool:
    """As the judge says, in numpy."""
    if isinstance(right, torch.Tensor | float | int) and isinstance(got, torch.Tensor | float | int):
        if getattr(got, "dtype", None) != getattr(right, "dtype", None):
            return True
        if not isinstance(got, torch.Tensor):  # a number alone: one room or the other, not both
            return not abs(got - right) <= tolerance * max(1.0, abs(got), abs(right))
        one, other = as_array(got), as_array(right)
        room = 1.01 * tolerance
        return one.shape != other.shape or not np.allclose(one, other, rtol=room, atol=room, equal_nan=True)
    return type(got) is not type(right) or repr(got) != repr(right)


def verify(exercise: Exercise, key: AnswerKey, outcomes, sentence: str) -> bool | None:
    """Whether a sentence is true; None where this test does not know how to tell."""
    judged = [i for i, case in enumerate(key.cases) if case.judged]
    room = max(2e-3, exercise.tolerance)

    def fails(i):
        right, got = key.expected(i), outcomes[i].parts
        if got is None or list(right) != list(got):
            return True
        return any(differs(right[n], got[n], exercise.tolerance) for n in right)

    if match := re.match(r"It is (right|wrong) on all inputs but (?:this one|these): (.+)\.$", sentence):
        listed, wrong = match[2].split("; "), match[1] == "wrong"
        return all(fails(i) is (wrong is (key.cases[i].says not in listed)) for i in judged)
    if match := re.match(
        r"(The result|Its part “(.+)”), (on every input|wherever it is wrong): (.+)\.$", sentence
    ):
        part, clause = match[2] or "result", match[4]
        for pattern, holds in CHECKS.items():
            if (found := re.search(pattern, clause)) is None:
                continue
            for i in judged:
                right, got = key.expected(i).get(part), outcomes[i].parts
                if right is None:
                    continue
                if match[3] == "wherever it is wrong" and got is not None and close(got[part], right, 1e-5):
                    continue
                if not holds(found[1], right, got[part], sizes_of(exercise, key.cases[i]), room):
                    return False
            return True
    return None


COSTLY = {
    "Kimi",
    "KimiBlock",
    "MultiHeadLatentAttention",
    "generate",
    "build_optimizers",
    "Muon",
}  # minutes each


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "exercise",
    [e for e in all_exercises().values() if not e.is_hunt and e.name not in COSTLY],
    ids=lambda e: e.name,
)
def test_what_is_said_of_mutants_is_true(exercise: Exercise):
    bare = dataclasses.replace(exercise, mistakes=())
    key, untrue = AnswerKey(bare), []
    key.stand_ins = StandIns(bare, key.cases, seconds=0.0)  # not searched here: so all other kinds are asked
    for change, mutant in sample(mutants(exercise.core), 24):
        attempt = run_cases(bare, key.cases, mutant, 3.0)
        if attempt.why:
            continue
        for sentence in judge(bare, mutant, 3.0, key).relations:
            if verify(bare, key, attempt.outcomes, sentence) is False:
                untrue.append(f"{change}: {sentence}")
    assert untrue == []


def test_an_untrue_sentence_is_found():
    bare = dataclasses.replace(find("expert_load"), mistakes=())
    key = AnswerKey(bare)
    outcomes = run_cases(bare, key.cases, lambda idx, n: 3 * expert_load(idx, n)).outcomes
    true, untrue = (
        f"The result, on every input: every number is {n} times what it should be." for n in (3, 4)
    )
    assert verify(bare, key, outcomes, true) is True
    assert verify(bare, key, outcomes, untrue) is False
    only = f"It is right on all inputs but this one: {key.cases[0].says}."
    assert verify(bare, key, outcomes, only) is False
