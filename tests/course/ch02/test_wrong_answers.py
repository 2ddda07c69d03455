"""Notebook 02: wrong answers in words of their own are refused and named, and right ones that look odd pass."""

import math

import pytest
import torch

from nanokimi.attention import attend as core_attend
from nanokimi.mask import causal_mask
from nanokimi.rope import apply_rope as core_rope
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def shown(q, k, visible):
    return causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible


# ---------------------------------------------------------------- attend


def attend_with_where(q, k, v, scale, visible=None):
    scores = torch.where(shown(q, k, visible), scale * q @ k.mT, torch.tensor(-1e4, dtype=q.dtype))
    return scores.softmax(dim=-1) @ v


def attend_below_a_million(q, k, v, scale, visible=None):
    return (scale * (q @ k.mT)).masked_fill(shown(q, k, visible).logical_not(), -1e6).softmax(dim=-1) @ v


def attend_with_a_penalty(q, k, v, scale, visible=None):
    return (scale * q @ k.mT - 1e5 * (1 - shown(q, k, visible).to(q.dtype))).softmax(dim=-1) @ v


def attend_with_a_bonus(q, k, v, scale, visible=None):
    mask = torch.zeros(q.shape[-2], k.shape[-2], dtype=q.dtype)
    mask[shown(q, k, visible)] = 1
    return torch.softmax(mask + torch.einsum("bhqd,bhkd->bhqk", q, k) * scale, dim=-1) @ v


def attend_to_the_weights_left(q, k, v, scale, visible=None):
    weights = torch.softmax(scale * q @ k.mT, -1).masked_fill(~shown(q, k, visible), 0)
    return (weights / (weights.sum(-1, keepdim=True) + 1e-9)) @ v


def attend_by_sums_of_exp(q, k, v, scale, visible=None):
    e = torch.exp(q @ k.mT * scale) * shown(q, k, visible)
    return torch.einsum("bhqk,bhkd->bhqd", e / e.sum(-1, keepdim=True), v)


def attend_with_rows_of_keys(q, k, v, scale, visible=None):
    scores = torch.einsum("bhid,bhjd->bhji", q, k) * scale
    return scores.masked_fill(~shown(q, k, visible), -math.inf).softmax(-1) @ v


def attend_filling_zeros(q, k, v, scale, visible=None):
    out = torch.zeros(*q.shape[:-1], v.shape[-1])
    weights = (q @ k.mT * scale).masked_fill(~shown(q, k, visible), -math.inf).softmax(-1)
    for t in range(q.shape[-2]):
        out[..., t, :] = (weights[..., t, :, None] * v).sum(-2)
    return out


def attend_by_log_sum_exp(q, k, v, scale, visible=None):
    scores = ((q * scale) @ k.mT).masked_fill(~shown(q, k, visible), -math.inf)
    return (scores - scores.logsumexp(-1, keepdim=True)).exp() @ v


def attend_below_a_thousand_millions(q, k, v, scale, visible=None):
    return (q @ k.mT * scale + torch.where(shown(q, k, visible), 0.0, -1e9).to(q.dtype)).softmax(-1) @ v


# ---------------------------------------------------------------- heads, rope, masks


