"""The embedded corpus: small stories about a world of characters, with exactly known entropy.

    world = World(seed=0, n_characters=400)
    for story in generate(world, 20_000, seed=0):
        story.text      # 80 to 200 words, ASCII; a newline between paragraphs, none at the end
        story.roles     # uint8, one per byte, an index into ROLES
        story.bits      # float32, one per byte; the sum is -log2 P(text | world)

ROLES says why a byte stands where it stands:

    grammar  forced by the words before it
    choice   random: the word at which possible stories differ
    fact     follows from the world and from who is in the story: a model has to remember it across stories
    copy     follows from this story: a name, an object or a fact that returns

Bits stand on the first byte of a chosen word. All other bytes cost nothing to a reader who knows the world. So the
surprise of a corpus is a **floor** in bits per byte: no model can beat it on average, because the text determines
the choices that made it (`grammar.Grammar` refuses any other kind of grammar). The loss of a model above the floor,
and the roles on which it stands, show what the model has not learned.

Landmarks of World(0, 400), over 20,000 stories: 142 words and 834 bytes per story (16.7 MB), exact entropy 206.5
bits per story (`entropy`; 204 with 100 characters, 211 with 5,000), floor 0.248 bits per byte; 46 % of the bytes
are grammar, 33 % choice, 13 % fact, 8 % copy; 2,000 different words in lower case; 53 plots; 3 seconds on one core.

    world.characters[0]                 # facts of the most frequent hero; print() gives a sentence
    print(story.marked())               # <choice> {fact} (copy) grammar
    story.segments()                    # [(role, text, bits), ...]
    derivations(default_grammar(), world, story.text)   # the choices and the exact probability, read from the text
    read(default_grammar(), world, "Once upon a time, ...")  # how far the grammar can follow any text
"""

from __future__ import annotations

from collections.abc import Iterator

from nanokimi.text.storyworld.grammar import Grammar, GrammarError
from nanokimi.text.storyworld.marking import Piece, mark
from nanokimi.text.storyworld.nodes import ROLES
from nanokimi.text.storyworld.plots import default_grammar
from nanokimi.text.storyworld.reader import Reading, read
from nanokimi.text.storyworld.world import Character, World, fact_values
from nanokimi.text.storyworld.writer import Story, derivations, entropy, every_story, write

# The identity of the stories: equal settings and an equal version give equal text. Count it up whenever any story
# changes; prepared corpora are then made again, and runs on the old stories cannot be resumed.
VERSION = 1

__all__ = [
    "ROLES",
    "VERSION",
    "Character",
    "Grammar",
    "GrammarError",
    "Piece",
    "Reading",
    "Story",
    "World",
    "default_grammar",
    "derivations",
    "entropy",
    "every_story",
    "fact_values",
    "generate",
    "mark",
    "read",
    "write",
]


def generate(world: World, n_stories: int, seed: int = 0) -> Iterator[Story]:
    """Stories 0 to n_stories - 1 of `seed`, in order; about 5,000 per second. `ValueError` for a number below 0."""
    if n_stories < 0:
        raise ValueError(f"n_stories={n_stories} must be at least 0")
    grammar = default_grammar()
    return (write(grammar, world, seed, i) for i in range(n_stories))
