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
    "The scores are not multiplied by `scale`.",
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


@mistake(
    "The values come back as they are: no query mixes them.",
    "What do q and k do in your function?",
)
def attend_giving_the_values_back(q, k, v, scale, visible=None):
    return v


@mistake(
    "The weights are returned. What is asked for is their mean of the values: one product is missing.",
    "Which of the arguments does your function never read?",
)
def attend_giving_the_weights(q, k, v, scale, visible=None):
    return attention(q, k, torch.eye(k.shape[-2], dtype=v.dtype), scale, visible)


@mistake(
    "The scale is applied twice, for instance to q and to k.",
    "How often does `scale` meet a score?",
)
def attend_scaling_twice(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=scale**2)


@mistake(
    "The root of the scale is applied.",
    "`scale` is 1/sqrt(d) already.",
)
def attend_scaling_by_a_root(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=scale**0.5)


@mistake(
    "The scale is multiplied in after the softmax: it makes the output smaller instead of the weights softer.",
    "Does your softmax see the scaled scores or the bare ones?",
)
def attend_scaling_the_output(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1.0) * scale


@mistake(
    "There is no softmax: the values are added with the scores themselves as weights.",
    "What should the weights of one query sum to?",
)
def attend_without_softmax(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.transpose(-1, -2) * scale * visible) @ v


@mistake(
    "Nothing is masked at all: neither `visible` nor the causal mask is used.",
    "Where in your function is a score hidden?",
)
def attend_without_any_mask(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


@mistake(
    "The visible values get equal weights, whatever q and k are.",
    "Which of the arguments does your function never read?",
)
def attend_as_a_plain_mean(q, k, v, scale, visible=None):
    return attention(0 * q, k, v, scale, visible)


@mistake(
    "Each query gets the value of the key that fits best, alone. Attention mixes all visible values.",
    "Is your softmax a softmax, or an argmax?",
)
def attend_to_the_best_only(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1e6)


@mistake(
    "The softmax runs over the heads.",
    "Sum the weights of one query over all keys. What should the sum be?",
)
def attend_with_softmax_over_heads(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, softmax_over=1)


@mistake(
    "The weights carry no gradient: only v learns, q and k never.",
    "Is there a `no_grad` or a `detach` around the scores or the softmax?",
)
def attend_with_fixed_weights(q, k, v, scale, visible=None):
    return attention(q.detach(), k.detach(), v, scale, visible)


@mistake(
    "The values carry no gradient.",
    "Is there a `no_grad` or a `detach` around v?",
)
def attend_with_fixed_values(q, k, v, scale, visible=None):
    return attention(q, k, v.detach(), scale, visible)


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
    "The scores are scaled once more, by 1/sqrt(d): torch's scaled_dot_product_attention does so unless given scale=.",
    "By which factors are your scores multiplied on their way to the softmax?",
)
def attend_scaling_by_the_default_too(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=scale * q.shape[-1] ** -0.5)


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
    attend_giving_the_values_back,
    attend_giving_the_weights,
    attend_scaling_twice,
    attend_scaling_by_a_root,
    attend_scaling_the_output,
    attend_without_softmax,
    attend_without_any_mask,
    attend_as_a_plain_mean,
    attend_to_the_best_only,
    attend_with_softmax_over_heads,
    attend_with_fixed_weights,
    attend_with_fixed_values,
    attend_without_oneself,
    attend_masking_with_a_finite_number,
    attend_scaling_by_the_default_too,
)
