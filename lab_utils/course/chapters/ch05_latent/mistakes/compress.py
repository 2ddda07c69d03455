"""The known wrong answers to compress, of notebook 05."""

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
    "The scale is that of one head. The compression has no heads: its dot products run over all of d_model.",
    "Over how many channels does q·k run here?",
)
def compress_with_the_scale_of_a_head(self, blocks):
    return pick(*project(self, blocks), scale=self.scale)


@mistake(
    "The tokens themselves are averaged: latent_v_proj is left out.",
    "Which of the layer's three latent projections does your function never read?",
)
def compress_bare_tokens(self, blocks):
    q, k, _ = project(self, blocks)
    return pick(q, k, blocks)


@mistake(
    "The latents are taken as queries without latent_q_proj.",
    "Which of the layer's three latent projections does your function never read?",
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
