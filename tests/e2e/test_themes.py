"""All that the lab draws can be read in JupyterLab's light and dark theme, and a screen reader is told what it is."""

import json
import re

import pytest

from tests.e2e.conftest import ROOT, lacking
from tests.e2e.contrast import too_faint
from tests.show.test_colours import luminance

pytestmark = pytest.mark.slow
THEMES = ("JupyterLab Light", "JupyterLab Dark")
OUTPUTS = ".jp-OutputArea-output"
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))

# Everything that a cell can draw for the reader's own work, and the panel with two made-up trainings.
DRAWN = f"""\
import os, sys
sys.path.insert(0, {str(ROOT)!r})
os.environ["NANOKIMI_PROGRESS"] = os.path.abspath("progress.json")
from types import SimpleNamespace
from IPython.display import display
from lab_utils.bench.stories import Stories, Story
from lab_utils.course.check import check
from lab_utils.course.hints import hint, reveal
from lab_utils.course.planner import planner
from lab_utils.course.predict import predict
from lab_utils.live.widgets import LiveView
from lab_utils.observatory.token_strip import TokenFacts, write_strip
from lab_utils.show.note import Sentence
from nanokimi.attention import causal_mask as its_own
from nanokimi.presets.yaml_config import load_model_config
from nanokimi.text.storyworld import Piece
from IPython.display import HTML
from tests.live.made_up_runs import both

def causal_mask(n_queries, n_keys):
    return ~its_own(n_queries, n_keys)

pieces = (Piece("Once", "text"), Piece(" Pim", "name"), Piece(" saw", "copy", False), Piece(" it", "fact"))
panel = SimpleNamespace(paused=False, pause=print, go_on=print, stop=print, request=lambda what, value: "")
view = LiveView(panel, 0.5)
view.redraw(both())
guess = predict("n", "How many?")
predict("c", "Which?", choices=("up", "down"))
display(
    check(causal_mask), hint("causal_mask"), reveal("causal_mask"), guess.score(3.0), Sentence("No `q`."),
    Stories(((Story("kimi", "On", pieces),),), True), planner(load_model_config("kimi-tiny")),
    HTML(write_strip([TokenFacts("Once", (1, 2), (0.6, 0.4), 3, 0.1)], "tokens")), view.widget,
)
"""


def use(page, theme: str) -> None:
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    light = "true" if theme == THEMES[0] else "false"
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
    page.wait_for_timeout(500)  # colours change slowly


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_outputs_can_be_read_in_both_themes(notebook, name):
    """A notebook that is not trusted, as a reader opens it first, loses some of its styles; so it is seen twice."""
    page = notebook(name).page
    for trusted in (False, True):
        if trusted:
            page.evaluate(
                "() => window.jupyterapp.shell.currentWidget.content.widgets.forEach(cell => {"
                " if (cell.model.type === 'code') cell.model.trusted = true; })"
            )
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        for theme in THEMES:
            use(page, theme)
            assert too_faint(page, OUTPUTS) == [], (trusted, theme)


@pytest.fixture
def drawn(notebook, lab, request):
    name = f"{request.node.name}.ipynb"  # a kernel stays with its file
    cell = {"cell_type": "code", "id": "drawn", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell | {"source": DRAWN}]}
    (lab.folder / "notebooks" / name).write_text(json.dumps(made), encoding="utf-8")
    nb = notebook(name, height=3600)
    nb.run_all()
    nb.wait_until_run("drawn")
    nb.output("drawn").locator(".heatmap-label").first.wait_for()
    return nb


