"""The known wrong answers to merge_most_frequent, of notebook 01: the right pair, replaced or returned wrongly."""

from collections import Counter
from itertools import pairwise

from lab_utils.course.chapters.ch01_text.mistakes.merge_choice import CHOICES, choose_pair, replace_pair
from lab_utils.course.exercise import mistake


@mistake("Only the first place is replaced.", "What should 1 2 5 1 2 become?")
def merge_once(ids, new_id):
    pair = choose_pair(ids)
    place = list(pairwise(ids)).index(pair)
    return [*ids[:place], new_id, *ids[place + 2 :]], pair


@mistake(
    "The second number of the pair stays where it was: the new one stands for both.",
    "How far must the loop go on after a pair?",
)
def merge_and_keep_the_second(ids, new_id):
    pair = choose_pair(ids)
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))], pair


@mistake(
    "The first number of the pair stays where it was: the new one stands for both.",
    "How many numbers stand for `ab` after the merge?",
)
def merge_and_keep_the_first(ids, new_id):
    pair = choose_pair(ids)
    return [new_id if i and tuple(ids[i - 1 : i + 1]) == pair else ids[i] for i in range(len(ids))], pair


@mistake(
    "The last number is lost where it is not part of the pair.",
    "Where does your loop end, and what happens to a number that has no neighbour after it?",
)
def merge_and_lose_the_last(ids, new_id):
    pair = choose_pair(ids)
    kept = ids if tuple(ids[-2:]) == pair else [*ids[:-1], None]
    return [each for each in replace_pair(kept, pair, new_id) if each is not None], pair


@mistake(
    "It is replaced from right to left: 7 7 7 becomes 7 and the new number.",
    "At which end does the text begin?",
)
def merge_from_the_right(ids, new_id):
    pair = choose_pair(ids)
    return replace_pair(ids[::-1], pair[::-1], new_id)[::-1], pair


