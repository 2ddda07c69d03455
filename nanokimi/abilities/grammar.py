"""Whether stories that a model has written could have been written by the grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nanokimi.system.real_numbers import Share
from nanokimi.system.whole_numbers import CountOrZero
from nanokimi.text.storyworld import World, default_grammar, read

END_OF_SENTENCE = re.compile(r'[.!?]"?(?=\s|$)')


@dataclass(frozen=True, kw_only=True)
class GrammarScore:
    """stories: the share of all stories that the grammar can write, from the first letter to the last.

    sentences: the mean over the stories of the share of their sentences that stand before the first mistake. A story
    without a sentence counts as 0.
    """

    stories: Share
    sentences: Share


@dataclass(frozen=True, kw_only=True)
class Grammatical:
    """true: with the facts of this world. possible: with any facts, which the story must keep to."""

    n_stories: CountOrZero
    true: GrammarScore
    possible: GrammarScore


def measure_grammar(
    stories: Sequence[tuple[str, bool]], world: World, on_story: Callable[[int], object] = lambda _: None
) -> Grammatical:
    """How far the grammar can follow these stories; of each the text, and whether it came to its end.

    A story that was cut is no whole one, even where the cut comes at the end of a sentence.
    """
    found: dict[bool, list[tuple[bool, float]]] = {False: [], True: []}
    for number, (text, ended) in enumerate(stories, start=1):
        for any_facts, scores in found.items():
            reading = read(default_grammar(), world, text, any_facts)
            ends = [match.end() for match in END_OF_SENTENCE.finditer(text)]
            right = sum(end <= reading.n_read for end in ends)
            scores.append((reading.whole and ended, right / max(1, len(ends))))
        on_story(number)
    return Grammatical(n_stories=len(stories), true=_mean(found[False]), possible=_mean(found[True]))


def _mean(scores: Sequence[tuple[bool, float]]) -> GrammarScore:
    n = max(1, len(scores))
    return GrammarScore(
        stories=sum(whole for whole, _ in scores) / n, sentences=sum(share for _, share in scores) / n
    )
