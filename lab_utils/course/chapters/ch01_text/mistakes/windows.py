"""The known wrong answers to windows, of notebook 01."""

import numpy as np
import torch

from lab_utils.course.exercise import mistake
from nanokimi.text.corpus import windows as core_windows


def cut(split, n, seq_len, stride=None, shift=1, index_from=1, limit=True):
    stride = seq_len if stride is None else stride
    n = min(n, (len(split.tokens) - 1) // seq_len) if limit else n
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    inputs = torch.stack([tokens[i * stride : i * stride + seq_len] for i in range(n)])
    targets = torch.stack([tokens[i * stride + shift :][:seq_len] for i in range(n)])
    return inputs, targets, torch.arange(index_from, n * seq_len + index_from).view(n, seq_len)


@mistake(
    "The targets are the inputs themselves: nothing is left to predict.",
    "targets[i] should be the token that *follows* inputs[i].",
)
def windows_without_shift(split, n, seq_len):
    return cut(split, n, seq_len, shift=0)


@mistake(
    "The windows overlap: each begins one token after the one before.",
    "Side by side: where does window 1 begin?",
)
def windows_that_overlap(split, n, seq_len):
    inputs, targets, index = core_windows(split, n, seq_len)
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    inputs = torch.stack([tokens[i : i + seq_len] for i in range(len(index))])
    targets = torch.stack([tokens[i + 1 : i + 1 + seq_len] for i in range(len(index))])
    return inputs, targets, index


@mistake(
    "`index` is the place of the inputs; it should be that of the targets.",
    "Compare split.tokens[index] with the targets.",
)
def windows_with_index_of_inputs(split, n, seq_len):
    return cut(split, n, seq_len, index_from=0)


@mistake("The windows are the last ones of the text, not the first.", "Where does the first window begin?")
def windows_from_the_end(split, n, seq_len):
    inputs, targets, index = core_windows(split, len(split), seq_len)
    return inputs[-n:], targets[-n:], index[-n:]


@mistake(
    "There is one window fewer than fits.",
    "How many windows of 3 inputs, with a target each, do 7 tokens give?",
)
def windows_one_too_few(split, n, seq_len):
    fits = max(1, (len(split) - 1) // seq_len - 1)
    return core_windows(split, min(n, fits), seq_len)


@mistake(
    "The last window is missing: a window is taken off that its targets do not need. They need one token more, not "
    "seq_len more.",
    "How many windows of 1 input, with a target each, do 2 tokens give?",
)
def windows_without_the_last(split, n, seq_len):
    fits = (len(split) - 1 - seq_len) // seq_len
    return tuple(part[:fits] for part in core_windows(split, n, seq_len))


@mistake("Inputs and targets are exchanged.", "Which of the two does the model see?")
def windows_exchanged(split, n, seq_len):
    inputs, targets, index = core_windows(split, n, seq_len)
    return targets, inputs, index


@mistake(
    "The text is cut into pieces of seq_len + 1, and a target is lost between two windows.",
    "Is every token but the first a target once?",
)
def windows_of_separate_pieces(split, n, seq_len):
    n = min(n, len(split) // (seq_len + 1))
    inputs, targets, _ = cut(split, n, seq_len, stride=seq_len + 1)
    starts = (seq_len + 1) * torch.arange(n)[:, None]
    return inputs, targets, starts + torch.arange(1, seq_len + 1)


@mistake(
    "One window too many is cut at the end: its last input has no next token that could be its target.",
    "How many windows of 5 inputs, with a target each, do 40 tokens give?",
)
def windows_one_too_many(split, n, seq_len):
    n = min(n, len(split.tokens) // seq_len)
    return cut(split, n, seq_len, limit=False)


@mistake(
    "It cuts as many windows as the caller asks for, although the text has fewer.",
    "How many windows fit into the text?",
)
def windows_as_many_as_asked(split, n, seq_len):
    return cut(split, n, seq_len, limit=False)


def from_index(split, index, made=torch.int64):
    """Inputs and targets for the places of the inputs."""
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    return tokens[index].to(made), tokens[index + 1].to(made), index + 1


def places(split, n, seq_len):
    n = min(n, (len(split.tokens) - 1) // seq_len)
    return torch.arange(n * seq_len).view(n, seq_len)


@mistake(
    "The windows overlap: each begins one token after the one before, and there are more of them.",
    "Side by side: where does window 1 begin?",
)
def windows_at_every_token(split, n, seq_len):
    n = min(n, len(split.tokens) - seq_len)
    return from_index(split, torch.arange(n)[:, None] + torch.arange(seq_len))


@mistake(
    "`n` makes no difference: all windows of the text come back.",
    "Follow the argument `n` through your code.",
)
def windows_without_n(split, n, seq_len):
    return core_windows(split, len(split), seq_len)


@mistake(
    "It cuts as many windows as the caller asks for, although the text has fewer, and reads past its end.",
    "How many windows fit into the text?",
)
def windows_read_past_the_end(split, n, seq_len):
    return from_index(split, torch.arange(n * seq_len).view(n, seq_len))


@mistake(
    "One window too many is counted at the end: its last target lies behind the text.",
    "How many windows of 5 inputs, with a target each, do 40 tokens give?",
)
def windows_whose_last_target_is_missing(split, n, seq_len):
    n = min(n, len(split.tokens) // seq_len)
    return from_index(split, torch.arange(n * seq_len).view(n, seq_len))


@mistake(
    "There is one window fewer where the text ends just with a target.",
    "How many windows of 5 inputs, with a target each, do 11 tokens give?",
)
def windows_missing_an_exact_end(split, n, seq_len):
    n = min(n, (len(split.tokens) - 2) // seq_len)
    return from_index(split, torch.arange(n * seq_len).view(n, seq_len))


@mistake(
    "The text runs down the columns. A window is a row: its tokens follow each other from left to right.",
    "Which token should stand beside the first one?",
)
def windows_in_columns(split, n, seq_len):
    index = places(split, n, seq_len)
    return from_index(split, index.reshape(seq_len, len(index)).T)


@mistake(
    "The last target of each window is its own first token: the shift stays within the window.",
    "Which token follows the last input of window 0?",
)
def windows_that_wrap(split, n, seq_len):
    inputs, _, index = core_windows(split, n, seq_len)
    return inputs, inputs.roll(-1, dims=1), index


@mistake(
    "`index` begins anew in each window. It is the place in the whole text.",
    "Compare split.tokens[index] with the targets.",
)
def windows_with_places_in_the_window(split, n, seq_len):
    inputs, targets, index = core_windows(split, n, seq_len)
    return inputs, targets, index[:1].repeat(len(index), 1)


@mistake(
    "`index` is missing. Three tensors are asked for.", "What does the first line of the docstring list?"
)
def windows_without_index(split, n, seq_len):
    return core_windows(split, n, seq_len)[:2]


@mistake(
    "`index` comes first. The order is inputs, targets, index.",
    "What does the first line of the docstring list?",
)
def windows_with_index_first(split, n, seq_len):
    inputs, targets, index = core_windows(split, n, seq_len)
    return index, inputs, targets


@mistake(
    "`index` has the number of the window at every place. It is the place of each target in the text.",
    "Compare split.tokens[index] with the targets.",
)
def windows_with_the_number_of_the_window(split, n, seq_len):
    inputs, targets, index = core_windows(split, n, seq_len)
    return inputs, targets, torch.arange(len(index))[:, None].expand(index.shape)


@mistake(
    "The text is taken for a ring: the last window may have the first token of the text as its last target.",
    "Which token follows the last one of the text?",
)
def windows_in_a_ring(split, n, seq_len):
    places = torch.arange(min(n, len(split.tokens) // seq_len) * seq_len).view(-1, seq_len)
    tokens = torch.from_numpy(split.tokens.astype(np.int64))
    return tokens[places], tokens.roll(-1)[places], places + 1


@mistake(
    "The windows are spread over the whole text. They should be the first ones, side by side.",
    "Where does window 1 begin, if n is smaller than the number of windows that fit?",
)
def windows_spread_over_the_text(split, n, seq_len):
    fits = (len(split.tokens) - 1) // seq_len
    starts = seq_len * torch.linspace(0, fits - 1, min(n, fits)).long()
    return from_index(split, starts[:, None] + torch.arange(seq_len))


@mistake("The tokens are int32. The docstring asks for int64.", "Which dtype has a tensor that indexes?")
def windows_of_int32(split, n, seq_len):
    return from_index(split, places(split, n, seq_len), torch.int32)


@mistake(
    "Large tokens become negative: the tokens go through int16, which ends at 32,767.",
    "Which numbers can uint16 hold that int16 cannot?",
)
def windows_of_int16(split, n, seq_len):
    inputs, targets, index = from_index(split, places(split, n, seq_len), torch.int16)
    return inputs.long(), targets.long(), index


WINDOW_CUTS = (
    windows_without_shift,
    windows_that_overlap,
    windows_with_index_of_inputs,
    windows_from_the_end,
    windows_one_too_few,
    windows_without_the_last,
    windows_exchanged,
    windows_of_separate_pieces,
    windows_one_too_many,
    windows_as_many_as_asked,
    windows_at_every_token,
    windows_without_n,
    windows_read_past_the_end,
    windows_whose_last_target_is_missing,
    windows_missing_an_exact_end,
    windows_in_columns,
    windows_that_wrap,
    windows_with_places_in_the_window,
    windows_with_the_number_of_the_window,
    windows_in_a_ring,
    windows_spread_over_the_text,
    windows_without_index,
    windows_with_index_first,
    windows_of_int32,
    windows_of_int16,
)
