"""Counts against published sizes, against torch's own operation counter and against measured caches."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import KimiLinearConfig, KimiLinearForCausalLM

from nanokimi.config import BlockLatentConfig, GPTConfig, KimiConfig, MLAConfig, MoEConfig
from nanokimi.count import cache_elements, count_parameters, flops_per_token
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config

GPT = GPTConfig(vocab_size=61, max_seq_len=64, d_model=24, n_layers=3, n_heads=4)
SIZES = dict(vocab_size=61, d_model=24, n_layers=3, n_heads=4, intermediate_size=20)
MHA = KimiConfig(**SIZES, attention="mha")
MLA = KimiConfig(
    **SIZES,
    mla=MLAConfig(q_lora_rank=10, kv_lora_rank=14, qk_nope_head_dim=5, qk_rope_head_dim=6, v_head_dim=7),
)
MOE = replace(MLA, moe=MoEConfig(n_routed_experts=6, n_shared_experts=2, top_k=2, moe_intermediate_size=14))
BLOCK = KimiConfig(
    **SIZES, attention="block_latent", block_latent=BlockLatentConfig(n_latents=2, block_len=8)
)
ALL = pytest.mark.parametrize(
    "cfg", [GPT, MHA, MLA, MOE, BLOCK], ids=["gpt", "mha", "mla", "moe", "block_latent"]
)


# ---------------------------------------------------------------- parameters


def test_kimi_k2_has_1026_billion_parameters_and_uses_33():
    count = count_parameters(load_model_config("kimi-k2"))
    assert round(count.total / 1e9, 1) == 1026.4
    assert round(count.active / 1e9, 2) == 32.86
    # By hand, layer by layer (Kimi K2's report, table 2).
    attention = 7168 * 1536 + 1536 + 1536 * 64 * 192 + 7168 * 576 + 512 + 512 * 64 * 256 + 64 * 128 * 7168
    expert, router = 3 * 7168 * 2048, 384 * 7168
    body = 61 * (attention + 2 * 7168) + 3 * 7168 * 18432 + 60 * (router + expert) + 7168
    tables = 2 * 163840 * 7168
    assert count == (
        body + tables + 60 * 384 * expert,
        body + tables + 60 * 8 * expert,
        body + 60 * 384 * expert,
        body + 60 * 8 * expert,
    )


def test_other_published_sizes():
    assert round(count_parameters(load_model_config("deepseek-v3")).total / 1e9, 2) == 671.03
    moonlight = count_parameters(load_model_config("moonlight-16b"))
    assert round(moonlight.body_total / 1e9, 3) == 15.289
    assert round(moonlight.body_active / 1e9, 3) == 2.244


def test_kimi_linear_has_48_billion_parameters_in_its_body_and_uses_3():
    """Published as 48B-A3B; transformers' own model of these sizes has as many to the last one."""
    cfg = load_model_config("kimi-linear-48b")
    count = count_parameters(cfg)
    assert count == (49_122_675_072, 3_484_453_248, 48_367_700_352, 2_729_478_528)
    types = [{"kda": "linear_attention", "mla": "full_attention"}[cfg.attention_of(i)] for i in range(27)]
    with torch.device("meta"):
        theirs = KimiLinearForCausalLM(KimiLinearConfig(layer_types=types))
    assert sum(p.numel() for p in theirs.parameters()) == count.total
    # Seven layers of MLA keep 576 numbers per token, twenty of KDA 32 states and the inputs of 3 taps, once.
    assert cache_elements(cfg, 1000) == 7 * 576 * 1000 + 20 * (32 * 128**2 + 3 * 3 * 32 * 128)


def test_gpt2_small_has_124_million_parameters():
    count = count_parameters(
        GPTConfig(vocab_size=50257, max_seq_len=1024, d_model=768, n_layers=12, n_heads=12)
    )
    assert count.total == count.active == 124_439_808
    assert count.body_total == count.body_active == 124_439_808 - (50257 + 1024) * 768


@ALL
def test_counts_are_those_of_the_model(cfg):
    model = build_model(cfg)
    assert count_parameters(cfg).total == sum(p.numel() for p in model.parameters())
    # A used parameter has a gradient: with one token a MoE layer touches K of its E experts.
    model(torch.tensor([[3]])).logits.sum().backward()
    banks = [p for n, p in model.named_parameters() if ".experts." in n]
    used = sum(int((p.grad.flatten(1).abs().sum(1) > 0).sum()) * p[0].numel() for p in banks)
    rest = count_parameters(cfg).total - sum(p.numel() for p in banks)
    assert count_parameters(cfg).active == rest + used


# ---------------------------------------------------------------- operations


def measured_flops(cfg, seq_len: int) -> float:
    """A token of a forward and backward pass over two sequences, as torch counts its matrix products."""
    tokens = torch.randint(cfg.vocab_size, (2, seq_len), generator=torch.Generator().manual_seed(0))
    model = build_model(cfg)
    # The plain form of attention: its products are seen by the counter, all of them, the masked half too.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(tokens).logits.flatten(0, 1), tokens.flatten()).backward()
    return counter.get_total_flops() / (2 * seq_len)


@pytest.mark.parametrize("seq_len", [16, 37])
@ALL
def test_operations_equal_torchs_count(cfg, seq_len):
    """Exactly, once the masked pairs are taken out, which torch multiplies too and a causal kernel leaves out."""
    qk_width = v_width = cfg.d_model
    keys, visible = seq_len, (seq_len + 1) / 2
    once_a_batch = 0.0
    if cfg in (MLA, MOE):
        qk_width, v_width = 4 * (5 + 6), 4 * 7
    if cfg == BLOCK:
        keys = seq_len // 8 * 2 + seq_len
        visible = sum(t // 8 * 2 + t % 8 + 1 for t in range(seq_len)) / seq_len
        once_a_batch = 6 * 3 * 2 * 24 * 24 / (2 * seq_len)  # the latents' queries
    masked = 3 * cfg.n_layers * 2 * (keys - visible) * (qk_width + v_width)
    assert measured_flops(cfg, seq_len) - masked - once_a_batch == pytest.approx(
        flops_per_token(cfg, seq_len), rel=1e-12
    )


def test_only_chosen_experts_cost():
    more = replace(MOE, moe=replace(MOE.moe, n_routed_experts=12))
    # Six more experts cost their rows of the router in two layers, and nothing else.
    assert measured_flops(more, 16) - measured_flops(MOE, 16) == 6 * 2 * 6 * 24
    assert flops_per_token(more, 16) - flops_per_token(MOE, 16) == 6 * 2 * 6 * 24


# ---------------------------------------------------------------- caches


def test_kimi_k2_caches_35136_numbers_a_token():
    k2 = load_model_config("kimi-k2")
    assert cache_elements(k2, 1) == 35_136
    expanded = 61 * 64 * (192 + 128)
    assert 1 - cache_elements(k2, 1) / expanded == pytest.approx(0.972, abs=5e-4)


@ALL
def test_measured_cache_equals_the_formula(cfg):
    model = build_model(cfg)
    cache = model.new_cache()
    for new in (5, 1, 2, 9, 3):
        model(torch.zeros(3, new, dtype=torch.long), cache)
        measured = sum(c.nbytes for c in cache)
        assert measured == 3 * 4 * cache_elements(cfg, cache[0].length)
    assert cache[0].length == 20
