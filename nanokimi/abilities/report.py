"""All that is measured of a trained model, by what its text allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from nanokimi.abilities.copying import Copied, measure_copying
from nanokimi.abilities.diversity import Diversity, measure_diversity
from nanokimi.abilities.facts import KnownFacts, measure_facts
from nanokimi.abilities.grammar import Grammatical, measure_grammar
from nanokimi.abilities.knowledge import Knowledge, measure_knowledge
from nanokimi.abilities.memorisation import Memorisation, measure_memorisation
from nanokimi.abilities.samples import LONGEST, Sample, cut_alike, end_of, held_out, write
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.evaluate import Evaluation, evaluate
from nanokimi.model import Model
from nanokimi.system.whole_numbers import Count, CountOrZero, Seed
from nanokimi.text.corpus import Corpus
from nanokimi.text.storyworld.almanac import Almanac
from nanokimi.text.storyworld.world import World

N_SAMPLES, MOST_SAMPLES = 64, 10_000
T = TypeVar("T")

# Told which measure is under way, how much of it is done, and of how much.
OnProgress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class Beside(Generic[T]):
    """The same measure of texts that the model wrote, and of as many and as long ones that no training has seen."""

    written: T
    held_out: T


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the model wrote by itself: `n` texts from `seed`, of which `n_ended` came to their end."""

    n: Count
    seed: Seed
    n_ended: CountOrZero
    longest: CountOrZero  # tokens, after which a text was cut
    diversity: Beside[Diversity]
    memorisation: Beside[Memorisation]


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a model can do. What its text does not have is None, and `left_out` says why in a line each.

    facts, copying, grammar: of the storyworld. knowledge: of the almanac, asked in phrasings that its pages have
    ("seen"), and in those that they never have ("held out").
    """

    evaluation: Evaluation
    facts: KnownFacts | None
    knowledge: dict[str, Knowledge] | None
    copying: tuple[Copied, ...] | None
    grammar: Grammatical | None
    samples: Samples
    left_out: tuple[str, ...]


def measure_abilities(
    model: Model,
    corpus: Corpus,
    data: DataConfig,
    cfg: TrainConfig,
    n_samples: int = N_SAMPLES,
    seed: int = 0,
    on_progress: OnProgress = lambda *_: None,
) -> Abilities:
    """Everything that can be measured of this model on its own text, `corpus`, which `data` describes.

    cfg: the settings of its training: how long its windows are, how many the loss is taken over, and in which number
    format. The same model and arguments give the same numbers on one machine. Raises `ConfigError` where they do not
    fit each other, and `NotFiniteError` where a weight is not finite.
    """
    n_batches, done = -(-cfg.eval_windows // cfg.batch_size), iter(range(1, cfg.eval_windows + 1))
    evaluation = evaluate(model, corpus, cfg, lambda: on_progress("loss", next(done), n_batches))
    is_story, is_almanac = data.source == "storyworld", data.source == "almanac"
    facts = knowledge = copying = grammar = None
    if is_story:
        world = World(data.seed, data.n_characters)
        heard = partial(on_progress, "facts")
        facts = measure_facts(model, corpus.tokenizer, world, data.n_stories, cfg, heard)
        copying = measure_copying(model, corpus, cfg, partial(on_progress, "copying"))
    elif is_almanac:
        book = Almanac(data.seed, data.n_characters)
        knowledge = {
            name: measure_knowledge(
                model, corpus, book, cfg, name == "held out", partial(on_progress, f"facts, {name}")
            )
            for name in ("seen", "held out")
        }
    longest = LONGEST
    real = held_out(corpus, n_samples, None if is_story else LONGEST)
    if is_story:
        longest = max(len(each.tokens) for each in real)
    written = write(
        model, end_of(corpus), len(real), longest, seed, lambda n: on_progress("writing", n, longest + 1)
    )
    if is_story:
        stories = [(corpus.tokenizer.decode(list(each.tokens)), each.ended) for each in written]
        grammar = measure_grammar(stories, world, lambda n: on_progress("grammar", n, len(stories)))
    return Abilities(
        evaluation=evaluation,
        facts=facts,
        knowledge=knowledge,
        copying=copying,
        grammar=grammar,
        samples=_look_at(corpus, written, real, longest, seed, on_progress),
        left_out=tuple(_list_left_out(is_story, is_almanac, facts, cfg.seq_len)),
    )


def _look_at(
    corpus: Corpus,
    written: list[Sample],
    real: list[Sample],
    longest: int,
    seed: int,
    on_progress: OnProgress,
) -> Samples:
    """What texts have in themselves, and in common with the training text, pair by pair of one length."""
    pair = cut_alike(written, real)
    diverse = [measure_diversity([corpus.tokenizer.decode(list(text)) for text in side]) for side in pair]
    repeated = []
    for number, side in enumerate(pair):
        on_progress("memorisation", number, len(pair))
        repeated.append(measure_memorisation(side, corpus.train.tokens))
    return Samples(
        n=len(written),
        seed=seed,
        n_ended=sum(each.ended for each in written),
        longest=longest,
        diversity=Beside(written=diverse[0], held_out=diverse[1]),
        memorisation=Beside(written=repeated[0], held_out=repeated[1]),
    )


def _list_left_out(is_story: bool, is_almanac: bool, facts: KnownFacts | None, seq_len: int) -> list[str]:
    """Why a measure is missing, in a line each."""
    if is_story:
        short = f"facts are left out: no beginning of a story tells one within seq_len={seq_len} tokens"
        return [] if facts is not None else [short]
    if is_almanac:
        return ["copying and grammar are left out: they are measured on stories"]
    return ["facts, copying and grammar are left out: only the world of storyworld and almanac is known"]
