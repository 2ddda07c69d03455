"""Multi-head latent attention: two forms of one function, its small cache, YaRN's scale and QK-clip."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from nanokimi.cache import SequenceCache
from nanokimi.config import KimiConfig, MLAConfig, RopeConfig, YarnConfig
from nanokimi.count import cache_elements
from nanokimi.kimi import Kimi
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.rope import apply_rope, rotations
from tests.tiny import harsh_

N, R, V, C, H, D = 10, 8, 6, 20, 4, 32
YARN = RopeConfig(base=100.0, yarn=YarnConfig(factor=32.0, original_max_seq_len=512, beta_fast=32.0))
PLAIN = RopeConfig(base=100.0)
VARIANTS = list(itertools.product([None, 12], [PLAIN, YARN]))
IDS = ["q/rope", "q/yarn", "q_lora/rope", "q_lora/yarn"]


def attention(q_lora_rank=12, rope=YARN, dtype=torch.float32):
    cfg = MLAConfig(
        q_lora_rank=q_lora_rank, kv_lora_rank=C, qk_nope_head_dim=N, qk_rope_head_dim=R, v_head_dim=V
    )
    return harsh_(MultiHeadLatentAttention(D, H, cfg, rope), std=0.15).to(dtype)


def some_input(seq_len=23, dtype=torch.float32):
    return torch.randn(2, seq_len, D, generator=torch.Generator().manual_seed(3)).to(dtype)


def turns(seq_len, rope=YARN):
    return rotations(torch.arange(seq_len), R, rope)


def rms(x, gain):
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def by_definition(layer, x, rope):
    """docs/specification.md, section 1, literally, one head at a time.

    Scaled logits (B, H, T, T) with -inf in the future, and the output.
    """
    w = {name: p.detach() for name, p in layer.named_parameters()}
    T = x.shape[1]
    if "q_proj.weight" in w:
        q = x @ w["q_proj.weight"].T
    else:
        q = rms(x @ w["q_a_proj.weight"].T, w["q_a_layernorm.weight"]) @ w["q_b_proj.weight"].T
    compressed = x @ w["kv_a_proj.weight"].T
    c = rms(compressed[..., :C], w["kv_a_layernorm.weight"])
    k_rope = apply_rope(compressed[..., C:], turns(T, rope))
    m = 1.0 if rope.yarn is None else 0.1 * math.log(rope.yarn.factor) + 1
    future = torch.ones(T, T).triu(1).bool()
    logits, outs = [], []
    for h in range(H):
        q_h = q[..., h * (N + R) : (h + 1) * (N + R)]
        expand = w["kv_b_proj.weight"][h * (N + V) : (h + 1) * (N + V)]
        s = q_h[..., :N] @ (c @ expand[:N].T).mT + apply_rope(q_h[..., N:], turns(T, rope)) @ k_rope.mT
        logits.append((s * (N + R) ** -0.5 * m**2).masked_fill(future, -math.inf))
        outs.append(logits[-1].softmax(-1) @ (c @ expand[N:].T))
    return torch.stack(logits, 1), torch.cat(outs, -1) @ w["o_proj.weight"].T


def decode(layer, x, rotation, chunks, with_max=False):
    cache, outs, maxima = SequenceCache(), [], []
    for piece, turn in zip(x.split(chunks, 1), rotation.split(chunks)):
        out = layer(piece, turn, cache, with_max)
        outs.append(out.out)
        maxima.append(out.max_qk_logit)
    return torch.cat(outs, 1), torch.stack(maxima).amax(0) if with_max else None, cache


@pytest.mark.parametrize(("q_lora_rank", "rope"), VARIANTS, ids=IDS)
def test_both_forms_equal_the_definition(q_lora_rank, rope):
    layer, x = attention(q_lora_rank, rope, torch.float64), some_input(dtype=torch.float64)
    _, expected = by_definition(layer, x, rope)
    torch.testing.assert_close(layer(x, turns(23, rope)).out, expected, atol=1e-10, rtol=0)
    for chunks in ([1] * 23, [23], [7, 1, 12, 3]):
        torch.testing.assert_close(decode(layer, x, turns(23, rope), chunks)[0], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("q_lora_rank", "rope"), VARIANTS, ids=IDS)
def test_naive_equals_absorbed_in_float32(q_lora_rank, rope):
    layer, x = attention(q_lora_rank, rope), some_input()
    naive = layer(x, turns(23, rope)).out
    absorbed, _, _ = decode(layer, x, turns(23, rope), [1] * 23)
    assert naive.abs().max() > 0.3
    torch.testing.assert_close(absorbed, naive, atol=7e-6, rtol=0)


def test_no_token_reads_a_later_one():
    layer, x = attention(dtype=torch.float64), some_input(9, torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x, turns(9)).out.sum(dim=(0, 2)), x)
    reads = jacobian.abs().amax(dim=(1, 3))
    assert reads.triu(1).eq(0).all()
    assert (reads > 0).sum() == 9 * 10 // 2


def test_k2_scale():
    rope = RopeConfig(base=50_000.0, yarn=YarnConfig())
    with torch.device("meta"):
        layer = MultiHeadLatentAttention(
            7168,
            64,
            MLAConfig(
                q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128
            ),
            rope,
        )
    assert layer.scale == pytest.approx(0.130861, abs=5e-7)
    assert layer.scale * 192**0.5 == pytest.approx(1.81326, abs=5e-6)


def test_cache_holds_the_latent_and_one_rope_key_only():
    cfg = KimiConfig(
        vocab_size=31, n_layers=3, d_model=D, n_heads=H, intermediate_size=24,
        mla=MLAConfig(kv_lora_rank=C, qk_nope_head_dim=N, qk_rope_head_dim=R, v_head_dim=V),
    )  # fmt: skip
    model = Kimi(cfg)
    cache = model.new_cache()
    for n_tokens in (5, 6, 13):
        new = n_tokens - cache[0].length
        model(torch.randint(31, (2, new)), cache)
        elements = sum(c.nbytes for c in cache) // 4
        assert elements == 2 * cache_elements(cfg, n_tokens) == 2 * 3 * n_tokens * (C + R)


# ---------------------------------------------------------------- without positions, and with a gate


@pytest.mark.parametrize("q_lora_rank", [None, 12])
@pytest.mark.parametrize(
    ("use_nope", "output_gate"), [(True, "none"), (False, "full_rank"), (True, "full_rank")]
)
def test_without_positions_and_with_a_gate_by_definition(q_lora_rank, use_nope, output_gate):
    """A rotation by no angle turns nothing; the gate is a sigmoid of the input, channel by channel of the heads."""
    layer, x = attention(q_lora_rank, PLAIN, torch.float64), some_input(dtype=torch.float64)
    cfg = replace(layer.cfg, use_nope=use_nope, output_gate=output_gate)
    other = harsh_(MultiHeadLatentAttention(D, H, cfg, PLAIN), std=0.15).double()
    kept = {name: p for name, p in layer.state_dict().items() if name != "o_proj.weight"}
    other.load_state_dict(kept, strict=False)
    still = torch.zeros(23, dtype=torch.long) if use_nope else torch.arange(23)
    gate = (x @ other.g_proj.weight.T).sigmoid() if output_gate == "full_rank" else 1.0
    layer.o_proj = torch.nn.Identity()  # the heads side by side
    wanted = (layer(x, rotations(still, R, PLAIN)).out * gate) @ other.o_proj.weight.T
    torch.testing.assert_close(other(x, turns(23, PLAIN)).out, wanted, atol=1e-10, rtol=0)
    for chunks in ([1] * 23, [7, 1, 12, 3]):
        found, _, _ = decode(other, x, turns(23, PLAIN), chunks)
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_what_is_off_has_no_weights():
    assert not hasattr(attention(), "g_proj")


# ---------------------------------------------------------------- the largest logit, and QK-clip


@pytest.mark.parametrize("q_lora_rank", [None, 12])
@pytest.mark.parametrize("seq_len", [9, 390])
def test_largest_logit_is_exact(q_lora_rank, seq_len):
    layer, x = attention(q_lora_rank, dtype=torch.float64), some_input(seq_len, torch.float64)
    logits, _ = by_definition(layer, x, YARN)
    expected = logits.amax(dim=(0, 2, 3))
    assert expected.min() > 0.5
    naive = layer(x, turns(seq_len), None, True).max_qk_logit
    _, absorbed, _ = decode(layer, x, turns(seq_len), [seq_len - 4, 1, 3], with_max=True)
    torch.testing.assert_close(naive.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(absorbed.double(), expected, rtol=1e-6, atol=0)
    assert layer(x, turns(seq_len)).max_qk_logit is None


@pytest.mark.parametrize(("q_lora_rank", "rope"), VARIANTS, ids=IDS)
def test_qk_clip_scales_the_logits_of_the_heads_above_tau(q_lora_rank, rope):
    layer, x = attention(q_lora_rank, rope), some_input()
    kept = {n: p.clone() for n, p in layer.named_parameters() if n.startswith(("kv_a", "o_", "q_a"))}
    values = layer.kv_b_proj.weight.unflatten(0, (H, N + V))[:, N:].clone()
    old, _ = by_definition(layer, x, rope)
    before = layer(x, turns(23, rope), None, True).max_qk_logit
    tau = before.sort().values[1:3].mean().item()  # two heads above, two below
    layer.clip_qk_(before, tau)
    after = layer(x, turns(23, rope), None, True).max_qk_logit
    torch.testing.assert_close(after, before.clamp(max=tau), rtol=1e-5, atol=0)
    new, _ = by_definition(layer, x, rope)
    g = tau / before.clamp(min=tau)
    assert (g < 0.99).sum() == 2
    past = torch.ones(23, 23).tril().bool()
    torch.testing.assert_close(new[..., past], (g[:, None, None] * old)[..., past], atol=1e-5, rtol=0)
    # What all heads share, and the values, stay.
    assert all(torch.equal(p, kept[n]) for n, p in layer.named_parameters() if n in kept)
    assert torch.equal(layer.kv_b_proj.weight.unflatten(0, (H, N + V))[:, N:], values)


def test_qk_clip_changes_nothing_below_tau():
    layer, x = attention(), some_input()
    before = {n: p.clone() for n, p in layer.named_parameters()}
    layer.clip_qk_(layer(x, turns(23), None, True).max_qk_logit, 1000.0)
    assert all(torch.equal(p, before[n]) for n, p in layer.named_parameters())
