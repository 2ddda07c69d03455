"""The known wrong answers to causal_mask, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.mask import causal_mask


@mistake(
    "The mask is shifted by one: a token cannot see itself.",
    "Write down the row of the first query. Which keys does it have to choose from?",
)
def mask_hides_the_token_itself(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries - 1)


@mistake(
    "The mask is shifted by one the other way: a token sees the one that follows it, which it should predict.",
    "The last True of each row: is it the query's own position?",
)
def mask_shows_the_next_token(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries + 1)


@mistake(
    "True and False are exchanged: the mask shows the future and hides the past.",
    "The docstring says what True means here. Other libraries mean the opposite.",
)
def mask_says_where_not_to_look(n_queries, n_keys, device):
    return ~causal_mask(n_queries, n_keys, device)


@mistake(
    "The queries are treated as the first positions. With fewer queries than keys, as in decoding, they are the last.",
    "With a cache of five tokens and one new query: at which position does the query stand?",
)
def mask_puts_queries_first(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril()


@mistake(
    "The triangle is the upper one: a query sees itself and the future.",
    "Rows are queries, columns are keys. In row 0, which columns should be True?",
)
def mask_is_the_upper_triangle(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).triu(n_keys - n_queries)


@mistake(
    "The mask is made on the CPU, whatever `device` is: next to tensors on another device it cannot be used.",
    "Which of your calls get `device`?",
)
def mask_on_the_cpu(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, torch.device("cpu"))


CAUSAL_MASK = (
    mask_hides_the_token_itself,
    mask_shows_the_next_token,
    mask_says_where_not_to_look,
    mask_puts_queries_first,
    mask_is_the_upper_triangle,
    mask_on_the_cpu,
)
