"""Right answers, written otherwise than the core, must pass: a check that rejects one teaches a mistake of its own."""

import math

import pytest
import torch
import torch.nn.functional as F

from lab_utils.checks import judge
from lab_utils.exercises import attention, text
from nanokimi.attention import causal_mask
from nanokimi.norm import RMSNorm

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


RIGHT = [
    ("RMSNorm", NormWideningTwice),
    ("RMSNorm", NormWithDivision),
    ("apply_rope", rope_by_cosines),
    ("apply_rope", rope_widening_twice),
    ("attend", attend_with_a_large_number),
    ("causal_mask", mask_by_positions),
    ("rope_frequencies", theta_in_float32),
    ("rope_frequencies", theta_by_exp),
    ("next_token_loss", loss_widening_twice),
    ("next_token_loss", loss_over_classes_second),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge(EXERCISES[name], answer)
    assert result.status == "passed", result
