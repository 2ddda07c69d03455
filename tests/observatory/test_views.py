"""The observatory without a person: pictures with words, sentences in place of tracebacks, and no widget."""

import sys

import pytest

from lab_utils.observatory.claim_choices import TOKENS
from lab_utils.observatory.claims import token_is
from lab_utils.observatory.clinic import read_trace
from lab_utils.observatory.hypothesis import Hypothesis
from lab_utils.observatory.lesions import ALL
from lab_utils.observatory.observatory import show_clinic
from lab_utils.show.note import Sentence
from lab_utils.show.snapshot import Snapshot
from nanokimi.kimi import Kimi
from tests import tiny
from tests.observatory.made_up_facts import Tags


def test_headless_views_are_snapshots_with_words(watch):
    views = [
        watch.token_strip("The cat"),
        *(watch.who_does_what(by, 2) for by in watch.groupings),
        watch.every_lesion(),
        watch.paths(),
        watch.pairs(),
        watch.change_since(watch.specimen.start()),
        watch.cache_meter(),
        show_clinic(read_trace()),
    ]
    for view in views:
        assert isinstance(view, Snapshot)
        data, metadata = view._repr_mimebundle_()
        assert len(metadata["image/png"]["alt"]) > 40
        assert not any("widget" in mime for mime in data)
        assert view.figure.get_suptitle()
        assert view.figure.get_figwidth() * 100 <= 1200


def test_no_widget_is_imported_without_a_person(watch, monkeypatch):

    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it would now fail
    monkeypatch.delitem(sys.modules, "lab_utils.observatory.widgets", raising=False)
    assert isinstance(watch.token_strip("a"), Snapshot)


def test_roles_are_those_of_the_token_read_and_of_the_next_one(watch):
    corpus, n = watch.specimen.corpus, 6 * 8
    read, _ = watch.groupings["role of the token read"]
    predicted, _ = watch.groupings["role of the token predicted"]
    assert read.tolist() == corpus.val.roles[:n].tolist()
    assert predicted.tolist() == corpus.val.roles[1 : n + 1].tolist()
    assert watch.routing.tokens.tolist() == corpus.val.tokens[:n].tolist()


def test_the_lesion_report_shows_both_sides_and_the_difference(watch):
    report = watch.lesion("1:0, 2:1", "a <b>")
    cost = report.lesioned.minus(report.whole)
    assert list(cost) == [ALL, "grammar", "choice", "fact", "copy"]
    assert abs(cost[ALL]) > 1e-4
    assert report.table.cells[0] == (
        (ALL,), (f"{report.whole.by_role[ALL]:.3f}",), (f"{report.lesioned.by_role[ALL]:.3f}",), (f"{cost[ALL]:+.3f}",),
    )  # fmt: skip
    assert set(Tags(report._repr_html_()).tags).isdisjoint({"script", "i"})
    assert "a &lt;b&gt;" in report._repr_html_() and "without 1:0, 2:1" in repr(report)


def test_without_a_person_the_words_and_the_hypothesis_are_tables(watch):
    expert, text = int(watch.routing.layer(1).first[0]), watch.passage.texts[-1]
    assert repr(watch.words_of(1, expert)).startswith("token  goes there")
    found = watch.hypothesis_form(1, expert, TOKENS, text)
    assert isinstance(found, Hypothesis) and found == watch.hypothesis(1, expert, token_is(text))


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (lambda w: w.token_strip(" "), "the prompt is empty: type a few words"),
        (lambda w: w.token_strip("a" * 65), "the prompt has 65 tokens, and this model reads at most 64"),
        (lambda w: w.token_strip("雨"), "'雨' is none of the"),
        (lambda w: w.token_strip("a", 0), "layer 0 has no router"),
        (lambda w: w.who_does_what("colour"), "'colour' is no way to group tokens"),
        (lambda w: w.who_does_what("word class", 1, "adverb"), "class 'adverb' does not exist"),
        (lambda w: w.lesion("1:9", "a"), "expert 9 does not exist in layer 1: numbers go from 0 to 3"),
        (lambda w: w.lesion("1:0,1:1,1:2", "a"), "1 expert would be left to choose from"),
        (lambda w: w.lesion("<script>", "a"), "'<script>' is not layer:expert"),
        (lambda w: w.pairs(7), "layer 7 has no router"),
        (lambda w: w.words_of(0, 0), "layer 0 has no router"),
        (lambda w: w.words_of(1, 4), "expert 4 does not exist in layer 1: numbers go from 0 to 3"),
        (lambda w: w.hypothesis_form(1, 4), "expert 4 does not exist in layer 1: numbers go from 0 to 3"),
        (lambda w: w.hypothesis_form(1, 0, TOKENS, "<b>"), "no token of this text is '<b>'"),
        (lambda w: w.hypothesis_form(1, 0, "<b>"), "fits_if='<b>' is no kind of claim"),
        (lambda w: w.change_since(Kimi(tiny.kimi(vocab_size=200, max_seq_len=64))), "differ in their layers"),
    ],
)
def test_bad_input_is_a_sentence(watch, view, sentence):
    found = view(watch)
    assert isinstance(found, Sentence)
    assert sentence in found.text and "\n" not in found.text
    assert Tags(found._repr_html_()).tags == ["p"]
