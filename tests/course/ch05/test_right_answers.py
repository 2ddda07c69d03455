"""Right answers to notebook 05, written in other ways than the core, must pass; wrong returns get a sentence."""

import math

import pytest
import torch
import torch.nn.functional as F

from nanokimi.attention import AttentionOutput, attend, join_heads, split_heads
from nanokimi.mask import causal_mask
from nanokimi.mla import MultiHeadLatentAttention, absorb_query, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope
from tests.course.keys import judge_answer

# ---------------------------------------------------------------- expansion and absorption


def expand_head_by_head(latent, k_rope, expand_k, expand_v):
    keys = [torch.cat([latent @ each.T, k_rope], dim=-1) for each in expand_k]
    return torch.stack(keys, dim=1), torch.stack([latent @ each.T for each in expand_v], dim=1)


def expand_by_broadcast(latent, k_rope, expand_k, expand_v):
    k = latent[:, None] @ expand_k.mT
    k_rope = k_rope[:, None].repeat(1, len(expand_k), 1, 1)
    return torch.cat([k, k_rope], dim=3), latent[:, None] @ expand_v.transpose(1, 2)


def absorb_by_einsum(q, expand_k):
    q_nope, q_rope = q.split([expand_k.shape[1], q.shape[-1] - expand_k.shape[1]], dim=-1)
    return torch.cat([torch.einsum("bhtn,hnr->bhtr", q_nope, expand_k), q_rope], dim=-1)


def absorb_channel_by_channel(q, expand_k):
    _, nope, rank = expand_k.shape
    made = q.new_zeros(*q.shape[:-1], rank + q.shape[-1] - nope)
    for h in range(q.shape[1]):
        for i in range(nope):
            made[:, h, :, :rank] += q[:, h, :, i, None] * expand_k[h, i]
    made[..., rank:] = q[..., nope:]
    return made


def against_torch(attend_latents):
    q, latent, k_rope = torch.randn(2, 4, 7, 9), torch.randn(2, 7, 6), torch.randn(2, 7, 4)
    expand_k, expand_v = torch.randn(4, 5, 6), torch.randn(4, 3, 6)
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    got = attend_latents(q, latent, k_rope, expand_k, expand_v)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- the whole layer


