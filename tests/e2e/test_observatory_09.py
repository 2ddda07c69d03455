"""Notebook 09 in JupyterLab: a prompt stays text, hover and focus say what the router did, a lesion moves the loss."""

import json
import re

import pytest
import torch

from lab_utils.observatory.look import look
from lab_utils.observatory.token_strip import make_visible, read_token_facts
from nanokimi.pretrained import load_pretrained

NAME = "09_router_observatory.ipynb"
PROMPT = 'Pim said <script>document.title = "taken"</script> & <img src=x onerror=alert(1)> twice'
LONG = 240_000  # ms; a cell's first run on a busy machine


def test_observatory(notebook):
    nb = notebook(NAME)
    dialogs = []
    nb.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    nb.clear()
    nb.run_all()
    nb.wait_until_run("cache", timeout=LONG / 1000)
    found = load_pretrained("kimi-storyworld")

    def facts(prompt: str, layer: int):
        ids = found.tokenizer.encode_ordinary(prompt)
        return read_token_facts(look(found.model, torch.tensor([ids])), layer, found.tokenizer)

    # A prompt with markup in it is shown letter by letter, and nothing in it runs.
    strip = nb.output("strip")
    prompt = strip.get_by_role("textbox", name="Prompt")
    prompt.fill(PROMPT)
    prompt.press("Tab")
    tokens = strip.locator(".nk-token")
    strip.locator(f'[aria-label="{css(facts(PROMPT, 1)[-1].sentence())}"]').first.wait_for()
    boxes = [text.split("\n")[0] for text in tokens.evaluate_all("all => all.map(e => e.firstChild.data)")]
    assert boxes == [make_visible(fact.text) for fact in facts(PROMPT, 1)]
    assert "".join(boxes).replace("␣", " ") == PROMPT
    assert strip.locator("script, img").count() == 0
    assert nb.page.title() != "taken" and dialogs == []

    # What hovering and focus show is what the checkpoint's own router does, in the layer that was chosen.
    strip.get_by_role("combobox", name="Layer").select_option("2")
    expected = [fact.sentence() for fact in facts(PROMPT, 2)]
    assert expected != [fact.sentence() for fact in facts(PROMPT, 1)]
    strip.locator(f'[aria-label="{css(expected[3])}"]').first.wait_for()
    tip = tokens.nth(3).locator(".nk-tip")
    assert not tip.is_visible()
    tokens.nth(3).hover()
    assert tip.is_visible() and tip.inner_text() == expected[3]
    nb.page.mouse.move(0, 0)
    tokens.nth(5).focus()
    assert not tip.is_visible() and tokens.nth(5).locator(".nk-tip").inner_text() == expected[5]
    nb.page.keyboard.press("Tab")
    assert tokens.nth(6).locator(".nk-tip").is_visible()

    # A bad prompt is a sentence.
    prompt.fill("")
    prompt.press("Tab")
    strip.get_by_role("alert").get_by_text("the prompt is empty").wait_for()

    # A lesion changes the loss, another lesion changes it otherwise, and an expert that is not there is a sentence.
    lesion = nb.output("lesion")
    which = lesion.get_by_role("textbox", name="Experts to switch off")
    rows = []
    for off in ("1:0, 1:1, 1:2, 1:3, 1:4, 1:5", "2:0, 2:1, 2:2, 2:3, 2:4, 2:5"):
        which.fill(off)
        lesion.get_by_role("button", name="Switch off").click()
        lesion.get_by_role("columnheader", name=f"without {off}").wait_for()
        whole, without, cost = lesion.locator("tbody tr").first.locator("td").all_inner_texts()
        assert float(without) - float(whole) == pytest.approx(float(cost), abs=0.0015)
        rows.append((whole, without))
    assert rows[0][0] == rows[1][0]
    assert len({rows[0][0], rows[0][1], rows[1][1]}) == 3
    which.fill("1:99")
    lesion.get_by_role("button", name="Switch off").click()
    lesion.get_by_text("expert 99 does not exist in layer 1: numbers go from 0 to 15").wait_for()

    # All experts, one by one, without a click.
    every = nb.output("lesions")
    every.get_by_alt_text(re.compile("switching the expert off")).wait_for(timeout=LONG)

    # The clinic's slider and tokens.
    clinic = nb.output("clinic-recorded")
    clinic.get_by_role("button", name="2: ␣you").click()
    clinic.get_by_text("experts of").wait_for()
    clinic.get_by_role("columnheader", name="␣you").wait_for()

    assert nb.errors() == []
    saved = json.dumps(nb.save())
    assert '"widgets"' not in saved and len(saved) < 300_000


def css(text: str) -> str:
    """A string inside an attribute selector's quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
