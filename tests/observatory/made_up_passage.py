"""A passage written by hand: stories of single-letter tokens, and a router that somebody else decides."""

import numpy as np

from lab_utils.observatory.look import LayerRouting
from lab_utils.observatory.passage import Passage
from tests.observatory.made_up_routing import layer

CLASSES = ("vowel", "consonant")


def passage(*stories: str, window: int = 4) -> Passage:
    """Every letter is a token and a word; the grouping is `sound`."""
    texts = tuple("".join(stories))
    sound = np.array([0 if text.lower() in "aeiou" else 1 for text in texts])
    return Passage(
        texts=texts,
        words=texts,
        window=window,
        groupings={"sound": (sound, CLASSES)},
        part=np.repeat(np.arange(len(stories)), [len(story) for story in stories]),
        unit=("story", "stories"),
    )


def specialist(text: Passage, letters: str) -> LayerRouting:
    """Two experts, one per token: expert 1 takes exactly these letters."""
    return layer([[int(token in letters)] for token in text.texts], 2)


def random_stories(n: int, length: int, seed: int = 0, letters: str = "abcdefgh") -> list[str]:
    draw = np.random.default_rng(seed)
    return ["".join(draw.choice(list(letters), length)) for _ in range(n)]
