"""Kimi Delta Attention: a head keeps one matrix instead of a growing cache (Kimi Linear 2025; Kimi K3, eq. 1 to 6).

The matrix S, head_dim x head_dim, maps keys to values. At every token it forgets a little, channel by channel, and then
is corrected by what it would recall for the new key (the delta rule):

  S_t = (I - beta k kᵀ) diag(exp g) S_{t-1} + beta k vᵀ,   o_t = S_tᵀ q_t / sqrt(head_dim)

Two forms of the same function:
  recurrent  token after token, as above; for decoding
  chunked    some tokens at a time: what they correct in each other is the solution of one triangular system; for
             training, where a loop over tokens would take long
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from nanokimi.attention import AttentionOutput, join_heads, split_heads
from nanokimi.cache import StateCache
from nanokimi.config import KDAConfig
from nanokimi.first_weights import draw_weight
from nanokimi.norm import RMSNorm

CHUNK = 16  # tokens; every pair of them takes head_dim numbers, so twice as many take four times the memory
LARGEST_DECAY = 5.0  # of the bounded decay, per step: exp(-5) = 0.0067 is kept

Heads = Float[Tensor, "batch n_heads seq head_dim"]
PerToken = Float[Tensor, "batch n_heads seq"]
State = Float[Tensor, "batch n_heads k_dim v_dim"]


def recurrent_delta(
    q: Heads, k: Heads, v: Heads, g: Heads, beta: PerToken, state: State
) -> tuple[Heads, State]:
    """The outputs S_tᵀ q_t of every token and the state after the last, by the definition, one token at a time.

    `g` is the logarithm of what each channel of the key keeps, 0 or less; `beta`, 0 to 1, how much is corrected.
    """
    outs = [v[:, :, :0]]
    for t in range(q.shape[2]):
        key = k[:, :, t, :, None]
        state = g[:, :, t, :, None].exp() * state
        error = v[:, :, t, None] - key.mT @ state  # the value, less what is recalled for the key
        state = state + beta[:, :, t, None, None] * key @ error
        outs.append(q[:, :, t, None] @ state)
    return torch.cat(outs, dim=2), state


def chunked_delta(
    q: Heads, k: Heads, v: Heads, g: Heads, beta: PerToken, state: State, chunk_len: int = CHUNK
) -> tuple[Heads, State]:
    """What `recurrent_delta` gives, with matrix products over `chunk_len` tokens; the last chunk may be shorter.

    With G the sum of g from the chunk's first token on, token i corrects the state by U_i, which depends on the tokens
    j < i of its chunk: (I + L) U = beta (V - (K exp G) S), L_ij = beta_i sum_c k_ic k_jc exp(G_i - G_j)_c.
    """
    future = torch.ones(chunk_len, chunk_len, dtype=torch.bool, device=q.device).triu(1)[..., None]
    outs = [v[:, :, :0]]
    for start in range(0, q.shape[2], chunk_len):
        chunk = slice(start, start + chunk_len)
        qs, ks, vs, gs, betas = (each[:, :, chunk] for each in (q, k, v, g, beta[..., None]))
        n, since_start = qs.shape[2], gs.cumsum(dim=2)
        whole = since_start[:, :, -1:]
        # The difference first: exp(G_i) / exp(G_j) would be 0 / 0 where much is forgotten. Where j > i it is hidden
        # before the exponential, which would be infinite there.
        between = since_start[..., :, None, :] - since_start[..., None, :, :]
        kept = between.masked_fill(future[:n, :n], -torch.inf).exp()
        pairs = (kept * ks[..., None, :, :]) @ torch.stack([betas * ks, qs], dim=-1)
        of_keys, of_queries = pairs.unbind(dim=-1)
        errors = betas * (vs - (ks * since_start.exp()) @ state)
        # Neither the diagonal, which counts as 1, nor what lies above it is read.
        corrections = torch.linalg.solve_triangular(of_keys, errors, upper=False, unitriangular=True)
        outs.append((qs * since_start.exp()) @ state + of_queries @ corrections)
        state = whole.exp().mT * state + (ks * (whole - since_start).exp()).mT @ corrections
    return torch.cat(outs, dim=2), state


def causal_conv(
    x: Float[Tensor, "batch padded channels"], weight: Float[Tensor, "channels one taps"]
) -> Float[Tensor, "batch seq channels"]:
    """Each channel's weighted sum of its last `taps` inputs; `x` begins with taps - 1 that are before the first one."""
    taps = weight.shape[-1]
    seq = x.shape[1] - taps + 1
    return sum((x[:, i : i + seq] * weight[:, 0, i] for i in range(1, taps)), x[:, :seq] * weight[:, 0, 0])


