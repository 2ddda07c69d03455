"""The observatory as a reader meets it: text stays text, sentences instead of tracebacks, pictures without widgets,
and widgets whose controls do what their labels say."""

import base64
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from lab_utils.observatory import clinic_plots, pictures
from lab_utils.observatory import plots as routing_plots
from lab_utils.observatory.clinic import read_trace
from lab_utils.observatory.counts import Lift
from lab_utils.observatory.lesions import ALL, LesionRow
from lab_utils.observatory.look import look
from lab_utils.observatory.observatory import Observatory, clinic_scrubber, experts_of_token
from lab_utils.observatory.plotly import clinic_plotly, paths_plotly, strip_plotly
from lab_utils.observatory.specimen import Specimen, find_specimen, observatory_size
from lab_utils.observatory.token_strip import TokenFacts, strip_html, token_facts, token_text, visible
from lab_utils.observatory.word_classes import Lexicon
from lab_utils.show.note import Sentence
from lab_utils.show.snapshot import Snapshot
from nanokimi import checkpoint
from nanokimi.kimi import Kimi
from nanokimi.model import build_model
from nanokimi.text import tokenizer
from nanokimi.train import train
from tests import tiny

SCRIPT = '<script>alert("1")</script> <b>bold</b> &amp; $x$ %{y}'


@pytest.fixture(scope="module")
def watch() -> Observatory:
    """A tiny model with two layers of four experts, over text by characters that can also write tags."""
    corpus = tiny.corpus(annotated=True)
    letters = tokenizer.char([SCRIPT, "".join(chr(c) for c in range(32, 127)), "\n"])
    corpus = replace(corpus, tokenizer=letters, token_bytes=torch.from_numpy(tokenizer.token_bytes(letters)))
    model = tiny.harsh_(Kimi(tiny.kimi(n_layers=3, vocab_size=letters.n_vocab, max_seq_len=64)))
    specimen = Specimen(
        model=model, corpus=corpus, train=tiny.train_config(), lexicon=Lexicon(), origin="a tiny model"
    )
    size = replace(observatory_size("smoke"), windows=6, lesion_windows=2, new_tokens=5, cache_tokens=9)
    return Observatory(specimen, size)


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("NANOKIMI_LIVE", "1")


class Tags(HTMLParser):
    """The tags and the text of a piece of HTML, as a browser would read them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text, self.labels = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.labels += [value for name, value in attrs if name == "aria-label"]

    def handle_data(self, data):
        self.text += data


def fact(text: str = "a", experts=(2, 0), runner_up=1) -> TokenFacts:
    return TokenFacts(text, experts, (0.75, 0.25), runner_up, None if runner_up is None else 0.125)


def unpacked(array: dict) -> np.ndarray:
    """Plotly's form for an array of numbers, read back."""
    values = np.frombuffer(base64.b64decode(array["bdata"]), dtype=f"<{array['dtype']}")
    return values.reshape([int(n) for n in array.get("shape", str(len(values))).split(", ")])


# ---------------------------------------------------------------- the token strip


def test_sentence_by_hand():
    assert fact(" cat").sentence() == (
        "␣cat: expert 2 (weight 0.750), expert 0 (weight 0.250); runner-up expert 1, behind by 0.125"
    )
    assert fact(runner_up=None).sentence().endswith("expert 0 (weight 0.250); no runner-up")


def test_facts_are_those_of_the_routing(watch):
    facts = watch.facts("The cat", 2)
    ids = watch.specimen.corpus.tokenizer.encode_ordinary("The cat")
    routing = look(watch.specimen.model, torch.tensor([ids])).layer(2)
    assert [f.text for f in facts] == list("The cat")
    for i, found in enumerate(facts):
        assert found.experts == tuple(routing.experts[i]) and found.runner_up == routing.runner_up[i]
        assert found.weights == pytest.approx(routing.weights[i]) and found.margin == routing.margin[i]


def test_a_strip_of_markup_is_text(watch):
    html = strip_html(watch.facts(SCRIPT, 1), 'a "label" <i>')
    found = Tags(html)
    assert set(found.tags) == {"style", "div", "span", "sub"}
    assert found.labels[0] == 'a "label" <i>'
    boxes = re.findall(r'">([^<]*)<sub>', html)
    assert "".join(unescape(box) for box in boxes).replace("␣", " ") == SCRIPT
    assert html.count('tabindex="0"') == len(SCRIPT)


