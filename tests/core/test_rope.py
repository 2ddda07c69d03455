"""Rotary embedding: its definition, relative positions, the other layout, and YaRN's published numbers."""

import cmath
import itertools
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeepseekV3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.deepseek_v3.modeling_deepseek_v3 import yarn_apply_mscale

from nanokimi.config import RopeConfig, YarnConfig
from nanokimi.rope import apply_rope, rope_frequencies, rotations, yarn_mscale
from tests import tiny

normal = partial(tiny.normal, dtype=torch.float64)

K2 = RopeConfig(base=50_000.0, yarn=YarnConfig())  # the defaults are K2's
DEEPSEEK = RopeConfig(
    base=10_000.0,
    yarn=YarnConfig(
        factor=40.0, original_max_seq_len=4096, beta_fast=32.0, beta_slow=1.0, mscale_all_dim=1.0
    ),
)


def turn(x: torch.Tensor, position: int, cfg: RopeConfig) -> torch.Tensor:
    """One vector at one position."""
    return apply_rope(x[None], rotations(torch.tensor([position]), x.shape[-1], cfg))[0]


def test_equals_complex_multiplication_by_hand():
    x, base = normal(2, 3, 5, 6), 100.0
    out = apply_rope(x, rotations(torch.arange(4, 9), 6, RopeConfig(base=base)))
    for b, h, t, i in torch.cartesian_prod(*map(torch.arange, (2, 3, 5, 3))).tolist():
        number = complex(x[b, h, t, 2 * i], x[b, h, t, 2 * i + 1])
        turned = number * cmath.exp(1j * (t + 4) * base ** (-2 * i / 6))
        assert out[b, h, t, 2 * i].item() == pytest.approx(turned.real, abs=1e-5)
        assert out[b, h, t, 2 * i + 1].item() == pytest.approx(turned.imag, abs=1e-5)


def test_frequencies_fall_from_one_to_about_one_over_base():
    theta = rope_frequencies(8, RopeConfig(base=10_000.0))
    assert theta.tolist() == pytest.approx([1.0, 0.1, 0.01, 0.001])


@settings(max_examples=200, deadline=None)
@given(
    query=st.integers(0, 300),
    key=st.integers(0, 300),
    shift=st.integers(1, 300),
    dim=st.sampled_from([2, 8, 16]),
    yarn=st.booleans(),
)
def test_only_the_distance_of_two_tokens_counts(query, key, shift, dim, yarn):
    cfg = RopeConfig(base=100.0, yarn=YarnConfig(original_max_seq_len=64) if yarn else None)
    q, k = normal(dim, seed=query), normal(dim, seed=1000 + key)
    here = turn(q, query, cfg) @ turn(k, key, cfg)
    there = turn(q, query + shift, cfg) @ turn(k, key + shift, cfg)
    # float32 angles of up to 600 radians are off by 3e-5 each.
    bound = 1e-4 * (q.norm() * k.norm()).item()
    assert here.item() == pytest.approx(there.item(), abs=bound)
    assert turn(q, query, cfg).norm().item() == pytest.approx(q.norm().item(), rel=1e-6)


def test_another_distance_gives_another_product():
    cfg, q, k = RopeConfig(base=100.0), normal(8), normal(8, seed=1)
    products = {round((turn(q, t, cfg) @ turn(k, 3, cfg)).item(), 3) for t in range(20)}
    assert len(products) == 20


def test_position_zero_changes_nothing():
    x = normal(2, 4, 1, 8)
    assert torch.equal(apply_rope(x, rotations(torch.tensor([0]), 8, K2)), x)


def test_rotate_half_is_the_same_after_permuting_evens_before_odds():
    cfg, x = RopeConfig(base=100.0), normal(2, 3, 7, 8)
    angles = torch.arange(7)[:, None] * rope_frequencies(8, cfg).double()
    cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    halves = x[..., order]
    rotated = halves * cos + torch.cat([-halves[..., 4:], halves[..., :4]], -1) * sin
    interleaved = apply_rope(x, rotations(torch.arange(7), 8, cfg))
    torch.testing.assert_close(interleaved[..., order], rotated, atol=1e-6, rtol=0)
    assert (interleaved - rotated).abs().max() > 0.1  # and not the same without


