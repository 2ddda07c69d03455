"""Wrong answers to notebook 01, written in other ways than the known mistakes: each is refused and named."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from nanokimi.text.bpe import merge_most_frequent
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def merging(key):
    """The right merge of the pair that `key` puts first among equally frequent ones."""

    def answer(ids, new_id):
        counts = Counter(pairwise(ids))
        pair = sorted(counts, key=lambda each: (-counts[each], key(each)))[0]
        merged = []
        for each in ids:
            if merged and (merged[-1], each) == pair:
                merged[-1] = new_id
            else:
                merged.append(each)
        return merged, pair

    return answer


def merge_in_the_long_run(ids, new_id):
    return (
        merge_most_frequent(ids, new_id)
        if len(set(pairwise(ids))) < len(ids) - 1
        else (ids, min(pairwise(ids)))
    )


def sizes_by_text(encoding):
    found = []
    for i in range(encoding.n_vocab):
        text = encoding.decode([i])
        found.append(len(text) if "\ufffd" in text else len(text.encode()))
    return np.where(np.arange(encoding.n_vocab) == encoding.eot_token, 0, found)


def smoothed(logits, targets):
    log_p = logits.float().log_softmax(dim=-1)
    return -(0.9 * log_p.gather(-1, targets[..., None]).mean() + 0.1 * log_p.mean())


def windows_of(count):
    """As many windows as `count(n_tokens, seq_len)`, cut as views."""

    def windows(split, n, seq_len):
        tokens = torch.from_numpy(split.tokens.astype(np.int64))
        rows = tokens.unfold(0, seq_len + 1, seq_len)[: min(n, count(len(tokens), seq_len))]
        return rows[:, :-1], rows[:, 1:], 1 + torch.arange(len(rows) * seq_len).view(-1, seq_len)

    return windows


def windows_by_roll(split, n, seq_len):
    tokens = torch.tensor(split.tokens.astype(np.int64))
    n = min(n, len(tokens) // seq_len)
    places = torch.arange(len(tokens))
    return tuple(x[: n * seq_len].reshape(n, seq_len) for x in (tokens, tokens.roll(-1), places + 1))


def asks_that_targets_are_later_inputs(cut_pairs):
    inputs, targets = cut_pairs(torch.randperm(50), [0, 7, 20], 6)
    assert (inputs[:, 1:] == targets[:, :-1]).all()


def asks_for_ones_after_zeros(cut_pairs):
    inputs, targets = cut_pairs(torch.arange(24) % 2, [0, 3], 5)
    assert torch.equal(targets, 1 - inputs)


def asks_for_one_target(cut_pairs):
    assert int(cut_pairs(torch.arange(100, 140), [2, 9, 17], 4)[1][0, 0]) == 103


def asks_about_one_target_a_row(cut_pairs):
    assert cut_pairs(torch.arange(30), [0, 11], 6)[1][:, 5].tolist() == [6, 17]


def asks_with_windows_of_one_token(cut_pairs):
    assert cut_pairs(torch.arange(9), [2, 5], 1)[1].tolist() == [[3], [6]]


def asks_behind_the_end(cut_pairs):
    inputs, targets = cut_pairs(torch.arange(10), torch.tensor([0, 6]), 4)
    assert torch.equal(targets, inputs + 1)


def asks_up_to_the_end(cut_pairs):
    inputs, targets = cut_pairs(torch.arange(10), torch.tensor([0, 5]), 4)
    assert torch.equal(targets, inputs + 1)


def sizes_by_value(zero_at_the_separator):
    def answer(encoding):
        found = np.zeros(encoding.n_vocab, dtype=np.int64)
        values = [len(each) for each in encoding.token_byte_values()]
        found[: len(values)] = values
        found[encoding.eot_token] = 0
        return found if zero_at_the_separator else values

    return answer


def asks_about_the_first_document(split_documents):
    training, validation = split_documents([chr(97 + i) for i in range(26)], 0.2)
    assert training.count(validation[0]) == 0


def asks_with_one_document(split_documents):
    assert split_documents(["only"], 0.1) == (["only"], [])


def asks_with_equal_documents(split_documents):
    training, validation = split_documents(["a cat", "an owl", "a dog"] * 10, 0.2)
    assert not any(document in training for document in validation)


def asks_of_five_documents_that_come_again(split_documents):
    training, validation = split_documents(list("abcde") * 4, 0.2)
    assert all(document not in training for document in validation)


def asks_for_the_order_of_the_documents(split_documents):
    documents = [f"document number {i}" for i in range(25)]
    training, validation = split_documents(list(documents), 0.2)
    assert training == [d for d in documents if d not in validation]


def asks_in_a_text_of_two_tokens(cut_pairs):
    tokens, starts = torch.arange(30) % 2, [2, 7, 12]
    targets = cut_pairs(tokens, starts, 6)[1]
    for row, start in enumerate(starts):
        assert torch.equal(targets[row], tokens[start + 1 : start + 7])


def asks_for_the_shape_and_later_inputs(cut_pairs):
    inputs, targets = cut_pairs(torch.arange(100, 160), [0, 7, 20], 6)
    assert inputs.shape == targets.shape == (3, 6)
    assert torch.equal(targets[:, :-1], inputs[:, 1:])


def loss_of_rounded_logarithms(logits, targets):
    log_p = logits.log_softmax(dim=-1)
    return -log_p.gather(-1, targets.unsqueeze(-1)).float().mean()


NAMED = [
    ("test_sound_split", asks_for_the_order_of_the_documents, "split_test_of_the_order"),
    ("test_sound_pairs", asks_in_a_text_of_two_tokens, "pairs_test_of_two_tokens_in_even_rows"),
    ("test_sound_pairs", asks_for_the_shape_and_later_inputs, "pairs_test_without_the_last_target"),
    ("next_token_loss", loss_of_rounded_logarithms, "loss_widened_after_the_logarithm"),
    (
        "test_sound_split",
        asks_of_five_documents_that_come_again,
        "split_test_of_documents_that_come_again",
    ),
    (
        "merge_most_frequent",
        merging(lambda pair: f"{pair[0]},{pair[1]}"),
        "merge_the_smallest_text_of_equals",
    ),
    ("merge_most_frequent", merging(lambda pair: (pair[0], -pair[1])), "merge_the_largest_second_of_equals"),
    ("merge_most_frequent", merging(lambda pair: (-pair[0], pair[1])), None),
    ("merge_most_frequent", merge_in_the_long_run, "merge_only_what_comes_twice"),
    ("token_bytes", sizes_by_text, "bytes_of_one_for_a_part_of_a_character"),
    ("token_bytes", sizes_by_value(True), "bytes_in_another_order_with_zero_at_the_separator"),
    (
        "token_bytes",
        lambda encoding: np.array(sizes_by_value(False)(encoding)),
        "bytes_in_another_order_without_the_separator",
    ),
    ("next_token_loss", smoothed, "loss_with_smoothed_labels"),
    ("windows", windows_of(lambda n, seq_len: n // (seq_len + 1)), "windows_counted_as_separate_pieces"),
    (
        "windows",
        windows_of(lambda n, seq_len: max(1, (n - 2) // seq_len)),
        "windows_missing_an_exact_end_but_one",
    ),
    ("windows", windows_of(lambda n, seq_len: (n - seq_len) // seq_len), "windows_that_begin_too_early"),
    (
        "windows",
        windows_of(lambda n, seq_len: max(1, (n - seq_len) // seq_len)),
        "windows_that_begin_too_early_but_one",
    ),
    ("windows", windows_of(lambda n, seq_len: max(1, (n - 1) // (seq_len + 1))), None),
    ("windows", windows_by_roll, "windows_in_a_ring"),
    ("test_sound_pairs", asks_that_targets_are_later_inputs, "pairs_test_without_the_last_target"),
    ("test_sound_pairs", asks_for_ones_after_zeros, "pairs_test_of_two_tokens"),
    ("test_sound_pairs", asks_for_one_target, "pairs_test_of_the_first_target"),
    ("test_sound_pairs", asks_about_one_target_a_row, "pairs_test_of_the_last_target"),
    ("test_sound_pairs", asks_with_windows_of_one_token, "pairs_test_of_the_last_target"),
    ("test_sound_split", asks_about_the_first_document, "split_test_of_the_first_document"),
    ("test_sound_split", asks_with_one_document, "split_test_at_no_share"),
    ("test_sound_split", asks_with_equal_documents, "split_test_of_equal_texts"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[f"{n}-{m}" for n, _, m in NAMED])
def test_a_wrong_answer_is_named_as_what_it_is(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.status == "failed"
    assert (result.diagnosis and result.diagnosis.name) == mistake, result


def test_a_test_that_asks_behind_the_end_of_its_text_is_told_so_and_one_up_to_the_end_is_not():
    says = judge_answer("test_sound_pairs", asks_behind_the_end).difference.says
    assert "the last one would stand at place 10, and a text of 10 tokens ends at place 9" in says, says
    assert judge_answer("test_sound_pairs", asks_up_to_the_end).status == "passed"


@pytest.mark.parametrize("kind", [lambda pair: bytes(each % 256 for each in pair), str, set, np.array])
def test_a_pair_of_another_kind_is_told_that_a_tuple_is_asked_for(kind):
    def answer(ids, new_id):
        merged, pair = merge_most_frequent(ids, new_id)
        return merged, kind(pair)

    difference = judge_answer("merge_most_frequent", answer).difference
    assert difference and difference.says.endswith("it should be a tuple of 2 values."), difference
