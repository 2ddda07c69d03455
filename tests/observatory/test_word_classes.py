"""The class of a token's word and the token's place in it, by hand."""

from dataclasses import replace

from lab_utils.observatory.word_classes import (
    POSITIONS,
    WORD_CLASSES,
    Lexicon,
    classify,
    find_words,
    read_storyworld_lexicon,
)
from nanokimi.config import DataConfig
from nanokimi.text import tokenizer
from nanokimi.text.tokenizer import END_OF_TEXT

LEXICON = Lexicon(names=frozenset({"pim"}), verbs=frozenset({"trotted"}), places=frozenset({"mill"}))


def words_of(text: str, lexicon: Lexicon = LEXICON) -> list[tuple[str, str, str]]:
    """One token per run of characters, cut by hand at `|`; the encoding has every byte, so any cut is a token list."""
    encoding = tokenizer.train_bpe([text.replace("|", "")] * 3, 400)
    ids = [i for piece in text.split("|") for i in encoding.encode_ordinary(piece)]
    found = classify(encoding, ids, lexicon)
    texts = [encoding.decode([i]) for i in ids]
    classes = [WORD_CLASSES[i] for i in found.word_class]
    return list(zip(texts, classes, [POSITIONS[i] for i in found.position]))


def test_classes_by_hand():
    found = words_of('Pim trotted to the mill. "Oh, Zoe saw 12!"\nIt is|n\'t|.')
    assert [(t.strip(" "), c) for t, c, _ in found if t.strip()] == [
        ("Pim", "name"), ("trotted", "verb"), ("to", "other word"), ("the", "other word"), ("mill", "place"),
        (".", "punctuation"), ('"', "quote"), ("Oh", "other word"), (",", "punctuation"), ("Zoe", "name"),
        ("saw", "other word"), ("12", "number"), ('!"', "punctuation"), ("It", "other word"),
        ("is", "other word"), ("n", "other word"), ("'t", "other word"), (".", "punctuation"),
    ]  # fmt: skip
    places = {t.strip(" "): p for t, _, p in found}
    assert places["Pim"] == places["Oh"] == places["It"] == "begins a sentence"
    assert places["Zoe"] == places["is"] == places["mill"] == "begins a word"
    assert places["n"] == places["'t"] == "goes on in a word"
    assert places["."] == "sign or space"


def test_pieces_of_a_word_have_its_class():
    found = words_of("Pim tro|tted to the m|ill")
    assert [c for _, c, _ in found[1:3]] == ["verb", "verb"]
    assert [c for _, c, _ in found[-2:]] == ["place", "place"]
    assert found[2][2] == found[-1][2] == "goes on in a word"


def test_a_document_ends_a_word_and_a_sentence():
    encoding = tokenizer.train_bpe(["Pim Kim"] * 3, 300)
    (end,) = encoding.encode(END_OF_TEXT, allowed_special="all")
    ids = [*encoding.encode_ordinary("Kim"), end, *encoding.encode_ordinary("Kim")]
    found = classify(encoding, ids, LEXICON)
    assert [WORD_CLASSES[i] for i in found.word_class] == ["other word", "end of text", "other word"]
    assert POSITIONS[found.position[-1]] == "begins a sentence"


def test_other_alphabets_and_broken_characters_have_a_class():
    assert {c for _, c, _ in words_of("né 雨 – π")} <= {"other word", "punctuation", "white space"}


def test_the_storyworlds_lexicon():
    lexicon = read_storyworld_lexicon(DataConfig(n_characters=40))
    assert "martha" in lexicon.names and "fluttered" in lexicon.verbs and "market" in lexicon.places
    assert "stop" in lexicon.places and "bus" not in lexicon.places  # of "bus stop"
    assert read_storyworld_lexicon(replace(DataConfig(), source="tinystories")) == Lexicon()


def test_every_token_knows_its_word():
    """Pieces share the word of their first letter; the blank before a word is part of its piece; no 's."""
    encoding = tokenizer.train_bpe(["Pim's mill."] * 3, 400)
    pieces = ["Pi", "m", "'s", " mill", "mi", "ll", ".", " "]
    ids = [i for piece in pieces for i in encoding.encode_ordinary(piece)]
    assert encoding.decode_single_token_bytes(ids[3]) == b" mill"
    lengths = [len(encoding.encode_ordinary(piece)) for piece in pieces]
    expected = ["Pim", "Pim", "Pim", "millmill", "millmill", "millmill", ".", " "]
    assert find_words(encoding, ids) == [w for w, n in zip(expected, lengths) for _ in range(n)]
    end = [encoding.eot_token]
    assert (
        find_words(encoding, encoding.encode_ordinary("mill") + end + encoding.encode_ordinary("mill"))[-1]
        == "mill"
    )
