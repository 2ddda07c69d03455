"""The known wrong answers to compress, of notebook 05."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import attend


def pick(q, k, v, scale=None, dim=-1):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (q @ k.transpose(-1, -2) * scale).softmax(dim=dim) @ v


def project(self, blocks):
    return self.latent_q_proj(self.latents), self.latent_k_proj(blocks), self.latent_v_proj(blocks)


@mistake(
    "The softmax runs over the latents. Each latent's weights over the tokens of a block must sum to 1.",
    "Which axis of the scores are the tokens?",
)
def compress_by_columns(self, blocks):
    return pick(*project(self, blocks), dim=-2)


@mistake(
    "The scores are not divided by the root of the width.",
    "Multiply blocks by 10. How sharp do the weights become?",
)
def compress_without_scale(self, blocks):
    return pick(*project(self, blocks), scale=1.0)


@mistake(
    "The scale is that of one of the n_heads attention heads. Here the dot products run over all of d_model.",
    "Over how many channels does q·k run here?",
)
def compress_with_the_scale_of_a_head(self, blocks):
    return pick(*project(self, blocks), scale=self.scale)


@mistake(
    "The tokens themselves are averaged: latent_v_proj is left out.",
    "Which of the layer's three latent projections makes no difference in your function?",
)
def compress_bare_tokens(self, blocks):
    q, k, _ = project(self, blocks)
    return pick(q, k, blocks)


@mistake(
    "The latents are taken as queries without latent_q_proj.",
    "Which of the layer's three latent projections makes no difference in your function?",
)
def compress_with_bare_latents(self, blocks):
    _, k, v = project(self, blocks)
    return pick(self.latents, k, v)


@mistake(
    "The projections are those of the attention over tokens (q_proj, k_proj, v_proj). The compression has its own.",
    "Which weights does the docstring name?",
)
def compress_with_the_tokens_projections(self, blocks):
    return pick(self.q_proj(self.latents), self.k_proj(blocks), self.v_proj(blocks))


@mistake(
    "The latents are added to their summaries. In the formula a latent is only a query; it is no part of the result.",
    "What should a latent return for a block whose values are all zero?",
)
def compress_adding_the_latents(self, blocks):
    return pick(*project(self, blocks)) + self.latents


@mistake(
    "Every latent sees the tokens of all blocks, later ones too: here the future leaks into the past.",
    "Change a token of the second block. May the first block's summary move?",
)
def compress_over_all_blocks(self, blocks):
    q, k, v = project(self, blocks.flatten(1, 2))
    return pick(q, k, v)[:, None].expand(-1, blocks.shape[1], -1, -1)


@mistake(
    "The weights are causal, as `attend` makes them where it is given no mask: the first latents miss the last "
    "tokens. A block is summed up when it is complete, and each latent reads all of it.",
    "How many tokens of its block does the first latent see?",
)
def compress_causally(self, blocks):
    q, k, v = project(self, blocks)
    return attend(q.expand(*blocks.shape[:2], -1, -1), k, v, q.shape[-1] ** -0.5)


@mistake(
    "The scores are divided by d_model. It is its square root that keeps them at the size of one product.",
    "What does the formula divide by?",
)
def compress_dividing_by_the_width(self, blocks):
    return pick(*project(self, blocks), scale=1 / blocks.shape[-1])


@mistake(
    "The scores are divided by the root of the number of tokens in a block. It is the root of d_model, the length of "
    "the dot products.",
    "Over how many channels does q·k run here?",
)
def compress_scaling_by_the_block(self, blocks):
    return pick(*project(self, blocks), scale=blocks.shape[2] ** -0.5)


@mistake(
    "The scores are divided by the root of the number of latents. It is the root of d_model, the length of the dot "
    "products.",
    "Over how many channels does q·k run here?",
)
def compress_scaling_by_the_latents(self, blocks):
    return pick(*project(self, blocks), scale=len(self.latents) ** -0.5)


@mistake(
    "The softmax runs over the blocks. Each latent's weights over the tokens of a block must sum to 1.",
    "Which axis of the scores are the tokens?",
)
def compress_with_softmax_over_blocks(self, blocks):
    return pick(*project(self, blocks), dim=1)


@mistake(
    "There is no softmax: the raw scores weigh the values.",
    "What do the weights of one latent over its block sum to?",
)
def compress_without_softmax(self, blocks):
    q, k, v = project(self, blocks)
    return (q @ k.mT * q.shape[-1] ** -0.5) @ v


@mistake(
    "The tokens themselves are the keys: latent_k_proj is left out.",
    "Which of the layer's three latent projections makes no difference in your function?",
)
def compress_with_bare_keys(self, blocks):
    q, _, v = project(self, blocks)
    return pick(q, blocks, v)


@mistake(
    "Keys and values have changed places: latent_v_proj makes the keys, latent_k_proj the values.",
    "Which projection makes what is averaged?",
)
def compress_swapping_keys_and_values(self, blocks):
    q, k, v = project(self, blocks)
    return pick(q, v, k)


@mistake(
    "The keys' projection makes the values too: latent_v_proj is left out.",
    "Which of the layer's three latent projections makes no difference in your function?",
)
def compress_with_keys_for_values(self, blocks):
    q, k, _ = project(self, blocks)
    return pick(q, k, k)


@mistake(
    "The summaries go through o_proj. They are keys and values of the attention that follows, which has o_proj itself.",
    "Which weights does the docstring name?",
)
def compress_with_the_output_projection(self, blocks):
    return self.o_proj(pick(*project(self, blocks)))


@mistake(
    "Every token of a block has the same weight: the latents are not asked.",
    "Where do self.latents come into your result?",
)
def compress_with_equal_weights(self, blocks):
    mean = self.latent_v_proj(blocks).mean(dim=2, keepdim=True)
    return mean.expand(-1, -1, len(self.latents), -1)


@mistake(
    "The weights are causal: the first latent reads the first token only, the second two. A block is summed up when it "
    "is complete, and each latent reads all of it.",
    "How many tokens of its block does the first latent see?",
)
def compress_causally_from_the_first_token(self, blocks):
    q, k, v = project(self, blocks)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    hidden = ~torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "The channels are divided into heads. The compression has one head, over all of d_model.",
    "How many heads does the docstring give to a latent?",
)
def compress_with_heads(self, blocks):
    q, k, v = (each.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3) for each in project(self, blocks))
    return pick(q, k, v).transpose(-2, -3).flatten(-2)


@mistake(
    "The latents of all blocks stand in one row, without an axis for the blocks.",
    "How many axes should the result have?",
)
def compress_into_one_row(self, blocks):
    return pick(*project(self, blocks)).flatten(1, 2)


@mistake(
    "The latents are not asked as queries but take part as keys: the tokens are the queries. A summary has one vector "
    "per latent, not one per token.",
    "How many vectors should come out of a block?",
)
def compress_by_asking_the_latents(self, blocks):
    q, k, _ = project(self, blocks)
    return pick(k, q, self.latent_v_proj(self.latents))


@mistake(
    "The latents are projected by latent_k_proj, as the tokens are. Queries have latent_q_proj.",
    "Which projection belongs to the latents, and which to the tokens?",
)
def compress_with_one_projection(self, blocks):
    _, k, v = project(self, blocks)
    return pick(self.latent_k_proj(self.latents), k, v)


@mistake(
    "The query projection is that of the attention over tokens, q_proj. The latents have their own.",
    "Which weights does the docstring name?",
)
def compress_with_the_tokens_queries(self, blocks):
    _, k, v = project(self, blocks)
    return pick(self.q_proj(self.latents), k, v)


@mistake(
    "The softmax runs over the latents, and the weights are divided by their sums over the tokens afterwards. That is "
    "another kind of attention, in which latents compete for tokens.",
    "Which axis of the scores are the tokens, and which does your softmax get?",
)
def compress_by_competing_latents(self, blocks):
    q, k, v = project(self, blocks)
    weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-2)
    return (weights / weights.sum(dim=-1, keepdim=True)) @ v


COMPRESS = (
    compress_by_columns,
    compress_by_competing_latents,
    compress_without_scale,
    compress_with_the_scale_of_a_head,
    compress_bare_tokens,
    compress_with_bare_latents,
    compress_with_the_tokens_projections,
    compress_adding_the_latents,
    compress_over_all_blocks,
    compress_causally,
    compress_dividing_by_the_width,
    compress_scaling_by_the_block,
    compress_scaling_by_the_latents,
    compress_with_softmax_over_blocks,
    compress_without_softmax,
    compress_with_bare_keys,
    compress_swapping_keys_and_values,
    compress_with_keys_for_values,
    compress_with_the_output_projection,
    compress_with_equal_weights,
    compress_causally_from_the_first_token,
    compress_with_heads,
    compress_into_one_row,
    compress_by_asking_the_latents,
    compress_with_one_projection,
    compress_with_the_tokens_queries,
)