class ExpandsWithTheLinearLayer(MultiHeadLatentAttention):
    """Naive by kv_b_proj itself instead of its cut weight; absorbed with einsum."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        cfg, heads = self.cfg, self.n_heads
        low = x if cfg.q_lora_rank is None else self.q_a_layernorm(self.q_a_proj(x))
        project = self.q_proj if cfg.q_lora_rank is None else self.q_b_proj
        q = project(low).view(*x.shape[:2], heads, -1).transpose(1, 2)
        nope, rank = cfg.qk_nope_head_dim, cfg.kv_lora_rank
        q = torch.cat([q[..., :nope], apply_rope(q[..., nope:], rotation)], dim=-1)
        c, k_rope = self.kv_a_proj(x).tensor_split([rank], dim=-1)
        c, k_rope = self.kv_a_layernorm(c), apply_rope(k_rope, rotation)
        if cache is None:
            kv = self.kv_b_proj(c).view(*x.shape[:2], heads, -1).transpose(1, 2)
            k = torch.cat([kv[..., :nope], k_rope[:, None].expand(-1, heads, -1, -1)], dim=-1)
            out = attend(q, k, kv[..., nope:], self.scale)
        else:
            (entries,) = cache.append(torch.cat([c, k_rope], dim=-1))
            weight = self.kv_b_proj.weight.view(heads, -1, rank)
            q, k = absorb_query(q, weight[:, :nope]), entries[:, None].expand(-1, heads, -1, -1)
            means = attend(q, k, k[..., :rank], self.scale)
            out = torch.einsum("bhtr,hvr->bhtv", means, weight[:, nope:])
        largest = max_logit(q, k, self.scale) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(out.transpose(1, 2).flatten(2)), largest)


class AlwaysAbsorbed(MultiHeadLatentAttention):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        cfg, nope = self.cfg, self.cfg.qk_nope_head_dim
        low = x if cfg.q_lora_rank is None else self.q_a_layernorm(self.q_a_proj(x))
        q = split_heads((self.q_proj if cfg.q_lora_rank is None else self.q_b_proj)(low), self.n_heads)
        q = torch.cat([q[..., :nope], apply_rope(q[..., nope:], rotation)], dim=-1)
        c, k_rope = self.kv_a_proj(x).split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], dim=-1)
        entries = torch.cat([self.kv_a_layernorm(c), apply_rope(k_rope, rotation)], dim=-1)
        if cache is not None:
            (entries,) = cache.append(entries)
        weight = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))
        q, k = absorb_query(q, weight[:, :nope]), entries[:, None].expand(-1, self.n_heads, -1, -1)
        heads = attend(q, k, k[..., : cfg.kv_lora_rank], self.scale) @ weight[:, nope:].mT
        largest = max_logit(q, k, self.scale) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(join_heads(heads)), largest)


# ---------------------------------------------------------------- the future


def prefix_by_prefix(layer):
    x = torch.randn(1, 9, 8)
    for n in range(1, 9):
        torch.testing.assert_close(layer(x[:, :n]), layer(x)[:, :n], atol=1e-4, rtol=1e-4)


def huge_numbers_behind(layer):
    x = torch.randn(1, 9, 8)
    other = x.clone()
    other[:, 4:] = 1000
    assert torch.allclose(layer(x)[:, :4], layer(other)[:, :4], atol=1e-4)


def by_the_jacobian(layer):
    jacobian = torch.autograd.functional.jacobian(layer, torch.randn(1, 6, 8))[0, :, :, 0]
    assert jacobian.square().sum(dim=(1, 3)).triu(1).max() < 1e-6


def by_one_gradient(layer):
    x = torch.randn(1, 10, 8, requires_grad=True)
    layer(x)[0, 3].sum().backward()
    assert (x.grad[0, 4:] == 0).all()


# ---------------------------------------------------------------- the block form


def compress_with_torchs_attention(self, blocks):
    q = self.latent_q_proj(self.latents).expand(*blocks.shape[:2], -1, -1)
    return F.scaled_dot_product_attention(q, self.latent_k_proj(blocks), self.latent_v_proj(blocks))


def compress_by_einsum(self, blocks):
    q, k, v = self.latent_q_proj(self.latents), self.latent_k_proj(blocks), self.latent_v_proj(blocks)
    weights = (torch.einsum("md,bntd->bnmt", q, k) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return torch.einsum("bnmt,bntd->bnmd", weights, v)


def visibility_in_loops(seq_len, block_len, n_latents, device):
    rows = []
    for t in range(seq_len):
        row = [j < t // block_len for j in range(seq_len // block_len) for _ in range(n_latents)]
        rows.append(row + [s // block_len == t // block_len and s <= t for s in range(seq_len)])
    return torch.tensor(rows, device=device)


def elements_with_a_remainder(cfg, n_tokens):
    kind = getattr(cfg, "attention", "mha")
    if kind == "mla":
        return cfg.n_layers * n_tokens * (cfg.mla.kv_lora_rank + cfg.mla.qk_rope_head_dim)
    if kind == "block_latent":
        latents = cfg.block_latent.n_latents * (n_tokens // cfg.block_latent.block_len)
        return cfg.n_layers * cfg.d_model * (2 * latents + 3 * (n_tokens % cfg.block_latent.block_len))
    return cfg.n_layers * 2 * cfg.d_model * n_tokens


class LogitsInTwoParts(MultiHeadLatentAttention):
    """The logits of the latents and of the rope key apart, and the softmax by hand."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        cfg, widths = self.cfg, [self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim]
        q_nope, q_rope = self._queries(x, rotation).split([cfg.qk_nope_head_dim, cfg.qk_rope_head_dim], -1)
        latent, k_rope = self.kv_a_proj(x).split(widths, -1)
        (entries,) = cache.append(
            torch.cat([self.kv_a_layernorm(latent), apply_rope(k_rope, rotation)], dim=-1)
        )
        latents, rope_keys = entries.split(widths, -1)
        expand_k, expand_v = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(
            [cfg.qk_nope_head_dim, cfg.v_head_dim], dim=1
        )
        absorbed = torch.einsum("bhtn,hnr->bhtr", q_nope, expand_k)
        scores = torch.einsum("bhtr,bsr->bhts", absorbed, latents)
        scores = (scores + torch.einsum("bhtd,bsd->bhts", q_rope, rope_keys)) * self.scale
        hidden = ~causal_mask(x.shape[1], entries.shape[1], x.device)
        scores = scores.masked_fill(hidden, -torch.inf)
        read = torch.einsum("bhts,bsr->bhtr", scores.softmax(dim=-1), latents)
        heads = torch.einsum("bhtr,hvr->bthv", read, expand_v)
        largest = scores.amax(dim=(0, 2, 3)) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(heads.flatten(2)), largest)


