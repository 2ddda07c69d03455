"""A small probabilistic grammar: templates with choices, and the places where each choice surprises.

A template is plain text with two marks:

    [red|blue]          one of the alternatives, all equally likely; they may nest
    {slot}              text from another place

and a slot is one of

    {things}            an alternative of the rule `things`, all equally likely
    {things=toy}        the same, remembered under the name `toy`
    {toy}               the remembered word
    {food}              a fact about the hero;  {friend.food}  a fact about somebody else
    {friend}            a name;  {new guest}  the name of a character who is not yet in the story
    {a toy}  {Toy}      with its article;  with a capital letter (both: {A toy})
    {newline}           the end of a paragraph

`Grammar` compiles templates into nodes (see `nodes`), which a `writer.Writer` walks. It refuses an ambiguous
grammar. The rule makes a text readable from left to right: split into words, the alternatives of a choice form a
tree, and at every branch of the tree the next word alone decides. Three things follow. The text of a story gives
its derivation back. The probability of the text is the product over its choices. And the surprise of a choice
stands exactly where a reader meets it: log2(mass before / mass after) bits on the first byte of the word at which
the tree branches. All other words are forced.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import log2

from nanokimi.text.storyworld.english import inflect
from nanokimi.text.storyworld.nodes import Choice, Draw, Fact, Mark, Recall, Text

# The unit by which alternatives are compared: a whole word, or one blank or punctuation mark.
TOKEN = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")
SLOT = re.compile(r"(?P<word>new |a )?(?P<name>\w+)(?:\.(?P<attr>\w+))?(?:=(?P<bind>\w+))?$")


def first_token(text: str) -> str:
    """The word, blank or mark with which `text` begins; it must not be empty."""
    match = TOKEN.match(text)
    assert match is not None
    return match[0]


class GrammarError(ValueError):
    """A template that cannot be read, or a choice whose alternatives cannot be told apart."""


class Grammar:
    """Compiled templates.

    rules: name -> alternatives (template strings). facts: attribute -> every value it can take in any world.
    `start` is the node sequence of the rule `story`. Raises `GrammarError`, which names the rule, for an unknown
    slot, a word that only some paths remember, or alternatives that their words do not tell apart.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], facts: Mapping[str, Collection[str]]):
        self.rules, self.facts = rules, facts
        source = "\n".join(line for lines in rules.values() for line in lines)
        self.people = {"hero", "friend", "neighbour", *re.findall(r"\{new (\w+)\}", source)}
        self.memory: dict[str, set[str]] = {}  # remembered name -> the words it can hold
        self._compiled: dict[tuple, tuple | None] = {}
        self._branches: list[tuple[str, list]] = []  # (rule, the words or nodes that can follow one branch)
        self.start = self._compile_rule("story", "", None)
        for rule, heads in self._branches:
            self._check_told_apart(rule, heads)
        self._check_bound(self.start, frozenset())

    # ---- from templates to nodes --------------------------------------------------------------------------

    def _compile_rule(self, name: str, form: str, bind: str | None) -> tuple:
        key = (name, form, bind)
        if key in self._compiled:
            compiled = self._compiled[key]
            if compiled is None:  # begun and not finished
                raise GrammarError(f"rule {name!r} needs itself, so a story might never end")
            return compiled
        self._compiled[key] = None
        sources = list(self.rules[name])
        plain = not any(c in s for s in sources for c in "[{")
        if (form or bind) and not plain:
            raise GrammarError(f"rule {name!r}: only a list of plain words takes an article or a name")
        inflected = [inflect(s, form) for s in sources]
        self._compiled[key] = compiled = self._compile_choice(name, inflected, bind, sources if bind else ())
        return compiled

    def _compile_choice(self, rule: str, sources: Sequence[str], bind=None, values=()) -> tuple:
        options = [self._compile_template(rule, s) for s in sources]
        if not all(options):
            raise GrammarError(f"rule {rule!r}: an alternative is empty")
        if bind:
            self.memory.setdefault(bind, set()).update(values)
        if len(options) == 1 and not bind:
            return options[0]
        return (Choice(tuple(self._mark_branches(rule, options)), bind, tuple(values)),)

    def _compile_template(self, rule: str, source: str) -> tuple:
        nodes: list = []
        at = 0
        while at < len(source):
            if source[at] in "{[":
                end = _find_closing(rule, source, at)
                if (at and source[at - 1].isalnum()) or source[end + 1 : end + 2].isalnum():
                    raise GrammarError(f"rule {rule!r}: {source[at : end + 1]!r} touches a letter")
                body = source[at + 1 : end]
                if source[at] == "{":
                    nodes += self._compile_slot(rule, body)
                else:
                    nodes += self._compile_choice(rule, _split_alternatives(body))
                at = end + 1
            else:
                end = min((i for c in "{[" if (i := source.find(c, at)) >= 0), default=len(source))
                nodes.append(Text(source[at:end]))
                at = end
        return tuple(nodes)

    def _compile_slot(self, rule: str, body: str) -> tuple:
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
            return self._compile_rule(name, form, bind)
        if name in self.people and (attr is None or attr in self.facts):
            return (Fact(name, attr or "name", form),)
        if attr is None and name in self.facts:
            return (Fact("hero", name, form),)
        if attr is None and bind is None:
            return (Recall(name, form),)
        raise GrammarError(f"rule {rule!r}: nothing is known of {{{body}}}")

    # ---- where alternatives differ ------------------------------------------------------------------------

    def _mark_branches(self, rule: str, options: list[tuple]) -> list[tuple]:
        """The options, with a `Mark` before every word at which one differs from others."""
        split = [_split_words(nodes) for nodes in options]
        marks: list[dict[int, float]] = [{} for _ in options]

        def compare(members: list[int], depth: int) -> None:
            groups: dict[object, list[int]] = {}
            for i in members:
                if depth == len(split[i]):
                    text = "".join(t for t in split[i] if isinstance(t, str))
                    raise GrammarError(f"rule {rule!r}: the alternative {text!r} begins another one")
                groups.setdefault(split[i][depth], []).append(i)
            if len(groups) > 1:
                self._branches.append((rule, list(groups)))
            for group in groups.values():
                if len(groups) > 1:
                    for i in group:
                        marks[i][depth] = log2(len(members) / len(group))
                if len(group) > 1:
                    compare(group, depth + 1)

        compare(list(range(len(options))), 0)
        return [_join_words(words, mark) for words, mark in zip(split, marks, strict=True)]

    def _check_told_apart(self, rule: str, heads: list) -> None:
        for one, other in combinations([self._first_words(h) for h in heads], 2):
            if both := one & other:
                raise GrammarError(f"rule {rule!r}: two alternatives can go on with {min(both)!r}")

    def _first_words(self, head) -> set[str]:
        """The words with which a word or a node can begin."""
        if isinstance(head, str):
            return {head}
        if isinstance(head, Text):
            return {first_token(head.text)}
        if isinstance(head, Draw):
            return {f"<{head.who}>"}
        if isinstance(head, Choice):
            heads = [next(n for n in nodes if not isinstance(n, Mark)) for nodes in head.options]
            return set().union(*map(self._first_words, heads))
        if isinstance(head, Fact) and head.attr == "name":
            return {f"<{head.who}>"}  # nobody is in one story twice, and no name is a word of the grammar
        values = self.facts[head.attr] if isinstance(head, Fact) else self.memory.get(head.name, ())
        return {first_token(inflect(v, head.form)) for v in values}

    def _check_bound(self, nodes: tuple, known: frozenset[str]) -> frozenset[str]:
        """Who and what is known after `nodes`. All that the nodes name must be known before, on every path."""
        for node in nodes:
            if isinstance(node, Choice):
                known = frozenset.intersection(*(self._check_bound(o, known) for o in node.options))
                known |= {node.bind} if node.bind else set()
            elif isinstance(node, Draw):
                known |= {node.who} | ({"friend", "neighbour"} if node.who == "hero" else set())
            elif isinstance(node, Fact | Recall):
                name = node.who if isinstance(node, Fact) else node.name
                if name not in known:
                    raise GrammarError(f"{{{name}}} is used on a path where nothing has introduced it")
        return known


def _split_words(nodes: tuple) -> list:
    """The words of the texts, one by one, and all other nodes as they are."""
    return [t for n in nodes for t in (TOKEN.findall(n.text) if isinstance(n, Text) else [n])]


def _join_words(words: list, marks: Mapping[int, float]) -> tuple:
    """Nodes again, from words and other nodes, with the marks in their places."""
    nodes: list = []
    for i, word in enumerate(words):
        if i in marks:
            nodes.append(Mark(marks[i]))
        if not isinstance(word, str):
            nodes.append(word)
        elif nodes and isinstance(nodes[-1], Text):
            nodes[-1] = Text(nodes[-1].text + word)
        else:
            nodes.append(Text(word))
    return tuple(nodes)


def _find_closing(rule: str, source: str, at: int) -> int:
    """The position at which the bracket that opens at `at` closes."""
    opening, closing = source[at], {"{": "}", "[": "]"}[source[at]]
    depth = 0
    for i in range(at, len(source)):
        depth += (source[i] == opening) - (source[i] == closing)
        if depth == 0:
            return i
    raise GrammarError(f"rule {rule!r}: {source[at : at + 30]!r} is never closed")


def _split_alternatives(body: str) -> list[str]:
    """The alternatives of `a|b [c|d]|e`, split at the bars outside inner brackets."""
    parts, depth = [""], 0
    for c in body:
        depth += (c == "[") - (c == "]")
        if c == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts
