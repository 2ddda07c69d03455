"""The router observatory: every view of notebook 09, as a widget for a person and as a picture everywhere else.

    watch = Observatory(find_specimen("cpu"), choose_size("cpu"))
    watch.token_strip("Once upon a time")

The numbers come from `look`, `counts`, `lesions`, `clinic` and `cache_meter`, the figures from `pictures`; this module
connects them with the reader's choices. Where something cannot be shown, a sentence says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch

from lab_utils.machine.front_end import is_live
from lab_utils.observatory import pictures
from lab_utils.observatory.cache_meter import measure_all
from lab_utils.observatory.claim_choices import NAMES, check_choice, list_choices, read_claim
from lab_utils.observatory.clinic import ClinicTrace
from lab_utils.observatory.clinic_view import make_clinic_widget
from lab_utils.observatory.counts import Lift, compare_routing, measure_lift
from lab_utils.observatory.favourites import list_favourites
from lab_utils.observatory.groupings import Grouping, find_grouping, group_tokens
from lab_utils.observatory.hypothesis import Hypothesis, try_claim
from lab_utils.observatory.lesion_report import LesionReport, continue_both
from lab_utils.observatory.lesions import (
    LesionRow,
    lesion_every_expert,
    list_experts,
    measure_loss_without,
    parse_lesion,
)
from lab_utils.observatory.look import Routing, encode_prompt, look
from lab_utils.observatory.passage import Passage, read_passage
from lab_utils.observatory.specimen import ObservatorySize, Specimen
from lab_utils.observatory.token_strip import TokenFacts, read_token_facts, write_strip
from lab_utils.show.note import StatusLine, as_html, draw_or_explain, write_time_left
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.table import Table
from nanokimi.kimi import Kimi
from nanokimi.system.checked import checked
from nanokimi.system.whole_numbers import Whole

# Experts in the committed picture of who does what; the widget shows all of them.
SHOWN = 8


class Observatory:
    """One model and its text under observation."""

    def __init__(self, specimen: Specimen, size: ObservatorySize):
        self.specimen, self.size = specimen, size
        self._lesions: tuple[LesionRow, ...] | None = None
        self.layers = [layer.layer for layer in self.routing.layers]

    # ------------------------------------------------------------ the numbers

    @cached_property
    def routing(self) -> Routing:
        """The decisions on the first windows of the validation text."""
        return self.look_with(self.specimen.model)

    def look_with(self, model: Kimi) -> Routing:
        return look(model, self.specimen.text(self.size.windows)[0])

    @cached_property
    def groupings(self) -> dict[str, Grouping]:
        """Ways to put the tokens of that text into classes; by role only where the text has roles."""
        return group_tokens(self.specimen, self.size.windows)

    @checked
    def lift(self, by: str, layer: int) -> Lift:
        """The experts of `layer` against the classes of the grouping `by`."""
        class_of, classes = find_grouping(self.groupings, by)
        return measure_lift(self.routing.layer(layer), class_of, classes)

    @checked
    def facts(self, prompt: str, layer: int) -> list[TokenFacts]:
        """The tokens of `prompt`, each with what `layer` decided on it."""
        model, encoding = self.specimen.model, self.specimen.corpus.tokenizer
        ids = encode_prompt(encoding, prompt, model.cfg.max_seq_len)
        return read_token_facts(look(model, torch.tensor([ids])), layer, encoding)

    @cached_property
    def passage(self) -> Passage:
        """The same text in two halves: `words_of` shows the first, `hypothesis` tests on the second."""
        encoding, window = self.specimen.corpus.tokenizer, self.specimen.train.seq_len
        return read_passage(encoding, self.routing.tokens.tolist(), window, self.groupings)

    @checked
    def hypothesis(self, layer: Whole, expert: Whole, claim: Any) -> Hypothesis:
        """What the reader says that an expert does, tested on text that `words_of` does not show; see `claims`."""
        return try_claim(self.routing.layer(layer), expert, claim, self.passage)

    # ------------------------------------------------------------ views

    @checked
    def token_strip(self, prompt: str, layer: int | None = None) -> Any:
        """Every token of the prompt with its experts, weights and runner-up in one layer."""
        layer = self.layers[0] if layer is None else layer

        def widget(panel):
            text, where = panel.prompt_field(prompt), panel.choice("Layer", self.layers, layer)
            label = "Tokens of the prompt with their experts"
            return panel.Panel([text, where], lambda: write_strip(self.facts(text.value, where.value), label))

        return _show(lambda: pictures.strip_picture(self.facts(prompt, layer), layer), widget)

    @checked
    def who_does_what(
        self, by: str = "word class", layer: int | None = None, sort_by: str | None = None
    ) -> Any:
        """Experts against classes of tokens: lift over chance, with counts."""
        layer = self.layers[0] if layer is None else layer

        def picture(by: str, layer: int, sort_by: str | None, most: int | None = None):
            return pictures.lift_picture(self.lift(by, layer), by, layer, sort_by, most)

        def widget(panel):
            number = "number of the expert"
            group = panel.choice("Group tokens by", self.groupings, by)
            where = panel.choice("Layer", self.layers, layer)
            order = panel.choice("Sort by", [number, *self.lift(by, layer).classes], sort_by or number)

            def draw() -> str:
                classes = self.lift(group.value, where.value).classes
                known = order.value if order.value in classes else None
                html = as_html(picture(group.value, where.value, known))
                if order.options[1:] != classes:
                    order.options = (number, *classes)
                return html

            return panel.Panel([group, where, order], draw)

        return _show(lambda: picture(by, layer, sort_by, SHOWN), widget)

    @checked
    def words_of(self, layer: Whole, expert: Whole) -> Any:
        """The tokens that most often go to an expert, to make a hypothesis from."""

        def find(layer: int, expert: int) -> Table:
            return list_favourites(self.routing.layer(layer), expert, self.passage)

        def widget(panel):
            where, which = self._choose_expert(panel, layer, expert)
            return panel.Panel([where, which], lambda: as_html(find(where.value, which.value)))

        return _show(lambda: find(layer, expert), widget)

    @checked
    def hypothesis_form(self, layer: Whole, expert: Whole, fits_if: str = NAMES, texts: str = "") -> Any:
        """A hypothesis without code: an expert, what a token fits by (`list_choices`), tokens or words, and a test."""

        def widget(panel):
            where, which = self._choose_expert(panel, layer, expert)
            check_choice(self.groupings, fits_if)
            kind = panel.choice("A token fits if", list_choices(self.groupings), fits_if)
            typed = panel.w.Text(value=texts, description="Tokens or words", style=panel.WIDE)

            def draw() -> str:
                claim = read_claim(self.groupings, kind.value, typed.value)
                return as_html(self.hypothesis(where.value, which.value, claim))

            return panel.Panel([where, which, kind, typed], draw, "Test")

        return _show(
            lambda: self.hypothesis(layer, expert, read_claim(self.groupings, fits_if, texts)), widget
        )

    def _choose_expert(self, panel: Any, layer: int, expert: int) -> tuple[Any, Any]:
        routing = self.routing.layer(layer)
        routing.goes_to(expert)  # a sentence where there is no such expert
        where = panel.choice("Layer", self.layers, layer)
        return where, panel.choice("Expert", range(routing.n_experts), expert)

    @checked
    def lesion_report(self, off: str, prompt: str) -> LesionReport:
        """Loss by role and a greedy continuation, with and without the experts `off` ("1:3, 2:0")."""
        model, corpus, train = self.specimen.model, self.specimen.corpus, self.specimen.train
        experts, n_windows = parse_lesion(off), self.size.lesion_windows
        ids = encode_prompt(corpus.tokenizer, prompt, model.cfg.max_seq_len)
        return LesionReport(
            off=off,
            lesioned=measure_loss_without(model, corpus, train, n_windows, experts),
            whole=measure_loss_without(model, corpus, train, n_windows, {}),
            continuation=continue_both(model, corpus.tokenizer, ids, self.size.new_tokens, experts),
        )

    @checked
    def lesion(self, off: str, prompt: str) -> Any:
        """Switch experts off: what the model loses, and what it writes then."""

        def widget(panel):
            which = panel.w.Text(
                value=off, description="Experts to switch off (layer:expert)", style=panel.WIDE
            )
            which.layout.width = "min(34em, 95%)"
            text = panel.prompt_field(prompt)
            return panel.Panel(
                [which, text], lambda: as_html(self.lesion_report(which.value, text.value)), "Switch off"
            )

        return _show(lambda: self.lesion_report(off, prompt), widget)

    def lesion_rows(self) -> Iterator[LesionRow]:
        """A row per expert, which alone is switched off; measured once, then remembered."""
        if self._lesions is not None:
            yield from self._lesions
            return
        model, corpus, train = self.specimen.model, self.specimen.corpus, self.specimen.train
        rows = []
        for row in lesion_every_expert(model, corpus, train, self.size.lesion_windows):
            rows.append(row)
            yield row
        self._lesions = tuple(rows)

    def every_lesion(self) -> Any:
        """The cost of each expert, by role of the token predicted; a line says how far it is."""

        def picture() -> Snapshot:
            status, started, rows = StatusLine(), time.monotonic(), []
            n_experts = len(list_experts(self.specimen.model))
            for row in self.lesion_rows():
                rows.append(row)
                left = (time.monotonic() - started) / len(rows) * (n_experts - len(rows))
                status.show(
                    f"{len(rows)} of {n_experts} experts switched off, one by one{write_time_left(left)}"
                )
            return pictures.lesion_picture(rows)

        return _show(picture, lambda panel: panel.Panel([], lambda: as_html(picture())))

    def paths(self) -> Any:
        """How tokens travel through the experts of successive layers."""
        return _show(lambda: pictures.paths_picture(self.routing))

    def pairs(self, layer: int | None = None) -> Any:
        """Which experts are chosen together."""
        layer = self.layers[0] if layer is None else layer

        def widget(panel):
            where = panel.choice("Layer", self.layers, layer)
            return panel.Panel(
                [where], lambda: as_html(pictures.pairs_picture(self.routing.layer(where.value)))
            )

        return _show(lambda: pictures.pairs_picture(self.routing.layer(layer)), widget)

    def change_since(self, before: Kimi, layer: int | None = None) -> Any:
        """How the routing differs from that of `before`, another state of the same model."""
        layer = self.layers[0] if layer is None else layer

        def changes():
            return compare_routing(self.look_with(before), self.routing)

        def widget(panel):
            found, where = changes(), panel.choice("Layer", self.layers, layer)
            return panel.Panel([where], lambda: as_html(pictures.change_picture(found, where.value)))

        return _show(lambda: pictures.change_picture(changes(), layer), widget)

    def cache_meter(self) -> Any:
        """Bytes of the three caches while generating, against the formula."""
        cfg = self.specimen.model.cfg

        def widget(panel):
            tokens = panel.w.BoundedIntText(
                value=self.size.cache_tokens,
                min=1,
                max=cfg.max_seq_len,
                description="Tokens to generate",
                style=panel.WIDE,
            )
            return panel.Panel(
                [tokens], lambda: as_html(pictures.cache_picture(measure_all(cfg, tokens.value))), "Generate"
            )

        return _show(lambda: pictures.cache_picture(measure_all(cfg, self.size.cache_tokens)), widget)


# ---------------------------------------------------------------- the clinic, with its own models


def show_clinic(trace: ClinicTrace) -> Any:
    """Eight routers at one step: loads, alarms, and the experts of one token in each."""
    return _show(lambda: pictures.clinic_picture(trace), lambda panel: make_clinic_widget(panel, trace))


def _show(still: Callable[[], Any], widget: Callable[[Any], Any] | None = None) -> Any:
    """The widget where somebody can use it, else the picture; a sentence where neither can be made."""
    if widget is None or not is_live():
        return draw_or_explain(still)
    # Only a live notebook needs widgets, and their import takes time.
    from lab_utils.observatory import widgets as panel

    return draw_or_explain(lambda: widget(panel))