RIGHT = [
    ("expand_latent", expand_head_by_head),
    ("expand_latent", expand_by_broadcast),
    ("absorb_query", absorb_by_einsum),
    ("absorb_query", absorb_channel_by_channel),
    ("test_sound_latents", against_torch),
    ("MultiHeadLatentAttention", ExpandsWithTheLinearLayer),
    ("MultiHeadLatentAttention", AlwaysAbsorbed),
    ("MultiHeadLatentAttention", LogitsInTwoParts),
    ("test_sound_summary", prefix_by_prefix),
    ("test_sound_summary", huge_numbers_behind),
    ("test_sound_summary", by_the_jacobian),
    ("test_sound_summary", by_one_gradient),
    ("compress", compress_with_torchs_attention),
    ("compress", compress_by_einsum),
    ("block_visibility", visibility_in_loops),
    ("cache_elements", elements_with_a_remainder),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    torch.manual_seed(0)
    result = judge_answer(name, answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what forward returns


def test_a_layer_that_returns_a_tensor_or_nothing_is_told_what_to_return():
    class OnlyTheFirst(MultiHeadLatentAttention):
        def forward(self, *args):
            return super().forward(*args).out

    class Nothing(MultiHeadLatentAttention):
        def forward(self, *args):
            super().forward(*args)

    for wrong, found in ((OnlyTheFirst, "a Tensor"), (Nothing, "nothing")):
        says = judge_answer("MultiHeadLatentAttention", wrong).difference.says
        assert says == f"forward returns {found}; it should return AttentionOutput(out, max_qk_logit).", says


def test_a_layer_without_largest_logits_per_head_is_told_so_and_no_error_of_the_check_is_shown():
    class NoneAtAll(MultiHeadLatentAttention):
        def forward(self, *args):
            return super().forward(*args)._replace(max_qk_logit=None)

    class OneNumber(MultiHeadLatentAttention):
        def forward(self, *args):
            out = super().forward(*args)
            return out._replace(max_qk_logit=None if out.max_qk_logit is None else out.max_qk_logit.max())

    says = judge_answer("MultiHeadLatentAttention", NoneAtAll).difference.says
    assert "forward gives None in the place of the largest logits" in says, says
    says = judge_answer("MultiHeadLatentAttention", OneNumber).difference.says
    assert says == "The largest logits are a tensor of shape (); they should be a tensor of shape (2,).", says


def test_a_count_is_a_whole_number():
    def halves(cfg, n_tokens):
        return elements_with_a_remainder(cfg, n_tokens) / 1

    assert "the float 72.0" in judge_answer("cache_elements", halves).difference.says
