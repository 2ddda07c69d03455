"""The known wrong answers to expand_latent, of notebook 05."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.mla import expand_latent as core_expand


@mistake(
    "The rope key comes before the expanded channels. In the query the order is nope, rope.",
    "Which channel of the query will meet which channel of the key?",
)
def expand_rope_first(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k.roll(k_rope.shape[-1], dims=-1), v


@mistake(
    "Tokens and heads are mixed up: (batch, seq, heads · width) was reshaped to (batch, heads, seq, width) without "
    "a transposition.",
    "Give every head the same expansion. Are the keys of one token then the same in all heads?",
)
def expand_mixing_heads_and_tokens(latent, k_rope, expand_k, expand_v):
    n_heads, nope, _ = expand_k.shape
    batch, seq, _ = latent.shape
    k = (latent @ expand_k.flatten(0, 1).T).reshape(batch, n_heads, seq, nope)
    v = (latent @ expand_v.flatten(0, 1).T).reshape(batch, n_heads, seq, -1)
    return torch.cat([k, k_rope[:, None].expand(-1, n_heads, -1, -1)], dim=-1), v


@mistake(
    "Only the first head gets the rope key, the others zeros. It is one key, shared by all heads.",
    "Compare the last channels of the keys of two heads.",
)
def expand_rope_for_the_first_head(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    only_first = torch.zeros_like(k)
    only_first[:, 0] = 1
    only_first[..., : expand_k.shape[1]] = 1
    return k * only_first, v


@mistake(
    "The rope key is missing from the keys.",
    "Which of the four arguments makes no difference in your function?",
)
def expand_without_rope(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k[..., : expand_k.shape[1]], v


@mistake(
    "Keys and values have changed places: the keys are made by expand_v, the values by expand_k.",
    "How wide must a value be, and how wide a key?",
)
def expand_swapping_keys_and_values(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_v, expand_k)


@mistake(
    "Every head uses the expansion of the first. Heads share the latent, not its expansion.",
    "Are the nope channels of head 0 and head 1 different?",
)
def expand_with_the_first_head(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k[:1].expand_as(expand_k), expand_v[:1].expand_as(expand_v))


@mistake(
    "The values carry the rope key as well. Position belongs to the keys; a value is content only.",
    "How wide is a value, v or v + rope?",
)
def expand_rope_into_values(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k, torch.cat([v, k[..., expand_k.shape[1] :]], dim=-1)


@mistake(
    "The heads come after the tokens: (batch, seq, n_heads, width). `attend` expects the heads first.",
    "Which axis of the result has as many entries as there are heads?",
)
def expand_heads_behind_tokens(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k.transpose(1, 2), v.transpose(1, 2)


@mistake(
    "Keys and values are returned in the wrong order: the values come first.",
    "What does the docstring name first, keys or values?",
)
def expand_values_first(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return v, k


@mistake(
    "The values are made by expand_k: expand_v makes no difference.",
    "Which of the four arguments makes no difference in your function?",
)
def expand_values_with_expand_k(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k, expand_k)


@mistake(
    "Only the keys are returned. `attend` needs the values too.",
    "How many tensors does the docstring promise?",
)
def expand_keys_only(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k, expand_v)[0]


@mistake(
    "The rope key is divided among the heads. Each head gets the whole of it: sharing is not splitting.",
    "What are the last channels of a head's key, in numbers?",
)
def expand_splitting_the_rope_key(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope / len(expand_k), expand_k, expand_v)


@mistake(
    "The expanded channels of the keys are divided by the root of the latent's width. Nothing is scaled here: `attend` "
    "scales the logits.",
    "Does the docstring's formula contain a root?",
)
def expand_scaling_keys(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k * latent.shape[-1] ** -0.5, expand_v)
    return k, v


@mistake(
    "Keys and values are divided by the root of the latent's width. Nothing is scaled here: `attend` scales.",
    "Does the docstring's formula contain a root?",
)
def expand_scaling_the_latent(latent, k_rope, expand_k, expand_v):
    return core_expand(latent * latent.shape[-1] ** -0.5, k_rope, expand_k, expand_v)


@mistake(
    "The expanded channels stand there without the heads' axis: head after head, in one long row.",
    "How many axes should keys have?",
)
def expand_without_a_heads_axis(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    return k.transpose(1, 2).flatten(2), v.transpose(1, 2).flatten(2)


@mistake(
    "The heads are added up: every head's keys and values are the sum over all heads.",
    "Which letter of your sum over products must remain, and which must go?",
)
def expand_summing_over_heads(latent, k_rope, expand_k, expand_v):
    return core_expand(
        latent,
        k_rope,
        expand_k.sum(0, keepdim=True).expand_as(expand_k),
        expand_v.sum(0, keepdim=True).expand_as(expand_v),
    )


@mistake(
    "The rope key is added to the expanded channels. It stands after them, in channels of its own.",
    "How wide is a key?",
)
def expand_adding_the_rope_key(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    nope = expand_k.shape[1]
    return k[..., :nope] + k_rope[:, None, :, :nope], v


@mistake(
    "expand_k and expand_v are reshaped to (n_heads, latent, width), which mixes their numbers. It is a transposition "
    "that exchanges two axes.",
    "Number the entries of a 2 x 3 matrix. Where are they after reshape(3, 2), and where after .T?",
)
def expand_with_reshaped_matrices(latent, k_rope, expand_k, expand_v):
    reshaped = (each.reshape(len(each), each.shape[2], each.shape[1]).mT for each in (expand_k, expand_v))
    return core_expand(latent, k_rope, *reshaped)


@mistake(
    "The latent is normed here. It comes normed: c is what kv_a_layernorm gave.",
    "Does the docstring's formula contain a norm?",
)
def expand_norming_the_latent(latent, k_rope, expand_k, expand_v):
    size = latent.square().mean(dim=-1, keepdim=True).add(1e-6).sqrt()
    return core_expand(latent / size, k_rope, expand_k, expand_v)


@mistake(
    "The rope key is repeated along the tokens and cut into heads: each head gets keys of other tokens. One key per "
    "token goes to all heads.",
    "Compare the last channels of head 0 with k_rope, token by token.",
)
def expand_repeating_the_rope_key(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    batch, n_heads, seq, _ = k.shape
    repeated = k_rope.repeat_interleave(n_heads, dim=1).view(batch, n_heads, seq, -1)
    return torch.cat([k[..., : expand_k.shape[1]], repeated], dim=-1), v


@mistake(
    "The heads of the keys are in the opposite order, and those of the values are not.",
    "Which head of expand_k made the keys of head 0?",
)
def expand_with_the_keys_heads_reversed(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k.flip(0), expand_v)


@mistake(
    "The heads of keys and values are in the opposite order.",
    "Which head of expand_k made the keys of head 0?",
)
def expand_with_heads_reversed(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k.flip(0), expand_v.flip(0))


@mistake(
    "The values have no heads of their own: each gets the mean of all heads' values.",
    "What is the first axis of expand_v?",
)
def expand_with_the_mean_of_the_values(latent, k_rope, expand_k, expand_v):
    return core_expand(latent, k_rope, expand_k, expand_v.mean(0, keepdim=True).expand_as(expand_v))


CUT_AS_WIDTHS = (
    "The long row of all heads' channels is cut as (width, n_heads): each head gets every n-th channel. A head's "
    "channels lie together.",
    "Which rows of the joined matrix belong to head 0?",
)


def _in_turns(latent, expand):
    """Every n-th channel of all heads' row for each head."""
    row = F.linear(latent, expand.flatten(0, 1))
    return row.unflatten(-1, (-1, len(expand))).permute(0, 3, 1, 2)


