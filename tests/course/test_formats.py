"""What torch says of two number formats that do not fit is told in words, and nothing is told of other errors."""

import re

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters import all_exercises
from lab_utils.course.formats import has_bfloat16, say_formats_met
from lab_utils.course.grading.names import stubs
from lab_utils.course.judgement import panel_text
from nanokimi.mask import causal_mask
from tests.course.keys import judge_answer

SHORT = torch.ones(1, 2, 2, 2).bfloat16()
WIDE = SHORT.float()

CLASHES = {
    "a product of stacks": lambda a, b: a @ b,
    "a product of matrices": lambda a, b: a[0, 0] @ b[0, 0],
    "a layer": lambda a, b: F.linear(a, b[0, 0]),
    "einsum": lambda a, b: torch.einsum("bhqk,bhkd->bhqd", a, b),
    "attention": F.scaled_dot_product_attention,
    "index_add": lambda a, b: a[0, 0].index_add(0, torch.tensor([0]), b[0, 0, :1]),
    "index_copy": lambda a, b: a[0, 0].index_copy(0, torch.tensor([0]), b[0, 0, :1]),
    "lerp": lambda a, b: torch.lerp(a, b, 0.5),
}


def says(of, *args) -> str:
    with pytest.raises((RuntimeError, TypeError, ValueError)) as caught:
        of(*args)
    return say_formats_met(str(caught.value))


@pytest.mark.parametrize("name", CLASHES)
@pytest.mark.parametrize("one", [torch.float64, torch.bfloat16, torch.float16])
def test_both_formats_are_named(name, one):
    args = (WIDE, WIDE.to(one), WIDE.to(one))[: 3 if name == "attention" else 2]
    other = str(one).removeprefix("torch.")
    assert set(says(CLASHES[name], *args).split(".")[0].split()) >= {"float32", other}
    larger = "float64" if one == torch.float64 else "float32"
    assert says(CLASHES[name], *args).endswith(f"the sum of both formats is {larger}.")
    assert torch.promote_types(torch.float32, one) is getattr(torch, larger)


@pytest.mark.parametrize(
    "of",
    [
        lambda: torch.ones(2) @ torch.ones(3),
        lambda: torch.ones(2, dtype=torch.long).softmax(0),
        lambda: torch.ones(2)[torch.ones(1)],
        lambda: float("x"),
    ],
)
def test_of_another_error_nothing_is_said(of):
    with pytest.raises((RuntimeError, IndexError, ValueError)) as caught:
        of()
    assert say_formats_met(str(caught.value)) == ""


def attend_adding_a_mask(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    mask = torch.full(visible.shape, -torch.inf).masked_fill(visible, 0.0)
    return torch.matmul((q @ k.transpose(-2, -1) * scale + mask).softmax(dim=-1), v)


def test_a_mask_in_float32_beside_scores_in_bfloat16_is_told_with_the_learners_own_line():
    text = panel_text(judge_answer("attend", attend_adding_a_mask))
    assert "expected scalar type Float but found BFloat16 (equal scores in bfloat16)" in text
    assert ": return torch.matmul((q @ k.transpose(-2, -1) * scale + mask).softmax(dim=-1), v)" in text
    assert "A tensor in float32, a mask perhaps, meets the scores" in text


def swiglu_in_float32(x, gate_up, down):
    gate, up = (x.float() @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T


def test_where_no_known_mistake_has_the_error_the_formats_are_told():
    text = panel_text(judge_answer("swiglu", swiglu_in_float32))
    assert "There numbers in float32 meet numbers in float64." in text and "Line " in text


def test_a_stub_names_the_number_format_that_its_check_asks_for():
    """A rule that stands in the text above a stub alone is read by nobody who has the stub before them."""
    silent = []
    for name, exercise in all_exercises().items():
        asks = not exercise.is_hunt and any("bfloat16" in c.says or has_bfloat16(c) for c in exercise.cases())
        if asks and not re.search("float32|bfloat16|autocast|format|dtype", stubs()[name]):
            silent.append(name)
    assert not silent