def test_what_is_drawn_live_can_be_read_named_and_heard(drawn):
    page, output = drawn.page, drawn.output("drawn")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    field = output.get_by_role("textbox", name="Your guess")
    field.fill("six")
    field.press("Enter")
    output.get_by_role("alert").get_by_text("'six' is no number, so it is no guess").wait_for()
    field.fill("")
    output.locator(".nk-token").first.focus()
    for theme in THEMES:
        use(page, theme)
        assert too_faint(page, OUTPUTS) == [], theme

    # What a screen reader hears is what is shown: a factor and a strength, not their logarithms.
    rate = output.get_by_role("slider", name="Learning rate ×")
    assert rate.get_attribute("aria-valuetext") == "1.00"
    rate.focus()
    page.keyboard.press("ArrowRight")
    shown = output.locator(".widget-slider", has_text="Learning rate ×").locator(".widget-readout")
    assert shown.inner_text() == rate.get_attribute("aria-valuetext") == "1.12"
    assert output.get_by_role("slider", name="Strength").get_attribute("aria-valuetext") == "0.0100"
    tokens, seconds = (output.get_by_role("button", name=f"Curves over {x}") for x in ("tokens", "seconds"))
    assert [each.get_attribute("aria-pressed") for each in (tokens, seconds)] == ["true", "false"]
    seconds.click()
    assert [each.get_attribute("aria-pressed") for each in (tokens, seconds)] == ["false", "true"]
    assert "in six charts. gpt: step" in output.get_by_role("figure").get_attribute("aria-label")
    assert output.locator("img:not([alt])").count() == 0
    assert find_faults(page, OUTPUTS) == []


def find_faults(page, part: str) -> list[str]:
    """What axe finds against WCAG 2.1, A and AA, each as a line. Colours are measured by `too_faint`."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ModuleNotFoundError:
        lacking("axe-playwright-python is not installed (pip install -e '.[e2e]')")
    options = {
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        "rules": {"color-contrast": {"enabled": False}},
    }
    found = Axe().run(page, context=part, options=options).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]


# The controls that Tab must stop at, and how the one that has the focus looks, with it and without.
MARK = """part => [...part.querySelectorAll("button, input, select, summary, [tabindex='0'], [role=slider]")].filter(
  each => !each.disabled && each.checkVisibility()).map((each, i) => each.dataset.stop = i + 1)"""
FOCUSED = """() => {
  const element = document.activeElement;
  const looks = () => {
    const { outlineStyle, outlineColor, borderColor, backgroundColor } = getComputedStyle(element);
    return [outlineStyle === "none" ? "" : outlineColor, borderColor, backgroundColor];
  };
  const papers = [];
  const around = (element.closest(".noUi-target") ?? element).parentElement;  // not a slider's own rail
  for (let e = around; e; e = e.parentElement) papers.push(getComputedStyle(e).backgroundColor);
  const focused = looks();
  element.blur();
  const blurred = looks();
  element.focus();
  return {
    inside: !!element.closest(".jp-OutputArea-output"), stop: Number(element.dataset.stop ?? 0),
    what: element.outerHTML.slice(0, 120), signs: focused.filter((look, i) => look !== blurred[i]),
    paper: papers.find(paper => paper.startsWith("rgb(")),
  };
}"""


def contrast(sign: str, paper: str) -> float:
    """WCAG's, of two colours as a browser writes them, "rgba(0, 114, 178, 0.5)"; the paper is opaque."""
    *below, _ = read_colour(paper)
    *top, cover = read_colour(sign)
    seen = [cover * over + (1 - cover) * under for over, under in zip(top, below, strict=True)]
    dark, light = sorted((luminance(seen), luminance(below)))
    return (light + 0.05) / (dark + 0.05)


def read_colour(colour: str) -> list[float]:
    """Red, green, blue and cover, each of 0 to 1."""
    red, green, blue, *cover = map(float, re.findall(r"[\d.]+", colour))
    return [red / 255, green / 255, blue / 255, *(cover or [1.0])]


def test_the_keyboard_alone_reaches_every_control_in_the_dark_and_shows_where_it_is(drawn):
    page, output = drawn.page, drawn.output("drawn")
    use(page, THEMES[1])
    controls = output.evaluate(MARK)
    output.evaluate("part => { part.tabIndex = -1; part.focus(); }")
    stops, seconds = [], output.get_by_role("button", name="Curves over seconds")
    while len(stops) <= 2 * len(controls):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        if stops[-1]["stop"] == int(seconds.get_attribute("data-stop")):
            page.keyboard.press("Space")
            assert seconds.get_attribute("aria-pressed") == "true"
        if not stops[-1]["inside"]:
            break
    *ours, beyond = stops
    assert not beyond["inside"], "Tab never leaves the output"
    assert sorted({each["stop"] for each in ours if each["stop"]}) == controls
    hidden = [
        each for each in ours if not any(contrast(sign, each["paper"]) >= 3 for sign in each["signs"] if sign)
    ]
    assert hidden == []
