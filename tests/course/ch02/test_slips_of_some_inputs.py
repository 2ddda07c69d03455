"""Notebook 02: slips that show on some inputs only are refused and named; right answers near them pass."""

import math

import pytest
import torch

from nanokimi.mask import causal_mask
from nanokimi.norm import RMSNorm
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def weigh(scores, v, visible):
    return scores.masked_fill(~visible, -math.inf).softmax(-1) @ v


def shown(q, k, visible):
    return causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible


# ---------------------------------------------------------------- attend


def attend_asking_for_any_hidden(q, k, v, scale, visible=None):
    given = visible is not None and bool((~visible).any())
    return weigh(q @ k.mT * scale, v, visible if given else shown(q, k, None))


def attend_counting_the_shown(q, k, v, scale, visible=None):
    everything = visible is not None and int(visible.sum()) == visible.numel()
    return weigh(scale * q @ k.mT, v, shown(q, k, None if everything else visible))


def attend_with_scores_between_bounds(q, k, v, scale, visible=None):
    return weigh((q @ k.mT * scale).clamp(-60, 60), v, shown(q, k, visible))


def attend_with_safe_exponentials(q, k, v, scale, visible=None):
    e = torch.minimum(q @ k.mT * scale, torch.tensor(80.0, dtype=q.dtype)).exp() * shown(q, k, visible)
    return e / e.sum(-1, keepdim=True) @ v


def attend_with_scores_below_ninety(q, k, v, scale, visible=None):
    scores = scale * torch.einsum("bhqd,bhkd->bhqk", q, k)
    return weigh(torch.where(scores > 90, 90.0, scores), v, shown(q, k, visible))


def attend_with_a_scale_in_one_branch(q, k, v, scale, visible=None):
    scores = q @ k.mT
    if visible is not None:
        scores = scores * scale
    return weigh(scores, v, shown(q, k, visible))


def attend_keeping_everything_shown(q, k, v, scale, visible=None):
    if visible is not None and visible.all():
        return (q @ k.mT * scale).softmax(-1) @ v
    return weigh(q @ k.mT * scale, v, shown(q, k, visible))


# ---------------------------------------------------------------- heads, rope, norm, masks


def split_from_a_stack(x, n_heads):
    stacked = torch.stack(x.chunk(n_heads, -1))
    return stacked.reshape(x.shape[0], n_heads, x.shape[1], x.shape[2] // n_heads)


def split_from_a_stack_turned(x, n_heads):
    return torch.stack(x.chunk(n_heads, -1)).transpose(0, 1)


def join_all_but_the_batch(x):
    return x.permute(0, 2, 1, 3).reshape(len(x), -1)


def rope_by_powers(x, rotation):
    z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    z = z * rotation ** torch.arange(len(rotation))[:, None]
    return torch.view_as_real(z).flatten(-2).to(x.dtype)


class NormByLengthOverWidth(RMSNorm):
    def forward(self, x):
        h = x.to(torch.promote_types(x.dtype, torch.float32))
        rms = torch.linalg.vector_norm(h, dim=-1, keepdim=True) / h.shape[-1]
        return (self.weight * (h / torch.sqrt(rms**2 + self.eps))).to(x.dtype)


def mask_of_as_many_keys(n_queries, n_keys, device):
    t = torch.arange(n_queries, device=device)[:, None] + n_keys - n_queries
    s = torch.arange(n_keys, device=device)
    return (s <= t) & (t - s < n_queries)


NAMED = [
    ("attend", attend_asking_for_any_hidden, "attend_taking_everything_for_no_mask"),
    ("attend", attend_counting_the_shown, "attend_taking_everything_for_no_mask"),
    ("attend", attend_with_scores_between_bounds, "attend_cutting_scores_off"),
    ("attend", attend_with_safe_exponentials, "attend_with_exponentials_cut_off"),
    ("attend", attend_with_scores_below_ninety, "attend_cutting_scores_off_above"),
    ("attend", attend_with_a_scale_in_one_branch, "attend_scaling_with_a_mask_only"),
    ("split_heads", split_from_a_stack, "split_mixing_the_texts"),
    ("join_heads", join_all_but_the_batch, "join_flattening_the_tokens_too"),
    ("apply_rope", rope_by_powers, "rope_counting_positions_twice"),
    ("RMSNorm", NormByLengthOverWidth, "NormByTheLengthOverWidthUnderTheRoot"),
    ("causal_mask", mask_of_as_many_keys, "mask_of_a_window_of_queries"),
]
RIGHT = [("attend", attend_keeping_everything_shown), ("split_heads", split_from_a_stack_turned)]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[1].__name__ for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what is said of bfloat16 beside a known mistake


def in_float32(x, rotation, signs=(-1, 1)):
    a, b = x[..., 0::2].float(), x[..., 1::2].float()
    c, s = rotation.real, rotation.imag
    return torch.stack([a * c + signs[0] * b * s, signs[1] * a * s + b * c], -1).flatten(-2)


def rope_of_two_pluses(x, rotation):
    return in_float32(x, rotation, (1, 1)).to(x.dtype)


def rope_of_two_pluses_in_float64(x, rotation):
    return in_float32(x, rotation.to(torch.complex128), (1, 1)).to(x.dtype)


def rope_of_two_pluses_losing_a_channel(x, rotation):
    return in_float32(x, rotation, (1, 1))[..., : None if x.dtype != torch.bfloat16 else -1].to(x.dtype)


class NormByTheMeanSquare(RMSNorm):
    def forward(self, x):
        h = x.float() if x.dtype == torch.bfloat16 else x
        return (self.weight * h / (h.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


@pytest.mark.parametrize(
    ("name", "answer", "beside"),
    [
        ("apply_rope", rope_of_two_pluses, False),
        ("apply_rope", rope_of_two_pluses_in_float64, False),
        ("apply_rope", rope_of_two_pluses_losing_a_channel, True),
        ("RMSNorm", NormByTheMeanSquare, False),
    ],
)
def test_what_the_same_mistake_explains_is_not_said_twice(name, answer, beside):
    result = judge_answer(name, answer)
    assert result.diagnoses and bool(result.beside) is beside, result