def test_bfloat16_is_turned_in_float32():
    x = normal(2, 5, 8).bfloat16()
    turn_by = rotations(torch.arange(5), 8, RopeConfig())
    assert torch.equal(apply_rope(x, turn_by), apply_rope(x.float(), turn_by).bfloat16())


# ---------------------------------------------------------------- YaRN


def test_k2_leaves_pairs_0_to_19_and_divides_20_to_31_by_32():
    plain, stretched = rope_frequencies(64, RopeConfig(base=50_000.0)), rope_frequencies(64, K2)
    torch.testing.assert_close(stretched[:20], plain[:20], rtol=1e-6, atol=0)
    torch.testing.assert_close(stretched[20:], plain[20:] / 32, rtol=1e-6, atol=0)
    assert yarn_mscale(K2.yarn) ** 2 == pytest.approx(1.81326, abs=5e-6)
    assert yarn_mscale(None) == 1.0
    assert yarn_mscale(YarnConfig(factor=math.e, mscale_all_dim=0.5)) == pytest.approx(1.05)


def ask_transformers(dim: int, cfg: RopeConfig) -> tuple[torch.Tensor, float]:
    """The frequencies that transformers computes for these settings, and the factor for its rotations."""
    rope = {
        "rope_type": "yarn",
        "rope_theta": cfg.base,
        "factor": cfg.yarn.factor,
        "original_max_position_embeddings": cfg.yarn.original_max_seq_len,
        "beta_fast": cfg.yarn.beta_fast,
        "beta_slow": cfg.yarn.beta_slow,
        "mscale": cfg.yarn.mscale_all_dim,
        "mscale_all_dim": cfg.yarn.mscale_all_dim,
    }
    # What its function reads of a DeepseekV3Config, which would cost a millisecond and a warning each time.
    config = SimpleNamespace(
        rope_parameters=rope,
        standardize_rope_params=lambda: None,
        head_dim=dim,
        hidden_size=dim,
        num_attention_heads=1,
        max_position_embeddings=0,
    )
    return ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")


def with_a_slope_that_never_falls(dim: int, cfg: RopeConfig) -> torch.Tensor:
    """A mistake: where the ramp's end lies below its beginning, the smallest slope stands for the negative one."""
    turns = [
        dim * math.log(cfg.yarn.original_max_seq_len / (beta * 2 * math.pi)) / (2 * math.log(cfg.base))
        for beta in (cfg.yarn.beta_fast, cfg.yarn.beta_slow)
    ]
    low, high = max(math.floor(turns[0]), 0), min(math.ceil(turns[1]), dim - 1)
    ramp = ((torch.arange(dim // 2) - low) / max(high - low, 0.001)).clamp(0, 1)
    theta = rope_frequencies(dim, RopeConfig(base=cfg.base))
    return theta / cfg.yarn.factor * ramp + theta * (1 - ramp)


def test_the_grid_asks_transformers_as_its_own_configuration_does():
    cfg = RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=16, beta_slow=1.0))
    config = DeepseekV3Config(
        qk_rope_head_dim=8,
        max_position_embeddings=64,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "beta_fast": 1.0,
            "beta_slow": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    )
    theirs, factor = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    assert torch.equal(ask_transformers(8, cfg)[0], theirs) and factor == 1.0


@pytest.mark.parametrize("dim", [8, 64])
@pytest.mark.parametrize(
    "cfg",
    [
        K2,
        DEEPSEEK,
        RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=512, beta_fast=32.0)),
        RopeConfig(base=10_000.0, yarn=YarnConfig(factor=2.5, original_max_seq_len=64, beta_fast=4.0)),
    ],
    ids=["k2", "deepseek-v3", "whole ramp", "short"],
)
def test_yarn_frequencies_equal_transformers(cfg, dim):
    frequencies, factor = ask_transformers(dim, cfg)
    torch.testing.assert_close(rope_frequencies(dim, cfg), frequencies, rtol=2e-6, atol=0)
    assert factor == 1.0  # so that its rotations keep lengths, as ours do


