"""The known wrong answers to attend, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


def attention(q, k, v, scale, visible, softmax_over=-1, temperature=None):
    """Written out, with the places where a mistake goes."""
    scores = q @ k.transpose(-1, -2) * (scale if temperature is None else temperature)
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return scores.masked_fill(~visible, -1e30).softmax(dim=softmax_over) @ v


@mistake(
    "The softmax runs over the queries instead of the keys.",
    "Sum the weights of one query over all keys. What should the sum be?",
)
def attend_with_softmax_over_queries(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, softmax_over=-2)


@mistake(
    "The scores are not scaled: `scale` is not used.",
    "Which of the arguments does your function never read?",
)
def attend_without_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1.0)


@mistake(
    "The scores are divided by the scale instead of multiplied.",
    "`scale` is 1/sqrt(d) already, not sqrt(d).",
)
def attend_dividing_by_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1 / scale)


@mistake(
    "Nothing is masked: every query sees every key, the future too.",
    "What does `visible=None` mean, according to the docstring?",
)
def attend_to_the_future(q, k, v, scale, visible=None):
    everything = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    return attention(q, k, v, scale, everything if visible is None else visible)


@mistake(
    "Hidden scores are set to 0 before the softmax. exp(0) = 1, so a hidden key still gets weight.",
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
    "The scores get a scale of their own, 1/sqrt of the width of q; `scale` is not used.",
    "Who decides about the scale: your function, or its caller?",
)
def attend_with_a_scale_of_its_own(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=q.shape[-1] ** -0.5)


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
    "You take exponentials of the scores as they are. In float32 exp(89) is infinite, and inf / inf is nan.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_with_bare_exponentials(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.transpose(-1, -2) * scale).exp() * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "The result is right, but no gradient reaches q, k or v: attention would never learn.",
    "Is there a `no_grad`, a `detach` or an `item` in your function?",
)
def attend_without_gradient(q, k, v, scale, visible=None):
    return attention(q.detach(), k.detach(), v.detach(), scale, visible)


ATTEND = (
    attend_with_softmax_over_queries,
    attend_without_scale,
    attend_dividing_by_scale,
    attend_to_the_future,
    attend_masking_with_zero,
    attend_masking_after_softmax,
    attend_with_a_scale_of_its_own,
    attend_putting_queries_first,
    attend_ignoring_visible,
    attend_hiding_the_visible,
    attend_with_both_masks,
    attend_with_either_mask,
    attend_with_bare_exponentials,
    attend_without_gradient,
)
