"""The known wrong answers to compress, of notebook 05, about what makes keys and values, and about the weights."""

import torch

from lab_utils.course.chapters.ch05_latent.mistakes.compress import pick, project
from lab_utils.course.exercise import mistake


def raised(scores):
    """Softmax by its formula, as it stands."""
    powers = scores.exp()
    return powers / powers.sum(dim=-1, keepdim=True)


@mistake(
    "The exponentials are taken of the scores as they are. A score above 88 gives inf in float32, and inf / inf is "
    "nan: the largest score of a row must be subtracted first.",
    "What is exp(100) in float32, and what does torch.softmax do about it?",
)
def compress_without_the_maximum(self, blocks):
    q, k, v = project(self, blocks)
    return raised(q @ k.mT * q.shape[-1] ** -0.5) @ v


@mistake(
    "One maximum is subtracted from all scores. A row whose scores are far below it becomes 0 / 0: each row has "
    "its own.",
    "A row with scores 1000 below the largest of all: what are its exponentials?",
)
def compress_with_one_maximum(self, blocks):
    q, k, v = project(self, blocks)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    return raised(scores - (scores.max() if scores.numel() else 0.0)) @ v


@mistake(
    "The root of the width divides the weights, after the softmax. It belongs to the scores, before it.",
    "What do the weights of one latent over its block sum to?",
)
def compress_scaling_the_weights(self, blocks):
    q, k, v = project(self, blocks)
    return (q @ k.mT).softmax(dim=-1) * q.shape[-1] ** -0.5 @ v


@mistake(
    "The latents are among the keys and values. A block is summed up from its tokens alone.",
    "How many weights has a latent over a block of three tokens?",
)
def compress_of_latents_too(self, blocks):
    latents = self.latents.expand(*blocks.shape[:2], -1, -1)
    return pick(*project(self, torch.cat([blocks, latents], dim=2)))


@mistake(
    "The keys are made of the values: latent_k_proj gets what latent_v_proj gave. Both get the tokens.",
    "What does latent_k_proj get in your function?",
)
def compress_with_keys_of_values(self, blocks):
    v = self.latent_v_proj(blocks)
    return pick(self.latent_q_proj(self.latents), self.latent_k_proj(v), v)


@mistake(
    "The values are made of the keys: latent_v_proj gets what latent_k_proj gave. Both get the tokens.",
    "What does latent_v_proj get in your function?",
)
def compress_with_values_of_keys(self, blocks):
    k = self.latent_k_proj(blocks)
    return pick(self.latent_q_proj(self.latents), k, self.latent_v_proj(k))


@mistake(
    "The channels are divided into two heads. The compression has one head, over all of d_model.",
    "How many heads does the docstring give to a latent?",
)
def compress_with_two_heads(self, blocks):
    q, k, v = (each.unflatten(-1, (2, -1)).transpose(-2, -3) for each in project(self, blocks))
    return pick(q, k, v).transpose(-2, -3).flatten(-2)


@mistake(
    "The softmax runs over all blocks together. Each latent's weights over the tokens of one block must sum to 1.",
    "What do the weights of one latent over one block sum to?",
)
def compress_with_softmax_over_the_text(self, blocks):
    q, k, v = project(self, blocks)
    scores = (q @ k.mT * q.shape[-1] ** -0.5).transpose(1, 2)
    weights = scores.flatten(2).softmax(dim=-1).view(scores.shape).transpose(1, 2)
    return weights @ v


@mistake(
    "The weights are those of the first block, in all blocks. Each block has its own keys.",
    "Which block's keys does the second block's latent meet?",
)
def compress_with_the_first_blocks_weights(self, blocks):
    q, k, v = project(self, blocks)
    return (q @ k[:, :1].mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


@mistake(
    "The result of no blocks is an error: torch.stack and torch.cat need at least one tensor.",
    "What does your function return for a text shorter than a block?",
)
def compress_of_a_stack(self, blocks):
    found = [pick(*project(self, blocks[:, i])) for i in range(blocks.shape[1])]
    return torch.stack(found, dim=1)


@mistake(
    "`blocks` is changed. It belongs to the caller, who still needs the tokens.",
    "Which of your calls end in _, or assign with += and the like, and which tensor do they change?",
)
def compress_writing_into_blocks(self, blocks):
    before = pick(*project(self, blocks))
    with torch.no_grad():
        blocks.add_(1.0)
    return before


@mistake(
    "The weights are made without a gradient: neither the latents nor their projections would learn which token "
    "to pick.",
    "Which of your lines stand under no_grad or end in detach()?",
)
def compress_with_fixed_weights(self, blocks):
    q, k, v = project(self, blocks)
    return (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1).detach() @ v


COMPRESS_WEIGHTS = (
    compress_without_the_maximum,
    compress_with_one_maximum,
    compress_scaling_the_weights,
    compress_of_latents_too,
    compress_with_keys_of_values,
    compress_with_values_of_keys,
    compress_with_two_heads,
    compress_with_softmax_over_the_text,
    compress_with_the_first_blocks_weights,
    compress_of_a_stack,
    compress_writing_into_blocks,
    compress_with_fixed_weights,
)
