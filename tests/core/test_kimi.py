"""Kimi against transformers' DeepseekV3ForCausalLM: logits, gradients, cached decode and causal prefixes."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, DeepseekV3Config

from nanokimi import hub, kimi, mla, router
from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, RopeConfig, YarnConfig
from nanokimi.hub import hub_config
from nanokimi.kimi import Kimi
from tests.tiny import harsh_

ATOL = 2e-5
# The ramp of these betas runs over all four pairs: 0, 1/4, 1/2, 3/4.
YARN = YarnConfig(factor=32.0, original_max_seq_len=512, beta_fast=32.0, beta_slow=1.0, mscale_all_dim=1.0)
CASES = list(itertools.product([None, 12], [1, 4], [True, False], [None, YARN]))
NAMES = [f"q_lora={q}-groups={g}-norm={n}-{'yarn' if y else 'rope'}" for q, g, n, y in CASES]


def config(q_lora_rank=12, n_group=4, norm_topk_prob=True, yarn=YARN) -> KimiConfig:
    return KimiConfig(
        vocab_size=61,
        max_seq_len=64,
        d_model=32,
        n_layers=3,
        n_heads=4,
        intermediate_size=40,
        norm_eps=1e-5,  # not the latent norms' own 1e-6
        rope=RopeConfig(base=100.0, yarn=yarn),
        mla=MLAConfig(
            q_lora_rank=q_lora_rank, kv_lora_rank=20, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=6
        ),
        moe=MoEConfig(
            n_routed_experts=8,
            n_shared_experts=2,
            top_k=3,
            moe_intermediate_size=14,
            norm_topk_prob=norm_topk_prob,
            routed_scaling_factor=None if norm_topk_prob else 1.7,
            n_group=n_group,
            topk_group=2 if n_group > 1 else 1,
        ),
    )


def pair(cfg: KimiConfig, seed: int = 0):
    """transformers' model with harsh weights, and ours with the same."""
    theirs = AutoModelForCausalLM.from_config(
        DeepseekV3Config(**hub_config.to_hub_config(cfg)),
        attn_implementation="eager",
        experts_implementation="eager",
    )
    harsh_(theirs, seed, std=0.15)
    ours = Kimi(cfg)
    ours.load_state_dict(hub.from_hub_weights(theirs.state_dict(), cfg))
    return ours, theirs.eval()


def some_tokens(cfg: KimiConfig, seq_len: int = 24) -> torch.Tensor:
    return torch.randint(cfg.vocab_size, (2, seq_len), generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module", params=CASES, ids=NAMES)
def case(request):
    cfg = config(*request.param)
    ours, theirs = pair(cfg)
    return ours, theirs, some_tokens(cfg)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=ATOL, rtol=0)


def test_logits_and_routing_equal_transformers(case):
    ours, theirs, tokens = case
    out, reference = ours(tokens), theirs(tokens, output_router_logits=True)
    close(out.logits, reference.logits)
    assert out.logits.abs().max() > 1  # the weights are harsh enough for 2e-5 to mean something
    assert len(out.routing) == len(reference.router_logits) == 2
    for stats, logits in zip(out.routing, reference.router_logits):
        close(stats.logits.flatten(0, 1), logits)


def test_gradient_of_every_parameter_equals_transformers(case):
    ours, theirs, tokens = case
    targets = some_tokens(ours.cfg).roll(3, 1)
    for model in (ours, theirs):
        model.zero_grad()
        F.cross_entropy(model(tokens).logits.flatten(0, 1), targets.flatten()).backward()
    reference = {n: p.grad for n, p in theirs.named_parameters()}
    reference |= {n: b for n, b in theirs.named_buffers() if n.endswith("e_score_correction_bias")}
    reference = hub.from_hub_weights(reference, ours.cfg)
    for name, parameter in ours.named_parameters():
        assert parameter.grad.abs().max() > 1e-4, name
        close(parameter.grad, reference[name])


@pytest.mark.parametrize("chunks", [[1] * 24, [7, 1, 5, 11]], ids=["token by token", "chunks"])
def test_cached_decode_equals_transformers(case, chunks):
    ours, theirs, tokens = case
    cache, logits = ours.new_cache(), []
    with torch.no_grad():
        for piece in tokens.split(chunks, dim=1):
            logits.append(ours(piece, cache).logits)
        close(torch.cat(logits, 1), theirs(tokens).logits)


def test_every_causal_prefix_equals_transformers(case):
    ours, theirs, tokens = case
    with torch.no_grad():
        full = theirs(tokens).logits
        for n in range(1, tokens.shape[1]):
            close(ours(tokens[:, :n]).logits, full[:, :n])


# ---------------------------------------------------------------- what these weights would show


