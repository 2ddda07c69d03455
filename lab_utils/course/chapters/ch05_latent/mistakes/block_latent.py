"""Wrong answers to the last exercises of notebook 05: the block form, the size of the cache."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import attend
from nanokimi.block_latent import block_visibility as core_visibility
from nanokimi.config import KimiConfig
from nanokimi.count import cache_elements as core_elements

# ---------------------------------------------------------------- compress


def pick(q, k, v, scale=None, dim=-1):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (q @ k.transpose(-1, -2) * scale).softmax(dim=dim) @ v


def projected(self, blocks):
    return self.latent_q_proj(self.latents), self.latent_k_proj(blocks), self.latent_v_proj(blocks)


@mistake(
    "The softmax runs over the latents. Each latent's weights over the tokens of a block must sum to 1.",
    "Which axis of the scores are the tokens?",
)
def compress_by_columns(self, blocks):
    return pick(*projected(self, blocks), dim=-2)


@mistake(
    "The scores are not divided by the root of the width.",
    "Multiply blocks by 10. How sharp do the weights become?",
)
def compress_without_scale(self, blocks):
    return pick(*projected(self, blocks), scale=1.0)


@mistake(
    "The scale is that of one head. The compression has no heads: its dot products run over all of d_model.",
    "Over how many channels does q·k run here?",
)
def compress_with_the_scale_of_a_head(self, blocks):
    return pick(*projected(self, blocks), scale=self.scale)


@mistake(
    "The bare tokens are averaged: latent_v_proj is left out.",
    "Which of the layer's three latent projections does your function never read?",
)
def compress_bare_tokens(self, blocks):
    q, k, _ = projected(self, blocks)
    return pick(q, k, blocks)


@mistake(
    "The latents are taken as queries without latent_q_proj.",
    "Which of the layer's three latent projections does your function never read?",
)
def compress_with_bare_latents(self, blocks):
    _, k, v = projected(self, blocks)
    return pick(self.latents, k, v)


@mistake(
    "The projections are those of the attention over tokens (q_proj, k_proj, v_proj). The compression has its own.",
    "Which weights does the docstring name?",
)
def compress_with_the_tokens_projections(self, blocks):
    return pick(self.q_proj(self.latents), self.k_proj(blocks), self.v_proj(blocks))


@mistake(
    "The latents are added to their summaries. In the formula a latent only asks; it does not answer.",
    "What should a latent return for a block whose values are all zero?",
)
def compress_adding_the_latents(self, blocks):
    return pick(*projected(self, blocks)) + self.latents


@mistake(
    "Every latent sees the tokens of all blocks, later ones too: here the future leaks into the past.",
    "Change a token of the second block. May the first block's summary move?",
)
def compress_over_all_blocks(self, blocks):
    q, k, v = projected(self, blocks.flatten(1, 2))
    return pick(q, k, v)[:, None].expand(-1, blocks.shape[1], -1, -1)


@mistake(
    "The weights are causal, as `attend` makes them where it is given no mask: the first latents miss the last "
    "tokens. A block is summed up when it is complete, and each latent reads all of it.",
    "How many tokens of its block does the first latent see?",
)
def compress_causally(self, blocks):
    q, k, v = projected(self, blocks)
    return attend(q.expand(*blocks.shape[:2], -1, -1), k, v, q.shape[-1] ** -0.5)


@mistake(
    "The scores are divided by d_model. It is its square root that keeps them at the size of one product.",
    "What stands under the line of the formula?",
)
def compress_dividing_by_the_width(self, blocks):
    return pick(*projected(self, blocks), scale=1 / blocks.shape[-1])


COMPRESS = (
    compress_by_columns,
    compress_without_scale,
    compress_with_the_scale_of_a_head,
    compress_bare_tokens,
    compress_with_bare_latents,
    compress_with_the_tokens_projections,
    compress_adding_the_latents,
    compress_over_all_blocks,
    compress_causally,
    compress_dividing_by_the_width,
)

# ---------------------------------------------------------------- block_visibility


def visibility(sees_latent, sees_token):
    """A version of the mask by two conditions, on the blocks j and floor(t/b), and on t, s and their blocks."""

    def changed(seq_len, block_len, n_latents, device):
        t = torch.arange(seq_len, device=device)[:, None]
        j = torch.arange(seq_len // block_len, device=device).repeat_interleave(n_latents)[None]
        s = t.T
        latents = sees_latent(j, t // block_len).expand(seq_len, j.shape[1])
        tokens = sees_token(t, s, s // block_len == t // block_len)
        return torch.cat([latents, tokens], dim=1)

    return changed


def earlier(j, own):
    return j < own


def own_past(t, s, same_block):
    return same_block & (s <= t)


@mistake(
    "A token sees the latents of its own block, which have seen the tokens after it: the future leaks.",
    "When is the block of token t complete: before t or after it?",
)
def visibility_of_the_own_block(seq_len, block_len, n_latents, device):
    return visibility(lambda j, own: j <= own, own_past)(seq_len, block_len, n_latents, device)


@mistake(
    "Every token sees all latents, those of later blocks too: the future leaks.",
    "What may the very first token see?",
)
def visibility_of_all_latents(seq_len, block_len, n_latents, device):
    return visibility(lambda j, own: (j < own) | True, own_past)(seq_len, block_len, n_latents, device)


@mistake(
    "A token sees the tokens of earlier blocks as well as their latents. Then nothing is compressed.",
    "Which tokens are dropped from the cache when a block is full?",
)
def visibility_of_all_past_tokens(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: s <= t)(seq_len, block_len, n_latents, device)


@mistake(
    "A token does not see itself.",
    "Look at the diagonal of the token columns.",
)
def visibility_without_itself(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: same & (s < t))(seq_len, block_len, n_latents, device)


@mistake(
    "A token sees its whole block, the tokens after it too.",
    "Look above the diagonal of the token columns.",
)
def visibility_of_the_whole_block(seq_len, block_len, n_latents, device):
    return visibility(earlier, lambda t, s, same: same)(seq_len, block_len, n_latents, device)


@mistake(
    "The token columns stand first. The keys are [Z ; x]: latents first.",
    "In which order does the docstring name the columns?",
)
def visibility_with_tokens_first(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, n_latents, device).roll(seq_len, dims=1)


@mistake(
    "The latents' columns are in another order: first one of every block, then the next. The latents of a block lie "
    "together.",
    "With two latents a block, which block does column 1 belong to?",
)
def visibility_with_latents_tiled(seq_len, block_len, n_latents, device):
    n_blocks = seq_len // block_len
    order = torch.arange(n_blocks * n_latents).view(n_blocks, n_latents).T.flatten()
    mask = core_visibility(seq_len, block_len, n_latents, device)
    return torch.cat([mask[:, order], mask[:, n_blocks * n_latents :]], dim=1)


@mistake(
    "The mask is upside down: True where a token must not look.",
    "May a token see itself? What does your mask say?",
)
def visibility_inverted(seq_len, block_len, n_latents, device):
    return ~core_visibility(seq_len, block_len, n_latents, device)


@mistake(
    "Every block has one column, however many latents it has.",
    "Two blocks of three latents each: how many latents are there?",
)
def visibility_with_one_column_a_block(seq_len, block_len, n_latents, device):
    return core_visibility(seq_len, block_len, 1, device)


@mistake(
    "The block that is not full has columns too. It has no latents yet: only complete blocks are summed up.",
    "How many complete blocks of three do seven tokens make?",
)
def visibility_with_latents_of_the_open_block(seq_len, block_len, n_latents, device):
    n_blocks = -(-seq_len // block_len)
    mask = core_visibility(n_blocks * block_len, block_len, n_latents, device)
    return mask[:seq_len, : n_blocks * n_latents + seq_len]


VISIBILITY = (
    visibility_of_the_own_block,
    visibility_of_all_latents,
    visibility_of_all_past_tokens,
    visibility_without_itself,
    visibility_of_the_whole_block,
    visibility_with_tokens_first,
    visibility_with_latents_tiled,
    visibility_inverted,
    visibility_with_one_column_a_block,
    visibility_with_latents_of_the_open_block,
)

# ---------------------------------------------------------------- cache_elements


def elements(per_token=None, blocks=None, ordinary=None):
    """A count with another number a token of MLA, another rule for blocks, or another for ordinary heads."""

    def changed(cfg, n_tokens):
        attention = cfg.attention if isinstance(cfg, KimiConfig) else "mha"
        if attention == "mla" and per_token is not None:
            return cfg.n_layers * n_tokens * per_token(cfg, cfg.mla)
        if attention == "block_latent" and blocks is not None:
            closed, rest = divmod(n_tokens, cfg.block_latent.block_len)
            return cfg.n_layers * cfg.d_model * blocks(closed * cfg.block_latent.n_latents, rest, n_tokens)
        if attention == "mha" and ordinary is not None:
            return cfg.n_layers * n_tokens * ordinary(cfg)
        return core_elements(cfg, n_tokens)

    return changed


@mistake(
    "For MLA the expanded keys and values of all heads are counted. They are made anew from the latent and not kept.",
    "What does the layer append to its cache?",
)
def elements_of_expanded_heads(cfg, n_tokens):
    def expanded(c, m):
        return c.n_heads * (m.qk_nope_head_dim + m.qk_rope_head_dim + m.v_head_dim)

    return elements(expanded)(cfg, n_tokens)


@mistake(
    "For MLA the rope key is counted once a head. It is one for all heads.",
    "How many heads does the rope key have?",
)
def elements_with_rope_keys_of_all_heads(cfg, n_tokens):
    return elements(lambda c, m: m.kv_lora_rank + c.n_heads * m.qk_rope_head_dim)(cfg, n_tokens)


@mistake(
    "For MLA the latent is counted twice, once for keys and once for values. Both are expanded from the same one.",
    "How many latents has a token?",
)
def elements_with_two_latents(cfg, n_tokens):
    return elements(lambda c, m: 2 * m.kv_lora_rank + m.qk_rope_head_dim)(cfg, n_tokens)


@mistake(
    "For MLA the rope key is left out. It cannot be made from the latent.",
    "Which two tensors does the layer append to its cache?",
)
def elements_without_rope_key(cfg, n_tokens):
    return elements(lambda c, m: m.kv_lora_rank)(cfg, n_tokens)


@mistake(
    "One layer is counted. Every layer has a cache of its own.",
    "Does your count grow with n_layers?",
)
def elements_of_one_layer(cfg, n_tokens):
    return core_elements(cfg, n_tokens) // cfg.n_layers


@mistake(
    "For ordinary heads the keys are counted and not the values.",
    "What do ordinary heads keep of a token?",
)
def elements_of_keys_only(cfg, n_tokens):
    return elements(ordinary=lambda c: c.d_model)(cfg, n_tokens)


@mistake(
    "In the block form all tokens are counted beside the latents. Those of a full block are replaced by its latents.",
    "How many tokens are kept right after a block has become full?",
)
def elements_keeping_all_tokens(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * latents + 3 * n)(cfg, n_tokens)


@mistake(
    "In the block form the inputs of the open block are left out. Without them it could not be compressed later.",
    "What does compress() read when the block becomes full?",
)
def elements_without_open_inputs(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * (latents + rest))(cfg, n_tokens)


@mistake(
    "In the block form only latents are counted. The tokens of a block that is not full are kept one by one.",
    "What is kept of the very first token, before any block is full?",
)
def elements_of_latents_only(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * latents)(cfg, n_tokens)


ELEMENTS = (
    elements_of_expanded_heads,
    elements_with_rope_keys_of_all_heads,
    elements_with_two_latents,
    elements_without_rope_key,
    elements_of_one_layer,
    elements_of_keys_only,
    elements_keeping_all_tokens,
    elements_without_open_inputs,
    elements_of_latents_only,
)
