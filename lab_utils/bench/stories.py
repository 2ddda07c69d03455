"""Stories that trained models go on with, side by side, each fact and each copy marked right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from lab_utils.show.colours import GREEN, QUIET, VERMILION, as_ink
from nanokimi.config import DataConfig
from nanokimi.generate import generate
from nanokimi.model import Model
from nanokimi.text.corpus import Corpus
from nanokimi.text.storyworld import Piece, World, default_grammar, mark

N_PROMPTS, PROMPT, NEW = 3, 12, 80  # prompts, and the tokens of each prompt and of what is written
NOTE = "Between ▸ and ◂ stands what no story says there. A wrong fact or copy stands between ✗ and ✗"
LEGEND = f"{NOTE}."
NO_STORIES = "No story: no model has a checkpoint yet, or the text is too short for a beginning."
LEGEND_IN_COLOURS = f"The prompt is grey, names are bold. {NOTE}, and a right one is underlined."


@dataclass(frozen=True)
class Story:
    """What one model made of one prompt. pieces: of the whole; a single one where nobody knows what is true."""

    arm: str
    prompt: str
    pieces: tuple[Piece, ...]

    @property
    def written(self) -> list[Piece]:
        """The pieces behind the prompt. A word that the prompt began counts where it is wrong or not to be read."""
        found, at = [], 0
        for piece in self.pieces:
            rest = piece.words[max(0, len(self.prompt) - at) :]
            at += len(piece.words)
            if rest:
                found.append(replace(piece, words=rest))
        return found

    @property
    def told(self) -> list[Piece]:
        """The facts and copies among them."""
        return [piece for piece in self.written if piece.kind in ("fact", "copy")]


@dataclass(frozen=True)
class Stories:
    """Every model's story of every prompt; shows itself as a table with one column per model."""

    rows: tuple[tuple[Story, ...], ...]
    marked: bool

    def __repr__(self) -> str:
        if not any(self.rows):
            return NO_STORIES
        lines = [f"{story.arm}: {_as_text(story)}\n" for row in self.rows for story in row]
        return "\n".join([*lines, *self._counts(), *([LEGEND] if self.marked else [])])

    def _repr_html_(self) -> str:
        if not any(self.rows):
            return NO_STORIES
        heads = "".join(f"<th>{escape(story.arm)}</th>" for story in self.rows[0])
        width = f"width:{100 // len(self.rows[0])}%"
        cell = f'<td style="text-align:left;vertical-align:top;{width};white-space:pre-wrap;line-height:1.5">'
        rows = "".join(
            f"<tr>{''.join(f'{cell}{_as_html(story)}</td>' for story in row)}</tr>" for row in self.rows
        )
        below = [*self._counts(), *([LEGEND_IN_COLOURS] if self.marked else [])]
        shown = "".join(f"<p>{escape(each)}</p>" for each in below)
        return f'<table style="table-layout:fixed;width:100%"><tr>{heads}</tr>{rows}</table>{shown}'

    def _counts(self) -> list[str]:
        """A line per model: how many of its facts and copies are right."""
        return (
            [_count([row[i] for row in self.rows]) for i in range(len(self.rows[0]))] if self.marked else []
        )


def write_stories(models: Mapping[str, Model], corpus: Corpus, data: DataConfig) -> Stories:
    """What the models write after the beginnings of the same validation stories.

    Marked where the text is the storyworld's; of other texts nobody knows what is true.
    """
    world = World(data.seed, data.n_characters) if data.source == "storyworld" else None
    rows = []
    for prompt in find_beginnings(corpus.val.tokens, corpus.tokenizer.eot_token):
        row = []
        for arm, model in models.items():
            eot = corpus.tokenizer.eot_token
            new = [
                t for t in generate(model, prompt, NEW, temperature=0.8, top_k=50, stop_id=eot) if t != eot
            ]
            begun, text = (corpus.tokenizer.decode(ids) for ids in (prompt, [*prompt, *new]))
            pieces = mark(default_grammar(), world, text) if world else (Piece(text, "text"),)
            row.append(Story(arm, begun, pieces))
        rows.append(tuple(row))
    return Stories(tuple(rows), world is not None)


def find_beginnings(tokens: np.ndarray, eot: int) -> list[list[int]]:
    """The first tokens of the first stories that are long enough; of a text without stories, of its beginning alone."""
    starts = [0, *(np.flatnonzero(tokens[: 200 * PROMPT] == eot) + 1)]
    cut = [tokens[start : start + PROMPT].tolist() for start in starts]
    return [each for each in cut if len(each) == PROMPT and eot not in each][:N_PROMPTS]


# ---------------------------------------------------------------- parts


def _count(stories: Sequence[Story]) -> str:
    parts = []
    for kind, several in (("fact", "facts"), ("copy", "copies")):
        told = [piece for story in stories for piece in story.told if piece.kind == kind]
        right = sum(piece.right for piece in told)
        parts.append(f"{right} of {len(told)} {several} right" if told else f"no {several} told")
    lost = sum(any(piece.kind == "beyond" for piece in story.pieces) for story in stories)
    return f"{stories[0].arm}: {', '.join(parts)}; {lost} of {len(stories)} stories leave the grammar."


def _as_text(story: Story) -> str:
    marked = {True: "{}", False: "✗{}✗"}
    shown = (f"▸{p.words}◂" if p.kind == "beyond" else marked[p.right].format(p.words) for p in story.written)
    return f"{story.prompt}|{''.join(shown)}"


def _as_html(story: Story) -> str:
    shown = [f'<span style="color:{QUIET}">{escape(story.prompt)}</span>']
    for piece in story.written:
        words = escape(piece.words)
        if piece.kind == "name":
            words = f"<b>{words}</b>"
        elif piece.kind == "beyond":
            words = f'▸<span style="color:{QUIET}">{words}</span>◂'
        elif not piece.right:
            words = f'<span style="color:{as_ink(VERMILION)}">✗{words}✗</span>'
        elif piece.kind != "text":
            words = f'<span style="text-decoration:underline;text-decoration-color:{GREEN}">{words}</span>'
        shown.append(words)
    return "".join(shown)
