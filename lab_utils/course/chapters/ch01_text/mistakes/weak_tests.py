"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 01."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake

# ---------------------------------------------------------------- find the bug

FAILS = (
    "The test fails for every function, the sound one too.",
    "Run it on a function that you trust first.",
)
COUNTING = torch.arange(20)


@mistake(*LOOKS_AT_NOTHING)
def pairs_test_that_never_fails(cut_pairs):
    cut_pairs(COUNTING, [0], 4)


@mistake(*FAILS)
def pairs_test_that_always_fails(cut_pairs):
    raise AssertionError


@mistake("The test looks at the shapes only.", "Take a text in which you know which token follows which.")
def pairs_test_of_the_shape(cut_pairs):
    inputs, targets = cut_pairs(COUNTING, [0, 5], 4)
    assert inputs.shape == targets.shape == (2, 4)


@mistake("The test looks at the inputs only. They are right.", "What is it that the model should predict?")
def pairs_test_of_the_inputs(cut_pairs):
    assert cut_pairs(COUNTING, [3], 4)[0].tolist() == [[3, 4, 5, 6]]


@mistake(
    "The text of the test is one token repeated. There a shifted text is the same text.",
    "Take tokens that are all different.",
)
def pairs_test_of_a_constant(cut_pairs):
    inputs, targets = cut_pairs(torch.full((20,), 7), [0], 4)
    assert targets.tolist() == [[7, 7, 7, 7]] == inputs.tolist()


@mistake(*LOOKS_AT_NO_NUMBER)
def pairs_test_of_the_kind(cut_pairs):
    assert cut_pairs(COUNTING, [0], 4) is not None


PAIRS_TESTS = (
    pairs_test_that_never_fails,
    pairs_test_of_the_kind,
    pairs_test_that_always_fails,
    pairs_test_of_the_shape,
    pairs_test_of_the_inputs,
    pairs_test_of_a_constant,
)

DOCUMENTS = [f"story {i}" for i in range(10)]


@mistake(*LOOKS_AT_NOTHING)
def split_test_that_never_fails(split_documents):
    split_documents(DOCUMENTS, 0.2)


@mistake(*FAILS)
def split_test_that_always_fails(split_documents):
    raise AssertionError


@mistake(
    "The test looks at the share of the validation documents. It is right.",
    "Where else do those documents stand?",
)
def split_test_of_the_share(split_documents):
    assert len(split_documents(DOCUMENTS, 0.2)[1]) == 2


@mistake(
    "The test asks whether there is something to train on. There is, and too much of it.",
    "How many documents may be on both sides?",
)
def split_test_of_something_to_train(split_documents):
    assert len(split_documents(DOCUMENTS, 0.2)[0]) >= 1


@mistake(
    "The test asks whether all documents are used. They are; some of them twice.",
    "How many documents may be on both sides?",
)
def split_test_of_everything_used(split_documents):
    training, validation = split_documents(DOCUMENTS, 0.2)
    assert set(training) | set(validation) == set(DOCUMENTS)


@mistake(*LOOKS_AT_NO_NUMBER)
def split_test_of_the_kind(split_documents):
    assert split_documents(DOCUMENTS, 0.2) is not None


SPLIT_TESTS = (
    split_test_that_never_fails,
    split_test_of_the_kind,
    split_test_that_always_fails,
    split_test_of_the_share,
    split_test_of_something_to_train,
    split_test_of_everything_used,
)
