"""A test that asks for exactly equal numbers is refused by every bug hunt whose pieces round, and told why."""

import pytest
import torch

from lab_utils.course.chapters import all_exercises
from lab_utils.course.doubles import ASKS_FOR_EQUAL_NUMBERS, turn_last_digits
from lab_utils.course.exercise import TEST, Exercise
from lab_utils.course.judge import judge
from tests.course.equal_numbers import EQUAL
from tests.course.keys import judge_answer, key_of

HUNTS = [e for e in all_exercises().values() if e.is_hunt]
# Ids and lists are equal or not, and a block is asked whether it gives the same numbers twice.
WITHOUT_ROUNDING = {"test_sound_pairs", "test_sound_split", "test_sound_block"}
# In these the lab's own test is one by torch.allclose.
OWN = "attend decoding swiglu router capacity latents summary moe clip clipping exchange".split()


@pytest.mark.parametrize("exercise", HUNTS, ids=lambda e: e.name)
def test_every_sound_piece_that_rounds_is_there_with_other_last_digits_too(exercise: Exercise):
    key = key_of(exercise.name)
    says = {case.says: number for number, case in enumerate(key.cases)}
    doubles = [(number, case) for number, case in enumerate(key.cases) if case.double_of]
    sound = {c.says for i, c in enumerate(key.cases) if c.judged and key.expected(i) == {TEST: "passes"}}
    if exercise.name in WITHOUT_ROUNDING:
        assert not doubles
        return
    assert {case.double_of for _, case in doubles} >= sound - {case.says for _, case in doubles}
    assert sum(case.judged and case.tells == ASKS_FOR_EQUAL_NUMBERS for _, case in doubles) == 1
    for number, case in doubles:
        assert key.expected(number) == key.expected(says[case.double_of]) == {TEST: "passes"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 6, 100])
def test_every_number_but_zero_is_one_rounding_off(n: int, dtype: torch.dtype):
    out = torch.randn(n, dtype=dtype, generator=torch.Generator().manual_seed(n))
    out[::3] = out[::3].round()
    turned = turn_last_digits(out)
    apart = (turned - out).abs()
    assert ((apart > 0) == (out != 0)).all() and (apart <= torch.finfo(dtype).eps * out.abs()).all()
    assert torch.equal(turned, turn_last_digits(out))


def test_where_a_longer_result_is_turned_says_nothing_of_a_shorter_one():
    out = torch.linspace(0.1, 0.9, 12)
    assert not torch.equal(turn_last_digits(out)[:8], turn_last_digits(out[:8]))
    assert not torch.equal(turn_last_digits(out, salt=1.0), turn_last_digits(out, salt=2.0))


def test_turned_numbers_are_finite_have_their_gradient_and_may_keep_shares():
    odd = torch.tensor([0.0, torch.inf, -torch.inf, torch.nan, torch.finfo(torch.float32).max])
    turned = turn_last_digits(odd)
    assert turned[:3].tolist() == [0.0, torch.inf, -torch.inf] and turned[3].isnan() and turned[4].isfinite()
    x = torch.tensor([0.3, 0.5, 1.0], requires_grad=True)
    turned = turn_last_digits(3 * x, but_exact=True)
    turned.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [3.0, 3.0, 3.0]
    assert turned[1:].tolist() == [1.5, 3.0] and turned[0] != 3 * x[0]


def with_equal(exercise: Exercise):
    """The lab's own test, on its own numbers, without its tolerance."""

    def test(*pieces):
        torch.allclose = lambda one, other, **_: torch.equal(one, other)
        exercise.core(*pieces)

    return test


@pytest.mark.parametrize("name", sorted({e.name for e in HUNTS} - WITHOUT_ROUNDING))
def test_equal_numbers_are_no_answer_on_small_inputs(name: str):
    for test in EQUAL[name]:
        panel = repr(judge_answer(name, test))
        assert "exactly equal numbers" in panel or "leaves less room than rounding takes" in panel, (
            test,
            panel,
        )


@pytest.mark.parametrize("name", [f"test_sound_{each}" for each in OWN])
def test_equal_numbers_are_no_answer_on_the_labs_own_input(name: str):
    key = key_of(name)
    result = judge(key.exercise, with_equal(key.exercise), key=key)
    assert result.status == "failed" and "exactly equal numbers" in repr(result), result


def test_the_cause_stands_alone_where_nothing_else_is_wrong():
    result = judge_answer("test_sound_attend", EQUAL["test_sound_attend"][0])
    assert result.beside.startswith(
        "It passes for the core's attend, and refuses the same with other last digits"
    )
    assert result.diagnoses == () and "Diagnosis" not in repr(result)


def test_a_test_that_lets_a_broken_piece_through_as_well_hears_of_both():
    def of_the_last_token(attend):
        q = torch.zeros(1, 1, 2, 1)
        v = torch.tensor([0.3, 0.3])[None, None, :, None]
        assert attend(q, q, v, 1.0)[0, 0, 0, 0] >= 0 and torch.equal(
            attend(q, q, v, 1.0)[0, 0, 1:], v[0, 0, 1:]
        )

    result = judge_answer("test_sound_attend", of_the_last_token)
    assert result.status == "failed" and "exactly equal numbers" in repr(result), result