@mistake(*CUT_AS_WIDTHS)
def expand_taking_channels_in_turns(latent, k_rope, expand_k, expand_v):
    keys = _in_turns(latent, expand_k)
    k_rope = k_rope[:, None].expand(*keys.shape[:-1], -1)
    return torch.cat([keys, k_rope], dim=-1), _in_turns(latent, expand_v)


@mistake(*CUT_AS_WIDTHS)
def expand_taking_channels_of_keys_in_turns(latent, k_rope, expand_k, expand_v):
    return expand_taking_channels_in_turns.wrong(latent, k_rope, expand_k, expand_v)[0], core_expand(
        latent, k_rope, expand_k, expand_v
    )[1]


@mistake(
    "The rope key is repeated along the batch: heads get the key of another text.",
    "With two texts and two heads: which text's key does head 1 of the first text get?",
)
def expand_repeating_the_rope_key_by_texts(latent, k_rope, expand_k, expand_v):
    k, v = core_expand(latent, k_rope, expand_k, expand_v)
    shared = k_rope.repeat(len(expand_k), 1, 1).view(len(latent), len(expand_k), *k_rope.shape[1:])
    return torch.cat([k[..., : -k_rope.shape[-1]], shared], dim=-1), v


EXPAND_LATENT = (
    expand_with_reshaped_matrices,
    expand_norming_the_latent,
    expand_repeating_the_rope_key,
    expand_with_the_keys_heads_reversed,
    expand_with_heads_reversed,
    expand_with_the_mean_of_the_values,
    expand_rope_first,
    expand_mixing_heads_and_tokens,
    expand_rope_for_the_first_head,
    expand_without_rope,
    expand_swapping_keys_and_values,
    expand_with_the_first_head,
    expand_rope_into_values,
    expand_heads_behind_tokens,
    expand_values_first,
    expand_values_with_expand_k,
    expand_keys_only,
    expand_splitting_the_rope_key,
    expand_scaling_keys,
    expand_scaling_the_latent,
    expand_without_a_heads_axis,
    expand_summing_over_heads,
    expand_adding_the_rope_key,
    expand_taking_channels_in_turns,
    expand_taking_channels_of_keys_in_turns,
    expand_repeating_the_rope_key_by_texts,
)