def l2norm(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """x divided by its length; the 1e-6 keeps a vector of zeros."""
    return x / (x.square().sum(dim=-1, keepdim=True) + 1e-6).sqrt()


class KimiDeltaAttention(nn.Module):
    """`n_heads` heads of Kimi Delta Attention. It caches n_heads·head_dim² numbers and taps - 1 inputs, at any length.

    It knows no positions but by its order, so `rotation` is not used. It has no softmax: its largest logit is told as
    0, and QK-clip leaves it as it is. Landmark: a head of Kimi Linear keeps 128 x 128 numbers.
    """

    def __init__(self, d_model: int, n_heads: int, cfg: KDAConfig, norm_eps: float):
        super().__init__()
        self.n_heads, self.cfg = n_heads, cfg
        width = n_heads * cfg.head_dim
        self.q_proj = nn.Linear(d_model, width, bias=False)
        self.k_proj = nn.Linear(d_model, width, bias=False)
        self.v_proj = nn.Linear(d_model, width, bias=False)
        # Three dimensions, as of a bank: Muon then takes the taps of every channel for a matrix of their own.
        self.conv_weight = draw_weight(3 * width, 1, cfg.conv_size)
        self.f_a_proj = nn.Linear(d_model, cfg.head_dim, bias=False)
        self.f_b_proj = nn.Linear(cfg.head_dim, width, bias=False)
        self.dt_bias = nn.Parameter(torch.zeros(width))
        self.A_log = nn.Parameter(torch.zeros(n_heads))
        self.b_proj = nn.Linear(d_model, n_heads, bias=False)
        if cfg.output_gate == "full_rank":
            self.g_proj = nn.Linear(d_model, width, bias=False)
        else:
            self.g_a_proj = nn.Linear(d_model, cfg.head_dim, bias=False)
            self.g_b_proj = nn.Linear(cfg.head_dim, width, bias=False)
        self.o_norm = RMSNorm(cfg.head_dim, norm_eps)
        self.o_proj = nn.Linear(width, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"] | None = None,
        cache: StateCache | None = None,
        with_max_qk_logit: bool = False,
    ) -> AttentionOutput:
        if cache is not None:
            x = cache.hide_padding(x)
        seq, mixed = x.shape[1], torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], dim=-1)
        before, state = self._past(mixed, cache)
        mixed = torch.cat([before, mixed], dim=1)
        convolved = F.silu(causal_conv(mixed, self.conv_weight))
        q, k, v = (split_heads(part, self.n_heads) for part in convolved.chunk(3, dim=-1))
        decay = split_heads(self.f_b_proj(self.f_a_proj(x)), self.n_heads)
        beta, gate = self.b_proj(x).mT, split_heads(self._gate(x), self.n_heads)
        # In float32 also where training runs in bfloat16: a state is the sum of all that came before.
        with torch.autocast(x.device.type, enabled=False):
            q, k, v, decay, beta, gate = (each.to(state.dtype) for each in (q, k, v, decay, beta, gate))
            form = recurrent_delta if seq == 1 else chunked_delta
            q = l2norm(q) * self.cfg.head_dim**-0.5
            out, state = form(q, l2norm(k), v, self._log_kept(decay), beta.sigmoid(), state)
            out = self.o_norm(out) * gate.sigmoid()
        if cache is not None:
            # A copy: a part would keep the whole text's inputs in memory.
            cache.store(mixed[:, seq:].clone(), state, seq)
        none = state.new_zeros(self.n_heads) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(join_heads(out).to(x.dtype)), none)

    def _past(
        self, mixed: Float[Tensor, "batch seq channels"], cache: StateCache | None
    ) -> tuple[Float[Tensor, "batch earlier channels"], State]:
        """The inputs of the convolution before the first new token, and the state; zeros where there is nothing."""
        if cache is not None and cache.length:
            return cache.inputs, cache.state
        batch, width = mixed.shape[0], self.cfg.head_dim
        full = torch.promote_types(mixed.dtype, torch.float32)
        state = mixed.new_zeros(batch, self.n_heads, width, width, dtype=full)
        return mixed.new_zeros(batch, self.cfg.conv_size - 1, mixed.shape[2]), state

    def _log_kept(self, decay: Heads) -> Heads:
        """g, the logarithm of what every channel keeps, from what the projections give."""
        z = decay + self.dt_bias.to(decay.dtype).view(self.n_heads, 1, -1)
        rate = self.A_log.to(decay.dtype).exp().view(self.n_heads, 1, 1)
        if self.cfg.decay == "bounded":
            return -LARGEST_DECAY * (rate * z).sigmoid()
        return -rate * F.softplus(z)

    def _gate(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq width"]:
        return self.g_proj(x) if self.cfg.output_gate == "full_rank" else self.g_b_proj(self.g_a_proj(x))

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """Nothing: there are no logits, and keys and queries have length 1 already."""

    @torch.no_grad()
    def draw_first_weights_(self, generator: torch.Generator) -> None:
        """Draw what no matrix is, as Kimi Linear's first weights are: taps, rates and biases of the decay.

        Taps U(-1/sqrt(taps), 1/sqrt(taps)). A step first forgets by -g, which is between 0.001 and 0.1 for a rate of 1;
        rates are 1 to 16, or all 1 where the decay is bounded.
        """
        bound = self.cfg.conv_size**-0.5
        self.conv_weight.uniform_(-bound, bound, generator=generator)
        forgotten = self.dt_bias.uniform_(math.log(1e-3), math.log(1e-1), generator=generator).exp()
        self.dt_bias.copy_(forgotten.expm1().log())  # softplus, backwards
        if self.cfg.decay == "softplus":
            self.A_log.uniform_(1.0, 16.0, generator=generator).log_()
        else:
            self.A_log.zero_()
