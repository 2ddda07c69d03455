"""The embedded corpus: small stories about a world of characters, with exactly known entropy.

    world = World(seed=0, n_characters=400)
    for story in generate(world, 20_000, seed=0, workers=2):
        story.text      # a story of 80 to 200 words in ASCII; paragraphs end with one newline, the text with none
        story.roles     # uint8, one a byte, an index into ROLES
        story.bits      # float32, one a byte; the sum is -log2 P(text | world)

ROLES says why a byte stands where it stands:

    grammar  forced by the words before it
    choice   random: the word at which possible stories part
    fact     follows from the world, given who is in the story: it has to be remembered across stories
    copy     follows from this story: a name, an object or a fact that comes back

Bits stand on the first byte of a chosen word, and all other bytes cost nothing to somebody who knows the
world, so the surprise of a corpus is a **floor** in bits a byte: no model can beat it on average, because the
text determines the choices that made it (`grammar.Grammar` refuses any other kind of grammar). What a model
loses above the floor, and on which role, is what it has not learned.
LANDMARKS

`python -m nanokimi.storyworld` is how `generate` starts its workers: processes of their own that import
neither torch nor the caller's script, so that it works alike in a notebook, a script and a command line.
"""

from __future__ import annotations

from nanokimi.storyworld.grammar import ROLES, Grammar, GrammarError
from nanokimi.storyworld.plots import default_grammar
from nanokimi.storyworld.workers import generate
from nanokimi.storyworld.world import Character, World, fact_values
from nanokimi.storyworld.writer import Story, derivations, entropy, every_story, write

__all__ = [
    "ROLES",
    "Character",
    "Grammar",
    "GrammarError",
    "Story",
    "World",
    "default_grammar",
    "derivations",
    "entropy",
    "every_story",
    "fact_values",
    "generate",
    "write",
]
