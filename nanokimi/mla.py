"""Multi-head latent attention (DeepSeek-V2, sec. 2.1; Kimi K2): cache one small latent instead of keys and values.

Every token is compressed to a latent c of `kv_lora_rank` numbers. All heads' values, and all heads' keys as far as they
know no position (the "nope" part), are expanded from it. The position is in a second, small key that all heads share,
the rope key. It cannot be in c: a rotation between c and the expansion would depend on the distance of two tokens, and
the expansion could no longer be folded into the query. With `use_nope` it is not turned (Kimi Linear).

Two forms of the same function:
  naive     expand keys and values of all tokens, then ordinary attention; best in training
  absorbed  fold the key expansion into the query and the value expansion into the output, and attend over
            the latents themselves; best in decoding, since only (c, rope key) is cached and read
"""

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from nanokimi.attention import AttentionOutput, attend, attend_shared, join_heads, split_heads
from nanokimi.cache import SequenceCache, visible_entries
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.norm import RMSNorm
from nanokimi.qk_clip import clip_factor, max_logit, scale_heads_
from nanokimi.rope import apply_rope, yarn_mscale

# DeepSeek-V3 and K2 norm the latents with this eps whatever the model's own is.
LATENT_NORM_EPS = 1e-6


def expand_latent(
    latent: Float[Tensor, "batch seq kv_lora_rank"],
    k_rope: Float[Tensor, "batch seq rope"],
    expand_k: Float[Tensor, "n_heads nope kv_lora_rank"],
    expand_v: Float[Tensor, "n_heads v kv_lora_rank"],
) -> tuple[Float[Tensor, "batch n_heads seq qk"], Float[Tensor, "batch n_heads seq v"]]:
    """Every head's keys [W_UK·c ; k_rope] and values W_UV·c, for ordinary attention: the naive form."""
    n_heads, nope, _ = expand_k.shape
    weight = torch.cat([expand_k, expand_v], dim=1).flatten(0, 1)
    expanded = split_heads(F.linear(latent, weight), n_heads)
    k_rope = k_rope[:, None].expand(-1, n_heads, -1, -1)
    return torch.cat([expanded[..., :nope], k_rope], dim=-1), expanded[..., nope:]


def absorb_query(
    q: Float[Tensor, "batch n_heads seq qk"], expand_k: Float[Tensor, "n_heads nope kv_lora_rank"]
) -> Float[Tensor, "batch n_heads seq absorbed"]:
    """The query [W_UKᵀ·q_nope ; q_rope] of the absorbed form. Its dot product with [c ; k_rope] is the naive logit.

    For q·(W_UK c) = (W_UKᵀ q)·c. So no key is ever expanded: all heads read the same cached latents.
    """
    nope = expand_k.shape[1]
    return torch.cat([q[..., :nope] @ expand_k, q[..., nope:]], dim=-1)


class MultiHeadLatentAttention(nn.Module):
    """MLA with or without a low-rank query. It caches kv_lora_rank + qk_rope_head_dim numbers per token.

    Naive without a cache (training), absorbed with one (decoding); both give the same output to 1e-5.
    Landmark: K2 caches 576 numbers per token and layer, where its 64 expanded heads would need 20,480.
    """

    def __init__(self, d_model: int, n_heads: int, cfg: MLAConfig, rope: RopeConfig):
        super().__init__()
        self.n_heads, self.cfg = n_heads, cfg
        qk_dim = cfg.qk_nope_head_dim + cfg.qk_rope_head_dim
        self.scale = qk_dim**-0.5 * yarn_mscale(rope.yarn) ** 2
        if cfg.q_lora_rank is None:
            self.q_proj = nn.Linear(d_model, n_heads * qk_dim, bias=False)
        else:
            self.q_a_proj = nn.Linear(d_model, cfg.q_lora_rank, bias=False)
            self.q_a_layernorm = RMSNorm(cfg.q_lora_rank, LATENT_NORM_EPS)
            self.q_b_proj = nn.Linear(cfg.q_lora_rank, n_heads * qk_dim, bias=False)
        self.kv_a_proj = nn.Linear(d_model, cfg.kv_lora_rank + cfg.qk_rope_head_dim, bias=False)
        self.kv_a_layernorm = RMSNorm(cfg.kv_lora_rank, LATENT_NORM_EPS)
        self.kv_b_proj = nn.Linear(
            cfg.kv_lora_rank, n_heads * (cfg.qk_nope_head_dim + cfg.v_head_dim), bias=False
        )
        if cfg.output_gate == "full_rank":
            self.g_proj = nn.Linear(d_model, n_heads * cfg.v_head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * cfg.v_head_dim, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"],
        cache: SequenceCache | None = None,
        with_max_qk_logit: bool = False,
    ) -> AttentionOutput:
        q = self._queries(x, rotation)
        latent, k_rope = self.kv_a_proj(x).split([self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim], -1)
        # The latent is normed; the rope key is not, and its one head serves all.
        latent, k_rope = self.kv_a_layernorm(latent), self._turn(k_rope, rotation)
        expand_k, expand_v = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(
            [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim], dim=1
        )
        if cache is None:
            k, v = expand_latent(latent, k_rope, expand_k, expand_v)
            heads = attend(q, k, v, self.scale)
        else:
            # Multi-query attention over the latents: the key is [c ; k_rope], the value c itself. k_rope is mixed too,
            # and left out afterwards: for values as wide as the keys a CPU has one kernel, which copies no key.
            (entries,) = cache.append(torch.cat([latent, k_rope], dim=-1))
            k = entries[:, None].expand(-1, self.n_heads, -1, -1)
            q = absorb_query(q, expand_k)
            mixed = attend_shared(q, entries, entries, self.scale, visible_entries(cache, q))
            heads = mixed[..., : self.cfg.kv_lora_rank] @ expand_v.transpose(1, 2)
        joined = join_heads(heads)
        if self.cfg.output_gate == "full_rank":
            joined = joined * self.g_proj(x).sigmoid()
        out = self.o_proj(joined)
        return AttentionOutput(out, max_logit(q, k, self.scale) if with_max_qk_logit else None)

    def _turn(
        self, x: Float[Tensor, "*heads seq rope"], rotation: Complex[Tensor, "seq pairs"]
    ) -> Float[Tensor, "*heads seq rope"]:
        return x if self.cfg.use_nope else apply_rope(x, rotation)

    def _queries(
        self, x: Float[Tensor, "batch seq d_model"], rotation: Complex[Tensor, "seq pairs"]
    ) -> Float[Tensor, "batch n_heads seq qk"]:
        if self.cfg.q_lora_rank is None:
            q = self.q_proj(x)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = split_heads(q, self.n_heads)
        nope = self.cfg.qk_nope_head_dim
        return torch.cat([q[..., :nope], self._turn(q[..., nope:], rotation)], dim=-1)

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip: shrink the heads whose largest logit was above tau, so that it becomes tau.

        A nope logit is a product of two projections of the head's own, so each takes sqrt(g). The rope key is
        shared by all heads and must stay: there the query takes all of g.
        """
        nope, rope = slice(self.cfg.qk_nope_head_dim), slice(self.cfg.qk_nope_head_dim, None)
        q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
        g = clip_factor(max_qk_logit, tau)
        scale_heads_(q_proj.weight, g.sqrt(), nope)
        scale_heads_(q_proj.weight, g, rope)
        scale_heads_(self.kv_b_proj.weight, g.sqrt(), nope)
