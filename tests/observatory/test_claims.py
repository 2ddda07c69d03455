"""Claims: which tokens they fit, how they are put together, and the lines that refuse others."""

import numpy as np
import pytest

from lab_utils.observatory.claim_choices import NAMES, TOKENS, WORDS, list_choices, read_claim
from lab_utils.observatory.claims import ClaimError, as_claim, class_is, token_is, word_is
from lab_utils.observatory.passage import read_passage
from nanokimi.text import tokenizer
from tests.observatory.made_up_passage import passage

TEXT = passage("abe", "A b")


def fitting(claim, text=TEXT) -> list[int]:
    return np.flatnonzero(as_claim(claim).fits(text)).tolist()


def ends_with_b(token: str, before: str) -> bool:
    """the text before ends with b

    Only the first line is what the claim says.
    """
    return before.endswith("b")


@pytest.mark.parametrize(
    ("claim", "says", "tokens"),
    [
        (token_is("a"), "the token is a", [0]),
        (token_is("b", "␣"), "the token is one of b ␣", [1, 4, 5]),
        (token_is(" "), "the token is ␣", [4]),
        (word_is("A"), "the token belongs to the word a", [0, 3]),
        (class_is("vowel", by="sound"), "the sound is vowel", [0, 2, 3]),
        (token_is("a") | token_is("e"), "(the token is a) or (the token is e)", [0, 2]),
        (word_is("a") & token_is("A"), "(the token belongs to the word a) and (the token is A)", [3]),
        (~class_is("vowel", "sound"), "not (the sound is vowel)", [1, 4, 5]),
        (ends_with_b, "the text before ends with b", [2]),
        (token_is("e") & ends_with_b, "(the token is e) and (the text before ends with b)", [2]),
        (lambda token, before: np.bool_(token == "b" and before == "a"), "the reader's function", [1]),
    ],
)  # fmt: skip
def test_which_tokens_fit(claim, says, tokens):
    assert as_claim(claim).says == says
    assert fitting(claim) == tokens


def test_a_word_is_all_of_its_pieces():
    encoding = tokenizer.char(["She has pancakes, Pancakes!"])
    text = read_passage(encoding, encoding.encode_ordinary("She has pancakes, Pancakes!"), 30, {})
    assert fitting(word_is("pancakes"), text) == [*range(8, 16), *range(18, 26)]
    assert fitting(word_is("she"), text) == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: token_is(), "token_is needs at least one text, such as token_is('the')"),
        (lambda: word_is(), "word_is needs at least one text"),
        (lambda: word_is("a", ""), "word_is: '' must be a text with at least one letter, in quotes"),
        (lambda: token_is(["a"]), "token_is: a list must be a text"),
        (lambda: class_is(3), "class_is: 3 must be a text"),
        (lambda: as_claim("names"), "claim='names' must be token_is(...), word_is(...), class_is(...), or a function"),
        (lambda: token_is("a") | ["b"], "claim=a list must be token_is"),
        (lambda: token_is("a") or token_is("b"), "with & (and), | (or) and ~ (not), not with Python's words"),
        (lambda: fitting(token_is("a", "z\n")), "no token of this text is 'z⏎'; word_is finds the pieces of a word"),
        (lambda: fitting(word_is("zebra")), "no word of this text is 'zebra'; token_is finds a piece of one"),
        (lambda: fitting(class_is("name")), "by='word class' is no way to group tokens of this text; choose"),
        (lambda: fitting(class_is("click", "sound")), "class 'click' does not exist; choose one of: vowel, consonant"),
        (lambda: fitting(lambda token: True), "failed at token 'a': TypeError"),
        (lambda: fitting(lambda token, before: 1 / len(before)), "failed at token 'a': ZeroDivisionError: division"),
        (lambda: fitting(lambda token, before: token), "must say True or False, and said 'a' (a str) at token 'a'"),
    ],
)  # fmt: skip
def test_what_cannot_be_claimed_is_refused_in_one_line(make, line):
    with pytest.raises(ValueError) as refusal:
        make()
    assert line in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_form_offers_every_class_and_reads_words_as_data():
    ways = TEXT.groupings
    assert list_choices(ways) == [TOKENS, WORDS, "its sound is: vowel", "its sound is: consonant"]
    assert fitting(read_claim(ways, "its sound is: vowel", "not read")) == [0, 2, 3]
    assert fitting(read_claim(ways, TOKENS, " a,  b ␣")) == [0, 1, 4, 5]
    assert (
        read_claim(ways, TOKENS, "__import__('os') , <b>").says
        == "the token is one of __import__('os') , <b>"
    )
    assert fitting(read_claim(ways, WORDS, "A")) == [0, 3]
    with pytest.raises(ClaimError, match="word_is needs at least one text"):
        read_claim(ways, WORDS, "  ")
    with pytest.raises(
        ClaimError, match="'magic' is no kind of claim; choose one of: it is one of these tokens;"
    ):
        read_claim(ways, "magic", "")


def test_the_choice_that_a_form_begins_with_exists_on_every_text(watch):
    assert NAMES in list_choices(watch.groupings)