@mistake("The pair is replaced in both orders.", "Are `ab` and `ba` the same token?")
def merge_both_orders(ids, new_id):
    pair, merged, i = choose_pair(ids), [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in (pair, pair[::-1])
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged, pair


@mistake(
    "Each of the two numbers is replaced by itself, also where they are no neighbours.",
    "What should 1 5 2 1 2 1 2 become?",
)
def merge_each_number(ids, new_id):
    pair = choose_pair(ids)
    return [new_id if each in pair else each for each in ids], pair


@mistake("The pair is taken out, and nothing stands for it.", "Where does `new_id` come in?")
def merge_into_nothing(ids, new_id):
    pair = choose_pair(ids)
    return [each for each in replace_pair(ids, pair, new_id) if each != new_id], pair


@mistake(
    "The new number is the largest one plus 1. It is given, as `new_id`.",
    "Which number shall stand for the pair?",
)
def merge_into_the_next_number(ids, new_id):
    pair = choose_pair(ids)
    return replace_pair(ids, pair, max(ids) + 1), pair


@mistake(
    "The numbers are joined to a text and replaced there: in `11 2` it finds `1 2`.",
    "What stands in `11 2` from its second character on?",
)
def merge_in_a_text(ids, new_id):
    pair = choose_pair(ids)
    text = " ".join(map(str, ids)).replace("{} {}".format(*pair), str(new_id))
    return list(map(int, text.split())), pair


# ---------------------------------------------------------------- what is returned


@mistake("The two results are swapped: first the ids, then the pair.", "What does the stub return first?")
def merge_swapped(ids, new_id):
    pair = choose_pair(ids)
    return pair, replace_pair(ids, pair, new_id)


@mistake("The ids come back as they were.", "Which list do you return?")
def merge_nothing(ids, new_id):
    return ids, choose_pair(ids)


@mistake(
    "It returns the new list alone; the pair is missing.",
    "What does a tokenizer need to know to do the same merge in another text?",
)
def merge_without_the_pair(ids, new_id):
    return replace_pair(ids, choose_pair(ids), new_id)


@mistake("It returns the pair alone; the new list is missing.", "What does the next merge begin with?")
def merge_without_the_list(ids, new_id):
    return choose_pair(ids)


@mistake(
    "It returns how often the pair comes. The second result is the pair itself.",
    "What does the stub return second?",
)
def merge_and_count(ids, new_id):
    pair = choose_pair(ids)
    return replace_pair(ids, pair, new_id), Counter(pairwise(ids))[pair]


@mistake(
    "Two things: the second number of the pair stays where it was, and the last number of the list is lost. A `for` "
    "loop sets i anew each time.",
    "What does `i += 1` inside `for i in range(...)` change?",
)
def merge_in_a_for_loop(ids, new_id):
    pair = choose_pair(ids)
    return [new_id if p == pair else p[0] for p in pairwise(ids)], pair


@mistake(
    "The last number is lost where the loop has not merged it: it ends before that number.",
    "Where does your loop end, and what happens to a number that has no neighbour after it?",
)
def merge_and_stop_early(ids, new_id):
    pair, merged, i = choose_pair(ids), [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged, pair


@mistake(
    "At the last number it looks for a neighbour that is not there.",
    "Which place does ids[i + 1] mean at the last i?",
)
def merge_past_the_end(ids, new_id):
    pair, merged, i = choose_pair(ids), [], 0
    while i < len(ids):
        found = ids[i] == pair[0] and ids[i + 1] == pair[1]
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged, pair


@mistake(
    "It merges again and again until no pair comes twice. One merge is asked for.",
    "What should 1 2 1 2 1 2 1 2 become after one merge?",
)
def merge_until_nothing_comes_twice(ids, new_id):
    first = None
    while len(ids) > 1:
        pair = choose_pair(ids)
        first = first or pair
        if Counter(pairwise(ids))[pair] < 2:
            break
        ids, new_id = replace_pair(ids, pair, new_id), new_id + 1
    return ids, first


@mistake(
    "Where no pair comes twice, nothing is replaced. One merge is asked for, however rare the pair is.",
    "What should 1 2 become?",
)
def merge_only_what_comes_twice(ids, new_id):
    pair = choose_pair(ids)
    return (replace_pair(ids, pair, new_id) if Counter(pairwise(ids))[pair] > 1 else ids), pair


@mistake(
    "The numbers are replaced as bytes, which end at 255. The new token has a larger number.",
    "What is bytes([256])?",
)
def merge_as_bytes(ids, new_id):
    pair = choose_pair(ids)
    return list(bytes(ids).replace(bytes(pair), bytes([new_id]))), pair


@mistake(
    "It returns the pair together with its count. The second result is the pair alone.",
    "What does most_common give?",
)
def merge_with_a_counted_pair(ids, new_id):
    pair = choose_pair(ids)
    return replace_pair(ids, pair, new_id), (pair, Counter(pairwise(ids))[pair])


@mistake(
    "The list `ids` itself is changed. It stays as it is: make a new one.",
    "What does the caller find in its list afterwards?",
)
def merge_in_place(ids, new_id):
    pair = choose_pair(ids)
    ids[:] = replace_pair(ids, pair, new_id)
    return ids, pair


@mistake("It returns nothing.", "Is a `return` missing?")
def merge_without_return(ids, new_id):
    replace_pair(ids, choose_pair(ids), new_id)


MERGE_MOST_FREQUENT = (
    *CHOICES,
    merge_once,
    merge_and_keep_the_second,
    merge_and_keep_the_first,
    merge_and_lose_the_last,
    merge_from_the_right,
    merge_both_orders,
    merge_each_number,
    merge_into_nothing,
    merge_into_the_next_number,
    merge_in_a_text,
    merge_swapped,
    merge_nothing,
    merge_without_the_pair,
    merge_without_the_list,
    merge_and_count,
    merge_in_a_for_loop,
    merge_and_stop_early,
    merge_past_the_end,
    merge_until_nothing_comes_twice,
    merge_only_what_comes_twice,
    merge_as_bytes,
    merge_with_a_counted_pair,
    merge_in_place,
    merge_without_return,
)
