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
    "The mask shows one key too many: a token sees the one that follows it, which it should predict.",
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


@mistake(
    "The diagonal is moved to the wrong side: the later the queries start, the less of the past they see.",
    "The first query stands at position n_keys - n_queries. How many keys may it see?",
)
def mask_moved_to_the_wrong_side(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_queries - n_keys)


@mistake(
    "The mask holds the numbers 0 and 1; it should hold True and False.",
    "Which dtype does torch.ones give when nobody asks for one?",
)
def mask_of_numbers(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).float()


@mistake(
    "The mask is made to be added to the scores: 0 where a query may look, -inf elsewhere. Asked for is True or False.",
    "What does the docstring say about the dtype of the result?",
)
def mask_to_be_added(n_queries, n_keys, device):
    mask = causal_mask(n_queries, n_keys, device)
    return torch.zeros(n_queries, n_keys, device=device).masked_fill(~mask, -torch.inf)


@mistake(
    "The positions before the first query are hidden: no query sees the cache.",
    "One new query after four cached keys: how many of the five keys may it see?",
)
def mask_that_hides_the_cache(n_queries, n_keys, device):
    mask = causal_mask(n_queries, n_keys, device)
    return mask & (torch.arange(n_keys, device=device) >= n_keys - n_queries)


@mistake(
    "Several queries are treated as the first positions; a single one sees everything, as the last position does.",
    "Two new queries after three cached keys: which keys may the first of them see?",
)
def mask_right_for_one_query(n_queries, n_keys, device):
    everything = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    return everything if n_queries == 1 else everything.tril()


@mistake(
    "Every query sees every key, the future too.",
    "Of three tokens, may the first one look at the last?",
)
def mask_of_everything(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)


@mistake(
    "A query sees its own position only.",
    "Which of the keys s <= t does your query at t see?",
)
def mask_of_the_diagonal(n_queries, n_keys, device):
    mask = causal_mask(n_queries, n_keys, device)
    return mask & ~mask.tril(n_keys - n_queries - 1)


@mistake(
    "Rows and columns are exchanged: a row of the mask is a query, a column is a key.",
    "Which shape should the mask for one query and five keys have?",
)
def mask_with_keys_as_rows(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).T


@mistake(
    "Rows stand for keys here: the shape is made of n_keys and n_queries in the wrong order.",
    "Which shape should the mask for one query and five keys have?",
)
def mask_of_keys_by_queries(n_queries, n_keys, device):
    return torch.ones(n_keys, n_queries, dtype=torch.bool, device=device).tril(n_keys - n_queries)


@mistake(
    "The mask has a row for every key; only the last `n_queries` positions ask.",
    "How many rows should the mask for one new token after a cache of four have?",
)
def mask_for_every_position(n_queries, n_keys, device):
    return causal_mask(n_keys, n_keys, device)


@mistake(
    "No future is shown, but early keys are hidden: the later a query, the fewer of the first keys it sees.",
    "Two new queries after three cached keys: does the second of them see key 0?",
)
def mask_of_a_sliding_window(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).triu()


@mistake(
    "With fewer queries than keys every query sees everything, the tokens after it too.",
    "Two new queries after three cached keys: which keys may the first of them see?",
)
def mask_for_squares_alone(n_queries, n_keys, device):
    everything = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    return everything.tril() if n_queries == n_keys else everything


@mistake(
    "The rows come in the opposite order: the newest query stands first.",
    "At which position does the query of row 0 stand?",
)
def mask_with_the_newest_first(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).flip(0)


@mistake(
    "True says what is hidden, and the queries are treated as the first positions: two things differ.",
    "The docstring says what True means, and at which positions the queries stand.",
)
def mask_of_hidden_with_queries_first(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).triu(1)


@mistake(
    "The mask is made to be added to the scores, and the queries are treated as the first positions: two slips.",
    "What does the docstring say about the dtype, and about the positions of the queries?",
)
def mask_to_be_added_with_queries_first(n_queries, n_keys, device):
    return torch.full((n_queries, n_keys), -torch.inf, device=device).triu(1)


@mistake(
    "The mask holds whole numbers; it should hold True and False.",
    "What does the docstring say about the dtype of the result?",
)
def mask_of_whole_numbers(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).long()


@mistake(
    "The mask is a list of lists; it should be a tensor.",
    "What makes a tensor of a list of numbers, on a device?",
)
def mask_as_lists(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, torch.device("cpu")).tolist()


@mistake(
    "The mask has one axis too many, perhaps for batch and heads: asked for is (n_queries, n_keys).",
    "Which shape does the docstring ask for?",
)
def mask_with_a_batch(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device)[None]


@mistake(
    "The mask has two axes too many, for batch and heads: asked for is (n_queries, n_keys).",
    "Which shape does the docstring ask for?",
)
def mask_with_batch_and_heads(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device)[None, None]


@mistake(
    "The mask is uint8; it should be bool.",
    "What does the docstring say about the dtype of the result?",
)
def mask_of_bytes(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device).to(torch.uint8)


@mistake(
    "The mask is made to be added to the scores: 0 where a query may look, a very low number elsewhere. Asked for is "
    "True or False.",
    "What does the docstring say about the dtype of the result?",
)
def mask_of_low_numbers(n_queries, n_keys, device):
    return torch.full((n_queries, n_keys), -1e9, device=device).triu(n_keys - n_queries + 1)


@mistake(
    "Every query sees what the first one sees.",
    "Which row of your mask has one True more than the row before?",
)
def mask_of_the_first_query(n_queries, n_keys, device):
    return causal_mask(n_queries, n_keys, device)[:1].expand(n_queries, n_keys)


@mistake(
    "A query sees as many keys as there are queries, the newest ones. The older ones in the cache are hidden.",
    "One new query after four cached keys: how many of the five keys may it see?",
)
def mask_of_a_window_of_queries(n_queries, n_keys, device):
    mask = causal_mask(n_queries, n_keys, device)
    return mask & ~mask.tril(n_keys - n_queries - n_queries)


MASK_TRIANGLES = (
    mask_hides_the_token_itself,
    mask_shows_the_next_token,
    mask_says_where_not_to_look,
    mask_puts_queries_first,
    mask_is_the_upper_triangle,
    mask_on_the_cpu,
    mask_moved_to_the_wrong_side,
    mask_of_numbers,
    mask_to_be_added,
    mask_that_hides_the_cache,
    mask_right_for_one_query,
    mask_of_everything,
    mask_of_the_diagonal,
    mask_with_keys_as_rows,
    mask_of_keys_by_queries,
    mask_for_every_position,
    mask_of_a_sliding_window,
    mask_for_squares_alone,
    mask_with_the_newest_first,
    mask_of_hidden_with_queries_first,
    mask_to_be_added_with_queries_first,
    mask_of_whole_numbers,
    mask_as_lists,
    mask_with_a_batch,
    mask_with_batch_and_heads,
    mask_of_bytes,
    mask_of_low_numbers,
    mask_of_the_first_query,
    mask_of_a_window_of_queries,
)
