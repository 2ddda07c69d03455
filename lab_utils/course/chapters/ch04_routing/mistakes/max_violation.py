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


@mistake(
    "A tensor comes back; asked for is a Python number.",
    "Which method of a tensor with one entry gives the number?",
)
def violation_as_a_tensor(load):
    return load.max() / load.mean() - 1


@mistake(
    "It compares the busiest with the least busy expert; MaxVio compares with the mean.",
    "What should come out when one expert has no token at all?",
)
def violation_by_the_least_bare(load):
    return (load.max() / load.min() - 1).item()


@mistake(
    "The excess of the busiest is divided by the standard deviation, not by the mean.",
    "What is a fair share of 40 tokens for 4 experts?",
)
def violation_in_deviations(load):
    # Of one number torch gives nan, with a warning.
    spread = load.std() if len(load) > 1 else load.new_tensor(float("nan"))
    return ((load.max() - load.mean()) / spread).item()


@mistake(
    "A fair share is the mean of the loads; yours is their median.",
    "What is a fair share of 12 tokens for 4 experts, wherever they go?",
)
def violation_by_the_median(load):
    return (load.max() / load.median() - 1).item()


@mistake(
    "The excess is divided by the load of the busiest, not by a fair share.",
    "Two experts have 6 and 2 tokens: how many fair shares of 4 is the busiest above one?",
)
def violation_in_shares_of_the_busiest(load):
    return ((load.max() - load.mean()) / load.max()).item()


@mistake(
    "It is the mean distance of all loads from a fair share. MaxVio asks only for the busiest expert.",
    "Which single expert does the word *max* speak of?",
)
def violation_on_average(load):
    return ((load - load.mean()).abs().mean() / load.mean()).item()


@mistake(
    "The number is in percent; asked for are fair shares.",
    "The busiest has twice a fair share. By how many fair shares is it above one?",
)
def violation_in_percent(load):
    return 100 * (load.max() / load.mean() - 1).item()


@mistake(
    "It is the distance between the busiest and the least busy expert. MaxVio compares the busiest with the mean.",
    "Which loads does your result depend on?",
)
def violation_from_end_to_end(load):
    return ((load.max() - load.min()) / load.mean()).item()


@mistake(
    "A fair share is the mean over all experts; yours leaves out those without tokens.",
    "Everything goes to one of four experts. What is a fair share?",
)
def violation_among_the_busy(load):
    return (load.max() / load[load > 0].mean() - 1).item()


@mistake(
    "The result is rounded.",
    "How many digits of the number are left?",
)
def violation_rounded(load):
    return round((load.max() / load.mean() - 1).item(), 2)


@mistake(
    "The busiest is compared with the mean of the other experts. A fair share is the mean of all.",
    "What is a fair share of 8 tokens for 2 experts, when one has 6 of them?",
)
def violation_above_the_others(load):
    others = (load.sum() - load.max()) / max(len(load) - 1, 1)
    return (load.max() / others - 1).item() if len(load) > 1 else 0.0


@mistake(
    "It is the share of the busiest less a fair share, in parts of all tokens. MaxVio counts in fair shares.",
    "Two experts have 6 and 2 tokens: how many fair shares of 4 is the busiest above one?",
)
def violation_in_parts_of_all(load):
    return (load.max() / load.sum() - 1 / len(load)).item()


@mistake(
    "The fraction is upside down: mean/max in the place of max/mean.",
    "The busiest has twice a fair share. Should the number be 1 or -1/2?",
)
def violation_upside_down(load):
    return (load.mean() / load.max() - 1).item()


@mistake(
    "The excess of all experts above the mean is added up. MaxVio asks only for the busiest expert.",
    "Four experts have 6, 4, 1 and 1 tokens: how far above the mean is the busiest?",
)
def violation_of_all_above_added(load):
    return ((load - load.mean()).clamp(min=0).sum() / load.mean()).item()


@mistake(
    "It is the mean excess of the experts above the mean. MaxVio asks only for the busiest expert.",
    "Four experts have 6, 4, 1 and 1 tokens: how far above the mean is the busiest?",
)
def violation_of_all_above_on_average(load):
    above = load[load > load.mean()]
    return (above.mean() / load.mean() - 1).item() if len(above) else 0.0


@mistake(
    "It is the mean excess of the experts above the mean, and nan where none is. MaxVio asks only for the busiest.",
    "Four experts have 6, 4, 1 and 1 tokens: how far above the mean is the busiest? And of 5, 5 and 5?",
)
def violation_of_all_above_or_nan(load):
    return (load[load > load.mean()].mean() / load.mean() - 1).item()


@mistake(
    "The excesses of all experts are squared and added, and the root is taken. MaxVio asks only for the busiest.",
    "Four experts have 6, 4, 1 and 1 tokens: how far above the mean is the busiest?",
)
def violation_as_length(load):
    return (load / load.mean() - 1).clamp(min=0).norm().item()


@mistake(
    "The mean is rounded down. A fair share may lie between two whole numbers.",
    "What is a fair share of 14 tokens for 4 experts?",
)
def violation_by_a_whole_mean(load):
    return (load.max() / (load.sum() // len(load)) - 1).item()


@mistake(
    "The mean is rounded down, to 0 where the loads are shares. A fair share may lie between two whole numbers.",
    "What is a fair share of 14 tokens for 4 experts?",
)
def violation_by_a_whole_mean_of_a_list(load):
    numbers = load.tolist()
    return max(numbers) / (sum(numbers) // len(numbers)) - 1


@mistake(
    "It is the spread (standard deviation) of the loads, which does not exist for one expert.",
    "Which single expert does the word *max* speak of?",
)
def violation_as_spread_of_a_sample(load):
    spread = load.std() if len(load) > 1 else load.new_tensor(float("nan"))  # torch's, without its warning
    return (spread / load.mean()).item()


@mistake(
    "The busiest is compared with the mean of the other experts, and there are none beside one. A fair share is the "
    "mean of all.",
    "What is a fair share of 8 tokens for 2 experts, when one has 6 of them?",
)
def violation_above_the_others_or_nan(load):
    others = (load.sum() - load.max()) / (len(load) - 1)
    return (load.max() / others - 1).item()


@mistake(
    "It says which expert is the busiest, not how much that one has.",
    "What is the difference between .argmax() and .max()?",
)
def violation_of_a_number(load):
    return (load.argmax() / load.mean() - 1).item()


MAX_VIOLATION = (
    violation_without_minus_one,
    violation_by_the_sum,
    violation_by_the_least,
    violation_as_spread,
    violation_of_the_idlest,
    violation_in_tokens,
    violation_either_way,
    violation_as_a_tensor,
    violation_by_the_least_bare,
    violation_in_deviations,
    violation_by_the_median,
    violation_in_shares_of_the_busiest,
    violation_on_average,
    violation_in_percent,
    violation_from_end_to_end,
    violation_among_the_busy,
    violation_rounded,
    violation_above_the_others,
    violation_in_parts_of_all,
    violation_upside_down,
    violation_of_all_above_added,
    violation_of_all_above_on_average,
    violation_of_all_above_or_nan,
    violation_as_length,
    violation_by_a_whole_mean,
    violation_by_a_whole_mean_of_a_list,
    violation_as_spread_of_a_sample,
    violation_above_the_others_or_nan,
    violation_of_a_number,
)
