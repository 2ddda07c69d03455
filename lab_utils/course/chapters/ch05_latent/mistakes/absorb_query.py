"""The known wrong answers to absorb_query, of notebook 05."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mla import absorb_query as core_absorb


@mistake(
    "The rope channels come first. The query is multiplied with [c ; k_rope], in that order.",
    "Write the cached entry under your query, channel by channel. Which meets which?",
)
def absorb_with_rope_first(q, expand_k):
    return core_absorb(q, expand_k).roll(q.shape[-1] - expand_k.shape[1], dims=-1)


@mistake(
    "The rope channels of the query are gone. They meet the rope key in the cache.",
    "How wide is a cached entry, and how wide is your query?",
)
def absorb_without_rope(q, expand_k):
    return core_absorb(q, expand_k)[..., : expand_k.shape[2]]


@mistake(
    "Every head uses the expansion of the first head.",
    "What is the first axis of expand_k, and which axis of q belongs to it?",
)
def absorb_with_the_first_head(q, expand_k):
    return core_absorb(q, expand_k[:1].expand_as(expand_k))


@mistake(
    "The query is divided by the root of its width here. attend scales already; the scale would come in twice.",
    "Does the formula of the absorbed query contain a root?",
)
def absorb_and_scale(q, expand_k):
    return core_absorb(q, expand_k) * q.shape[-1] ** -0.5


@mistake(
    "The last channels are treated as the nope part and the first as the rope part. It is the other way round.",
    "In which order are the parts of q: [nope ; rope] or [rope ; nope]?",
)
def absorb_the_wrong_end(q, expand_k):
    rope = q.shape[-1] - expand_k.shape[1]
    return torch.cat([q[..., rope:] @ expand_k, q[..., :rope]], dim=-1)


@mistake(
    "The nope channels are kept in addition to their absorbed form. A cached entry has no channels for them.",
    "How wide is a cached entry, and how wide is your query?",
)
def absorb_and_keep(q, expand_k):
    return torch.cat([q[..., : expand_k.shape[1]] @ expand_k, q], dim=-1)


ABSORB_QUERY = (
    absorb_with_rope_first,
    absorb_without_rope,
    absorb_with_the_first_head,
    absorb_and_scale,
    absorb_the_wrong_end,
    absorb_and_keep,
)