def test_the_strip_says_the_same_by_hover_and_by_focus(watch):
    facts = watch.facts("cat", 1)
    found = Tags(strip_html(facts, "x"))
    assert found.labels[1:] == [f.sentence() for f in facts]
    assert all(f.sentence() in found.text for f in facts)


def test_invisible_characters_are_seen():
    assert visible("a b\n\t\x00\u200b") == "a␣b⏎⇥\\x00\\u200b"


def test_tokens_that_are_no_whole_character():
    encoding = tokenizer.train_bpe(["abc"], 257)
    e_acute = encoding.encode_ordinary("é")
    assert [token_text(encoding, t) for t in e_acute] == ["\\xc3", "\\xa9"]
    assert token_text(encoding, encoding.eot_token) == "<|endoftext|>"


def test_the_drawn_strip_shows_every_token_even_those_that_the_font_lacks():
    figure = routing_plots.draw_strip([fact("$x$"), fact("中"), fact("<b>"), fact("a" * 200)], 3)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[::2] == ["$x$", "\\u4e2d", "<b>", "a" * 23 + "…"]
    assert words[1] == "#2 .75"
    assert Snapshot(figure, "x").png.startswith(b"\x89PNG")  # a formula in a token would fail here


def test_hover_text_is_the_tokens_own_and_escaped(watch):
    facts = watch.facts(SCRIPT, 1)
    data = strip_plotly(facts, 1)["data"][0]
    assert [unescape(text) for text in data["hovertext"]] == [f.sentence() for f in facts]
    assert not any("<" in text for text in data["hovertext"])
    assert "".join(unescape(text.partition("<br>")[0]) for text in data["text"]).replace("␣", " ") == SCRIPT
    assert (
        data["hovertemplate"] == "%{hovertext}<extra></extra>"
    )  # texts are data, never part of the template
    assert len(set(zip(data["x"], data["y"]))) == len(facts)


# ---------------------------------------------------------------- figures by what they hold


def test_lift_figure_shows_values_counts_and_doubts():
    lift = Lift(classes=("a", "b"), counts=np.array([[30, 10], [10, 30], [1, 1]]))
    figure = routing_plots.draw_lift(lift, "title", [1, 0, 2])
    words = [text.get_text() for text in figure.axes[0].texts]
    value = 30 / (40 * 41 / 82)
    assert words == [
        f"{2 - value:.2f} (10)",
        f"{value:.2f} (30)",
        f"{value:.2f} (30)",
        f"{2 - value:.2f} (10)",
        "1",
        "1",
    ]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["1", "0", "2"]
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 2


def test_lift_alternative_text_names_the_strongest_cell():
    lift = Lift(classes=("a", "b"), counts=np.array([[30, 10], [10, 30], [2, 0]]))
    assert "expert 1 on b" in pictures.lift_picture(lift, "word class", 2).alt  # not the noisy 2 of expert 2


def test_path_figure_and_its_twin():
    counts = [np.array([[3, 1], [0, 4]])]
    figure = routing_plots.draw_paths(counts, [1, 2])
    assert [t.get_text() for t in figure.axes[0].texts] == ["0: 50%", "1: 50%", "0: 38%", "1: 62%"]
    link = paths_plotly(counts, [1, 2])["data"][0]["link"]
    numbers = [unpacked(link[key]).tolist() for key in ("source", "target", "value")]
    assert list(zip(*numbers)) == [(0, 2, 3), (0, 3, 1), (1, 3, 4)]


def test_lesion_figure_has_a_panel_a_role_and_its_own_numbers():
    rows = [LesionRow(1, e, {ALL: 0.1 * e, "copy": -0.001 * e}) for e in range(2)]
    figure = routing_plots.draw_lesions(rows)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"{ALL} (darkest: ±100)",
        "copy (darkest: ±1)",
    ]
    assert [[t.get_text() for t in axes.texts] for axes in panels] == [["0", "100"], ["0", "-1"]]
    assert "expert 1 of layer 1: +0.100" in pictures.lesion_picture(rows).alt


