"""Right answers to notebook 02, written in other ways than the core, pass: to reject one would teach a mistake."""

import math

import pytest
import torch
import torch.nn.functional as F

from nanokimi.attention import attend
from nanokimi.mask import causal_mask
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope
from tests.course.keys import judge_answer


class NormWideningTwice(RMSNorm):
    def forward(self, x):
        inverse = (x.float().square().mean(dim=-1, keepdim=True) + self.eps).rsqrt()
        return (self.weight * x.float() * inverse).to(x.dtype)


class NormWithDivision(RMSNorm):
    def forward(self, x):
        h = x.double()
        return (self.weight * (h / (h.pow(2).mean(dim=-1, keepdim=True) + self.eps).sqrt())).to(x.dtype)


def rope_by_cosines(x, rotation):
    a, b = x[..., 0::2].to(rotation.real.dtype), x[..., 1::2].to(rotation.real.dtype)
    a, b = (y.double() if x.dtype == torch.float64 else y for y in (a, b))
    turned = (a * rotation.real - b * rotation.imag, a * rotation.imag + b * rotation.real)
    return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)


def rope_widening_twice(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    real = a.float() * rotation.real - b.float() * rotation.imag
    imaginary = a.float() * rotation.imag + b.float() * rotation.real
    return torch.stack([real, imaginary], dim=-1).flatten(-2).to(x.dtype)


def rope_by_matrices(x, rotation):
    full = x.float() if x.dtype == torch.bfloat16 else x
    cosine, sine = rotation.real.to(full.dtype), rotation.imag.to(full.dtype)
    matrices = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    return torch.einsum("tpij,...tpj->...tpi", matrices, full.unflatten(-1, (-1, 2))).flatten(-2).to(x.dtype)


def rope_pair_by_pair(x, rotation):
    channels = []
    for i in range(x.shape[-1] // 2):
        a, b = (x[..., 2 * i + j].to(torch.promote_types(x.dtype, torch.float32)) for j in (0, 1))
        channels += [
            a * rotation[:, i].real - b * rotation[:, i].imag,
            a * rotation[:, i].imag + b * rotation[:, i].real,
        ]
    return torch.stack(channels, dim=-1).to(x.dtype)


class NormTokenByToken(RMSNorm):
    def forward(self, x):
        tokens = [
            self.weight * token.float() / (token.float().square().mean() + self.eps) ** 0.5
            for token in x.reshape(-1, x.shape[-1])
        ]
        return torch.stack(tokens).view(x.shape).type_as(x)


class NormByTheLength(RMSNorm):
    def forward(self, x):
        h = x.to(torch.promote_types(x.dtype, torch.float32))
        squares = torch.einsum("...d,...d->...", h, h)[..., None] / x.shape[-1]
        return (h * (self.weight * (squares + self.eps).pow(-0.5))).to(x.dtype)


def attend_with_einsum_and_where(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = torch.where(visible, torch.einsum("bhqd,bhkd->bhqk", q, k) * scale, -math.inf)
    return torch.einsum("bhqk,bhkv->bhqv", scores.softmax(dim=-1), v)


def attend_adding_the_mask(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    hidden = torch.zeros(visible.shape, dtype=q.dtype).masked_fill(~visible, -math.inf)
    weights = (scale * q @ k.transpose(2, 3) + hidden).log_softmax(dim=-1).exp()
    return weights @ v


def attend_query_by_query(q, k, v, scale, visible=None):
    rows = []
    for t in range(q.shape[-2]):
        seen = torch.arange(k.shape[-2]) <= t + k.shape[-2] - q.shape[-2] if visible is None else visible[t]
        scores = scale * (k[:, :, seen] @ q[:, :, t, :, None])
        weights = (scores - scores.amax(dim=-2, keepdim=True)).exp()
        rows.append((weights / weights.sum(dim=-2, keepdim=True) * v[:, :, seen]).sum(dim=-2))
    return torch.stack(rows, dim=-2)


def split_by_chunks(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def join_by_cat(x):
    return torch.cat([x[:, head] for head in range(x.shape[1])], dim=-1)


def mask_in_loops(n_queries, n_keys, device):
    rows = [[s <= t + n_keys - n_queries for s in range(n_keys)] for t in range(n_queries)]
    return torch.tensor(rows, device=device)


def values_of_one(attend):
    q, v = torch.randn(1, 1, 4, 8), torch.ones(1, 1, 4, 2)
    assert torch.allclose(attend(q, q, v, 0.35), v)


def against_torch(attend):
    q, k, v = (torch.randn(1, 1, 4, 8) for _ in range(3))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.35)
    torch.testing.assert_close(attend(q, k, v, 0.35), expected)


def step_by_step_against_torch(decode_step):
    q, k, v = (torch.randn(1, 1, 3, 8) for _ in range(3))

    def turn(positions):
        return torch.polar(torch.ones(len(positions), 4), positions[:, None] * torch.ones(4))

    turned = [apply_rope(x, turn(torch.arange(3))) for x in (q, k)]
    whole = F.scaled_dot_product_attention(*turned, v, is_causal=True)
    cache = []
    for t in range(3):
        new = (x[..., t : t + 1, :] for x in (q, k, v))
        step = decode_step(*new, cache, attend, apply_rope, turn)
        assert torch.allclose(step, whole[..., t : t + 1, :], atol=1e-5)


def attend_with_a_large_number(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return torch.softmax((q @ k.mT * scale).masked_fill(~visible, -1e9), dim=-1) @ v


def mask_by_positions(n_queries, n_keys, device):
    key = torch.arange(n_keys, device=device)
    return key <= key[n_keys - n_queries :, None]


def theta_in_float32(rope_dim, cfg):
    return 1 / cfg.base ** (torch.arange(0, rope_dim, 2) / rope_dim)


def theta_by_exp(rope_dim, cfg):
    return torch.exp(-math.log(cfg.base) * torch.arange(0, rope_dim, 2) / rope_dim)


RIGHT = [
    ("RMSNorm", NormWideningTwice),
    ("RMSNorm", NormWithDivision),
    ("RMSNorm", NormTokenByToken),
    ("RMSNorm", NormByTheLength),
    ("apply_rope", rope_by_cosines),
    ("apply_rope", rope_widening_twice),
    ("apply_rope", rope_by_matrices),
    ("apply_rope", rope_pair_by_pair),
    ("attend", attend_with_a_large_number),
    ("attend", attend_with_einsum_and_where),
    ("attend", attend_adding_the_mask),
    ("attend", attend_query_by_query),
    ("split_heads", split_by_chunks),
    ("join_heads", join_by_cat),
    ("causal_mask", mask_by_positions),
    ("causal_mask", mask_in_loops),
    ("test_sound_attend", values_of_one),
    ("test_sound_attend", against_torch),
    ("test_sound_decoding", step_by_step_against_torch),
    ("rope_frequencies", theta_in_float32),
    ("rope_frequencies", theta_by_exp),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def the_future_does_not_leak(attend):
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, 2, 6, 4, generator=generator) for _ in range(3))
    before = attend(q, k, v, 0.5)
    k, v = k.clone(), v.clone()
    k[:, :, -1] += 3
    v[:, :, -1] -= 3
    assert torch.allclose(before[:, :, :-1], attend(q, k, v, 0.5)[:, :, :-1], atol=1e-5)


def test_a_test_of_the_mask_is_no_test_of_the_softmax():
    """It refuses the shown piece by accident: the largest score of the last row enters its columns' sums."""
    result = judge_answer("test_sound_attend", the_future_does_not_leak)
    assert result.status == "failed"
    assert result.diagnosis.name == "attend_test_of_the_future"


def attend_to_minus_fifty(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~visible, -50.0).softmax(dim=-1) @ v


def attend_by_torch_without_scale(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return F.scaled_dot_product_attention(q * scale, k, v, attn_mask=visible)


def mask_of_a_window(n_queries, n_keys, device):
    t, s = torch.arange(n_queries, device=device)[:, None], torch.arange(n_keys, device=device)
    return (s >= t) & (s <= t + n_keys - n_queries)


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("attend", attend_to_minus_fifty, "attend_masking_with_a_finite_number"),
        ("attend", attend_by_torch_without_scale, "attend_scaling_by_the_default_too"),
        ("causal_mask", mask_of_a_window, "mask_of_a_sliding_window"),
    ],
)
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.diagnosis is not None and result.diagnosis.name == mistake


def test_values_in_a_panel_take_few_lines():
    """Two tensors of 2 x 2 x 3 x 3 numbers: twelve rows each, without numpy's empty lines."""
    text = repr(judge_answer("attend", lambda *args: attend(*args) + 1))
    assert len(text.splitlines()) <= 40 and "\n\n" not in text
