"""The embedded corpus: small stories about a world of characters, with exactly known entropy.

    world = World(seed=0, n_characters=400)
    for story in generate(world, 20_000, seed=0, workers=2):
        story.text      # 80 to 200 words, ASCII; a newline between paragraphs, none at the end
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

Landmarks of World(0, 400), over 20,000 stories: 142 words and 834 bytes a story (16.7 MB), exact entropy
206.5 bits a story (`entropy`; 204 with 100 characters, 211 with 5,000), floor 0.248 bits a byte; 46 % of the
bytes are grammar, 33 % choice, 13 % fact, 8 % copy; 2,000 different words in lower case; 53 plots; 3 seconds
on one core.

    world.characters[0]                 # facts of the most frequent hero; print() gives a sentence
    print(story.marked())               # <choice> {fact} (copy) grammar
    story.segments()                    # [(role, text, bits), ...]
    derivations(default_grammar(), world, story.text)   # read the choices and the exact probability back

`python -m nanokimi.text.storyworld` is how `generate` starts its workers: processes of their own that import
neither torch nor the caller's script, so that it works alike in a notebook, a script and a command line.
"""

from __future__ import annotations

from nanokimi.text.storyworld.grammar import ROLES, Grammar, GrammarError
from nanokimi.text.storyworld.plots import default_grammar
from nanokimi.text.storyworld.workers import generate
from nanokimi.text.storyworld.world import Character, World, fact_values
from nanokimi.text.storyworld.writer import Story, derivations, entropy, every_story, write

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
