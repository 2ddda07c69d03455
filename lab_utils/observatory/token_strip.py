"""The token strip: a prompt's tokens, each with its experts, as data and as HTML for the mouse and for the keyboard.

The prompt is text: nothing in it is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import tiktoken

from lab_utils.observatory.look import NO_EXPERT, Routing
from lab_utils.show.colours import ON_PAPER
from lab_utils.show.style import mark_of
from nanokimi.text.tokenizer import END_OF_TEXT


@dataclass(frozen=True)
class TokenFacts:
    """One token in one layer. `runner_up` and `margin` are None where all experts are chosen."""

    text: str
    experts: tuple[int, ...]  # the largest weight first
    weights: tuple[float, ...]
    runner_up: int | None
    margin: float | None

    def sentence(self) -> str:
        """All of it in words, for hover, focus and screen readers."""
        chosen = ", ".join(f"expert {e} (weight {w:.3f})" for e, w in zip(self.experts, self.weights))
        if self.runner_up is None:
            return f"{make_visible(self.text)}: {chosen}; no runner-up"
        return f"{make_visible(self.text)}: {chosen}; runner-up expert {self.runner_up}, behind by {self.margin:.3f}"


def make_visible(text: str) -> str:
    """The text with visible characters only: blanks as ␣, new lines as ⏎, other invisible ones as \\x.."""
    shown = text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def decode_token(encoding: tiktoken.Encoding, token: int) -> str:
    """The token as text; bytes that make no whole character as \\x.."""
    if token == encoding.encode(END_OF_TEXT, allowed_special="all")[0]:
        return END_OF_TEXT
    return encoding.decode_single_token_bytes(token).decode("utf-8", "backslashreplace")


def read_token_facts(routing: Routing, layer: int, encoding: tiktoken.Encoding) -> list[TokenFacts]:
    """What layer `layer` decided on every token."""
    found = routing.layer(layer)
    facts = []
    for i, token in enumerate(routing.tokens.tolist()):
        alone = found.runner_up[i] == NO_EXPERT
        facts.append(
            TokenFacts(
                text=decode_token(encoding, token),
                experts=tuple(found.experts[i].tolist()),
                weights=tuple(found.weights[i].tolist()),
                runner_up=None if alone else int(found.runner_up[i]),
                margin=None if alone else float(found.margin[i]),
            )
        )
    return facts


# A token's details appear in a free line below the strip: nothing moves, and nothing is cut off.
STYLE = (
    """<style>
.nk-strip {position: relative; padding: 0 0 4.2em 0; line-height: 2.5; max-width: 68em}
.nk-token {font-family: monospace; color: #000; padding: 3px 4px; margin: 1px;
  border-radius: 3px; white-space: nowrap; cursor: default}
.nk-token sub {color: #000; font-weight: bold; padding-left: 3px}
.nk-token:focus, .nk-token:hover {outline: 3px solid #0072b2}
.nk-tip {display: none; position: absolute; left: 0; bottom: 0; right: 0; padding: 4px 8px; line-height: 1.4;
  white-space: normal; border-left: 4px solid #0072b2; """
    + ON_PAPER
    + """}
.nk-token:focus .nk-tip {display: block; z-index: 1}
.nk-token:hover .nk-tip {display: block; z-index: 2}
</style>"""
)


def write_strip(facts: Sequence[TokenFacts], label: str) -> str:
    """One box per token with its first expert's mark and number; Tab or the mouse shows the rest."""
    boxes = "\n".join(_write_box(fact) for fact in facts)
    return f'{STYLE}<div class="nk-strip" role="group" aria-label="{escape(label)}">\n{boxes}\n</div>'


def _write_box(fact: TokenFacts) -> str:
    first, words = fact.experts[0], escape(fact.sentence())
    mark = mark_of(first)
    look = f"background:{mark.fill};border:{mark.width}px {mark.line} {mark.ink}"
    return (
        f'<span class="nk-token" role="img" tabindex="0" style="{look}" aria-label="{words}">'
        f'{escape(make_visible(fact.text))}<sub>{first}</sub><span class="nk-tip">{words}</span></span>'
    )