def swap_gate_and_up(monkeypatch):
    def wrong(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(gate * F.silu(up), down)

    monkeypatch.setattr("nanokimi.experts.swiglu", wrong)


def drop_mscale(monkeypatch):
    monkeypatch.setattr(mla, "yarn_mscale", lambda yarn: 1.0)


def ignore_groups(monkeypatch):
    monkeypatch.setattr(router, "_keep_best_groups", lambda choice, cfg: choice)


def score_groups_by_their_best(monkeypatch):
    def wrong(choice, cfg):
        grouped = choice.unflatten(-1, (cfg.n_group, -1))
        kept = grouped.amax(-1).topk(cfg.topk_group, dim=-1).indices
        dropped = torch.ones(grouped.shape[:-1], dtype=torch.bool).scatter(-1, kept, False)
        return grouped.masked_fill(dropped.unsqueeze(-1), -torch.inf).flatten(-2)

    monkeypatch.setattr(router, "_keep_best_groups", wrong)


def forget_the_bias(monkeypatch):
    route = router.topk_route
    monkeypatch.setattr("nanokimi.moe.topk_route", lambda logits, bias, cfg: route(logits, bias * 0, cfg))


def rotate_halves(monkeypatch):
    def wrong(x, rotation):
        a, b = x.chunk(2, dim=-1)
        turned = torch.complex(a, b) * rotation
        return torch.cat([turned.real, turned.imag], dim=-1)

    monkeypatch.setattr(mla, "apply_rope", wrong)


def shift_positions(monkeypatch):
    rotations = kimi.rotations
    # A constant shift would change nothing: RoPE is relative. Every second position is.
    monkeypatch.setattr(kimi, "rotations", lambda t, dim, cfg: rotations(t + t % 2, dim, cfg))


SLIPS = [
    swap_gate_and_up,
    drop_mscale,
    ignore_groups,
    score_groups_by_their_best,
    forget_the_bias,
    rotate_halves,
    shift_positions,
]


@pytest.mark.parametrize("slip", SLIPS, ids=lambda f: f.__name__)
def test_a_slip_moves_the_logits_far_past_the_tolerance(slip, monkeypatch):
    cfg = config()
    _, theirs = pair(cfg)
    slip(monkeypatch)
    ours = Kimi(cfg)
    ours.load_state_dict(hub.from_hub_weights(theirs.state_dict(), cfg))
    tokens = some_tokens(cfg)
    with torch.no_grad():
        assert (ours(tokens).logits - theirs(tokens).logits).abs().max() > 0.1


def test_latent_norms_keep_their_own_eps():
    """A latent near 0 shows it: eps 1e-6 there, whatever norm_eps is."""
    cfg = replace(config(), norm_eps=1e-2)
    ours, theirs = pair(cfg)
    with torch.no_grad():
        for layer, other in zip(ours.layers, theirs.model.layers):
            for name, twin in (("kv_a_proj", "kv_a_proj_with_mqa"), ("q_a_proj", "q_a_proj")):
                getattr(layer.self_attn, name).weight.mul_(1e-2)
                getattr(other.self_attn, twin).weight.mul_(1e-2)
        close(ours(some_tokens(cfg)).logits, theirs(some_tokens(cfg)).logits)


# ---------------------------------------------------------------- the model by itself


@pytest.mark.parametrize("attention", ["mla", "mha", "block_latent"])
def test_output_has_facts_of_every_layer(attention):
    extra = {"mha": {}, "mla": {"mla": MLAConfig()}, "block_latent": {"block_latent": {"block_len": 5}}}
    cfg = KimiConfig(
        vocab_size=31,
        n_layers=3,
        d_model=32,
        intermediate_size=24,
        attention=attention,
        moe=MoEConfig(n_routed_experts=4, moe_intermediate_size=8),
        **extra[attention],
    )
    out = Kimi(cfg)(some_tokens(cfg, 9), with_max_qk_logit=True)
    assert out.max_qk_logit.shape == (3, 4)
    assert [r.expert_idx.shape for r in out.routing] == [(2, 9, 2)] * 2
    assert Kimi(cfg)(some_tokens(cfg, 9)).max_qk_logit is None


def test_weights_follow_the_seed_and_shrink_into_the_residual_stream():
    cfg = config()
    same, again, other = Kimi(cfg, seed=1), Kimi(cfg, seed=1), Kimi(cfg, seed=2)
    assert all(torch.equal(p, q) for p, q in zip(same.parameters(), again.parameters()))
    assert not torch.equal(same.embed_tokens.weight, other.embed_tokens.weight)
    attention = same.layers[1].self_attn
    assert attention.kv_b_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert attention.o_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.1)
    assert same.layers[1].mlp.experts.down_proj.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.05)


def test_too_long_a_context_is_named():
    model = Kimi(config())
    with pytest.raises(ValueError, match="65 tokens are more than max_seq_len=64"):
        model(some_tokens(model.cfg, 65))
    cache = model.new_cache()
    model(some_tokens(model.cfg, 64), cache)
    with pytest.raises(ValueError, match="65 tokens are more than max_seq_len=64"):
        model(some_tokens(model.cfg, 1), cache)
