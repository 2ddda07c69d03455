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


@mistake(
    "The query's nope part is divided by a root of a width here. `attend` scales already.",
    "Does the formula of the absorbed query contain a root?",
)
def absorb_and_scale_the_nope_part(q, expand_k):
    nope = expand_k.shape[1]
    return core_absorb(torch.cat([q[..., :nope] * nope**-0.5, q[..., nope:]], dim=-1), expand_k)


@mistake(
    "The query is multiplied with the transpose of expand_k, head by head. The nope channels must be summed over, and "
    "in expand_k they are the rows.",
    "Which axis of expand_k has as many entries as q has nope channels?",
)
def absorb_with_the_transpose(q, expand_k):
    nope = expand_k.shape[1]
    return torch.cat([q[..., :nope] @ expand_k.mT, q[..., nope:]], dim=-1)


@mistake(
    "The heads are added up: the part of each head's query that expand_k makes is the sum over all heads.",
    "Which letter of your sum over products must remain, and which must go?",
)
def absorb_summing_over_heads(q, expand_k):
    made, rank = core_absorb(q, expand_k), expand_k.shape[2]
    absorbed = made[..., :rank].sum(dim=1, keepdim=True).expand(-1, q.shape[1], -1, -1)
    return torch.cat([absorbed, made[..., rank:]], dim=-1)


@mistake(
    "All heads use one expansion: the mean of all heads'.",
    "What is the first axis of expand_k, and which axis of q belongs to it?",
)
def absorb_with_the_mean_of_the_heads(q, expand_k):
    return core_absorb(q, expand_k.mean(dim=0, keepdim=True).expand_as(expand_k))


@mistake(
    "The heads come after the tokens: (batch, seq, n_heads, width). `attend` expects the heads first.",
    "Which axis of the result has as many entries as there are heads?",
)
def absorb_heads_behind_tokens(q, expand_k):
    return core_absorb(q, expand_k).transpose(1, 2)


@mistake(
    "The query is cut in the middle. Where the nope part ends, expand_k says.",
    "How many rows has each head's expansion?",
)
def absorb_cutting_in_the_middle(q, expand_k):
    half = q.shape[-1] // 2
    nope = min(half, expand_k.shape[1])
    return torch.cat([q[..., :nope] @ expand_k[:, :nope], q[..., half:]], dim=-1)


@mistake(
    "The query is returned as it came: expand_k makes no difference.",
    "Which of the arguments makes no difference in your function?",
)
def absorb_nothing(q, expand_k):
    return q


@mistake(
    "The rope channels are zeros. They meet the rope key in the cache, and carry the position.",
    "Compare the last channels of your result with those of q.",
)
def absorb_with_zeros_for_rope(q, expand_k):
    made = core_absorb(q, expand_k).clone()
    made[..., expand_k.shape[2] :] = 0
    return made


@mistake(
    "The heads' expansions are in the opposite order, or one place off.",
    "Which head of expand_k belongs to which head of q?",
)
def absorb_with_the_next_head(q, expand_k):
    return core_absorb(q, expand_k.roll(1, dims=0))


@mistake(
    "The query's rope part is divided by a root of a width here. `attend` scales already.",
    "Compare the last channels of your result with those of q.",
)
def absorb_and_scale_the_rope_part(q, expand_k):
    made, rank = core_absorb(q, expand_k), expand_k.shape[2]
    return torch.cat([made[..., :rank], made[..., rank:] * q.shape[-1] ** -0.5], dim=-1)


@mistake(
    "The nope channels are averaged. A product of a matrix and a vector is a sum over them.",
    "By which number would your result have to be multiplied, and what has as many entries?",
)
def absorb_with_the_mean_of_the_channels(q, expand_k):
    nope = expand_k.shape[1]
    return core_absorb(torch.cat([q[..., :nope] / nope, q[..., nope:]], dim=-1), expand_k)


