"""The baseline: GPT-2 as nanoGPT writes it. Learned positions, LayerNorm, GELU MLP, head tied to the embedding."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nanokimi.attention import attend, join_heads, split_heads
from nanokimi.cache import SequenceCache, next_columns, text_positions, visible_entries
from nanokimi.config import GPTConfig
from nanokimi.first_weights import draw_first_weights_
from nanokimi.output import ModelOutput, build_embedding
from nanokimi.presets.tokens import check_tokens, look_up
from nanokimi.qk_clip import clip_factor, max_logit, scale_heads_
from nanokimi.system.checked import checked
from nanokimi.system.whole_numbers import Seed


class GPTBlock(nn.Module):
    """One layer, as GPT-2's: x += attention(LN(x)); x += MLP(LN(x)), with biases."""

    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.n_heads = cfg.n_heads
        self.scale = (cfg.d_model // cfg.n_heads) ** -0.5
        self.ln_1 = nn.LayerNorm(cfg.d_model)
        self.qkv_proj = nn.Linear(cfg.d_model, 3 * cfg.d_model)
        self.o_proj = nn.Linear(cfg.d_model, cfg.d_model)
        self.ln_2 = nn.LayerNorm(cfg.d_model)
        self.up_proj = nn.Linear(cfg.d_model, 4 * cfg.d_model)
        self.down_proj = nn.Linear(4 * cfg.d_model, cfg.d_model)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        cache: SequenceCache | None = None,
        with_max_qk_logit: bool = False,
    ) -> tuple[Float[Tensor, "batch seq d_model"], Float[Tensor, " n_heads"] | None]:
        q, k, v = (split_heads(t, self.n_heads) for t in self.qkv_proj(self.ln_1(x)).chunk(3, dim=-1))
        if cache is not None:
            k, v = cache.append(k, v)
        x = x + self.o_proj(join_heads(attend(q, k, v, self.scale, visible_entries(cache, q))))
        x = x + self.down_proj(F.gelu(self.up_proj(self.ln_2(x))))
        return x, max_logit(q, k, self.scale) if with_max_qk_logit else None

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip: sqrt(g) on the query rows and on the key rows of every head, and on their biases."""
        root = clip_factor(max_qk_logit, tau).sqrt()
        factors = torch.cat([root, root, torch.ones_like(root)])  # the values stay
        scale_heads_(self.qkv_proj.weight, factors)
        scale_heads_(self.qkv_proj.bias[:, None], factors)


class GPT(nn.Module):
    """The baseline: tokens (batch, seq) to a `ModelOutput` with logits (batch, seq, vocab_size) and no routing.

    `cfg` gives the sizes; the weights are drawn from `seed`, as nanoGPT draws them. A call raises `ValueError` for more
    tokens than `max_seq_len`, those in the cache included, and for tokens that are no ids (`presets.tokens`).

    >>> import torch
    >>> from nanokimi import GPT, GPTConfig
    >>> model = GPT(GPTConfig(vocab_size=50, d_model=16, n_layers=2, n_heads=2))
    >>> model(torch.tensor([[1, 2, 3]])).logits.shape
    torch.Size([1, 3, 50])
    """

    @checked
    def __init__(self, cfg: GPTConfig, seed: Seed = 0):
        super().__init__()
        self.cfg = cfg
        self.embed_tokens = build_embedding(cfg.vocab_size, cfg.d_model)
        self.embed_positions = build_embedding(cfg.max_seq_len, cfg.d_model)
        self.layers = nn.ModuleList(GPTBlock(cfg) for _ in range(cfg.n_layers))
        self.norm = nn.LayerNorm(cfg.d_model)
        draw_first_weights_(self, cfg.n_layers, torch.Generator().manual_seed(seed))

    def new_cache(self) -> list[SequenceCache]:
        """An empty cache, one entry per layer, to hand to `forward` while decoding."""
        return [SequenceCache() for _ in self.layers]

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        cache: list[SequenceCache] | None = None,
        with_max_qk_logit: bool = False,
    ) -> ModelOutput:
        """Logits for every position. With a cache, `tokens` are the new ones only, and the cache grows by them.

        `with_max_qk_logit` asks for the largest attention logits too, which QK-clip needs.
        """
        check_tokens(tokens)
        columns = next_columns(cache, tokens, self.cfg.max_seq_len)
        positions = text_positions(cache[0] if cache else None, columns)
        x = look_up(self.embed_tokens, tokens) + self.embed_positions(positions)
        maxima = []
        for i, layer in enumerate(self.layers):
            x, layer_max = layer(x, cache[i] if cache else None, with_max_qk_logit)
            maxima.append(layer_max)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        return ModelOutput(logits, (), torch.stack(maxima) if with_max_qk_logit else None)
