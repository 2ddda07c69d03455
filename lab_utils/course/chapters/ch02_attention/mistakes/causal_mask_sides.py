"""The known wrong answers to causal_mask, of notebook 02, that put the triangle or the past on the wrong side."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


def full(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)


@mistake(
    "The triangle is the upper one, and the queries are treated as the first positions: two slips.",
    "Rows are queries, columns are keys. At which position does the query of row 0 stand, and which keys does it see?",
)
def mask_of_the_upper_triangle_with_queries_first(n_queries, n_keys, device):
    return full(n_queries, n_keys, device).triu()


@mistake(
    "The triangle is the upper one, and its diagonal is moved to the wrong side, away from where the queries stand: "
    "two slips.",
    "Rows are queries, columns are keys. At which position does the query of row 0 stand, and which keys does it see?",
)
def mask_of_the_upper_triangle_on_the_wrong_side(n_queries, n_keys, device):
    return full(n_queries, n_keys, device).triu(n_queries - n_keys)


@mistake(
    "The triangle stands in the first columns, and the columns that everybody sees are the last ones. The cached keys "
    "come first.",
    "Two new queries after three cached keys: which columns are the cache?",
)
def mask_with_the_cache_behind(n_queries, n_keys, device):
    seen = full(n_queries, n_keys, device)
    return seen.tril() | (torch.arange(n_keys, device=device) >= n_queries)


@mistake(
    "The columns come in the opposite order: the newest key stands first.",
    "Which key is in column 0?",
)
def mask_with_the_newest_key_first(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).flip(1)


@mistake(
    "The columns of the new tokens are hidden from every query: it sees the cache alone, and not even itself.",
    "Two new queries after three cached keys: which keys may the second of them see?",
)
def mask_of_the_cache_alone(n_queries, n_keys, device):
    return full(n_queries, n_keys, device) & (torch.arange(n_keys, device=device) < n_keys - n_queries)


@mistake(
    "The last column is hidden from every query: the newest token does not see itself.",
    "At which position does the last query stand?",
)
def mask_without_the_last_column(n_queries, n_keys, device):
    mask = causal_mask(n_queries, n_keys, device)
    return mask & (torch.arange(n_keys, device=device) < n_keys - 1)


MASK_SIDES = (
    mask_of_the_upper_triangle_with_queries_first,
    mask_of_the_upper_triangle_on_the_wrong_side,
    mask_with_the_cache_behind,
    mask_with_the_newest_key_first,
    mask_of_the_cache_alone,
    mask_without_the_last_column,
)
