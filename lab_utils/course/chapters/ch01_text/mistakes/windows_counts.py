"""The known wrong answers to windows, of notebook 01, about how many of them there are.

Several ways to write one of them, which differ where no window is left or where text is missing, have the same words.
"""

import torch

from lab_utils.course.chapters.ch01_text.mistakes.windows import cut, windows_missing_an_exact_end
from lab_utils.course.exercise import mistake
from nanokimi.text.corpus import windows as core_windows

MISSING = mistake(windows_missing_an_exact_end.says, windows_missing_an_exact_end.look_at)
TOO_FEW = mistake(
    "A window is missing at the end, except where the number of tokens is a multiple of seq_len.",
    "How many windows of 3 inputs, with a target each, do 8 tokens give?",
)


def first(fits, split, n, seq_len):
    """The first `fits` windows, and no more than `n`; none where there are none."""
    return tuple(part[: min(n, fits)] for part in core_windows(split, n, seq_len))


@MISSING
def windows_stacked_missing_an_exact_end(split, n, seq_len):
    return cut(split, min(n, (len(split) - 2) // seq_len), seq_len)


@mistake(
    "There is one window fewer where the text ends just with the target of its second window, or of a later one.",
    "How many windows of 5 inputs, with a target each, do 11 tokens give?",
)
def windows_missing_an_exact_end_but_one(split, n, seq_len):
    return first(max(1, (len(split) - 2) // seq_len), split, n, seq_len)


@TOO_FEW
def windows_that_begin_too_early(split, n, seq_len):
    return first(len(split) // seq_len - 1, split, n, seq_len)


@TOO_FEW
def windows_stacked_that_begin_too_early(split, n, seq_len):
    return cut(split, min(n, len(split) // seq_len - 1), seq_len)


@mistake(
    "Of two windows or more the last is missing, except where the number of tokens is a multiple of seq_len.",
    "How many windows of 3 inputs, with a target each, do 8 tokens give?",
)
def windows_that_begin_too_early_but_one(split, n, seq_len):
    return first(max(1, len(split) // seq_len - 1), split, n, seq_len)


@mistake(
    "There are only as many windows as the text has pieces of seq_len + 1 tokens. Windows that lie side by side share "
    "a token: the last target of one is the first input of the next.",
    "How many windows of 3 inputs, with a target each, do 7 tokens give?",
)
def windows_counted_as_separate_pieces(split, n, seq_len):
    return first(len(split) // (seq_len + 1), split, n, seq_len)


@mistake(
    "One window too many is cut at the end, of what is left of the text: too little for a window and its targets.",
    "How many windows of 3 inputs, with a target each, do 7 tokens give?",
)
def windows_with_what_is_left(split, n, seq_len):
    tokens = torch.from_numpy(split.tokens.astype("int64"))
    starts = range(0, len(tokens), seq_len)[:n]
    inputs = torch.stack([tokens[i : i + seq_len] for i in starts])
    targets = torch.stack([tokens[i + 1 : i + 1 + seq_len] for i in starts])
    return inputs, targets, torch.arange(1, inputs.numel() + 1).view_as(inputs)


WINDOW_COUNTS = (
    windows_stacked_missing_an_exact_end,
    windows_missing_an_exact_end_but_one,
    windows_that_begin_too_early,
    windows_stacked_that_begin_too_early,
    windows_that_begin_too_early_but_one,
    windows_counted_as_separate_pieces,
    windows_with_what_is_left,
)
