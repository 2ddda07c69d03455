"""A held-out text in two halves: the first is shown to the reader, a hypothesis is tested on the second.

Who looks for a pattern in a text and tests it on the same text finds one in chance. So what `favourites` shows comes
from the first half of the stories, and `hypothesis` counts in the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tiktoken
from jaxtyping import Bool, Int

from lab_utils.observatory.groupings import Grouping
from lab_utils.observatory.token_strip import decode_token
from lab_utils.observatory.word_classes import find_words

# Stories in which a test can tell a claim from chance: by chance alone all of them agree in one case of 2^7.
FEWEST = 7


@dataclass(frozen=True, eq=False)
class Passage:
    """The tokens of a text in their order, and what a claim can be about.

    `part` numbers the stories from 0. Where the text has too few of them for a test, as a file of one document has,
    it numbers the model's windows; `unit` is the word for such a part.
    """

    texts: tuple[str, ...]
    words: tuple[str, ...]  # for each token the word that it belongs to
    window: int  # tokens that the model read together
    groupings: Mapping[str, Grouping]
    part: Int[np.ndarray, " tokens"]
    unit: tuple[str, str]  # one and many

    @property
    def tested(self) -> Bool[np.ndarray, " tokens"]:
        """The tokens of the second half of the parts; the others are shown."""
        return self.part > self.part[-1] // 2

    def texts_before(self) -> list[str]:
        """For each token the text before it in its window: all that the model had read when it read the token."""
        found, before = [], ""
        for i in range(len(self.texts)):
            before = "" if i % self.window == 0 else before + self.texts[i - 1]
            found.append(before)
        return found


def read_passage(
    encoding: tiktoken.Encoding, tokens: Sequence[int], window: int, groupings: Mapping[str, Grouping]
) -> Passage:
    """The passage of `tokens`, which the model read in windows of `window` tokens."""
    ends = np.asarray(tokens) == encoding.eot_token
    part, unit = np.cumsum(ends) - ends, ("story", "stories")  # the end of a story belongs to it
    if part[-1] + 1 < 2 * FEWEST:
        part, unit = np.arange(len(tokens)) // window, ("window", "windows")
    return Passage(
        texts=tuple(decode_token(encoding, token) for token in tokens),
        words=tuple(find_words(encoding, tokens)),
        window=window,
        groupings=groupings,
        part=part,
        unit=unit,
    )
