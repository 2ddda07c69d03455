"""A hypothesis on routings made up by hand: loops that count, a specialist that is found, and what is refused."""

import math

import numpy as np
import pytest

from lab_utils.observatory.claims import class_is, token_is
from lab_utils.observatory.favourites import list_favourites
from lab_utils.observatory.hypothesis import try_claim
from lab_utils.observatory.passage import FEWEST
from tests.observatory.made_up_facts import SCRIPT, Tags
from tests.observatory.made_up_passage import passage, random_stories, specialist
from tests.observatory.made_up_routing import layer

TEXT, SHORT = passage(*random_stories(40, 12)), passage("ab")
EVERYTHING = token_is("a") | ~token_is("a")


def cells(hypothesis) -> dict:
    return {row[0][0]: (row[1][0], row[2][0]) for row in hypothesis.table.cells}


def test_the_counts_are_those_of_a_loop_over_the_second_half():
    draw = np.random.default_rng(1)
    routing = layer([draw.choice(4, 2, replace=False).tolist() for _ in TEXT.texts], 4)
    found = try_claim(routing, 2, token_is("a", "b"), TEXT)
    fits = chosen = both = tokens = 0
    fitting, going = set(), set()
    for i in range(480):
        if i < 240:
            continue
        tokens += 1
        is_fit, goes = TEXT.texts[i] in "ab", 2 in routing.experts[i].tolist()
        fits, chosen, both = fits + is_fit, chosen + goes, both + (is_fit and goes)
        fitting |= {i // 12} if is_fit else set()
        going |= {i // 12} if goes else set()
    counts = found.agreement
    assert (counts.tokens, counts.fits, counts.chosen, counts.both) == (tokens, fits, chosen, both)
    assert (found.parts, found.parts_that_fit, found.parts_chosen) == (20, len(fitting), len(going))


def test_the_table_by_hand():
    """Fourteen stories of one `a` and three `b`; the expert takes every `a`, and the first `b` of each story."""
    text = passage(*["abbb"] * 14)
    found = try_claim(layer([[1], [1], [0], [0]] * 14, 2), 1, token_is("a"), text)
    assert cells(found) == {
        "tokens that fit": ("7 of 28", ""),
        "tokens that go to the expert": ("14 of 28", ""),
        "both": ("7", "4"),
        "precision: of the expert's tokens, fit": ("50.0%", "25.0%"),
        "recall: of the tokens that fit, go to the expert": ("100.0%", "50.0%"),
        "lift": ("2.00", "1.00"),
        # (28*7 - 7*14) / sqrt(7*21*14*14) = 98 / 169.74
        "score: Matthews' correlation, times 100": ("58", "0"),
        "p: chance does as well": (f"{found.p_value:.2g}", ""),
    }
    assert found.table.caption == "layer 1, expert 1, on 7 stories not shown before: the token is a"
    # The seven stories are equal: only all signs as they are reach the sum, one way of 2^7.
    assert found.p_value == pytest.approx(1 / 128, abs=0.003)


def test_a_planted_specialist_is_found_and_nothing_else_scores():
    routing = specialist(TEXT, "ae")
    found = try_claim(routing, 1, class_is("vowel", "sound"), TEXT)
    assert found.score == 100 and found.p_value < 0.001
    assert found.verdict.startswith("better than chance: 100% of the expert's tokens fit, and ")
    assert try_claim(routing, 0, class_is("vowel", "sound"), TEXT).score == 0
    assert try_claim(routing, 0, ~class_is("vowel", "sound"), TEXT).score == 100
    everything = try_claim(routing, 1, EVERYTHING, TEXT)
    assert (everything.score, everything.p_value) == (0, 1)
    assert everything.verdict == (
        "no better than chance: 100% of the expert's tokens fit, and 100% of all tokens; score 0 of 100, p = 1"
    )


def test_only_the_half_that_is_not_shown_counts():
    """In the first half the expert takes every vowel, in the second every consonant."""
    vowel = np.array([text in "ae" for text in TEXT.texts])
    routing = layer([[int(yes)] for yes in np.where(TEXT.tested, ~vowel, vowel)], 2)
    assert try_claim(routing, 1, class_is("vowel", "sound"), TEXT).agreement.correlation == -1
    shown = [row[0][0] for row in list_favourites(routing, 1, TEXT).cells]
    assert set(shown) == {"a", "e"}


def test_a_score_that_one_token_makes_falls_without_it():
    routing = layer(
        [[int(text == "a" or (text == "e" and i % 5 == 0))] for i, text in enumerate(TEXT.texts)], 2
    )
    found = try_claim(routing, 1, class_is("vowel", "sound"), TEXT)
    kept = TEXT.tested & np.array([text != "a" for text in TEXT.texts])
    vowel = np.array([text == "e" for text in TEXT.texts])
    without = np.corrcoef(vowel[kept], routing.experts[kept, 0])[0, 1]
    assert found.kind and found.kind.text == "a" and 100 * without < found.score - 10
    n, both = TEXT.texts[240:].count("a"), found.agreement.both
    assert cells(found)[f"score without a, which is {n} of the {both}"] == (f"{100 * without:.0f}", "0")


@pytest.mark.parametrize(
    ("letters", "claimed", "verdict"),
    [
        ("a", "x", "too few tokens to tell: 3 fit, in 1 story; 7 are needed"),
        ("a", "y", "too few tokens to tell: 1 fits, in 1 story; 7 are needed"),
        ("a", "z", "too few tokens to tell: 0 fit, in 0 stories; 7 are needed"),
        ("y", "a", "too few tokens to tell: 1 goes to the expert, in 1 story; 7 are needed"),
        ("", "a", "too few tokens to tell: 0 go to the expert, in 0 stories; 7 are needed"),
    ],
)
def test_a_few_tokens_tell_nothing(letters, claimed, verdict):
    text = passage("z", *["abc"] * 18, "axxx", "aby")
    found = try_claim(specialist(text, letters), 1, token_is(claimed), text)
    assert found.verdict == verdict
    precision = cells(found)["precision: of the expert's tokens, fit"][0]
    assert (precision == "–") == (found.agreement.chosen == 0)
    assert "nan" not in repr(found) and repr(found).endswith(verdict)


def test_the_fewest_stories_can_tell():
    """One story less could never have a p below the limit."""
    assert 1 / 2**FEWEST < 0.01 < 1 / 2 ** (FEWEST - 1)


def test_what_somebody_wrote_stays_text():
    text = passage(*["ab"] * 14)

    def claim(token: str, before: str) -> bool:
        return token == "a"

    claim.__doc__ = SCRIPT
    html = try_claim(specialist(text, "a"), 1, claim, text)._repr_html_()
    assert {"script", "i"}.isdisjoint(Tags(html).tags) and SCRIPT in Tags(html).text


def test_favourites_by_hand():
    """Of the shown seven stories: 7 of 7 a and 7 of 14 b go there, 14 of 28; chance is one half."""
    text = passage(*["abcb"] * 14)
    table = list_favourites(layer([[1], [1], [0], [0]] * 14, 2), 1, text)
    assert [[cell[0] for cell in row] for row in table.cells] == [
        ["a", "7", "7", "2.00"],
        ["b", "7", "14", "1.00"],
    ]
    assert "layer 1, expert 1: 2 of its 2 kinds of token" in table.caption


def test_favourites_are_the_most_frequent_ones():
    text = passage(*["abcdefghijklmno" + "o" * i for i in range(14)])
    table = list_favourites(specialist(text, "abcdefghijklmno"), 1, text)
    assert [row[0][0] for row in table.cells] == ["o", *"abcdefghijk"]
    assert table.cells[0][1][0] == str(7 + sum(range(7)))


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda r, t: try_claim(r, 2, token_is("a"), t), "expert 2 does not exist in layer 1: numbers go from 0 to 1"),
        (lambda r, t: try_claim(r, -1, token_is("a"), t), "expert -1 does not exist"),
        (lambda r, t: list_favourites(r, 2, t), "expert 2 does not exist"),
        (lambda r, t: list_favourites(specialist(t, ""), 1, t), "no token of the shown half goes to expert 1"),
        (lambda r, t: try_claim(specialist(SHORT, "a"), 1, token_is("a"), SHORT), "the text has one story"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(ask, line):
    with pytest.raises(ValueError) as refusal:
        ask(specialist(TEXT, "a"), TEXT)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_claim_on_random_routing_is_rarely_better_than_chance():
    """A hundred experts that choose at random: the score is near 0, and at 0.01 one or two pass."""
    found = []
    for seed in range(100):
        routing = layer([[x] for x in np.random.default_rng(seed).integers(0, 4, len(TEXT.texts))], 4)
        found.append(try_claim(routing, 0, class_is("vowel", "sound"), TEXT))
    assert sum(each.verdict.startswith("better") for each in found) <= 5
    assert np.mean([each.agreement.correlation for each in found]) == pytest.approx(
        0, abs=4 / math.sqrt(240 * 100)
    )


def test_the_observatory_tests_what_a_reader_says(watch):
    """The expert's tokens counted from the routing itself; numpy's numbers are numbers too."""
    routing, text = watch.routing.layer(1), watch.passage.texts[-1]
    found = watch.hypothesis(np.int64(1), int(routing.first[-1]), token_is(text))
    half = np.arange(48) // 8 > 2
    chosen = (routing.experts == routing.first[-1]).any(axis=1)[half]
    assert found.agreement.fits == (watch.routing.tokens == watch.routing.tokens[-1])[half].sum()
    assert found.agreement.chosen == chosen.sum() and found.unit == ("window", "windows")
    # Three windows are no sample.
    assert found.verdict.startswith("too few tokens to tell: ")
