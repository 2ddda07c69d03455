"""A little probabilistic grammar: templates with choices, and where each choice's surprise stands.

A template is plain text with two marks:

    [red|blue]          one of the alternatives, all equally likely; they may nest
    {slot}              text put in from somewhere else

and a slot is one of

    {things}            an alternative of the rule `things`, all equally likely
    {things=toy}        the same, remembered under the name `toy`
    {toy}               what was remembered
    {food}              a fact about the hero;  {friend.food}  a fact about somebody else
    {friend}            a name;  {new guest}  the name of a character not yet in the story
    {a toy}  {Toy}      with its article;  with a capital letter (both: {A toy})
    {newline}           the end of a paragraph

`Grammar` turns templates into nodes that a `Writer` walks, and refuses an ambiguous grammar. The rule is
the one that makes a text readable from left to right: spelled word by word, the alternatives of a choice
form a tree, and wherever the tree branches the next word tells the branches apart. So the text of a story
gives its derivation back, the probability of the text is the product over its choices, and the surprise of
a choice can be written exactly where a reader meets it: log2(mass before / mass after) bits on the first
byte of the word at which the tree branches. All words that are not at a branch are forced.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import log2

ROLES = ("grammar", "choice", "fact", "copy")
GRAMMAR, CHOICE, FACT, COPY = (bytes([i]) for i in range(4))

# The grain at which alternatives are told apart: a whole word, or one blank or punctuation mark.
TOKEN = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")
SLOT = re.compile(r"(?P<word>new |a )?(?P<name>\w+)(?:\.(?P<attr>\w+))?(?:=(?P<bind>\w+))?$")
PRONOUNS = {"he": "she", "him": "her", "his": "her", "himself": "herself"}


class GrammarError(ValueError):
    """A template that cannot be read, or a choice whose alternatives cannot be told apart."""


def article(noun: str) -> str:
    """`a` or `an`, by the sound of the first word: an apple, a unicorn, an hour."""
    if noun.lower().startswith(("uni", "use", "eu", "one")):
        return "a"
    return "an" if noun[0] in "aeiou" or noun.startswith(("hour", "honest")) else "a"


@cache
def inflect(text: str, form: str) -> str:
    """`form` is any of "", "a" (article), "^" (capital), "^a" (both)."""
    if "a" in form:
        text = f"{article(text)} {text}"
    return text[0].upper() + text[1:] if "^" in form else text


# ---- nodes: each knows how to write itself; `w` is a writer.Writer ----------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """Words that stand in the template."""

    text: str

    def write(self, w) -> None:
        w.say(self.text, GRAMMAR)


@dataclass(frozen=True, slots=True)
class Mark:
    """Alternatives part here: the word that comes next carries these bits."""

    bits: float

    def write(self, w) -> None:
        w.surprise += self.bits


@dataclass(frozen=True, slots=True)
class Fact:
    """Something lasting about a character: a fact when the story first says it, later a copy."""

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
    """A character who is not yet in the story comes in (the hero by Zipf's law, a guest uniformly)."""

    who: str

    def write(self, w) -> None:
        w.draw(self.who)


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """One of `options` (node sequences), all equally likely. `values` is what `bind` remembers of each."""

    options: tuple[tuple, ...]
    bind: str | None = None
    values: tuple[str, ...] = ()

    def write(self, w) -> None:
        i = w.pick(len(self.options))
        if self.bind:
            w.memory[self.bind] = self.values[i]
        for node in self.options[i]:
            node.write(w)


# ---- from templates to nodes ------------------------------------------------------------------------------


class Grammar:
    """Compiled templates.

    rules: name -> alternatives (template strings). facts: attribute -> every value it can take in any world.
    `start` is the node sequence of the rule `story`. Raises `GrammarError`, naming the rule, for an unknown
    slot, a word remembered on some paths only, or alternatives that their words do not tell apart.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], facts: Mapping[str, Collection[str]]):
        self.rules, self.facts = rules, facts
        source = "\n".join(line for lines in rules.values() for line in lines)
        self.people = {"hero", "friend", "neighbour", *re.findall(r"\{new (\w+)\}", source)}
        self.memory: dict[str, set[str]] = {}  # remembered name -> the words it can hold
        self._compiled: dict[tuple, tuple | None] = {}
        self._branches: list[tuple[str, list]] = []  # (rule, the nodes or words that follow one branching)
        self.start = self._rule("story", "", None)
        for rule, heads in self._branches:
            self._check_told_apart(rule, heads)
        self._check_bound(self.start, frozenset())

    def _rule(self, name: str, form: str, bind: str | None) -> tuple:
        key = (name, form, bind)
        if key not in self._compiled:
            self._compiled[key] = None
            sources = list(self.rules[name])
            plain = not any(c in s for s in sources for c in "[{")
            if (form or bind) and not plain:
                raise GrammarError(f"rule {name!r}: only a list of plain words takes an article or a name")
            shown = [inflect(s, form) for s in sources]
            self._compiled[key] = self._choice(name, shown, bind, sources if bind else ())
        elif self._compiled[key] is None:
            raise GrammarError(f"rule {name!r} needs itself, so a story might never end")
        return self._compiled[key]

    def _choice(self, rule: str, sources: Sequence[str], bind=None, values=()) -> tuple:
        options = [self._template(rule, s) for s in sources]
        if not all(options):
            raise GrammarError(f"rule {rule!r}: an alternative is empty")
        if bind:
            self.memory.setdefault(bind, set()).update(values)
        if len(options) == 1 and not bind:
            return options[0]
        return (Choice(tuple(self._spell(rule, options)), bind, tuple(values)),)

    def _template(self, rule: str, source: str) -> tuple:
        nodes: list = []
        at = 0
        while at < len(source):
            if source[at] in "{[":
                end = _closing(rule, source, at)
                if (at and source[at - 1].isalnum()) or source[end + 1 : end + 2].isalnum():
                    raise GrammarError(f"rule {rule!r}: {source[at : end + 1]!r} touches a letter")
                body = source[at + 1 : end]
                nodes += self._slot(rule, body) if source[at] == "{" else self._choice(rule, _split(body))
                at = end + 1
            else:
                end = min((i for c in "{[" if (i := source.find(c, at)) >= 0), default=len(source))
                nodes.append(Text(source[at:end]))
                at = end
        return tuple(nodes)

    def _slot(self, rule: str, body: str) -> tuple:
        if body == "newline":
            return (Text("\n"),)
        m = SLOT.match(body[0].lower() + body[1:])
        if not m:
            raise GrammarError(f"rule {rule!r}: cannot read the slot {{{body}}}")
        word, name, attr, bind = m["word"], m["name"], m["attr"], m["bind"]
        form = ("^" if body[0].isupper() else "") + ("a" if word == "a " else "")
        if word == "new ":
            return (Draw(name),)
        if name in self.rules:
            return self._rule(name, form, bind)
        if name in self.people and (attr is None or attr in self.facts):
            return (Fact(name, attr or "name", form),)
        if attr is None and name in self.facts:
            return (Fact("hero", name, form),)
        if attr is None and bind is None:
            return (Recall(name, form),)
        raise GrammarError(f"rule {rule!r}: nothing is known of {{{body}}}")

    # ---- where alternatives part --------------------------------------------------------------------------

    def _spell(self, rule: str, options: list[tuple]) -> list[tuple]:
        """Put a `Mark` before every word at which an option parts from others."""
        spelled = [_tokens(nodes) for nodes in options]
        marks: list[dict[int, float]] = [{} for _ in options]

        def part(members: list[int], depth: int) -> None:
            groups: dict[object, list[int]] = {}
            for i in members:
                if depth == len(spelled[i]):
                    text = "".join(t for t in spelled[i] if isinstance(t, str))
                    raise GrammarError(f"rule {rule!r}: the alternative {text!r} begins another one")
                groups.setdefault(spelled[i][depth], []).append(i)
            if len(groups) > 1:
                self._branches.append((rule, list(groups)))
            for group in groups.values():
                if len(groups) > 1:
                    for i in group:
                        marks[i][depth] = log2(len(members) / len(group))
                if len(group) > 1:
                    part(group, depth + 1)

        part(list(range(len(options))), 0)
        return [_join(tokens, mark) for tokens, mark in zip(spelled, marks, strict=True)]

    def first(self, head) -> set[str]:
        """The words with which a token or a node can begin."""
        if isinstance(head, str):
            return {head}
        if isinstance(head, Text):
            return {TOKEN.match(head.text)[0]}
        if isinstance(head, Draw):
            return {f"<{head.who}>"}
        if isinstance(head, Choice):
            heads = [next(n for n in nodes if not isinstance(n, Mark)) for nodes in head.options]
            return set().union(*map(self.first, heads))
        if isinstance(head, Fact) and head.attr == "name":
            return {f"<{head.who}>"}  # nobody is in one story twice, and no name is a word of the grammar
        values = self.facts[head.attr] if isinstance(head, Fact) else self.memory.get(head.name, ())
        return {TOKEN.match(inflect(v, head.form))[0] for v in values}

    def _check_told_apart(self, rule: str, heads: list) -> None:
        for one, other in combinations([self.first(h) for h in heads], 2):
            if both := one & other:
                raise GrammarError(f"rule {rule!r}: two alternatives can go on with {min(both)!r}")

    def _check_bound(self, nodes: tuple, known: frozenset[str]) -> frozenset[str]:
        """Everybody and everything that a story can name has come in before, on every path."""
        for node in nodes:
            if isinstance(node, Choice):
                known = frozenset.intersection(*(self._check_bound(o, known) for o in node.options))
                known |= {node.bind} if node.bind else set()
            elif isinstance(node, Draw):
                known |= {node.who} | ({"friend", "neighbour"} if node.who == "hero" else set())
            elif isinstance(node, Fact | Recall):
                name = node.who if isinstance(node, Fact) else node.name
                if name not in known:
                    raise GrammarError(f"{{{name}}} is used on a path on which it has not come in")
        return known


def _tokens(nodes: tuple) -> list:
    """Words of the texts, and all other nodes as they are."""
    return [t for n in nodes for t in (TOKEN.findall(n.text) if isinstance(n, Text) else [n])]


def _join(tokens: list, marks: Mapping[int, float]) -> tuple:
    """Back from tokens to nodes, with the marks in their places."""
    nodes: list = []
    for i, token in enumerate(tokens):
        if i in marks:
            nodes.append(Mark(marks[i]))
        if not isinstance(token, str):
            nodes.append(token)
        elif nodes and isinstance(nodes[-1], Text):
            nodes[-1] = Text(nodes[-1].text + token)
        else:
            nodes.append(Text(token))
    return tuple(nodes)


def _closing(rule: str, source: str, at: int) -> int:
    """Where the bracket that opens at `at` closes."""
    opening, closing = source[at], {"{": "}", "[": "]"}[source[at]]
    depth = 0
    for i in range(at, len(source)):
        depth += (source[i] == opening) - (source[i] == closing)
        if depth == 0:
            return i
    raise GrammarError(f"rule {rule!r}: {source[at : at + 30]!r} is never closed")


def _split(body: str) -> list[str]:
    """The alternatives of `a|b [c|d]|e`: split at the bars outside inner brackets."""
    parts, depth = [""], 0
    for c in body:
        depth += (c == "[") - (c == "]")
        if c == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts
