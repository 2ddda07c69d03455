"""Marks of names, facts and copies: against the roles that the writer gives, and against mistakes made on purpose."""

import random

import pytest

from nanokimi.text.storyworld import Grammar, Piece, World, default_grammar, fact_values, mark, write

RULES = {
    "story": [
        "{new hero} has {a toys=toy}. {He} eats {food}. {Friend} eats {friend.food}. The {toy} is lost."
    ],
    "toys": ["ball", "kite"],
}


@pytest.fixture(scope="module")
def small():
    return Grammar(RULES, fact_values())


@pytest.fixture(scope="module")
def few():
    return World(seed=3, n_characters=8)


def said(pieces: tuple[Piece, ...]) -> list[tuple[str, str, bool]]:
    return [(each.words, each.kind, each.right) for each in pieces if each.kind != "text"]


def test_a_story_of_the_world_is_right_in_every_word(world):
    """The bytes that the writer calls facts and copies are marked as such, and the pieces join to the text."""
    for i in range(20):
        story = write(default_grammar(), world, 5, i)
        pieces, at = mark(default_grammar(), world, story.text), 0
        assert "".join(each.words for each in pieces) == story.text
        assert all(each.right for each in pieces) and pieces[-1].kind != "beyond"
        kinds = [each.kind for each in pieces for _ in each.words]
        for role, text, _ in story.segments():
            if role in ("fact", "copy"):
                assert set(kinds[at : at + len(text)]) <= {role, "name"}, (text, story.text)
            at += len(text)


def story_of(few, **other) -> tuple[str, dict[str, str]]:
    hero = few.characters[0]
    friend = few.characters[hero.friend]
    words = {
        "hero": hero.name,
        "he": hero.facts["he"].capitalize(),
        "food": hero.facts["food"],
        "friend": friend.name,
        "friends_food": friend.facts["food"],
        "toy": "ball",
    } | other
    text = "{hero} has a ball. {he} eats {food}. {friend} eats {friends_food}. The {toy} is lost."
    return text.format(**words), words


def test_each_wrong_word_is_one_mistake_of_its_kind(small, few):
    foods = [food for food in fact_values()["food"] if food not in story_of(few)[0]]
    text, words = story_of(few, food=foods[0])
    assert (foods[0], "fact", False) in said(mark(small, few, text))
    text, words = story_of(few, toy="kite")
    found = said(mark(small, few, text))
    assert [each for each in found if not each[2]] == [("kite", "copy", False)]
    text, words = story_of(few, he="She" if story_of(few)[1]["he"] == "He" else "He")
    assert [each for each in said(mark(small, few, text)) if not each[2]] == [(words["he"], "fact", False)]


def test_of_a_wrong_friend_the_story_goes_on_about_that_one(small, few):
    hero = few.characters[0]
    other = next(each for each in few.characters if each.index not in (0, hero.friend))
    text, _ = story_of(few, friend=other.name, friends_food=other.facts["food"])
    assert [each for each in said(mark(small, few, text)) if not each[2]] == [(other.name, "fact", False)]


def test_what_no_story_says_ends_the_reading(small, few):
    text, _ = story_of(few)
    *_, last = mark(small, few, text.replace("is lost", "is found"))
    assert last == Piece(" is found.", "beyond")
    assert mark(small, few, "Nobody has a ball.") == (Piece("Nobody has a ball.", "beyond"),)
    assert mark(small, few, "") == ()


def test_behind_a_sentence_that_no_story_has_it_goes_on(small, few):
    text, words = story_of(few)
    pieces = mark(small, few, text.replace("eats", "swallows", 1))
    (lost,) = [each for each in pieces if each.kind == "beyond"]
    assert lost.words == f" swallows {words['food']}. "
    assert said(pieces)[-3:] == [
        (words["friend"], "fact", True),
        (words["friends_food"], "fact", True),
        ("ball", "copy", True),
    ]
    # Of a word whose choice could not be read nobody says that it is wrong.
    pieces = mark(small, few, text.replace("a ball", "an egg"))
    assert all(each.right for each in pieces) and pieces[-1] == Piece(". The ball is lost.", "text")


def test_whatever_is_spoilt_the_pieces_join_to_the_text(world):
    draw = random.Random(1)
    for i in range(10):
        text = write(default_grammar(), world, 7, i).text
        for _ in range(3):
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(["", "zz", ". ", "Polly "]) + text[at + draw.randrange(3) :]
        pieces = mark(default_grammar(), world, text)
        assert "".join(each.words for each in pieces) == text
        assert all(each.right for each in pieces if each.kind in ("text", "name", "beyond"))


def test_a_text_may_break_off_anywhere(world):
    """Whatever is cut from a true story is true, as far as it goes."""
    draw = random.Random(0)
    for i in range(10):
        text = write(default_grammar(), world, 6, i).text
        cut = text[: draw.randrange(1, len(text))]
        pieces = mark(default_grammar(), world, cut)
        assert "".join(each.words for each in pieces) == cut
        assert all(each.right and each.kind != "beyond" for each in pieces), (cut[-30:], pieces[-2:])