def test_yarn_frequencies_equal_transformers_on_a_grid():
    """2,800 settings, contexts of 4 tokens and a base of 10 among them: the ramp's end may lie below its beginning."""
    grid = itertools.product(
        (4, 8, 16, 32, 64, 512, 4096),
        ((1.0, 1.0), (16.0, 16.0), (32.0, 1.0), (32.0, 8.0), (64.0, 16.0)),
        (10.0, 100.0, 10_000.0, 50_000.0),
        (4, 8, 16, 32, 64),
        (1.5, 4.0, 32.0, 40.0),
    )
    differ, clamped, tried = [], 0, 0
    for context, (fast, slow), base, dim, factor in grid:
        yarn = YarnConfig(factor=factor, original_max_seq_len=context, beta_fast=fast, beta_slow=slow)
        cfg = RopeConfig(base=base, yarn=yarn)
        ours, theirs = rope_frequencies(dim, cfg), ask_transformers(dim, cfg)[0]
        # torch's float32 powers, which theirs are made of, are off by up to 1.5e-6.
        if not torch.allclose(ours, theirs, rtol=2e-6, atol=0):
            differ.append((context, fast, slow, base, dim, factor))
        tried += 1
        clamped += not torch.allclose(with_a_slope_that_never_falls(dim, cfg), theirs, rtol=2e-6, atol=0)
    assert not differ, f"{len(differ)} of {tried} differ, the first is {differ[0]}"
    assert tried == 2800 and clamped > 500  # the grid tells the mistake


@pytest.mark.parametrize(("mscale", "factor"), [(1.0, 40.0), (0.7, 32.0), (0.0, 4.0), (1.0, 1.5)])
def test_the_attention_scale_equals_transformers(mscale, factor):
    yarn = YarnConfig(factor=factor, mscale_all_dim=mscale)
    rope = {"rope_type": "yarn", "factor": factor, "mscale_all_dim": mscale}
    assert yarn_mscale(yarn) ** 2 == pytest.approx(yarn_apply_mscale(rope, 1.0), rel=1e-12)


def test_a_ramp_that_runs_backwards_by_hand():
    """r = 8, base 10, L0 = 4: cd(32) = -6.8 -> low 0, cd(8) = -4.4 -> high -4. The ramp falls from 0, is clamped to 0,
    and nothing is divided.
    """
    yarn = YarnConfig(factor=4.0, original_max_seq_len=4, beta_fast=32.0, beta_slow=8.0)
    plain = [10 ** (-i / 4) for i in range(4)]
    assert rope_frequencies(8, RopeConfig(base=10.0, yarn=yarn)).tolist() == pytest.approx(plain, rel=1e-6)


def test_yarn_ramp_by_hand():
    """r = 8, base 100, L0 = 512: cd(32) = 0.81 -> low 0, cd(1) = 3.82 -> high 4, so g = 0, 1/4, 1/2, 3/4."""
    cfg = RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=512, beta_fast=32.0))
    plain = [1.0, 100**-0.25, 0.1, 100**-0.75]
    by_hand = [theta * (g / 4 + 1 - g) for theta, g in zip(plain, [0, 0.25, 0.5, 0.75])]
    assert rope_frequencies(8, cfg).tolist() == pytest.approx(by_hand, rel=1e-6)


def test_the_gradient_behind_an_odd_number_of_channels():
    """As in training with an odd qk_nope_head_dim: the gradient is a slice that begins at an odd place."""
    turn = rotations(torch.arange(4), 6, RopeConfig())
    x, other = torch.randn(4, 6, requires_grad=True), torch.randn(4, 3)
    weights = torch.randn(4, 9)
    (torch.cat([other, apply_rope(x, turn)], dim=-1) * weights).sum().backward()
    assert torch.allclose(x.grad, apply_rope(weights[:, 3:], turn.conj()), atol=1e-6)


def test_a_single_token_behind_an_odd_number_of_channels():
    """One token's slice is contiguous and still begins at an odd place, as in decoding with an odd kv_lora_rank."""
    whole = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(0))
    turn = rotations(torch.tensor([3]), 4, RopeConfig(base=10.0))
    expected = apply_rope(whole[..., 5:].clone(), turn)
    assert whole[..., 5:].is_contiguous() and whole[..., 5:].storage_offset() % 2 == 1
    assert torch.equal(apply_rope(whole[..., 5:], turn), expected)
