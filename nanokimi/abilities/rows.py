"""What a model can do as rows: each measure, the model's number, and one that it can be compared with.

`nanokimi evaluate` prints them, and the benchmark's report shows those of several models side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nanokimi.abilities.copying import Copied
from nanokimi.abilities.diversity import RUN
from nanokimi.abilities.facts import Known, KnownFacts
from nanokimi.abilities.grammar import Grammatical
from nanokimi.abilities.knowledge import Knowledge
from nanokimi.abilities.memorisation import WINDOW
from nanokimi.abilities.report import Abilities, Samples
from nanokimi.evaluate import Evaluation

DASH = "–"


@dataclass(frozen=True)
class Row:
    """A measure: the model's number, a number `beside` it, and `note`, what that one is.

    of: how many the number is a share of, where models differ in it. besides: a second number of the model. All models
    on one text have the same measures in the same order, with the same names.
    """

    what: str
    model: str
    beside: str = ""
    note: str = ""
    of: str = ""
    besides: str = ""


def list_rows(found: Abilities) -> Iterator[Row]:
    """The rows of all that was measured of a model, in their order."""
    yield from _say_loss(found.evaluation)
    if found.facts is not None:
        yield from _say_facts(found.facts)
    for phrasing, knowledge in (found.knowledge or {}).items():
        yield from _say_knowledge(phrasing, knowledge)
    yield from _say_copies(found.copying or ())
    if found.grammar is not None:
        yield from _say_grammar(found.grammar, found.samples)
    yield from _say_samples(found.samples)


def _say_loss(found: Evaluation) -> Iterator[Row]:
    floor = found.floor_bits_per_byte
    known = (f"{floor:.3f}", "floor") if floor is not None else ()
    yield Row("loss, bits per byte", f"{found.bits_per_byte:.3f}", *known)
    for role, loss in (found.by_role or {}).items():
        share = loss.n_tokens / found.n_tokens
        what = f"  {role}, {share:.0%} of the tokens"
        yield Row(what, f"{loss.bits_per_byte:.3f}", f"{loss.floor_bits_per_byte:.3f}", "floor")


def _say_facts(found: KnownFacts) -> Iterator[Row]:
    thirds = [
        (f"  heroes {each.first:,} to {each.last:,} by fame, of {each.stories:,.1f} stories each", each)
        for each in found.thirds.values()
    ]
    total: list[tuple[str, Known]] = [(f"facts known, of {found.all.n_facts:,}", found.all)]
    note = "who knows only the lists"
    for what, each in total + thirds:
        yield Row(what, _percent(each.known), _percent(each.chance), note)
    sampled = (_percent(found.all.probability), _percent(found.all.chance))
    yield Row("  probability of the true value", *sampled, note)


def _say_knowledge(phrasing: str, found: Knowledge) -> Iterator[Row]:
    yield Row(f"facts known, of {found.n_facts:,}, phrasings {phrasing}", _percent(found.known))
    yield Row("  probability of the true value", _percent(found.probability))
    yield Row("  kbit kept", f"{found.bits / 1000:.1f}", f"{found.all_bits / 1000:.1f}", "all there are")


def _say_copies(found: tuple[Copied, ...]) -> Iterator[Row]:
    if found:
        n = sum(each.n_words for each in found)
        right = sum(each.n_words * (each.known or 0) for each in found)
        yield Row(f"copied words right, of {n:,}", _percent(right / n) if n else DASH, "100.0%", "possible")
    for each in found:
        far = f"above {each.first - 1}" if each.last is None else f"{each.first} to {each.last}"
        nats = "" if each.nats is None else f"{each.nats:.2f} nats per word"
        known = DASH if each.known is None else _percent(each.known)
        yield Row(f"  {far} tokens back, {each.n_words:,}", known, besides=nats)


def _say_grammar(found: Grammatical, samples: Samples) -> Iterator[Row]:
    real = ("100.0%", "real stories")
    yield Row(f"stories that end, of {samples.n:,}", _percent(samples.n_ended / samples.n), *real)
    for what, score in (("by the grammar, with any facts", found.possible), ("with true facts", found.true)):
        yield Row(f"stories {what}", _percent(score.stories), *real)
        yield Row("  sentences before a mistake", _percent(score.sentences), *real)


def _say_samples(found: Samples) -> Iterator[Row]:
    written, real = found.diversity.written, found.diversity.held_out
    note = "validation text"
    yield Row("different words", _percent(written.words), _percent(real.words), note, f"{written.n_words:,}")
    yield Row(f"different runs of {RUN} words", _percent(written.runs), _percent(real.runs), note)
    yield Row(f"different texts, of {written.n_texts:,}", _percent(written.texts), _percent(real.texts), note)
    run, other = found.memorisation.written, found.memorisation.held_out
    yield Row("longest run from the training text, tokens", f"{run.longest:,}", f"{other.longest:,}", note)
    yield Row(f"runs of {WINDOW} tokens from there", _percent(run.windows), _percent(other.windows), note)


def _percent(share: float) -> str:
    return f"{share:.1%}"
