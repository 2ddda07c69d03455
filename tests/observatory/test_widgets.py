"""The observatory for a person: widgets whose controls do what their labels say."""

from html import unescape

from lab_utils.observatory import pictures
from lab_utils.observatory.claim_choices import TOKENS
from lab_utils.observatory.claims import token_is
from lab_utils.observatory.clinic import read_trace
from lab_utils.observatory.clinic_view import list_experts_of_token
from lab_utils.observatory.observatory import show_clinic
from lab_utils.observatory.token_strip import make_visible
from lab_utils.show.note import Sentence, StatusLine
from tests.observatory.made_up_facts import SCRIPT, Tags


def controls(panel) -> dict:
    return {child.description: child for child in panel.box.children[0].children}


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


def test_the_lesion_runs_at_once_and_on_its_button(watch, live):
    panel = watch.lesion("1:0", "cat")
    fields = controls(panel)
    assert list(fields) == ["Experts to switch off (layer:expert)", "Prompt", "Switch off"]
    cost = watch.lesion_report("1:0", "cat").table.cells[0][3][0]
    assert cost in panel.picture.value  # the text below the cell says what to see in it
    fields["Experts to switch off (layer:expert)"].value = "2:1"
    assert "without 1:0" in panel.picture.value
    fields["Switch off"].click()
    assert "without 2:1" in panel.picture.value
    fields["Experts to switch off (layer:expert)"].value = "1:77"
    fields["Switch off"].click()
    assert "expert 77 does not exist" in panel.sentence.value and panel.picture.value == ""


def test_all_lesions_say_how_far_they_are(watch, live, monkeypatch):
    told = []
    monkeypatch.setattr(StatusLine, "show", lambda self, text: told.append(text))
    panel = watch.every_lesion()
    assert [text.partition(" ")[0] for text in told] == [str(n) for n in range(1, 9)]
    assert told[-1] == "8 of 8 experts switched off, one by one" and "<img alt=" in panel.picture.value


def test_other_widgets_draw_what_their_controls_say(watch, live):
    trace = read_trace()
    clinic = show_clinic(trace)
    controls(clinic)["Step"].value = 6
    controls(clinic)["Token"].value = 5
    assert (
        "at step 6:" in clinic.picture.value
        and list_experts_of_token(trace, 0, 5)._repr_html_() in clinic.picture.value
    )
    pairs = watch.pairs()
    controls(pairs)["Layer"].value = 2
    assert "in layer 2" in pairs.picture.value
    change = watch.change_since(watch.specimen.start())
    assert "layer 2:" in change.picture.value
    meter = watch.cache_meter()
    assert "After 9:" in meter.picture.value
    controls(meter)["Tokens to generate"].value = 7
    controls(meter)["Generate"].click()
    assert "After 7:" in meter.picture.value


def test_a_hypothesis_runs_on_its_button_and_what_is_typed_is_text(watch, live):
    chosen = [int(watch.routing.layer(layer).first[0]) for layer in (1, 2)]
    text = make_visible(watch.passage.texts[-1])
    words = watch.words_of(1, chosen[0])
    fields = controls(words)
    assert list(fields) == ["Layer", "Expert"] and fields["Expert"].options == (0, 1, 2, 3)
    fields["Layer"].value, fields["Expert"].value = 2, chosen[1]
    assert f"layer 2, expert {chosen[1]}: " in words.picture.value

    form = watch.hypothesis_form(1, chosen[0])
    fields = controls(form)
    assert list(fields) == ["Layer", "Expert", "A token fits if", "Tokens or words", "Test"]
    assert form.picture.value or form.sentence.value  # its first claim is tested at once
    fields["A token fits if"].value = TOKENS
    fields["Tokens or words"].value = "<img>"
    fields["Test"].click()
    assert "no token of this text is" in form.sentence.value and "<img" not in form.sentence.value
    fields["Tokens or words"].value = SCRIPT
    fields["Test"].click()
    assert "script" not in Tags(form.sentence.value).tags and form.picture.value == ""
    fields["Tokens or words"].value = text
    fields["Layer"].value, fields["Expert"].value = 2, chosen[1]
    fields["Test"].click()
    assert form.picture.value == watch.hypothesis(2, chosen[1], token_is(text))._repr_html_()
    assert form.sentence.value == ""


def test_an_expert_or_a_claim_that_does_not_exist_is_a_sentence_in_place_of_the_form(watch, live):
    for found in (watch.words_of(1, 4), watch.hypothesis_form(1, 4)):
        assert isinstance(found, Sentence) and "expert 4 does not exist in layer 1" in found.text
    assert "fits_if='magic' is no kind of claim" in watch.hypothesis_form(1, 0, "magic").text
