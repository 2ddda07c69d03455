"""The known wrong answers to attend, of notebook 02: scores, weights and their mean of the values."""

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
    "Which of the arguments makes no difference in your function?",
)
def attend_without_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1.0)


@mistake(
    "The scores are divided by the scale instead of multiplied.",
    "Scores are multiplied by `scale`: a model that divides them by sqrt(d) passes 1/sqrt(d) for it.",
)
def attend_dividing_by_scale(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=1 / scale)


@mistake(
    "The scores get a scale of their own, 1/sqrt of the width of q; `scale` makes no difference.",
    "Who decides about the scale: your function, or its caller?",
)
def attend_with_a_scale_of_its_own(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=q.shape[-1] ** -0.5)


@mistake(
    "You take exponentials of the scores as they are. In float32 exp(89) is infinite, and inf / inf is nan.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_with_bare_exponentials(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.transpose(-1, -2) * scale).exp() * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "No gradient reaches q, k or v: attention would never learn.",
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
    "Which of the arguments makes no difference in your function?",
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
    "A model that divides its scores by sqrt(d) passes 1/sqrt(d) for `scale`: it needs no root any more.",
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
    "The visible values get equal weights, whatever q and k are.",
    "Which of the arguments makes no difference in your function?",
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
    "The scores are scaled once more, by 1/sqrt(d): torch's scaled_dot_product_attention does so unless given scale=.",
    "By which factors are your scores multiplied on their way to the softmax?",
)
def attend_scaling_by_the_default_too(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible, temperature=scale * q.shape[-1] ** -0.5)


@mistake(
    "Queries and keys have changed places: the scores have a row for every key.",
    "Which shape should the scores have, and which axis does the softmax run over?",
)
def attend_with_q_and_k_exchanged(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (k @ q.mT * scale).masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "The weights meet the values of another head or another text: batch and heads of v are in another order than those "
    "of q and k.",
    "Which axes of q, k and v become one in your function, and in which order?",
)
def attend_to_values_of_others(q, k, v, scale, visible=None):
    return attention(q, k, v.transpose(0, 1).reshape(v.shape), scale, visible)


@mistake(
    "One maximum is subtracted from the scores of all queries. Those of a query with small scores are all far below "
    "it: each exp is 0 in float32, and 0 / 0 is nan.",
    "Which number should be subtracted in each row of the scores?",
)
def attend_with_one_maximum(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = q @ k.mT * scale
    weights = (scores - scores.max().detach()).exp() * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "You take exponentials of the scores as they are, and those of hidden keys are 0. In float32 exp(89) is infinite "
    "and exp(-110) is 0: inf / inf and 0 / 0 are nan.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_with_exponentials_filled_later(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.mT * scale).exp().masked_fill(~visible, 0.0)
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "The result comes in float32, whatever the dtype of q: perhaps from `.float()`, or `torch.zeros` without a dtype.",
    "Which dtype does q have, and which your result?",
)
def attend_in_float32(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible).float()


@mistake(
    "The weights are turned over: a row for every key meets the values.",
    "Which axis of the weights belongs to the keys, and which axis of v?",
)
def attend_with_weights_transposed(q, k, v, scale, visible=None):
    weights = attention(q, k, torch.eye(k.shape[-2], dtype=v.dtype), scale, visible)
    return weights.mT @ v


@mistake(
    "k is not turned over: `@` sums over the last axis of q and the last but one of k, and these are not the channels.",
    "Which shapes do q and k have, and which two axes should the product sum over?",
)
def attend_with_k_as_it_is(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k * scale).masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "Tokens and heads are exchanged in the result.",
    "The result has shape (batch, n_heads, queries, v_dim). In which order are your axes?",
)
def attend_giving_tokens_before_heads(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible).transpose(1, 2)


@mistake(
    "The heads are put side by side already: that is the task of join_heads.",
    "Which shape should the result have?",
)
def attend_joining_the_heads(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, visible).transpose(1, 2).flatten(2)


@mistake(
    "The weights are logarithms: `log_softmax` needs an exponential after it.",
    "What should the weights of one query sum to?",
)
def attend_with_logarithms(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(~visible, -1e30).log_softmax(dim=-1) @ v


@mistake(
    "The scores are computed in bfloat16, which keeps 8 significant bits.",
    "Which dtype do q and k have when they are multiplied?",
)
def attend_in_bfloat16(q, k, v, scale, visible=None):
    return attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), scale, visible).to(q.dtype)


ATTEND_WEIGHTS = (
    attend_with_softmax_over_queries,
    attend_without_scale,
    attend_dividing_by_scale,
    attend_with_a_scale_of_its_own,
    attend_with_bare_exponentials,
    attend_without_gradient,
    attend_giving_the_values_back,
    attend_giving_the_weights,
    attend_scaling_twice,
    attend_scaling_by_a_root,
    attend_scaling_the_output,
    attend_without_softmax,
    attend_as_a_plain_mean,
    attend_to_the_best_only,
    attend_with_softmax_over_heads,
    attend_with_fixed_weights,
    attend_with_fixed_values,
    attend_scaling_by_the_default_too,
    attend_with_q_and_k_exchanged,
    attend_to_values_of_others,
    attend_with_one_maximum,
    attend_with_exponentials_filled_later,
    attend_in_float32,
    attend_with_weights_transposed,
    attend_with_k_as_it_is,
    attend_giving_tokens_before_heads,
    attend_joining_the_heads,
    attend_with_logarithms,
    attend_in_bfloat16,
)
