"""Wrong answers to the exercises of notebook 01."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.text.corpus import windows as core_windows
from nanokimi.train import next_token_loss as core_loss

# ---------------------------------------------------------------- next_token_loss


@mistake(
    "The targets are shifted once more. They are shifted already: targets[t] follows inputs[t].",
    "Which token should logits[:, 0] predict, and where does it stand in `targets`?",
)
def loss_shifted_again(logits, targets):
    return core_loss(logits[:, :-1], targets[:, 1:])  # of a single token nothing is left: nan


@mistake(
    "It is the sum over the tokens; the docstring asks for the mean.",
    "Give it the same sequence twice. Should the loss double?",
)
def loss_as_sum(logits, targets):
    return core_loss(logits, targets) * targets.numel()


@mistake(
    "It is in bits (base 2); the docstring asks for nats.",
    "What is the loss of an even guess among two tokens: 1, or ln 2?",
)
def loss_in_bits(logits, targets):
    return core_loss(logits, targets) / math.log(2)


@mistake(
    "The logits go through a softmax before the cross-entropy, which takes one itself: it is taken twice.",
    "What does F.cross_entropy expect, logits or probabilities?",
)
def loss_of_two_softmaxes(logits, targets):
    return core_loss(logits.softmax(dim=-1), targets)


@mistake(
    "It is summed over the positions, and the mean is taken over the batch only.",
    "Give it a sequence of twice the length. Should the loss double?",
)
def loss_summed_over_positions(logits, targets):
    return core_loss(logits, targets) * targets.shape[1]


@mistake("The sign is missing: this is the mean log-probability.", "Can a loss be negative here?")
def loss_with_the_wrong_sign(logits, targets):
    return -core_loss(logits, targets)


@mistake(
    "It is the mean probability of the right token, not of its logarithm.",
    "What should come out for a probability of 0?",
)
def loss_of_probabilities(logits, targets):
    p = logits.float().softmax(dim=-1).gather(-1, targets[..., None])
    return 1 - p.mean()


@mistake(
    "The softmax runs over the positions instead of the vocabulary.",
    "Over which axis must the probabilities sum to 1?",
)
def loss_over_positions(logits, targets):
    return F.nll_loss(logits.float().log_softmax(dim=1).flatten(0, 1), targets.flatten())


@mistake(
    "The logarithm is taken of a softmax that has already become 0: the loss is infinite.",
    "A logit of 0 beside one of 100: what is its probability in float32? Which function takes softmax and log at once?",
)
def loss_of_log_after_softmax(logits, targets):
    return -logits.float().softmax(dim=-1).gather(-1, targets[..., None]).log().mean()


@mistake(
    "The exponentials are taken of the bare logits. In float32 exp(89) is infinite, and so is the loss.",
    "Which function takes the logarithm of a sum of exponentials at once, and safely?",
)
def loss_of_bare_exponentials(logits, targets):
    full = logits.float()
    return (full.exp().sum(dim=-1).log() - full.gather(-1, targets[..., None])[..., 0]).mean()


@mistake(
    "The loss is computed in the precision of the logits. Of bfloat16, with its 8 bits, two or three digits are left.",
    "In which precision should the logits be read, according to the docstring?",
)
def loss_in_the_precision_of_the_logits(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@mistake(
    "F.cross_entropy takes the second axis for the classes. Here it is the sequence.",
    "Make one long list of all positions first: which shapes do logits and targets then have?",
)
def loss_without_flattening(logits, targets):
    return F.cross_entropy(logits.float(), targets)


NEXT_TOKEN_LOSS = (
    loss_shifted_again,
    loss_as_sum,
    loss_summed_over_positions,
    loss_in_bits,
    loss_of_two_softmaxes,
    loss_with_the_wrong_sign,
    loss_of_probabilities,
    loss_over_positions,
    loss_of_log_after_softmax,
    loss_of_bare_exponentials,
    loss_in_the_precision_of_the_logits,
    loss_without_flattening,
)

# ---------------------------------------------------------------- token_bytes


def sizes(encoding, of, special=0):
    found = np.zeros(encoding.n_vocab, dtype=np.int64)
    for token in range(encoding.n_vocab):
        found[token] = (
            special if token == encoding.eot_token else of(encoding.decode_single_token_bytes(token))
        )
    return found


@mistake(
    "Characters are counted, not bytes: é is one character of two bytes.",
    "Look at a token that holds a letter with an accent.",
)
def bytes_as_characters(encoding):
    return sizes(encoding, lambda b: len(b.decode(errors="replace")))


@mistake(
    "`<|endoftext|>` is given the length of its name. It stands for no text at all.",
    "How many bytes of the text does the separator cover?",
)
def bytes_of_the_separator(encoding):
    return sizes(encoding, len, special=len("<|endoftext|>"))


@mistake("White space is left out. A blank is a byte like any other.", "How many bytes has the token ' the'?")
def bytes_without_blanks(encoding):
    return sizes(encoding, lambda b: len(b.strip()))


@mistake("Every token counts as one byte.", "How many bytes does the longest token of the vocabulary have?")
def bytes_all_one(encoding):
    return sizes(encoding, lambda b: 1)


@mistake("Bits are counted, eight a byte.", "What is asked for: bytes or bits?")
def bytes_in_bits(encoding):
    return sizes(encoding, lambda b: 8 * len(b))


@mistake(
    "Each token is decoded to text and encoded again. A part of a character is no text: it becomes `�`, three bytes.",
    "Look at the tokens that hold a single byte above 127.",
)
def bytes_of_decoded_text(encoding):
    return sizes(encoding, lambda b: len(b.decode(errors="replace").encode()))


@mistake(
    "Two things: characters are counted, not bytes, and `<|endoftext|>` is given the length of its name.",
    "Look at a token that holds a letter with an accent; then ask how much of the text the separator covers.",
)
def bytes_as_characters_separator_too(encoding):
    return sizes(encoding, lambda b: len(b.decode(errors="replace")), special=len("<|endoftext|>"))


@mistake(
    "Two things: tokens are decoded to text and encoded again, where a part of a character becomes `�`, three bytes; "
    "and `<|endoftext|>` is given the length of its name.",
    "Look at the tokens that hold a single byte above 127; then ask how much of the text the separator covers.",
)
def bytes_of_decoded_text_separator_too(encoding):
    return sizes(encoding, lambda b: len(b.decode(errors="replace").encode()), special=len("<|endoftext|>"))


@mistake(
    "The last token of the vocabulary has no place: n_vocab tokens are numbered from 0 to n_vocab - 1.",
    "Is encoding.max_token_value a number of tokens, or the last of their numbers?",
)
def bytes_without_the_last_token(encoding):
    return sizes(encoding, len, special=len("<|endoftext|>"))[:-1]


TOKEN_BYTES = (
    bytes_as_characters,
    bytes_of_the_separator,
    bytes_without_blanks,
    bytes_all_one,
    bytes_in_bits,
    bytes_of_decoded_text,
    bytes_as_characters_separator_too,
    bytes_of_decoded_text_separator_too,
    bytes_without_the_last_token,
)

# ---------------------------------------------------------------- windows


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
    "One window too many is cut at the end: its last input has no token behind it that could be its target.",
    "How many windows of 5 inputs, with a target each, do 40 tokens give?",
)
def windows_one_too_many(split, n, seq_len):
    n = min(n, len(split.tokens) // seq_len)
    return cut(split, n, seq_len, limit=False)


@mistake(
    "As many windows are cut as were asked for, although the text has fewer.",
    "How many windows fit into the text?",
)
def windows_as_many_as_asked(split, n, seq_len):
    return cut(split, n, seq_len, limit=False)


WINDOWS = (
    windows_without_shift,
    windows_that_overlap,
    windows_with_index_of_inputs,
    windows_from_the_end,
    windows_one_too_few,
    windows_exchanged,
    windows_of_separate_pieces,
    windows_one_too_many,
    windows_as_many_as_asked,
)

# ---------------------------------------------------------------- article


@mistake("It is always `a`.", "What stands before *apple*?")
def article_always_a(noun):
    return "a"


@mistake(
    "The exceptions are missing: *hour* begins with a vowel for the ear, *unicorn* does not.",
    "Say it aloud: an unicorn, a hour?",
)
def article_by_letter(noun):
    return "an" if noun[0].lower() in "aeiou" else "a"


@mistake("It is the other way round.", "What stands before *apple*?")
def article_the_other_way(noun):
    return "a" if noun[0].lower() in "aeiou" else "an"


@mistake("The letter u is not taken for a vowel: an umbrella.", "Which letters are vowels?")
def article_without_u(noun):
    return "an" if noun[0] in "aeio" or noun.startswith(("hour", "honest")) else "a"


@mistake(
    "Only the last rule counts: words like *hour* take `an`, all others `a`.", "What stands before *apple*?"
)
def article_of_hours_only(noun):
    return "an" if noun.startswith(("hour", "honest")) else "a"


@mistake(
    'Only the first of the listed beginnings counts: in Python `"uni" or "use"` is just `"uni"`.',
    'What does Python say to `"uni" or "use"`? And what to startswith of a tuple?',
)
def article_of_the_first_beginning(noun):
    if noun.startswith("uni"):
        return "a"
    return "an" if noun.startswith("hour") or noun[0] in "aeiou" else "a"


@mistake(
    "The exceptions are compared with the whole word, so only `hour` is one. They are beginnings.",
    'Is "unicorn" equal to "uni"?',
)
def article_of_whole_words(noun):
    return "an" if noun == "hour" or noun[0] in "aeiou" else "a"


ARTICLE = (
    article_always_a,
    article_by_letter,
    article_the_other_way,
    article_without_u,
    article_of_hours_only,
    article_of_the_first_beginning,
    article_of_whole_words,
)

# ---------------------------------------------------------------- find the bug

PASSES = (
    "The test lets every function pass, the broken one too.",
    "Which `assert` should fail on the broken function, and with which input?",
)
FAILS = (
    "The test fails for every function, the sound one too.",
    "Run it on a function that you trust first.",
)
COUNTING = torch.arange(20)


@mistake(*PASSES)
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


PAIRS_TESTS = (
    pairs_test_that_never_fails,
    pairs_test_that_always_fails,
    pairs_test_of_the_shape,
    pairs_test_of_the_inputs,
    pairs_test_of_a_constant,
)

DOCUMENTS = [f"story {i}" for i in range(10)]


@mistake(*PASSES)
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
    "The test asks whether there is something to train on. There is too much.",
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


SPLIT_TESTS = (
    split_test_that_never_fails,
    split_test_that_always_fails,
    split_test_of_the_share,
    split_test_of_something_to_train,
    split_test_of_everything_used,
)
