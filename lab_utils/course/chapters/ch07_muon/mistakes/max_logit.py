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
    "Which of the arguments makes no difference in your function?",
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


@mistake(
    "The scale comes in twice.",
    "How often does `scale` stand in your function?",
)
def max_logit_scaled_twice(q, k, scale, visible=None):
    return largest(q, k, scale * scale, visible)


@mistake(
    "The logits are divided by the scale. It is a factor, such as 1/sqrt(d).",
    "One query and one key whose product is 2, and a scale of 0.5: what is the logit?",
)
def max_logit_divided(q, k, scale, visible=None):
    return largest(q, k, 1 / scale, visible)


@mistake(
    "The scale is 1/sqrt(d), whatever `scale` is. With YaRN it is another number.",
    "Which of the arguments makes no difference in your function?",
)
def max_logit_with_a_scale_of_its_own(q, k, scale, visible=None):
    return largest(q, k, q.shape[-1] ** -0.5, visible)


@mistake(
    "The batch is still there: one maximum per sequence and head. The docstring asks for one per head.",
    "Over which axes does your maximum run?",
)
def max_logit_of_every_sequence(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(2, 3))


@mistake(
    "There is one number for everything, without an axis. QK-clip shrinks each head by its own.",
    "Which shape does the docstring promise?",
)
def max_logit_of_everything(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(0, 1, 2, 3))


@mistake(
    "The maximum runs over the heads, and one number per sequence is left.",
    "Which axis of q are the heads?",
)
def max_logit_of_sequences(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(1, 2, 3))


@mistake(
    "Only the first sequence of the batch is looked at.",
    "What should happen to the batch dimension?",
)
def max_logit_of_the_first_sequence(q, k, scale, visible=None):
    return largest(q[:1], k[:1], scale, visible)


@mistake(
    "Only the last query is looked at.",
    "Over which pairs does the docstring take the maximum?",
)
def max_logit_of_the_last_query(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return largest(q[:, :, -1:], k, scale, visible[-1:])


@mistake(
    "Only the pairs of a token with itself are looked at.",
    "Which keys does a query see besides its own?",
)
def max_logit_of_the_diagonal(q, k, scale, visible=None):
    own = torch.zeros(q.shape[-2], k.shape[-2], dtype=torch.bool)
    own[torch.arange(q.shape[-2]), torch.arange(k.shape[-2] - q.shape[-2], k.shape[-2])] = True
    return largest(q, k, scale, own)


@mistake(
    "The smallest logit is taken in the place of the largest.",
    "`amin` or `amax`?",
)
def max_logit_smallest(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return (q @ k.mT).masked_fill(~visible, torch.inf).amin(dim=(0, 2, 3)).float() * scale


@mistake(
    "The caller's mask is read the wrong way round: True means that a query may look.",
    "Which pairs must become -inf: those with True or those with False?",
)
def max_logit_with_the_mask_inverted(q, k, scale, visible=None):
    return largest(q, k, scale, None if visible is None else ~visible)


@mistake(
    "The caller's mask is combined with the causal one. Where a mask is given, it alone counts.",
    "A mask lets a query see a later key. Does your function?",
)
def max_logit_with_both_masks(q, k, scale, visible=None):
    causal = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return largest(q, k, scale, causal if visible is None else causal & visible)


@mistake(
    "Without a mask every pair counts. None means causal.",
    "What does the docstring say of visible=None?",
)
def max_logit_without_a_mask_of_its_own(q, k, scale, visible=None):
    everything = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    return largest(q, k, scale, everything if visible is None else visible)


@mistake(
    "A token does not see itself in your mask.",
    "Is the diagonal of the mask True?",
)
def max_logit_without_itself(q, k, scale, visible=None):
    n, m = q.shape[-2], k.shape[-2]
    return largest(
        q, k, scale, torch.ones(n, m, dtype=torch.bool).tril(m - n - 1) if visible is None else visible
    )


@mistake(
    "The mask shows the future and hides the past.",
    "Which of `tril` and `triu` keeps the keys before a query?",
)
def max_logit_of_the_future_alone(q, k, scale, visible=None):
    n, m = q.shape[-2], k.shape[-2]
    return largest(
        q, k, scale, torch.ones(n, m, dtype=torch.bool).triu(m - n) if visible is None else visible
    )


@mistake(
    "The result keeps the format of q. The docstring asks for float32.",
    "What is the dtype of your result for float64?",
)
def max_logit_in_the_format_of_q(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return (q @ k.mT).masked_fill(~visible, -torch.inf).amax(dim=(0, 2, 3)) * scale


@mistake(
    "The maximum of the softmax weights is taken, not of the logits.",
    "Can a weight be above 1? Can a logit?",
)
def max_logit_of_weights(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible, of=lambda logits: (logits * scale).softmax(dim=-1))


@mistake(
    "The mean over the pairs is taken in the place of the maximum.",
    "One huge logit among a thousand small ones: does your number show it?",
)
def max_logit_mean(q, k, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    logits = (q @ k.mT).masked_fill(~visible, 0.0)
    return (logits.sum(dim=(0, 2, 3)) / (visible.sum() * len(q))).float() * scale


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
    max_logit_scaled_twice,
    max_logit_divided,
    max_logit_with_a_scale_of_its_own,
    max_logit_of_every_sequence,
    max_logit_of_everything,
    max_logit_of_sequences,
    max_logit_of_the_first_sequence,
    max_logit_of_the_last_query,
    max_logit_of_the_diagonal,
    max_logit_smallest,
    max_logit_with_the_mask_inverted,
    max_logit_with_both_masks,
    max_logit_without_a_mask_of_its_own,
    max_logit_without_itself,
    max_logit_of_the_future_alone,
    max_logit_in_the_format_of_q,
    max_logit_of_weights,
    max_logit_mean,
)
