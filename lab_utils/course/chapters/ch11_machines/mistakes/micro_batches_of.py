"""The known wrong answers to micro_batches_of, of notebook 11."""

from lab_utils.course.exercise import mistake


@mistake(
    "The rank takes a block of neighbours; asked for is every n-th micro-batch, from the rank's own number on.",
    "Four micro-batches on two ranks: which ones has rank 0, and which one comes after its first?",
)
def batches_in_blocks(rank, n_ranks, step, grad_accum):
    share = grad_accum // n_ranks
    first = step * grad_accum + rank * share
    return list(range(first, first + share))


@mistake(
    "Every step takes the same micro-batches: the number of the step is left out.",
    "Which micro-batch is the first one of step 1?",
)
def batches_of_the_first_step(rank, n_ranks, step, grad_accum):
    return list(range(rank, grad_accum, n_ranks))


@mistake(
    "Each rank takes all micro-batches of the step, so every text is read by all of them.",
    "Four micro-batches on two ranks: how many has each?",
)
def batches_all(rank, n_ranks, step, grad_accum):
    return list(range(step * grad_accum, (step + 1) * grad_accum))


@mistake(
    "All ranks take those of rank 0: the rank's own number is left out.",
    "Which micro-batch of the step is the first one of rank 1?",
)
def batches_of_rank_0(rank, n_ranks, step, grad_accum):
    return list(range(step * grad_accum, (step + 1) * grad_accum, n_ranks))


@mistake(
    "Ranks or micro-batches are counted from 1; both begin with 0.",
    "Which one does rank 0 take first in step 0?",
)
def batches_from_one(rank, n_ranks, step, grad_accum):
    return list(range(step * grad_accum + rank + 1, (step + 1) * grad_accum + 1, n_ranks))


@mistake(
    "Only the first micro-batch of the rank is there.",
    "Four micro-batches on two ranks: how many has each?",
)
def batches_only_one(rank, n_ranks, step, grad_accum):
    return [step * grad_accum + rank]


@mistake(
    "Each rank takes `grad_accum` micro-batches, so a step becomes larger the more ranks there are.",
    "Four micro-batches on two ranks: how many has each? The step must stay the same for any number of ranks.",
)
def batches_more_with_more_ranks(rank, n_ranks, step, grad_accum):
    first = step * grad_accum * n_ranks + rank
    return list(range(first, first + n_ranks * grad_accum, n_ranks))


@mistake(
    "The step begins at `step`, not at the first of its micro-batches: steps overlap.",
    "With four micro-batches per step, which are those of step 1?",
)
def batches_that_overlap(rank, n_ranks, step, grad_accum):
    return list(range(step + rank, step + grad_accum, n_ranks))


@mistake(
    "The last micro-batch of a step is left out.",
    "Up to which number, and including it, does a step go? What does range(a, b) leave out?",
)
def batches_without_the_last(rank, n_ranks, step, grad_accum):
    return list(range(step * grad_accum + rank, (step + 1) * grad_accum - 1, n_ranks))


@mistake(
    "A number is returned: how many there are, not which ones.",
    "The docstring asks for a list.",
)
def batches_counted(rank, n_ranks, step, grad_accum):
    return [grad_accum // n_ranks]


@mistake(
    "The ranks divide the whole training, not each step: rank r takes every n-th of all numbers from step 0 on.",
    "Which numbers may occur in step 1 of four micro-batches?",
)
def batches_from_the_start(rank, n_ranks, step, grad_accum):
    return list(range(rank, (step + 1) * grad_accum, n_ranks))


@mistake(
    "A step begins at `step * n_ranks`, as if each rank had one micro-batch in it.",
    "Four micro-batches on two ranks: which number is the first of step 1?",
)
def batches_a_round_further(rank, n_ranks, step, grad_accum):
    first = step * n_ranks + rank
    return list(range(first, first + grad_accum, n_ranks))


MICRO_BATCHES_OF = (
    batches_a_round_further,
    batches_in_blocks,
    batches_of_the_first_step,
    batches_all,
    batches_of_rank_0,
    batches_from_one,
    batches_only_one,
    batches_more_with_more_ranks,
    batches_that_overlap,
    batches_without_the_last,
    batches_counted,
    batches_from_the_start,
)
