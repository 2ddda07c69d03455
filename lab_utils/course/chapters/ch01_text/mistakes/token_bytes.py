"""The known wrong answers to token_bytes, of notebook 01."""

import numpy as np

from lab_utils.course.exercise import mistake


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


@mistake(
    "White space is left out. A space is a byte like any other.", "How many bytes does the token ' the' have?"
)
def bytes_without_blanks(encoding):
    return sizes(encoding, lambda b: len(b.strip()))


@mistake("Every token counts as one byte.", "How many bytes does the longest token of the vocabulary have?")
def bytes_all_one(encoding):
    return sizes(encoding, lambda b: 1)


@mistake("Bits are counted, eight per byte.", "What does the docstring ask for: bytes or bits?")
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
    "The last token of the vocabulary has no entry: the n_vocab tokens have the ids 0 to n_vocab - 1.",
    "Is encoding.max_token_value the number of tokens, or the largest id?",
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
