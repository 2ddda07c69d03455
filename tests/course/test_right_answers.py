"""Right answers, written otherwise than the core, must pass: a check that rejects one teaches a mistake of its own."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch01_text import exercises as text
from lab_utils.course.chapters.ch02_attention import exercises as attention
from lab_utils.course.judge import judge
from nanokimi.attention import attend, causal_mask
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope

EXERCISES = {exercise.name: exercise for exercise in attention.EXERCISES + text.EXERCISES}


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


def loss_widening_twice(logits, targets):
    picked = logits.float().gather(-1, targets[..., None])[..., 0]
    return (logits.float().logsumexp(dim=-1) - picked).mean()


def loss_over_classes_second(logits, targets):
    return F.cross_entropy(logits.float().mT, targets)


def loss_by_hand(logits, targets):
    full = logits.float()
    shifted = full - full.amax(dim=-1, keepdim=True)
    log_p = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    return -torch.take_along_dim(log_p, targets[..., None], dim=-1).mean()


def loss_in_a_loop(logits, targets):
    places = [(b, t) for b in range(targets.shape[0]) for t in range(targets.shape[1])]
    return sum(-logits[place].double().log_softmax(dim=0)[targets[place]] for place in places).float() / len(
        places
    )


def windows_by_unfold(split, n, seq_len):
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    pieces, places = (x.unfold(0, seq_len + 1, seq_len)[:n] for x in (tokens, torch.arange(len(tokens))))
    return pieces[:, :-1], pieces[:, 1:], places[:, 1:]


def windows_in_a_loop(split, n, seq_len):
    rows = [range(i * seq_len, (i + 1) * seq_len) for i in range(min(n, (len(split.tokens) - 1) // seq_len))]
    inputs = torch.stack([torch.tensor([int(split.tokens[t]) for t in row]) for row in rows])
    targets = torch.stack([torch.tensor([int(split.tokens[t + 1]) for t in row]) for row in rows])
    return inputs, targets, torch.tensor([[t + 1 for t in row] for row in rows])


def sizes_by_decode_bytes(encoding):
    found = np.array([len(encoding.decode_bytes([i])) for i in range(encoding.n_vocab)], dtype=np.uint8)
    found[encoding.eot_token] = 0
    return found


def sizes_of_the_byte_values(encoding):
    found = np.zeros(encoding.n_vocab)
    for piece in encoding.token_byte_values():
        found[encoding.encode_single_token(piece)] = len(piece)
    return found


def article_by_slices(noun):
    if any(noun[: len(start)] == start for start in ("uni", "use", "eu", "one")):
        return "a"
    spoken = any(noun[: len(start)] == start for start in ("hour", "honest"))
    return "an" if spoken or noun[0].lower() in set("aeiou") else "a"


def token_by_token(cut_pairs):
    text, starts = torch.randperm(50), [0, 3, 7]
    inputs, targets = cut_pairs(text, starts, 5)
    for row, start in enumerate(starts):
        for t in range(5):
            assert inputs[row, t] == text[start + t]
            assert targets[row, t] == text[start + t + 1]


def nothing_twice(split_documents):
    training, validation = split_documents([str(i) for i in range(20)], 0.2)
    assert all(document not in training for document in validation)


def sizes_add_up(split_documents):
    training, validation = split_documents(list(range(10)), 0.2)
    assert len(training) + len(validation) == 10


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
    ("next_token_loss", loss_widening_twice),
    ("next_token_loss", loss_over_classes_second),
    ("next_token_loss", loss_by_hand),
    ("next_token_loss", loss_in_a_loop),
    ("windows", windows_by_unfold),
    ("windows", windows_in_a_loop),
    ("token_bytes", sizes_by_decode_bytes),
    ("token_bytes", sizes_of_the_byte_values),
    ("article", article_by_slices),
    ("test_sound_pairs", token_by_token),
    ("test_sound_split", nothing_twice),
    ("test_sound_split", sizes_add_up),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge(EXERCISES[name], answer)
    assert result.status == "passed", result