def test_clinic_figures():
    trace = read_trace()
    figure = clinic_plots.draw_clinic_step(trace, -1)
    words = [t.get_text() for t in figure.axes[0].texts]
    loads = [x for course in trace.courses for x in course.frames[-1].load]
    assert words == ["×" if x < 0.1 else f"{x:.2f}" for x in loads]
    twin = clinic_plotly(trace)
    assert [frame["name"] for frame in twin["frames"]] == [str(step) for step in trace.steps[1::2]]
    values = unpacked(twin["frames"][3]["data"][0]["z"])
    assert values == pytest.approx(np.array([course.frames[7].load for course in trace.courses]), abs=1e-6)
    assert len(json.dumps(twin)) < 40_000
    signs = clinic_plots.draw_vital_signs(trace)
    lines = {line.get_label(): line for line in signs.axes[1].lines[:4]}
    assert signs.axes[1].get_title(loc="left") == "sigmoid"
    assert list(lines["none"].get_ydata()) == [f.max_vio for f in trace.course("sigmoid", "none").frames]
    assert len({line.get_linestyle() for line in lines.values()}) == 4


def test_experts_of_a_token():
    trace = read_trace()
    table = experts_of_token(trace, 0, 2)
    assert table.cells[5] == (
        ("sigmoid, load-balance loss",),
        (" ".join(map(str, trace.courses[5].frames[0].probe[2])),),
    )
    with pytest.raises(ValueError, match="token 24 does not exist: the probe text has tokens 0 to 23"):
        experts_of_token(trace, 0, 24)


# ---------------------------------------------------------------- headless: pictures and sentences, no widget


def test_headless_views_are_snapshots_with_words(watch):
    views = [
        watch.token_strip("The cat"),
        *(watch.who_does_what(by, 2) for by in watch.groupings),
        watch.every_lesion(),
        watch.paths(),
        watch.pairs(),
        watch.change_since(watch.specimen.start()),
        watch.cache_meter(),
        clinic_scrubber(read_trace()),
    ]
    for view in views:
        assert isinstance(view, Snapshot)
        data, metadata = view._repr_mimebundle_()
        assert len(metadata["image/png"]["alt"]) > 40
        assert not any("widget" in mime for mime in data)
        assert view.figure.get_suptitle()
        assert view.figure.get_figwidth() * 100 <= 1200


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
        (lambda w: w.lesion("1:0,1:1,1:2", "a"), "1 experts would be left to choose from"),
        (lambda w: w.lesion("<script>", "a"), "'<script>' is not layer:expert"),
        (lambda w: w.pairs(7), "layer 7 has no router"),
        (lambda w: w.change_since(Kimi(tiny.kimi(vocab_size=200, max_seq_len=64))), "differ in their layers"),
    ],
)
def test_bad_input_is_a_sentence(watch, view, sentence):
    found = view(watch)
    assert isinstance(found, Sentence)
    assert sentence in found.text and "\n" not in found.text
    assert Tags(found._repr_html_()).tags == ["p"]


# ---------------------------------------------------------------- live: the same behind controls


def controls(panel) -> dict:
    return {child.description: child for child in panel.box.children[0].children}


