"""The known wrong answers to merge_most_frequent, of notebook 01: another pair is chosen."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from lab_utils.course.exercise import mistake

Pair = tuple[int, int]


def choose_pair(ids: list[int], key: Callable = lambda pair, times, place: (-times, pair)) -> Pair:
    """The pair for which `key(pair, how often it comes, where it first comes)` is smallest."""
    pairs = list(pairwise(ids))
    counts = Counter(pairs)
    return min(counts, key=lambda pair: key(pair, counts[pair], pairs.index(pair)))


def replace_pair(ids: list[int], pair: tuple[int, ...], new_id: int) -> list[int]:
    """The right replacement, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


# ---------------------------------------------------------------- which pair


@mistake(
    "Of equally frequent pairs it takes the one that comes first in the text. It should be the smallest.",
    "Which pair is merged in 5 6 1 2, where each pair comes once?",
)
def merge_the_first_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, place))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs it takes the largest. It should be the smallest.",
    "What does max do with (times, pair), when the times are equal?",
)
def merge_the_largest_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, -pair[0], -pair[1]))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs it takes the one that comes last in the text. It should be the smallest.",
    "Which pair is merged in 5 6 1 2, where each pair comes once?",
)
def merge_the_last_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, -place))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs it compares only the second numbers. Python's order of tuples begins with the first.",
    "Is (1, 5) smaller than (2, 3) in Python?",
)
def merge_the_smallest_second_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, pair[1], pair[0]))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs with the same first number it takes the one that comes first in the text. The second "
    "number decides there.",
    "Which is smaller, (1, 3) or (1, 2)?",
)
def merge_by_the_first_numbers_only(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, pair[0], place))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs with the same first number it takes the one with the largest second number. It should "
    "be the smallest.",
    "Which is smaller, (1, 3) or (1, 2)?",
)
def merge_the_largest_second_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, pair[0], -pair[1]))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs it takes the one with the smallest sum.",
    "Is (1, 5) smaller than (2, 3) in Python?",
)
def merge_the_smallest_sum_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, sum(pair), pair))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Of equally frequent pairs it compares the numbers as texts, in which 10 comes before 9.",
    "Are the two sides that your function compares numbers, or strings?",
)
def merge_the_smallest_text_of_equals(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-times, str(pair)))
    return replace_pair(ids, pair, new_id), pair


@mistake("It merges the rarest pair.", "Which pair saves most places?")
def merge_the_rarest(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (times, pair))
    return replace_pair(ids, pair, new_id), pair


@mistake("It merges the smallest pair, however rarely it comes.", "How often does each pair come?")
def merge_the_smallest(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: pair)
    return replace_pair(ids, pair, new_id), pair


@mistake("It merges the largest pair, however rarely it comes.", "How often does each pair come?")
def merge_the_largest(ids, new_id):
    pair = choose_pair(ids, lambda pair, times, place: (-pair[0], -pair[1]))
    return replace_pair(ids, pair, new_id), pair


@mistake("It merges the first pair of the text, however often it comes.", "How often does each pair come?")
def merge_the_first(ids, new_id):
    return replace_pair(ids, tuple(ids[:2]), new_id), tuple(ids[:2])


@mistake(
    "It pairs the two most frequent numbers, which need not be neighbours.",
    "Which pairs are there in 1 1 5 2 2?",
)
def merge_the_most_frequent_numbers(ids, new_id):
    counts = Counter(ids)
    ranked = sorted(counts, key=lambda each: (-counts[each], each))
    pair = (ranked[0], ranked[min(1, len(ranked) - 1)])
    return replace_pair(ids, pair, new_id), pair


# ---------------------------------------------------------------- how pairs are counted


@mistake(
    "Only pairs that begin at an even place count: 0 and 1, then 2 and 3. Each number but the last begins a pair.",
    "How many pairs of neighbours have three numbers?",
)
def merge_of_even_places(ids, new_id):
    counts = Counter(zip(ids[::2], ids[1::2], strict=False))
    pair = min(counts, key=lambda each: (-counts[each], each))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "Pairs that overlap are not counted: 7 7 7 counts as one pair (7, 7). It holds two.",
    "How many places in 7 7 7 have a 7 and a 7 after it?",
)
def merge_without_counting_overlaps(ids, new_id):
    counts = {pair: len(ids) - len(replace_pair(ids, pair, new_id)) for pair in pairwise(ids)}
    pair = min(counts, key=lambda each: (-counts[each], each))
    return replace_pair(ids, pair, new_id), pair


@mistake("A pair and its reverse are counted as one.", "Are `ab` and `ba` the same token?")
def merge_counting_both_orders(ids, new_id):
    counts = Counter(tuple(sorted(pair)) for pair in pairwise(ids))
    pair = min(pairwise(ids), key=lambda each: (-counts[tuple(sorted(each))], each))
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "A pair and its reverse are counted as one, and replaced in both orders.",
    "Are `ab` and `ba` the same token?",
)
def merge_without_order(ids, new_id):
    pair = choose_pair_without_order(ids)
    merged, i = [], 0
    while i < len(ids):
        found = tuple(sorted(ids[i : i + 2])) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged, pair


def choose_pair_without_order(ids: list[int]) -> Pair:
    counts = Counter(tuple(sorted(pair)) for pair in pairwise(ids))
    return min(counts, key=lambda pair: (-counts[pair], pair))


@mistake(
    "A pair and its reverse are counted as one, under the smaller number first; then only that order is replaced.",
    "Are `ab` and `ba` the same token?",
)
def merge_counting_without_order(ids, new_id):
    pair = choose_pair_without_order(ids)
    return replace_pair(ids, pair, new_id), pair


@mistake("The last pair of the text is not counted.", "How many pairs do n numbers have?")
def merge_without_the_last_pair(ids, new_id):
    pair = choose_pair(ids[:-1]) if len(ids) > 2 else tuple(ids)
    return replace_pair(ids, pair, new_id), pair


@mistake(
    "The last number and the first one count as a pair, as if the text were a ring.",
    "How many pairs of neighbours have three numbers?",
)
def merge_in_a_ring(ids, new_id):
    pair = choose_pair([*ids, ids[0]])
    return replace_pair(ids, pair, new_id), pair


CHOICES = (
    merge_the_first_of_equals,
    merge_the_largest_of_equals,
    merge_the_last_of_equals,
    merge_the_smallest_second_of_equals,
    merge_by_the_first_numbers_only,
    merge_the_largest_second_of_equals,
    merge_the_smallest_sum_of_equals,
    merge_the_smallest_text_of_equals,
    merge_the_rarest,
    merge_the_smallest,
    merge_the_largest,
    merge_the_first,
    merge_the_most_frequent_numbers,
    merge_of_even_places,
    merge_without_counting_overlaps,
    merge_counting_both_orders,
    merge_without_order,
    merge_counting_without_order,
    merge_without_the_last_pair,
    merge_in_a_ring,
)
