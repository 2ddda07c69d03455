"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 01."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake

# ---------------------------------------------------------------- find the bug

FAILS = (
    "It passes for no piece that was tried, the sound ones included.",
    "Run it on a function that you trust first.",
)
COUNTING = torch.arange(20)


@mistake(*LOOKS_AT_NOTHING)
def pairs_test_that_never_fails(cut_pairs):
    cut_pairs(COUNTING, [0], 4)


@mistake(*FAILS)
def pairs_test_that_always_fails(cut_pairs):
    raise AssertionError


@mistake(
    "It passes for all pieces that were tried but one of another shape, and one that gives nothing.",
    "Which token follows which in your text, and does your test ask for just those targets?",
)
def pairs_test_of_the_shape(cut_pairs):
    inputs, targets = cut_pairs(COUNTING, [0, 5], 4)
    assert inputs.shape == targets.shape == (2, 4)


@mistake(
    "It refuses pieces with other inputs, and none with other targets: what it asks of the targets, if anything, is "
    "true of wrong ones too. The inputs are right.",
    "What is it that the model should predict?",
)
def pairs_test_of_the_inputs(cut_pairs):
    assert cut_pairs(COUNTING, [3], 4)[0].tolist() == [[3, 4, 5, 6]]


@mistake(
    "It refuses plainly wrong pieces and none of the broken ones: what it asks of the targets is true of a shifted "
    "row and of one that is not, as where one token is repeated.",
    "Which targets would a row have that is not shifted, and would your test refuse them?",
)
def pairs_test_of_a_constant(cut_pairs):
    inputs, targets = cut_pairs(torch.full((20,), 7), [0], 4)
    assert targets.tolist() == [[7, 7, 7, 7]] == inputs.tolist()


@mistake(
    "It notices targets that are not shifted at all, and passes where the shift is wrong or is in one row only.",
    "By how many tokens should a target be ahead, and in which rows does your test look?",
)
def pairs_test_of_any_other_targets(cut_pairs):
    inputs, targets = cut_pairs(COUNTING, [0, 5], 4)
    assert not torch.equal(inputs, targets)


@mistake(
    "It passes for a piece whose last target in each row is the first input again.",
    "Which token of the text stands in `targets` only, and in no row of `inputs`?",
)
def pairs_test_without_the_last_target(cut_pairs):
    inputs, targets = cut_pairs(COUNTING, [0, 5], 4)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


@mistake(
    "It passes for a piece in which only the last target of each row is right.",
    "How many targets has a row in your test, and how many of them does it compare?",
)
def pairs_test_of_the_last_target(cut_pairs):
    assert cut_pairs(COUNTING, [0, 5], 4)[1][:, -1].tolist() == [4, 9]


@mistake(
    "It passes for a piece that shifts its first row only.",
    "How many rows do your starts give, and how many does your test compare?",
)
def pairs_test_of_the_first_row(cut_pairs):
    assert cut_pairs(COUNTING, [0, 5], 4)[1][0].tolist() == [1, 2, 3, 4]


@mistake(
    "It passes where the last target of each row is wrong, and where only the first row is right.",
    "How many targets do your starts give, and how many does your test compare?",
)
def pairs_test_of_the_first_target(cut_pairs):
    assert cut_pairs(COUNTING, [0, 5], 4)[1][0, 0] == 1


@mistake(
    "It passes for a piece whose targets lie three tokens further on.",
    "Which token follows which in your text, and does your test ask for just that one?",
)
def pairs_test_of_two_tokens(cut_pairs):
    inputs, targets = cut_pairs(torch.tensor([0, 1] * 10), [0, 5], 3)
    assert torch.equal(targets, 1 - inputs)


@mistake(*LOOKS_AT_NO_NUMBER)
def pairs_test_of_the_kind(cut_pairs):
    assert cut_pairs(COUNTING, [0], 4) is not None


@mistake(
    "It passes for pieces whose targets lie three tokens further on, or are the first input again at the end of a row, "
    "and for zeros: of the numbers it asks only that no target is its input.",
    "Which token follows which in your text, and does your test ask for just that one?",
)
def pairs_test_of_other_targets_everywhere(cut_pairs):
    inputs, targets = cut_pairs(COUNTING + 100, [0, 5], 4)
    assert (inputs != targets).all()


@mistake(
    "It passes for pieces whose targets lie three tokens further on, or are the first input again at the end of a row: "
    "its text comes again after two tokens.",
    "Which token follows which in your text, and does your test ask for just that one?",
)
def pairs_test_of_two_tokens_in_even_rows(cut_pairs):
    inputs, targets = cut_pairs(torch.tensor([0, 1] * 10), [0, 5], 4)
    assert torch.equal(targets, 1 - inputs)


