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


@mistake(
    "`<|endoftext|>` is counted as one byte. It stands for no text at all.",
    "How many bytes of the text does the separator cover?",
)
def bytes_of_one_for_the_separator(encoding):
    return sizes(encoding, len, special=1)


@mistake(
    "The separator is taken for the last token of every vocabulary. `encoding.eot_token` says where it is.",
    "What does your function give where encoding.eot_token is 0?",
)
def bytes_with_the_separator_last(encoding):
    found = sizes(encoding, len, special=len("<|endoftext|>"))
    found[-1] = 0
    return found


@mistake(
    "There is no entry for `<|endoftext|>`: all tokens after it stand one place too early. Its entry is 0.",
    "How many entries should there be, with n_vocab tokens?",
)
def bytes_without_the_separator(encoding):
    found = sizes(encoding, len)
    return np.delete(found, encoding.eot_token)


@mistake(
    "The sizes are not in the order of the ids. Entry i belongs to token i.",
    "In which order does token_byte_values give the tokens?",
)
def bytes_in_another_order(encoding):
    return np.array([len(token) for token in encoding.token_byte_values()] + [0])


@mistake(
    "The sizes are not in the order of the ids, but for the separator. Entry i belongs to token i.",
    "In which order does token_byte_values give the tokens?",
)
def bytes_in_another_order_around_the_separator(encoding):
    found = [len(token) for token in encoding.token_byte_values()]
    return np.array([*found[: encoding.eot_token], 0, *found[encoding.eot_token :]])


@mistake(
    "The sizes are not in the order of the ids. Entry i belongs to token i.",
    "In which order does token_byte_values give the tokens?",
)
def bytes_in_another_order_with_zero_at_the_separator(encoding):
    found = np.array([len(token) for token in encoding.token_byte_values()] + [0])
    found[encoding.eot_token] = 0
    return found


@mistake(
    "Two things: the sizes are not in the order of the ids, and there is no entry for `<|endoftext|>`. Entry i belongs "
    "to token i, and that of the separator is 0.",
    "In which order does token_byte_values give the tokens, and how many are there?",
)
def bytes_in_another_order_without_the_separator(encoding):
    return np.array([len(token) for token in encoding.token_byte_values()])


@mistake(
    "A part of a character counts as one byte. It may have two or three.",
    "How many bytes does decode_single_token_bytes give for a token whose text is `�`?",
)
def bytes_of_one_for_a_part_of_a_character(encoding):
    def of(b):
        text = b.decode(errors="replace")
        return len(text) if "�" in text else len(b)

    return sizes(encoding, of)


@mistake(
    "A part of a character is dropped when it is turned into text, and counts as 0 bytes.",
    "Look at the tokens that hold a single byte above 127.",
)
def bytes_without_parts_of_characters(encoding):
    return sizes(encoding, lambda b: len(b.decode(errors="ignore").encode()))


@mistake(
    "It is the sum over all tokens. Each token has an entry of its own.", "Which shape does the stub ask for?"
)
def bytes_of_all_tokens(encoding):
    return sizes(encoding, len).sum()


@mistake(
    "The letters with which Python writes the bytes are counted, b, the quotes and \\x included.",
    "How long is str(b'a')?",
)
def bytes_as_python_writes_them(encoding):
    return sizes(encoding, lambda b: len(str(b)))


@mistake(
    "The first 256 tokens are taken for single bytes. In a vocabulary of characters they are not.",
    "How many bytes has token 3 of the first case?",
)
def bytes_with_256_of_one(encoding):
    found = sizes(encoding, len)
    found[:256] = np.minimum(found[:256], 1)
    return found


@mistake(
    "The last id has no entry: `encoding.max_token_value` is the largest id, and there is one token more than that.",
    "Is encoding.max_token_value the number of tokens, or the largest id?",
)
def bytes_below_the_largest_id(encoding):
    return sizes(encoding, len)[:-1]


@mistake(
    "The numbers have 8 bits, which end at 127: the length of a longer token comes out wrong.",
    "A token has 200 bytes: which number do you keep for it?",
)
def bytes_in_numbers_of_8_bits(encoding):
    return sizes(encoding, len).astype(np.int8)


@mistake(
    "The numbers have 8 bits, which end at 255: the length of a longer token comes out wrong.",
    "A token has 300 bytes: which number do you keep for it?",
)
def bytes_in_numbers_of_8_bits_without_a_sign(encoding):
    return sizes(encoding, len).astype(np.uint8)


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
    bytes_below_the_largest_id,
    bytes_of_one_for_the_separator,
    bytes_with_the_separator_last,
    bytes_without_the_separator,
    bytes_in_another_order,
    bytes_in_another_order_around_the_separator,
    bytes_in_another_order_with_zero_at_the_separator,
    bytes_in_another_order_without_the_separator,
    bytes_of_one_for_a_part_of_a_character,
    bytes_without_parts_of_characters,
    bytes_of_all_tokens,
    bytes_as_python_writes_them,
    bytes_with_256_of_one,
    bytes_in_numbers_of_8_bits,
    bytes_in_numbers_of_8_bits_without_a_sign,
)
