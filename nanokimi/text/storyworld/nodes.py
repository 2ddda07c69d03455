"""The parts of a compiled template. Each node writes itself with a `writer.Writer`, here called `w`."""

from __future__ import annotations

from dataclasses import dataclass

from nanokimi.text.storyworld.english import PRONOUNS, inflect

ROLES = ("grammar", "choice", "fact", "copy")
GRAMMAR, CHOICE, FACT, COPY = (bytes([i]) for i in range(4))


@dataclass(frozen=True, slots=True)
class Text:
    """Words that stand in the template."""

    text: str

    def write(self, w) -> None:
        w.say(self.text, GRAMMAR)


@dataclass(frozen=True, slots=True)
class Mark:
    """The place where alternatives begin to differ: the next word carries these bits."""

    bits: float

    def write(self, w) -> None:
        w.surprise += self.bits


@dataclass(frozen=True, slots=True)
class Fact:
    """A lasting property of a character: a fact when the story says it first, a copy after that."""

    who: str
    attr: str
    form: str

    def write(self, w) -> None:
        person = w.cast[self.who]
        key = (person.name, "he" if self.attr in PRONOUNS else self.attr)
        role = COPY if key in w.said else FACT
        w.said.add(key)
        w.say(inflect(person.facts[self.attr], self.form), role)


@dataclass(frozen=True, slots=True)
class Recall:
    """A word that an earlier choice of this story remembered."""

    name: str
    form: str

    def write(self, w) -> None:
        w.say(inflect(w.memory[self.name], self.form), COPY)


@dataclass(frozen=True, slots=True)
class Draw:
    """A new character enters the story: the hero by Zipf's law, a guest uniformly."""

    who: str

    def write(self, w) -> None:
        w.draw(self.who)


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """One of `options` (node sequences), all equally likely. `bind` remembers the option's entry in `values`."""

    options: tuple[tuple, ...]
    bind: str | None = None
    values: tuple[str, ...] = ()

    def write(self, w) -> None:
        i = w.pick(len(self.options))
        if self.bind:
            w.memory[self.bind] = self.values[i]
        for node in self.options[i]:
            node.write(w)
