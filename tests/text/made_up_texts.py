"""Small texts for the tests of this folder, and the way back from tokens to documents."""

import numpy as np

from nanokimi.text.corpus import Split
from nanokimi.text.tokenizer import END_OF_TEXT

STORY = (
    "Once upon a time there was a little hen. The hen's name was Henny, and she didn't like the rain at all.\n"
    "“Why does it rain?” she asked. It had rained for 12 days!  The other hens laughed.\n\n\tThen it stopped.\n"
)
TEXTS = [
    STORY,
    STORY.upper(),
    "Über den Wölkchen 雨雨雨 🌧️🌧️ " * 3,
    "    def rain(): return 100 # rain\r\n" * 4,
]


def some_documents(n: int, seed: int = 0) -> list[str]:
    """Different short documents of words, with one é each, so that bytes and characters differ."""
    rng = np.random.default_rng(seed)
    words = "the hen saw a red fox under an old tree and ran home to her café by the sea".split()
    return [f"{i} café " + " ".join(rng.choice(words, size=20)) + "." for i in range(n)]


def join(documents: list[str]) -> str:
    return "".join(f"{d}\n{END_OF_TEXT}\n" for d in documents)


def documents_of(split: Split, encoding) -> list[str]:
    """The texts between separators, decoded again."""
    ids = split.tokens.tolist()
    ends = [i for i, token in enumerate(ids) if token == encoding.n_vocab - 1]
    assert ends and ends[-1] == len(ids) - 1
    return [encoding.decode(ids[a + 1 : b]) for a, b in zip([-1, *ends], ends)]
