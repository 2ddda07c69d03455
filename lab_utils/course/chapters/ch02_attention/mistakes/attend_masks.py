"""The known wrong answers to attend, of notebook 02: which keys a query sees."""

import torch

from lab_utils.course.chapters.ch02_attention.mistakes.attend import attention
from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


@mistake(
    "Nothing is masked: every query sees every key, the future too.",
    "What does `visible=None` mean, according to the docstring?",
)
def attend_to_the_future(q, k, v, scale, visible=None):
    everything = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    return attention(q, k, v, scale, everything if visible is None else visible)


@mistake(
    "Hidden scores are 0 before the softmax. exp(0) = 1, so a hidden key still gets weight.",
    "Which score gives exactly no weight after the exponential?",
)
def attend_masking_with_zero(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.transpose(-1, -2) * scale).masked_fill(~visible, 0.0).softmax(dim=-1) @ v


@mistake(
    "The mask comes after the softmax: the weights that are left no longer sum to 1.",
    "Sum the weights that the first query has left.",
)
def attend_masking_after_softmax(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return ((q @ k.transpose(-1, -2) * scale).softmax(dim=-1) * visible) @ v


@mistake(
    "The queries are treated as the first positions. With fewer queries than keys, as in decoding, they are the last.",
    "One new token, and a cache of four: which keys may it see?",
)
def attend_putting_queries_first(q, k, v, scale, visible=None):
    first = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    return attention(q, k, v, scale, first if visible is None else visible)


@mistake(
    "`visible` is ignored: your function always masks causally.",
    "Follow the argument `visible` through your code.",
)
def attend_ignoring_visible(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None)


@mistake(
    "The mask is used the wrong way round: what may be seen is hidden. A query that may see nothing else gets nan.",
    "masked_fill fills where its mask is True. What does True mean in causal_mask and in `visible`?",
)
def attend_hiding_the_visible(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.transpose(-1, -2) * scale).masked_fill(visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "The causal mask is used on top of `visible`, so no caller can let a query see ahead.",
    "When should the causal mask be used: always, or only where the caller gives no other?",
)
def attend_with_both_masks(q, k, v, scale, visible=None):
    causal = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return attention(q, k, v, scale, causal if visible is None else causal & visible)


@mistake(
    "`visible` is added to the causal mask, so the past that the caller hides is still seen.",
    "When should the causal mask be used: always, or only where the caller gives no other?",
)
def attend_with_either_mask(q, k, v, scale, visible=None):
    causal = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return attention(q, k, v, scale, causal if visible is None else causal | visible)


@mistake(
    "Nothing is masked at all: neither `visible` nor the causal mask is used.",
    "Where in your function is a score hidden?",
)
def attend_without_any_mask(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


@mistake(
    "A query does not see its own position. The first one sees nothing at all, and gets zeros.",
    "May the token at t read the token at t? Look at s <= t.",
)
def attend_without_oneself(q, k, v, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device).tril(k.shape[-2] - q.shape[-2] - 1)
    return (q @ k.mT * scale).masked_fill(~visible, -torch.inf).softmax(dim=-1).nan_to_num() @ v


@mistake(
    "Hidden scores are set to a number like -50: a query whose visible scores are low still gives hidden keys weight.",
    "Which score gives exactly no weight after the exponential, however low the others are?",
)
def attend_masking_with_a_finite_number(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~visible, -50.0).softmax(dim=-1) @ v


@mistake(
    "Hidden scores are set to a number like -500 or -1000: where visible scores are lower, hidden keys get weight.",
    "Which score gives exactly no weight after the exponential, however low the others are?",
)
def attend_masking_with_minus_1000(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~visible, -1000.0).softmax(dim=-1) @ v


@mistake(
    "Hidden scores are set to a number like -10,000 or -100,000. A query whose visible scores are lower still gives "
    "hidden keys all its weight.",
    "Which score gives exactly no weight after the exponential, however low the others are?",
)
def attend_masking_with_minus_10000(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~visible, -10_000.0).softmax(dim=-1) @ v


@mistake(
    "Hidden scores stay in the softmax, a number like 10,000 or 100,000 lower. A hidden score that is large enough "
    "still gets all the weight.",
    "Which score gives exactly no weight after the exponential, whatever it was before?",
)
def attend_lowering_the_hidden(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale - 10_000.0 * ~visible).softmax(dim=-1) @ v


@mistake(
    "The mask is added to the scores as numbers, 1 where a query may look and 0 elsewhere: nothing is hidden.",
    "Which number, added to a score, hides its key? And what do you add where a query may look?",
)
def attend_adding_the_mask(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale + visible.to(q.dtype)).softmax(dim=-1) @ v


@mistake(
    "With a cache, where there are fewer queries than keys, every query sees all keys, those after it too.",
    "Two new tokens after a cache of three: which keys may the first of them see? Does your function keep a mask that "
    "it made for another call?",
)
def attend_to_everything_after_a_cache(q, k, v, scale, visible=None):
    if visible is None and q.shape[-2] < k.shape[-2]:
        visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    return attention(q, k, v, scale, visible)


@mistake(
    "The softmax runs over the hidden keys too, or the maximum that is subtracted first does, and the weights that are "
    "left are divided by their sum. Where a hidden score is much larger, all of them are 0 already, and 0 / 0 is nan.",
    "May a hidden key change anything: the sum below the fraction, or the maximum that is subtracted?",
)
def attend_masking_and_dividing(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.mT * scale).softmax(dim=-1) * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "The softmax runs over the hidden keys too, or the maximum that is subtracted first does, and the weights that are "
    "left are divided by their sum and a little more. Where a hidden score is much larger, all of them are 0 already, "
    "and the output is 0.",
    "May a hidden key change anything: the sum below the fraction, or the maximum that is subtracted?",
)
def attend_masking_and_dividing_safely(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.mT * scale).softmax(dim=-1) * visible
    return weights / (weights.sum(dim=-1, keepdim=True) + 1e-9) @ v


@mistake(
    "`visible` is taken the wrong way round: where it is True, the key is hidden.",
    "The docstring says what `visible` holds. masked_fill fills where its mask is True.",
)
def attend_hiding_what_the_caller_shows(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None if visible is None else ~visible)


@mistake(
    "`visible` is taken with keys as rows: it has a row for every query.",
    "Which shape does `visible` have, according to the docstring?",
)
def attend_with_visible_transposed(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None if visible is None else visible.T)


@mistake(
    "You ask a whole mask whether it is true: `or`, `if visible` and `not visible` need one truth value.",
    "How do you ask whether `visible` is None, and nothing else?",
)
def attend_asking_for_one_truth(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible or causal_mask(q.shape[-2], k.shape[-2], q.device))


@mistake(
    "A mask of 0 and 1 is multiplied by -inf. Where it is 0, the product is nan, not 0.",
    "What is 0 times infinity? Which call fills in -inf only where a mask says so?",
)
def attend_multiplying_infinity(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale + (1 - visible.to(q.dtype)) * -torch.inf).softmax(dim=-1) @ v


@mistake(
    "The causal mask is shifted by one: a query sees the key that follows it.",
    "May the token at t read the token at t + 1? Look at s <= t.",
)
def attend_to_the_next(q, k, v, scale, visible=None):
    if visible is None:
        ones = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
        visible = ones.tril(k.shape[-2] - q.shape[-2] + 1)
    return attention(q, k, v, scale, visible)


ATTEND_MASKS = (
    attend_to_the_future,
    attend_masking_with_zero,
    attend_masking_after_softmax,
    attend_putting_queries_first,
    attend_ignoring_visible,
    attend_hiding_the_visible,
    attend_with_both_masks,
    attend_with_either_mask,
    attend_without_any_mask,
    attend_without_oneself,
    attend_masking_with_a_finite_number,
    attend_masking_with_minus_1000,
    attend_masking_with_minus_10000,
    attend_lowering_the_hidden,
    attend_adding_the_mask,
    attend_to_everything_after_a_cache,
    attend_masking_and_dividing,
    attend_masking_and_dividing_safely,
    attend_hiding_what_the_caller_shows,
    attend_with_visible_transposed,
    attend_asking_for_one_truth,
    attend_multiplying_infinity,
    attend_to_the_next,
)