def split_by_permutation(x, n_heads):
    b, s, c = x.shape
    return x.view(b, s, n_heads, c // n_heads).permute(0, 2, 3, 1)


def split_into_float32(x, n_heads):
    out, d = torch.zeros(len(x), n_heads, x.shape[1], x.shape[2] // n_heads), x.shape[2] // n_heads
    for h in range(n_heads):
        out[:, h] = x[..., h * d : h * d + d]
    return out


def split_like_a_picture(x, n_heads):
    return x.view(len(x), n_heads, x.shape[2] // n_heads, x.shape[1]).mT


def join_each_text(x):
    return torch.cat([text for text in x], dim=-1)


def join_by_swapping(x):
    return x.swapaxes(1, 3).flatten(2)


def theta_with_floor(rope_dim, cfg):
    return cfg.base ** torch.tensor([-2 * i // rope_dim for i in range(rope_dim // 2)], dtype=torch.float32)


def theta_by_log10(rope_dim, cfg):
    return torch.exp(-math.log10(cfg.base) * torch.arange(0, rope_dim, 2) / rope_dim)


def theta_to_a_quarter(rope_dim, cfg):
    return torch.tensor([cfg.base ** (-2 * i / rope_dim) for i in range(rope_dim // 2 // 2)])


def rope_by_arccos(x, rotation):
    angle = torch.arccos(rotation.real)
    a, b = x[..., ::2].float(), x[..., 1::2].float()
    turned = [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
    return torch.stack(turned, -1).flatten(-2).to(x.dtype)


def rope_by_halves_the_other_way(x, rotation):
    a, b = x.float().tensor_split(2, -1)
    c, s = rotation.real, rotation.imag
    return torch.cat([a * c + b * s, b * c - a * s], -1).to(x.dtype)


def rope_of_queries_in_rows(x, rotation):
    turn = rotation.unsqueeze(1) if x.dim() > 3 else rotation
    z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], x.shape[-1] // 2, 2)) * turn
    return torch.view_as_real(z).flatten(-2).to(x.dtype)


def mask_of_a_square_and_the_cache(n_queries, n_keys, device):
    square = torch.ones(n_queries, n_queries, dtype=torch.bool, device=device).tril()
    cache = torch.ones(n_queries, n_keys - n_queries, dtype=torch.bool, device=device)
    return torch.cat([square, cache], dim=1)


def mask_of_the_rest(n_queries, n_keys, device):
    key, query = (torch.arange(n, device=device) for n in (n_keys, n_queries))
    return key[None] >= query[:, None]


def mask_of_the_future_to_come(n_queries, n_keys, device):
    t, s = torch.arange(n_queries, device=device)[:, None], torch.arange(n_keys, device=device)
    return s > t


# ---------------------------------------------------------------- tests of a decoding step


def tokens(n):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(1, 1, n, 6, generator=generator) for _ in range(3)]


def turn(positions):
    return torch.polar(torch.ones(len(positions), 3), positions[:, None] * torch.tensor([1.0, 0.5, 0.25]))


def turn_by_a_table(positions):
    return turn(torch.arange(4))[positions]


def at(t, *parts):
    return (x[:, :, t : t + 1] for x in parts)


def whole(q, k, v, turn=turn):
    angles = turn(torch.arange(q.shape[2]))
    return core_attend(core_rope(q, angles), core_rope(k, angles), v, 6**-0.5)


def decoding_by_a_table(decode_step):
    (q, k, v), cache = tokens(4), []
    for t in range(4):
        out = decode_step(*at(t, q, k, v), cache, core_attend, core_rope, turn_by_a_table)
        assert torch.allclose(out, whole(q, k, v)[:, :, [t]], atol=1e-4)


def decoding_of_spied_keys(decode_step):
    (q, k, v), cache = tokens(3), []

    def spy(queries, keys, values, scale):
        assert torch.allclose(keys[:, :, -1:], core_rope(k[:, :, [t]], turn(torch.tensor([t]))), atol=1e-4)
        return core_attend(queries, keys, values, scale)

    for t in range(3):
        decode_step(*at(t, q, k, v), cache, spy, core_rope, turn)


def decoding_of_forgotten_caches(decode_step):
    q, k, v = tokens(3)
    outs = [decode_step(*at(t, q, k, v), list(), core_attend, core_rope, turn) for t in range(3)]
    assert (torch.cat(outs, 2) - whole(q, k, v)).abs().max() < 1e-4


def decoding_without_angles(decode_step):
    (q, k, v), cache = tokens(3), []
    outs = [
        decode_step(*at(t, q, k, v), cache, core_attend, core_rope, lambda p: torch.ones(len(p), 3) + 0j)
        for t in range(3)
    ]
    assert (torch.cat(outs, 2) - core_attend(q, k, v, 6**-0.5)).abs().max() < 1e-4


def attending_to_columns(attend):
    weights = attend(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2), torch.eye(3)[None, None], 1.0)
    assert (weights.sum(2) - 1).abs().max() < 1e-5


def attending_finitely(attend):
    out = attend(*(torch.randn(2, 3, 5, 4) for _ in range(3)), 0.5)
    assert list(out.shape) == [2, 3, 5, 4] and not out.isnan().any() and not out.isinf().any()


NAMED = [
    ("attend", attend_with_where, "attend_masking_with_minus_10000"),
    ("attend", attend_below_a_million, "attend_masking_with_minus_10000"),
    ("attend", attend_with_a_penalty, "attend_lowering_the_hidden"),
    ("attend", attend_with_a_bonus, "attend_adding_the_mask"),
    ("attend", attend_to_the_weights_left, "attend_masking_and_dividing_safely"),
    ("attend", attend_by_sums_of_exp, "attend_with_bare_exponentials"),
    ("attend", attend_with_rows_of_keys, "attend_with_q_and_k_exchanged"),
    ("attend", attend_filling_zeros, "attend_in_float32"),
    ("split_heads", split_by_permutation, "split_after_transpose"),
    ("split_heads", split_into_float32, "split_in_float32"),
    ("split_heads", split_like_a_picture, "split_as_if_tokens_came_last"),
    ("join_heads", join_each_text, "join_over_the_batch"),
    ("join_heads", join_by_swapping, "join_with_channels_for_tokens"),
    ("rope_frequencies", theta_with_floor, "theta_of_floored_exponents"),
    ("rope_frequencies", theta_by_log10, "theta_of_log10"),
    ("rope_frequencies", theta_to_a_quarter, "theta_of_a_quarter"),
    ("apply_rope", rope_by_arccos, "rope_of_acos"),
    ("apply_rope", rope_by_halves_the_other_way, "rope_on_halves_backwards"),
    ("apply_rope", rope_of_queries_in_rows, "rope_with_tokens_before_heads"),
    ("causal_mask", mask_of_a_square_and_the_cache, "mask_with_the_cache_behind"),
    ("causal_mask", mask_of_the_rest, "mask_of_the_upper_triangle_with_queries_first"),
    ("causal_mask", mask_of_the_future_to_come, "mask_of_hidden_with_queries_first"),
    ("test_sound_decoding", decoding_of_forgotten_caches, "decoding_test_with_a_fresh_cache"),
    ("test_sound_decoding", decoding_without_angles, "decoding_test_of_a_still_turn"),
    ("test_sound_attend", attending_to_columns, "attend_test_of_sums_over_queries_of_equal_scores"),
    ("test_sound_attend", attending_finitely, "attend_test_of_the_shape_and_finite_numbers"),
]
RIGHT = [
    ("attend", attend_by_log_sum_exp),
    ("attend", attend_below_a_thousand_millions),
    ("test_sound_decoding", decoding_by_a_table),
]


SOME = sample(NAMED, 3)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[each[1].__name__ for each in SOME])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


def test_who_looks_at_what_calls_are_given_is_told_so():
    result = judge_answer("test_sound_decoding", decoding_of_spied_keys)
    assert "counts calls, or looks at what they are given" in result.beside, result


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result
