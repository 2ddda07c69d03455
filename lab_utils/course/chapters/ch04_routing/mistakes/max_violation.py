"""The known wrong answers to max_violation, of notebook 04."""

from lab_utils.course.exercise import mistake


@mistake("The 1 is not subtracted: an even load should give 0.", "What is max/mean when all loads are equal?")
def violation_without_minus_one(load):
    return (load.max() / load.mean()).item()


@mistake(
    "The largest load is divided by the sum, not by the mean.",
    "What is a fair share of 40 tokens for 4 experts?",
)
def violation_by_the_sum(load):
    return (load.max() / load.sum() - 1).item()


@mistake(
    "It compares the busiest with the least busy expert; MaxVio compares with the mean.",
    "What should come out when one expert has no token at all?",
)
def violation_by_the_least(load):
    return (load.max() / load.min().clamp(min=1) - 1).item()


@mistake(
    "It is the spread (standard deviation) of the loads.", "Which single expert does the word *max* speak of?"
)
def violation_as_spread(load):
    return (load.std(correction=0) / load.mean()).item()


@mistake(
    "It measures the least busy expert, not the busiest.", "Which single expert does the word *max* speak of?"
)
def violation_of_the_idlest(load):
    return (1 - load.min() / load.mean()).item()


@mistake(
    "It is a number of tokens: the excess of the busiest over the mean. MaxVio is that excess in fair shares.",
    "Twice the batch, the same router: should the number double?",
)
def violation_in_tokens(load):
    return (load.max() - load.mean()).item()


@mistake(
    "It takes the largest distance from the mean, above or below. MaxVio asks only for the busiest expert.",
    "Three experts have 5 tokens and one has 1: which expert does your result speak of?",
)
def violation_either_way(load):
    return ((load - load.mean()).abs().max() / load.mean()).item()


MAX_VIOLATION = (
    violation_without_minus_one,
    violation_by_the_sum,
    violation_by_the_least,
    violation_as_spread,
    violation_of_the_idlest,
    violation_in_tokens,
    violation_either_way,
)
