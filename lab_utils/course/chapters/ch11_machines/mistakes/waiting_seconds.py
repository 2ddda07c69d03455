"""The known wrong answers to waiting_seconds, of notebook 11."""

from lab_utils.course.exercise import mistake


def busy(load, n_ranks, seconds_per_row):
    return seconds_per_row * load.view(n_ranks, -1).sum(dim=1)


@mistake(
    "It is how long each rank computes, not how long it waits.",
    "How long does the slowest rank wait?",
)
def seconds_of_work(load, n_ranks, seconds_per_row):
    return busy(load, n_ranks, seconds_per_row)


@mistake(
    "It is the time of the whole step, for every rank.",
    "How long does the slowest rank wait?",
)
def seconds_of_the_step(load, n_ranks, seconds_per_row):
    work = busy(load, n_ranks, seconds_per_row)
    return work.max().expand_as(work).clone()


@mistake(
    "Each expert's wait is asked for by itself; a rank works on all its experts, one after the other.",
    "Four experts on two ranks: how many numbers should come back?",
)
def seconds_of_experts(load, n_ranks, seconds_per_row):
    return seconds_per_row * (load.max() - load)


@mistake(
    "A rank is taken to be as slow as its busiest expert. It runs all its experts, and their times add up.",
    "Two experts of a rank have three rows and one: how many rows does the rank compute?",
)
def seconds_by_the_busiest_expert(load, n_ranks, seconds_per_row):
    work = seconds_per_row * load.view(n_ranks, -1).amax(dim=1)
    return work.max() - work


@mistake(
    "The wait is measured from the mean, not from the slowest rank.",
    "When does the step end for all?",
)
def seconds_from_the_mean(load, n_ranks, seconds_per_row):
    work = busy(load, n_ranks, seconds_per_row)
    return (work.mean() - work).clamp(min=0)


@mistake(
    "The waits are negative: the difference is taken the wrong way round.",
    "Which is larger, the time of the slowest or the own time?",
)
def seconds_below_zero(load, n_ranks, seconds_per_row):
    work = busy(load, n_ranks, seconds_per_row)
    return work - work.max()


@mistake(
    "It counts rows: the seconds per row are left out.",
    "Which argument does the result not depend on?",
)
def rows_to_wait_for(load, n_ranks, seconds_per_row):
    return rows(load, n_ranks)


def rows(load, n_ranks):
    work = load.view(n_ranks, -1).sum(dim=1)
    return work.max() - work


@mistake(
    "The experts are dealt in turns, as cards are; here each rank holds neighbours.",
    "Four experts on two ranks: which two are on rank 0?",
)
def seconds_of_experts_in_turns(load, n_ranks, seconds_per_row):
    return seconds_per_row * rows(load.view(-1, n_ranks).T.flatten(), n_ranks)


@mistake(
    "The loads of a rank are averaged over its experts. It has to compute all of their rows.",
    "Two experts of a rank have three rows and one: how many rows does the rank compute?",
)
def seconds_of_mean_loads(load, n_ranks, seconds_per_row):
    return seconds_per_row * rows(load, n_ranks) * n_ranks / len(load)


@mistake(
    "It is the wait in shares of the step, not in seconds.",
    "The rows take twice as long each: should the wait be the same?",
)
def shares_of_the_step(load, n_ranks, seconds_per_row):
    work = busy(load, n_ranks, seconds_per_row)
    return ((work.max() - work) / work.max()).nan_to_num(nan=0.0)


ON_AVERAGE = mistake(
    "It is the mean wait, one number for all ranks.",
    "Does the slowest rank wait as long as the others?",
)
IN_ALL = mistake(
    "It is the sum of all waits, one number for all ranks.",
    "How many numbers should come back for two ranks, and how long does the slowest of them wait?",
)
AT_MOST = mistake(
    "It is the longest wait, that of the quickest rank, one number for all ranks.",
    "How many numbers should come back for two ranks, and how long does the slowest of them wait?",
)


def waits(load, n_ranks, seconds_per_row):
    return seconds_per_row * rows(load, n_ranks)


@ON_AVERAGE
def seconds_on_average(load, n_ranks, seconds_per_row):
    wait = waits(load, n_ranks, seconds_per_row)
    return wait.mean().expand_as(wait).clone()


@ON_AVERAGE
def seconds_on_average_once(load, n_ranks, seconds_per_row):
    return waits(load, n_ranks, seconds_per_row).mean()


@IN_ALL
def seconds_of_all(load, n_ranks, seconds_per_row):
    wait = waits(load, n_ranks, seconds_per_row)
    return wait.sum().expand_as(wait).clone()


@IN_ALL
def seconds_of_all_once(load, n_ranks, seconds_per_row):
    return waits(load, n_ranks, seconds_per_row).sum()


@AT_MOST
def seconds_at_most(load, n_ranks, seconds_per_row):
    wait = waits(load, n_ranks, seconds_per_row)
    return wait.max().expand_as(wait).clone()


@AT_MOST
def seconds_at_most_once(load, n_ranks, seconds_per_row):
    return waits(load, n_ranks, seconds_per_row).max()


@mistake(
    "It is the time of the whole step, one number.",
    "How many numbers should come back for two ranks, and how long does the slowest of them wait?",
)
def seconds_of_the_step_once(load, n_ranks, seconds_per_row):
    return busy(load, n_ranks, seconds_per_row).max()


@mistake(
    "The wait is measured from the quickest rank. A step ends with the slowest one.",
    "When does the step end for all?",
)
def seconds_from_the_quickest(load, n_ranks, seconds_per_row):
    work = busy(load, n_ranks, seconds_per_row)
    return work - work.min()


@mistake(
    "The wait is measured up to the time of the busiest expert. A step ends with the busiest rank, which has several.",
    "When does the step end for all?",
)
def seconds_until_the_busiest_expert(load, n_ranks, seconds_per_row):
    return seconds_per_row * load.max() - busy(load, n_ranks, seconds_per_row)


WAITING_SECONDS = (
    seconds_until_the_busiest_expert,
    seconds_of_work,
    seconds_of_the_step,
    seconds_of_experts,
    seconds_by_the_busiest_expert,
    seconds_from_the_mean,
    seconds_below_zero,
    rows_to_wait_for,
    seconds_of_experts_in_turns,
    seconds_of_mean_loads,
    shares_of_the_step,
    seconds_on_average,
    seconds_on_average_once,
    seconds_of_all,
    seconds_of_all_once,
    seconds_at_most,
    seconds_at_most_once,
    seconds_of_the_step_once,
    seconds_from_the_quickest,
)
