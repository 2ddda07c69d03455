"""The known wrong answers to bytes_held, of notebook 11."""

import math

from lab_utils.course.exercise import mistake


def held(rows, shapes, per_number):
    """Bytes where `rows(R)` of the R rows of every tensor are held."""
    return sum(rows(first) * math.prod(rest) for first, *rest in shapes) * per_number


@mistake(
    "The rank holds everything: nothing is divided.",
    "A matrix of four rows on two ranks: how many rows has each?",
)
def bytes_of_the_whole(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: rows, shapes, bytes_per_number)


@mistake(
    "All numbers are divided by the number of ranks. Whole rows are dealt, so a rank may have more than its share.",
    "Five rows on two ranks: how many has the first, and how many the second?",
)
def bytes_of_an_even_share(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: rows, shapes, bytes_per_number) // n_ranks


@mistake(
    "The rows are divided and rounded down: some rows belong to nobody.",
    "Five rows on two ranks: do the rows of both add up to five?",
)
def bytes_rounded_down(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: rows // n_ranks, shapes, bytes_per_number)


@mistake(
    "Each rank has as many rows as the first one: the last ones would have rows that do not exist.",
    "Five rows on two ranks: do the rows of both add up to five?",
)
def bytes_rounded_up_everywhere(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: math.ceil(rows / n_ranks), shapes, bytes_per_number)


@mistake(
    "The rows are dealt as evenly as can be, one more for the first ranks. FSDP2 gives ceil(R / n) to each until none "
    "is left.",
    "Nine rows on four ranks: the first three have three each. What is left for the last?",
)
def bytes_dealt_evenly(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: rows // n_ranks + (rank < rows % n_ranks), shapes, bytes_per_number)


@mistake(
    "The number of rows of a rank becomes negative where they have run out before.",
    "Two rows on four ranks: how many has the last one?",
)
def bytes_below_nothing(shapes, rank, n_ranks, bytes_per_number):
    def rows_of(rows):
        block = math.ceil(rows / n_ranks)
        return min(block, rows - rank * block)

    return held(rows_of, shapes, bytes_per_number)


def _dealt(rows, rank, n_ranks):
    block = math.ceil(rows / n_ranks)
    return max(0, min(block, rows - rank * block))


@mistake(
    "It counts numbers, not bytes.",
    "How many bytes are kept for each number?",
)
def bytes_as_numbers(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, rank, n_ranks), shapes, 1)


@mistake(
    "Every number is taken for four bytes, whatever `bytes_per_number` says.",
    "Which argument does the result not depend on?",
)
def bytes_of_four(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, rank, n_ranks), shapes, 4)


@mistake(
    "The last axis is dealt, not the first.",
    "A matrix of shape (4, 3) on two ranks: are its rows dealt, or its columns?",
)
def bytes_by_columns(shapes, rank, n_ranks, bytes_per_number):
    return sum(math.prod(s[:-1]) * _dealt(s[-1], rank, n_ranks) for s in shapes) * bytes_per_number


@mistake(
    "The numbers of all tensors are put together and dealt. Each tensor is dealt by itself, by whole rows.",
    "Tensors of shape (2, 3) and (5, 2) on four ranks: which rows of each has the last rank?",
)
def bytes_of_one_long_row(shapes, rank, n_ranks, bytes_per_number):
    return _dealt(sum(map(math.prod, shapes)), rank, n_ranks) * bytes_per_number


@mistake(
    "The numbers of a tensor are dealt without regard to rows: a row may lie on two ranks. Whole rows are dealt.",
    "Five rows of two numbers on two ranks: how many rows has each, and how many numbers is that?",
)
def bytes_of_numbers_one_by_one(shapes, rank, n_ranks, bytes_per_number):
    return sum(_dealt(math.prod(shape), rank, n_ranks) for shape in shapes) * bytes_per_number


@mistake(
    "Only the rows of the last tensor are counted.",
    "Over what does the sum go?",
)
def bytes_of_the_last_tensor(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, rank, n_ranks), shapes[-1:], bytes_per_number)


@mistake(
    "The rows are counted, and the other axes are left out.",
    "How many numbers does a row of a tensor of shape (8, 6, 5) have?",
)
def bytes_of_rows_alone(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, rank, n_ranks), [s[:1] for s in shapes], bytes_per_number)


@mistake(
    "Only the second axis is multiplied: a tensor may have three.",
    "How many numbers does a row of a tensor of shape (8, 6, 5) have?",
)
def bytes_of_two_axes(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, rank, n_ranks), [s[:2] for s in shapes], bytes_per_number)


@mistake(
    "The result is that of rank 0, whatever `rank` says.",
    "Five rows on two ranks: do the rows of both add up to five?",
)
def bytes_of_rank_0(shapes, rank, n_ranks, bytes_per_number):
    return held(lambda rows: _dealt(rows, 0, n_ranks) if rank < rows else 0, shapes, bytes_per_number)


BYTES_HELD = (
    bytes_of_the_whole,
    bytes_of_an_even_share,
    bytes_rounded_down,
    bytes_rounded_up_everywhere,
    bytes_dealt_evenly,
    bytes_below_nothing,
    bytes_as_numbers,
    bytes_of_four,
    bytes_by_columns,
    bytes_of_one_long_row,
    bytes_of_numbers_one_by_one,
    bytes_of_the_last_tensor,
    bytes_of_rows_alone,
    bytes_of_two_axes,
    bytes_of_rank_0,
)
