"""The known wrong answers to max_logit, of notebook 07, about which pairs count, and what is taken of them."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch07_muon.mistakes.max_logit import largest
from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


def masked(q, k, visible):
    """The logits without their scale, hidden ones at -inf."""
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return (q @ k.mT).masked_fill(~visible, -torch.inf)


@mistake(
    "The mask lies across: its rows are taken for keys and its columns for queries, so the future is seen and the past "
    "is not.",
    "Which axis of your logits are the queries, and which axis of the mask?",
)
def max_logit_with_keys_for_rows(q, k, scale, visible=None):
    return largest(k, q, scale, visible)


@mistake(
    "The mask is transposed: a row of it should be a query, and a column a key.",
    "Which axis of your logits are the queries, and which axis of the mask?",
)
def max_logit_with_the_mask_transposed(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return largest(q, k, scale, visible.T)


@mistake(
    "The mask is read the wrong way round, your own and the caller's: True means that a query may look.",
    "Which pairs must become -inf: those with True or those with False?",
)
def max_logit_of_hidden_pairs(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return largest(q, k, scale, ~visible)


@mistake(
    "The offset between queries and keys has the wrong sign. With fewer queries than keys the queries are the last.",
    "One new query after four cached keys: how many keys does it see?",
)
def max_logit_with_the_offset_backwards(q, k, scale, visible=None):
    n, m = q.shape[-2], k.shape[-2]
    return largest(
        q, k, scale, torch.ones(n, m, dtype=torch.bool).tril(n - m) if visible is None else visible
    )


@mistake(
    "Queries and keys are divided by their lengths: these are cosines. A logit grows with both lengths, and that "
    "growth is what QK-clip looks for.",
    "Twice the query: what becomes of its logit, and what of your number?",
)
def max_logit_of_cosines(q, k, scale, visible=None):
    return largest(F.normalize(q, dim=-1), F.normalize(k, dim=-1), scale, visible)


@mistake(
    "The maximum of the softmax weights is taken, not of the logits.",
    "Can a weight be above 1? Can a logit?",
)
def max_logit_of_masked_weights(q, k, scale, visible=None):
    return (masked(q, k, visible) * scale).softmax(dim=-1).amax(dim=(0, 2, 3)).float()


@mistake(
    "The logarithm of the sum of all exponentials is taken: a soft maximum, which is above the largest logit.",
    "Two logits of 1: what is the larger one, and what is your number?",
)
def max_logit_softened(q, k, scale, visible=None):
    logits = (masked(q, k, visible) * scale).transpose(0, 1).flatten(1)
    return logits.logsumexp(dim=-1).float()


@mistake(
    "The queries' maxima are averaged. One query with a huge logit is enough to do harm.",
    "Over which pairs does the docstring take the maximum?",
)
def max_logit_mean_of_the_queries(q, k, scale, visible=None):
    return masked(q, k, visible).amax(dim=-1).mean(dim=-1).amax(dim=0).float() * scale


@mistake(
    "The maxima of the sequences are added up. The docstring asks for the largest over the batch.",
    "What should happen to the batch dimension?",
)
def max_logit_sum_of_the_batch(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(2, 3)).sum(dim=0)


@mistake(
    "The axes over which the maximum runs are still there, one entry long. The docstring asks for (n_heads,).",
    "What does `keepdim` do?",
)
def max_logit_with_all_axes(q, k, scale, visible=None):
    return largest(q, k, scale, visible)[None, :, None, None]


@mistake(
    "The logits are divided by the root of the width besides: `scale` is all of the factor.",
    "What does the layer's scale hold already?",
)
def max_logit_scaled_by_the_width_too(q, k, scale, visible=None):
    return largest(q, k, scale * q.shape[-1] ** -0.5, visible)


HIDDEN_BY_A_NUMBER = (
    "Hidden pairs get a number that is not small enough, and it wins where all visible logits are smaller.",
    "Which number never wins a maximum?",
)


@mistake(*HIDDEN_BY_A_NUMBER)
def max_logit_hiding_with_minus_100(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible, hidden=-100.0, of=lambda logits: logits * scale)


@mistake(*HIDDEN_BY_A_NUMBER)
def max_logit_hiding_with_minus_1000(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible, hidden=-1000.0, of=lambda logits: logits * scale)


@mistake(*HIDDEN_BY_A_NUMBER)
def max_logit_hiding_with_minus_10000(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible, hidden=-1e4, of=lambda logits: logits * scale)


MAX_LOGIT_PAIRS = (
    max_logit_with_keys_for_rows,
    max_logit_with_the_mask_transposed,
    max_logit_of_hidden_pairs,
    max_logit_with_the_offset_backwards,
    max_logit_of_cosines,
    max_logit_of_masked_weights,
    max_logit_softened,
    max_logit_mean_of_the_queries,
    max_logit_sum_of_the_batch,
    max_logit_with_all_axes,
    max_logit_scaled_by_the_width_too,
    max_logit_hiding_with_minus_100,
    max_logit_hiding_with_minus_1000,
    max_logit_hiding_with_minus_10000,
)