PAIRS_TESTS = (
    pairs_test_that_never_fails,
    pairs_test_of_the_kind,
    pairs_test_that_always_fails,
    pairs_test_of_the_shape,
    pairs_test_of_the_inputs,
    pairs_test_of_any_other_targets,
    pairs_test_without_the_last_target,
    pairs_test_of_the_last_target,
    pairs_test_of_the_first_row,
    pairs_test_of_the_first_target,
    pairs_test_of_two_tokens,
    pairs_test_of_a_constant,
    pairs_test_of_two_tokens_in_even_rows,
    pairs_test_of_other_targets_everywhere,
)

DOCUMENTS = [f"story {i}" for i in range(10)]


@mistake(*LOOKS_AT_NOTHING)
def split_test_that_never_fails(split_documents):
    split_documents(DOCUMENTS, 0.2)


@mistake(*FAILS)
def split_test_that_always_fails(split_documents):
    raise AssertionError


@mistake(
    "Of the splits that were tried it refuses those with another number of validation documents. The broken ones have "
    "the right number.",
    "Where else do those documents stand?",
)
def split_test_of_the_share(split_documents):
    assert len(split_documents(DOCUMENTS, 0.2)[1]) == 2


@mistake(
    "Of the splits that were tried it refuses only one without training text. The broken ones have too much of it.",
    "How many documents may be on both sides?",
)
def split_test_of_something_to_train(split_documents):
    assert len(split_documents(DOCUMENTS, 0.2)[0]) >= 1


@mistake(
    "Of the splits that were tried it refuses those that leave documents out. The broken ones use all, some of them "
    "twice.",
    "How many documents may be on both sides?",
)
def split_test_of_everything_used(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert set(training) | set(validation) == set(DOCUMENTS)


@mistake(
    LOOKS_AT_NO_NUMBER[0],
    "What must never be true of a document that the model is tested on?",
)
def split_test_of_the_kind(split_documents):
    assert split_documents(DOCUMENTS, 0.2) is not None


@mistake(
    "It passes for a broken piece whose lists are as long as those of a sound one: there a document on both sides "
    "makes up for one that is lost.",
    "Which question is about the documents themselves, not about their number?",
)
def split_test_of_the_number(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert len(training) + len(validation) == len(DOCUMENTS)


@mistake(
    "It passes for no piece but one that holds nothing out, and refuses the sound ones, which hold out one document "
    "or more.",
    "How many documents does your test give, and which share? At a share of 0, or with one document, nobody says what "
    "a split does.",
)
def split_test_at_no_share(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.0)
    assert validation == [] and training == DOCUMENTS


@mistake(
    "It refuses the sound pieces, and passes only where one of the two sides is empty.",
    "Are all of your documents different, and is it whole documents that your test compares? Equal ones, or equal "
    "words, may stand on both sides of a sound split.",
)
def split_test_of_equal_texts(split_documents):
    training, validation = split_documents(["the cat", "the owl"] * 10, 0.2)
    assert not set(training) & set(validation)


@mistake(
    "It passes for a piece that keeps the last validation document for training.",
    "How many validation documents does your test compare with the training ones?",
)
def split_test_of_the_first_document(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert validation[0] not in training


@mistake(
    "It passes for a piece that keeps the first validation document for training.",
    "How many validation documents does your test compare with the training ones?",
)
def split_test_of_the_last_document(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert validation[-1] not in training


@mistake(
    "It passes for a piece that keeps one of the validation documents for training. Not one may stand on both sides.",
    "How many documents may stand on both sides, and how many must do so before your test fails?",
)
def split_test_of_all_documents(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert not set(validation) <= set(training)


@mistake(
    "It passes for a sound piece that holds out every n-th document, and refuses those that hold out a row of them.",
    "Are all of your documents different? Equal ones may stand on both sides of a sound split.",
)
def split_test_of_documents_that_come_again(split_documents):
    training, validation = split_documents(["a", "b", "c", "d"] * 6, 0.25)
    assert not set(training) & set(validation)


@mistake(
    "It refuses a sound piece that gives the documents in another order. Each of the two lists may come in any.",
    "Which question is about the documents themselves, not about their places in a list?",
)
def split_test_of_the_order(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert training == [document for document in DOCUMENTS if document not in validation]


@mistake(
    "Of the splits that were tried it refuses only those that hold nothing out: it asks whether something is missing "
    "from the training text.",
    "How many documents may be on both sides?",
)
def split_test_of_less_to_train(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert len(training) < len(DOCUMENTS) and validation


SPLIT_TESTS = (
    split_test_of_less_to_train,
    split_test_of_the_order,
    split_test_of_documents_that_come_again,
    split_test_that_never_fails,
    split_test_of_the_kind,
    split_test_that_always_fails,
    split_test_of_the_share,
    split_test_of_something_to_train,
    split_test_of_everything_used,
    split_test_of_the_number,
    split_test_at_no_share,
    split_test_of_equal_texts,
    split_test_of_the_first_document,
    split_test_of_the_last_document,
    split_test_of_all_documents,
)