def test_no_widget_is_imported_without_a_person(watch, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # an import of it would now fail
    monkeypatch.delitem(sys.modules, "lab_utils.observatory.widgets", raising=False)
    assert isinstance(watch.token_strip("a"), Snapshot)


def test_the_strip_follows_prompt_and_layer(watch, live):
    panel = watch.token_strip("cat")
    fields = controls(panel)
    assert list(fields) == ["Prompt", "Layer"]
    assert watch.facts("cat", 1)[0].sentence() in unescape(panel.picture.value)
    fields["Layer"].value = 2
    fields["Prompt"].value = SCRIPT
    assert watch.facts(SCRIPT, 2)[0].sentence() in unescape(panel.picture.value)
    assert "script" not in Tags(panel.picture.value).tags


def test_a_bad_prompt_is_a_sentence_and_a_good_one_clears_it(watch, live):
    panel = watch.token_strip("cat")
    controls(panel)["Prompt"].value = ""
    assert "the prompt is empty" in panel.sentence.value and panel.picture.value == ""
    controls(panel)["Prompt"].value = "<i>" * 40
    assert "reads at most 64" in panel.sentence.value
    controls(panel)["Prompt"].value = "dog"
    assert panel.sentence.value == "" and "nk-token" in panel.picture.value


def test_who_does_what_sorts(watch, live):
    panel = watch.who_does_what()
    fields = controls(panel)
    assert list(fields) == ["Group tokens by", "Layer", "Sort by"]
    fields["Sort by"].value = "punctuation"
    lift = watch.lift("word class", 1)
    assert panel.picture.value == pictures.lift_picture(lift, "word class", 1, "punctuation").html()
    fields["Group tokens by"].value = "role of the token read"
    assert fields["Sort by"].options == ("number of the expert", "grammar", "choice", "fact", "copy")
    assert fields["Sort by"].value == "number of the expert"
    fields["Sort by"].value = "copy"
    assert panel.sentence.value == "" and "role of the token read" in panel.picture.value


def test_the_lesion_runs_on_its_button(watch, live):
    panel = watch.lesion("1:0", "cat")
    fields = controls(panel)
    assert list(fields) == ["Experts to switch off (layer:expert)", "Prompt", "Switch off"]
    assert panel.picture.value == ""
    fields["Switch off"].click()
    cost = watch.lesion_report("1:0", "cat").table.cells[0][3][0]
    assert cost in panel.picture.value
    fields["Experts to switch off (layer:expert)"].value = "1:77"
    fields["Switch off"].click()
    assert "expert 77 does not exist" in panel.sentence.value and panel.picture.value == ""


def test_all_lesions_move_a_bar(watch, live):
    panel = watch.every_lesion()
    bar, button = panel.box.children[0].children
    assert (bar.value, bar.max) == (0, 8)
    button.click()
    assert bar.value == 8 and "<img alt=" in panel.picture.value


def test_other_widgets_draw_what_their_controls_say(watch, live):
    trace = read_trace()
    clinic = clinic_scrubber(trace)
    controls(clinic)["Step"].value = 6
    controls(clinic)["Token"].value = 5
    assert (
        "at step 6:" in clinic.picture.value
        and experts_of_token(trace, 0, 5)._repr_html_() in clinic.picture.value
    )
    pairs = watch.pairs()
    controls(pairs)["Layer"].value = 2
    assert "in layer 2" in pairs.picture.value
    change = watch.change_since(watch.specimen.start())
    assert "layer 2:" in change.picture.value
    meter = watch.cache_meter()
    controls(meter)["Tokens to generate"].value = 7
    controls(meter)["Generate"].click()
    assert "After 7:" in meter.picture.value


# ---------------------------------------------------------------- which model is looked at


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def test_a_model_is_trained_once_and_then_found(out):
    said = []
    first = find_specimen("smoke", out_dir=str(out), say=said.append)
    assert said[-1].startswith("training a Kimi to look at: step 20 of 20")
    again = find_specimen("smoke", out_dir=str(out), say=said.append)
    assert len(said) == 2
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters()))
    assert first.origin == "observatory-smoke-s0, 20 steps of 512 tokens"
    start = build_model(first.model.cfg, first.train.seed)
    assert all(torch.equal(a, b) for a, b in zip(first.start().parameters(), start.parameters()))


def test_other_checkpoints_are_named_and_left(out, tmp_path):
    find_specimen("smoke", out_dir=str(out))
    cfg = tiny.train_config(steps=1, warmup_steps=0, eval_every=1)
    corpus = tiny.corpus()
    for name, model in (
        ("gpt", build_model(tiny.gpt(vocab_size=corpus.tokenizer.n_vocab))),
        ("dense", build_model(tiny.kimi(moe=None, vocab_size=corpus.tokenizer.n_vocab))),
        ("kimi", build_model(tiny.kimi(vocab_size=corpus.tokenizer.n_vocab))),
    ):
        list(train(model, corpus, cfg, tmp_path / name))
    (tmp_path / "empty").mkdir()
    for name, sentence in (
        ("gpt", "this is a GPT: it has no router"),
        ("dense", "this Kimi has no experts"),
        ("kimi", "was trained on another text"),
        ("empty", "no checkpoint in"),
    ):
        said = []
        found = find_specimen("smoke", str(tmp_path / name), str(out), said.append)
        assert sentence in said[0] and said[0].endswith("The observatory goes on with a model of its own.")
        assert found.origin.startswith("observatory-smoke-s0")


def test_an_unfinished_training_is_begun_again(out):
    folder = out / "runs" / "observatory-smoke-s0"
    find_specimen("smoke", out_dir=str(out))
    path = checkpoint.find_newest(folder) / "checkpoint.json"
    about = json.loads(path.read_text())
    about["progress"]["step"] = 7
    about["sha256"]["checkpoint.json"] = checkpoint._sha256_of_about(about)
    path.write_text(json.dumps(about))
    said = []
    assert "20 steps" in find_specimen("smoke", out_dir=str(out), say=said.append).origin
    assert said


def test_token_facts_have_a_token_each(watch):
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = token_facts(look(watch.specimen.model, tokens), 1, watch.specimen.corpus.tokenizer)
    assert len(found) == 6