@mistake(
    "Only the first head has rope channels; the others have zeros. The rope key is shared, the queries are not.",
    "Compare the last channels of every head of your result with those of q.",
)
def absorb_with_rope_for_one_head(q, expand_k):
    made = core_absorb(q, expand_k).clone()
    made[:, 1:, :, expand_k.shape[2] :] = 0
    return made


@mistake(
    "Each query is multiplied with the sum of all heads' expansions. A head has one of its own.",
    "In your sum over products, has the head of q the same letter as the head of expand_k?",
)
def absorb_with_the_sum_of_the_expansions(q, expand_k):
    return core_absorb(q, expand_k.sum(dim=0, keepdim=True).expand_as(expand_k))


@mistake(
    "The rope queries are averaged over the heads. The rope key is shared; the queries are not.",
    "Compare the last channels of every head of your result with those of q.",
)
def absorb_with_the_mean_of_the_rope_queries(q, expand_k):
    made, rank = core_absorb(q, expand_k), expand_k.shape[2]
    rope = made[..., rank:].mean(dim=1, keepdim=True).expand(-1, q.shape[1], -1, -1)
    return torch.cat([made[..., :rank], rope], dim=-1)


@mistake(
    "The query meets the pseudo-inverse of expand_k in place of its transpose. Nothing is undone here: the same sum is "
    "taken in another order.",
    "q·(W c) = (Wᵀ q)·c: which matrix does the query meet?",
)
def absorb_with_the_pseudo_inverse(q, expand_k):
    return core_absorb(q, torch.linalg.pinv(expand_k).mT)


@mistake(
    "The rope channels are multiplied by the root of latent width over nope width. They pass as they are.",
    "Compare the last channels of your result with those of q.",
)
def absorb_stretching_the_rope_part(q, expand_k):
    made, (_, nope, rank) = core_absorb(q, expand_k), expand_k.shape
    return torch.cat([made[..., :rank], made[..., rank:] * (rank / nope) ** 0.5], dim=-1)


@mistake(
    "The query is multiplied by the root of its new width over its old one, so that another scale could follow. The "
    "scale that follows is the naive form's own.",
    "What does the docstring say of the scale?",
)
def absorb_making_up_for_the_width(q, expand_k):
    made = core_absorb(q, expand_k)
    return made * (made.shape[-1] / q.shape[-1]) ** 0.5


@mistake(
    "expand_k is reshaped to (n_heads, latent, nope), which mixes its numbers. It is a transposition that exchanges "
    "two axes.",
    "Number the entries of a 2 x 3 matrix. Where are they after reshape(3, 2), and where after .T?",
)
def absorb_with_a_reshaped_matrix(q, expand_k):
    return core_absorb(q, expand_k.reshape(len(expand_k), expand_k.shape[2], expand_k.shape[1]).mT)


@mistake(
    "The heads of expand_k are in the opposite order.",
    "Which head of expand_k belongs to which head of q?",
)
def absorb_with_heads_reversed(q, expand_k):
    return core_absorb(q, expand_k.flip(0))


ABSORB_QUERY = (
    absorb_with_the_mean_of_the_rope_queries,
    absorb_with_the_pseudo_inverse,
    absorb_stretching_the_rope_part,
    absorb_making_up_for_the_width,
    absorb_with_a_reshaped_matrix,
    absorb_with_heads_reversed,
    absorb_with_rope_first,
    absorb_without_rope,
    absorb_with_the_first_head,
    absorb_and_scale,
    absorb_the_wrong_end,
    absorb_and_keep,
    absorb_and_scale_the_nope_part,
    absorb_with_the_transpose,
    absorb_summing_over_heads,
    absorb_with_the_mean_of_the_heads,
    absorb_heads_behind_tokens,
    absorb_cutting_in_the_middle,
    absorb_nothing,
    absorb_with_zeros_for_rope,
    absorb_with_the_next_head,
    absorb_and_scale_the_rope_part,
    absorb_with_the_mean_of_the_channels,
    absorb_with_rope_for_one_head,
    absorb_with_the_sum_of_the_expansions,
)
