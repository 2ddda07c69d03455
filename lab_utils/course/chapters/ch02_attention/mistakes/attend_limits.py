"""The known wrong answers to attend, of notebook 02: rules that hold for some inputs only."""

import torch

from lab_utils.course.chapters.ch02_attention.mistakes.attend import attention
from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


@mistake(
    "A mask that is True everywhere is taken for no mask: the causal one is used in its place.",
    "The caller gives a mask that shows everything. What may the first query see then?",
)
def attend_taking_everything_for_no_mask(q, k, v, scale, visible=None):
    return attention(q, k, v, scale, None if visible is None or visible.all() else visible)


@mistake(
    "Large scores are cut off, at a bound such as 50 or 80. Keys whose scores are beyond it get the same weight.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_cutting_scores_off(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (q @ k.mT * scale).clamp(-50, 50)
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "Large scores are cut off from above, at a bound such as 50 or 80. Keys whose scores are beyond it get the same "
    "weight.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_cutting_scores_off_above(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (q @ k.mT * scale).clamp(max=50)
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "Large scores are cut off, at a bound such as 10,000. Keys whose scores are beyond it get the same weight, and "
    "scores may reach millions.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_cutting_scores_off_far_away(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (q @ k.mT * scale).clamp(-10_000, 10_000)
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "Large scores are cut off from above, at a bound such as 10,000. Keys whose scores are beyond it get the same "
    "weight, and scores may reach millions.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_cutting_scores_off_far_above(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (q @ k.mT * scale).clamp(max=10_000)
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "You take exponentials of scores that are cut off from above, and of low scores as they are. Keys beyond the bound "
    "get the same weight, and where all visible scores are low, every exponential is 0, and 0 / 0 is nan.",
    "What happens to a softmax if you subtract the same number from every score? Which number makes exp safe?",
)
def attend_with_exponentials_cut_off(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    weights = (q @ k.mT * scale).clamp(max=50).exp() * visible
    return weights / weights.sum(dim=-1, keepdim=True) @ v


@mistake(
    "The scores are multiplied by `scale` only where no mask is given.",
    "Follow `scale` through your code twice: with `visible`, and without.",
)
def attend_scaling_without_a_mask_only(q, k, v, scale, visible=None):
    return attention(q, k, v, scale if visible is None else 1.0, visible)


@mistake(
    "The scores are multiplied by `scale` only where a mask is given.",
    "Follow `scale` through your code twice: with `visible`, and without.",
)
def attend_scaling_with_a_mask_only(q, k, v, scale, visible=None):
    return attention(q, k, v, 1.0 if visible is None else scale, visible)


@mistake(
    "One softmax runs over queries and keys together: the weights of all queries sum to 1, not those of each.",
    "Sum the weights of one query over all keys. What should the sum be?",
)
def attend_with_one_softmax_for_all(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (q @ k.mT * scale).masked_fill(~visible, -torch.inf)
    return scores.flatten(-2).softmax(dim=-1).view_as(scores) @ v


@mistake(
    "The scores get a scale of their own, 1/sqrt of the width of v; `scale` makes no difference.",
    "Who decides about the scale: your function, or its caller?",
)
def attend_scaling_by_the_width_of_v(q, k, v, scale, visible=None):
    return attention(q, k, v, v.shape[-1] ** -0.5, visible)


@mistake(
    "The scores get a scale of their own, 1/sqrt of the number of keys; `scale` makes no difference.",
    "Who decides about the scale: your function, or its caller?",
)
def attend_scaling_by_the_number_of_keys(q, k, v, scale, visible=None):
    return attention(q, k, v, k.shape[-2] ** -0.5, visible)


@mistake(
    "`visible` is taken the wrong way round: where it is True, the key is hidden. A query that may see every key gets "
    "nan.",
    "The docstring says what `visible` holds. masked_fill fills where its mask is True.",
)
def attend_hiding_all_that_the_caller_shows(q, k, v, scale, visible=None):
    hidden = ~causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    return (q @ k.mT * scale).masked_fill(hidden, -torch.inf).softmax(dim=-1) @ v


@mistake(
    "A tensor in float32, a mask perhaps, meets the scores: torch.zeros and torch.full give float32 without a dtype. "
    "With scores in bfloat16 what comes out is float32, and does not fit the values.",
    "Which dtype has each tensor of that line, for q, k and v in bfloat16?",
)
def attend_with_a_mask_in_float32(q, k, v, scale, visible=None):
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    mask = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)
    return (q @ k.mT * scale + mask).softmax(dim=-1) @ v


ATTEND_LIMITS = (
    attend_taking_everything_for_no_mask,
    attend_cutting_scores_off,
    attend_cutting_scores_off_above,
    attend_cutting_scores_off_far_away,
    attend_cutting_scores_off_far_above,
    attend_with_exponentials_cut_off,
    attend_scaling_without_a_mask_only,
    attend_scaling_with_a_mask_only,
    attend_with_one_softmax_for_all,
    attend_scaling_by_the_width_of_v,
    attend_scaling_by_the_number_of_keys,
    attend_hiding_all_that_the_caller_shows,
    attend_with_a_mask_in_float32,
)
