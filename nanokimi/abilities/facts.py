"""How many facts of the storyworld a model knows: beginnings of stories, and how it predicts the facts in them.

Every character of the world is the hero of the beginnings below, which the stories' grammar can write. They tell each
fact of a hero once, where a story would. A name comes before all of them, and the values of one character are drawn
independently of each other, so that who does not know the character can only guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tiktoken
from jaxtyping import Int64

from nanokimi.abilities.questions import NOTHING, Answers, OnRows, ask, line_up, mark_tokens
from nanokimi.config import TrainConfig
from nanokimi.model import Model
from nanokimi.system.real_numbers import PositiveOrZero, Share
from nanokimi.system.whole_numbers import Count
from nanokimi.text.storyworld.grammar import Grammar
from nanokimi.text.storyworld.nodes import Fact
from nanokimi.text.storyworld.world import World, fact_values
from nanokimi.text.storyworld.writer import Writer
from nanokimi.text.tokenizer import token_bytes

BEGINNINGS = (
    "Once upon a time, {new hero} the {look} {species} lived in {a house} {spot}. {He} loved {food} best of all."
    " {He} was not afraid of anything, except {fear}.",
    "This is a story of {new hero}, {a look} {species} who lived {spot}. {He} always wore {a garment}, even in summer."
    " Some day, {he} wanted {wish}.",
    "Do you know {new hero} the {species}? {He} had {a house} {spot}. {His} favourite colour was {colour}, of course."
    " {His} {treasure} was kept {hiding_place}, wrapped in paper.",
    "Everyone in the valley knew {new hero}, the {look} {species} of {village}. Day and night {he} was busy {hobby}."
    " {His} best friend was {friend} the {friend.species}.",
    "Long ago, {new hero} the {species} lived in {a house} {spot}. All day {he} played the {instrument}, very well."
    " Next door lived {neighbour} the {neighbour.species}, who loved {neighbour.food}.",
    "Have you met {new hero}? {He} was {a look} {species} from {village}. Birthdays were for {food} and {game}."
    " A small {pet} followed {him} everywhere.",
)  # fmt: skip
# What a text tells many times about everybody is asked once per hero.
FACTS = (
    "look species house spot food fear garment wish colour treasure hiding_place village hobby instrument game pet "
    "friend neighbour"
).split()
MOST_CHARACTERS = 600
THIRDS = ("famous", "middle", "rare")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a model knows of the facts of some characters.

    first, last: their ranks by fame, from 1. stories: of how many of the corpus's stories each is the hero, on average.
    known: the share of facts whose value is the likeliest continuation, every token of it. probability: the mean
    p(value). chance: the mean of 1 / how many values a fact has.
    """

    first: Count
    last: Count
    stories: PositiveOrZero
    n_facts: Count
    known: Share
    probability: PositiveOrZero
    chance: PositiveOrZero


@dataclass(frozen=True, kw_only=True)
class KnownFacts:
    """The facts of all characters, of each third of them by fame, and the share that is known of every fact."""

    all: Known
    thirds: dict[str, Known]
    known_by_fact: dict[str, Share]


@dataclass(frozen=True)
class Question:
    """A fact of a character, counted from 0."""

    who: int
    fact: str


def measure_facts(
    model: Model,
    tokenizer: tiktoken.Encoding,
    world: World,
    n_stories: int,
    cfg: TrainConfig,
    on_rows: OnRows = lambda *_: None,
) -> KnownFacts | None:
    """What the model knows of the world, after a corpus of `n_stories` stories.

    A fact that stands beyond `cfg.seq_len` tokens is not asked for. None where that leaves none.
    """
    questions, rows, marks = list[Question](), list[list[int]](), list[list[int]]()
    sizes, end = token_bytes(tokenizer), tokenizer.n_vocab - 1
    for who in choose_characters(world.n_characters):
        for text, asked, facts in write_beginnings(world, who):
            ids = tokenizer.encode_ordinary(text)
            marked = mark_tokens(asked, text.encode(), sizes[ids])
            row = np.full(len(ids), NOTHING)
            for number, fact in enumerate(facts):
                if not (marked[cfg.seq_len :] == number).any():
                    row[marked == number] = len(questions)
                    questions.append(Question(who, fact))
            rows.append([end, *ids])  # a story follows a separator, as in training
            marks.append([NOTHING, *row.tolist()])
    if not questions:
        return None
    longest = min(max(map(len, rows)) - 1, cfg.seq_len)
    probes = line_up(rows, marks, len(questions), end, longest)
    return summarise(ask(model, probes, cfg, on_rows), questions, world, n_stories)


def choose_characters(n_characters: int) -> list[int]:
    """All characters, or `MOST_CHARACTERS` of a larger world, evenly spread over the ranks of fame."""
    n = min(n_characters, MOST_CHARACTERS)
    return [i * n_characters // n for i in range(n)]


def write_beginnings(world: World, who: int) -> Iterator[tuple[str, Int64[np.ndarray, " bytes"], list[str]]]:
    """Beginnings of stories with this hero: the text, which fact each byte tells, as an index, and the facts."""
    told = set[str]()
    for grammar in _GRAMMARS:
        w = Writer(world, lambda n, cumulative=None: who)
        facts, spans = list[str](), list[tuple[int, int]]()
        for node in grammar.start:
            start = w.size
            node.write(w)
            fact = _name_fact(node)
            if fact is not None and fact not in told:
                told.add(fact)
                facts.append(fact)
                spans.append((start, w.size))
        asked = np.full(w.size, NOTHING)
        for number, span in enumerate(spans):
            asked[slice(*span)] = number
        yield w.story().text, asked, facts


def _name_fact(node: object) -> str | None:
    """The fact that a node tells, where it is one that is asked for."""
    if not isinstance(node, Fact):
        return None
    if node.attr == "name":
        return node.who if node.who in FACTS else None
    return node.attr if node.who == "hero" and node.attr in FACTS else None


def n_values(world: World, fact: str) -> int:
    """How many values a fact can have: friend and neighbour are characters."""
    return world.n_characters - 1 if fact in ("friend", "neighbour") else len(fact_values()[fact])


def summarise(answers: Answers, questions: Sequence[Question], world: World, n_stories: int) -> KnownFacts:
    """The knowledge that these answers show."""
    right, p = answers.right, np.exp(-answers.nats)
    who = np.array([each.who for each in questions])
    chance = np.array([1 / n_values(world, each.fact) for each in questions])
    heroes = n_stories * np.array(world.weights) / world.cumulative[-1]

    def of(mine: np.ndarray) -> Known:
        people = np.unique(who[mine])
        return Known(
            first=int(people[0]) + 1,
            last=int(people[-1]) + 1,
            stories=float(heroes[people].mean()),
            n_facts=int(mine.sum()),
            known=float(right[mine].mean()),
            probability=float(p[mine].mean()),
            chance=float(chance[mine].mean()),
        )

    thirds = np.array_split(np.unique(who), len(THIRDS))
    facts = np.array([each.fact for each in questions])
    return KnownFacts(
        all=of(np.ones(len(who), bool)),
        thirds={name: of(np.isin(who, third)) for name, third in zip(THIRDS, thirds)},
        known_by_fact={fact: float(right[facts == fact].mean()) for fact in FACTS if fact in facts},
    )


_GRAMMARS = [Grammar({"story": [text]}, fact_values()) for text in BEGINNINGS]
