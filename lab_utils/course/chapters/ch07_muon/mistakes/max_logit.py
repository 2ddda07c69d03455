"""The known wrong answers to max_logit, of notebook 07."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


def largest(q, k, scale, visible, hidden=-torch.inf, over=(0, 2, 3), of=lambda logits: logits):
    """Written out, with the places where a mistake goes."""
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    logits = of(q @ k.transpose(-1, -2))
    return logits.masked_fill(~visible, hidden).amax(dim=over).float() * scale


@mistake(
    "Hidden pairs count too: the future is not masked.",
    "A query and a later key have a large product. Does it matter to the softmax?",
)
def max_logit_of_the_future(q, k, scale, visible=None):
    return largest(q, k, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


@mistake(
    "Hidden pairs are set to 0, so a head whose visible logits are all negative gets 0.",
    "Which number never wins a maximum?",
)
def max_logit_hiding_with_zero(q, k, scale, visible=None):
    return largest(q, k, scale, visible, hidden=0.0)


@mistake(
    "The logits are not scaled. The softmax sees the scaled ones, and tau is meant for them.",
    "Which of the arguments does your function never read?",
)
def max_logit_unscaled(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible)


@mistake(
    "The maximum is taken over the absolute values. A very negative logit gets no weight and does no harm.",
    "All logits of a head are negative. What is its largest?",
)
def max_logit_absolute(q, k, scale, visible=None):
    return largest(q, k, scale, visible, of=torch.abs)


@mistake(
    "There is one number for all heads. QK-clip shrinks each head by its own.",
    "Which shape does the docstring promise?",
)
def max_logit_over_all_heads(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(0, 1, 2, 3)).expand(q.shape[1])


@mistake(
    "The maxima of the sequences are averaged. One sequence with a huge logit is enough to do harm.",
    "What should happen to the batch dimension?",
)
def max_logit_mean_of_the_batch(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(2, 3)).mean(dim=0)


@mistake(
    "`visible` is ignored: your function always masks causally.",
    "Follow the argument `visible` through your code.",
)
def max_logit_ignoring_visible(q, k, scale, visible=None):
    return largest(q, k, scale, None)


@mistake(
    "The queries are treated as the first positions. With fewer queries than keys they are the last.",
    "One new query after four cached keys: how many keys does it see?",
)
def max_logit_with_queries_first(q, k, scale, visible=None):
    first = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    return largest(q, k, scale, first if visible is None else visible)


@mistake(
    "This is a bound, the length of the longest query times that of the longest key, and not the largest logit.",
    "Take one query and one key at a right angle.",
)
def max_logit_by_lengths(q, k, scale, visible=None):
    return (q.norm(dim=-1).amax(dim=(0, 2)) * k.norm(dim=-1).amax(dim=(0, 2))).float() * scale


MAX_LOGIT = (
    max_logit_of_the_future,
    max_logit_hiding_with_zero,
    max_logit_unscaled,
    max_logit_absolute,
    max_logit_over_all_heads,
    max_logit_mean_of_the_batch,
    max_logit_ignoring_visible,
    max_logit_with_queries_first,
    max_logit_by_lengths,
)
