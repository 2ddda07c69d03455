"""How long after a click the live panel's controls act: JupyterLab, a browser and the training on one machine.

    python -m benchmarks.clicks

Notebook 08 runs with profile cpu in a headless Chromium, drawing as for a person. At random moments the learning rate
is moved, Pause and Continue are pressed, at last Stop. A control has acted when the training's thread answers to it:
it goes on with the new rate, holds, goes on, ends. (During an evaluation it has then taken the new rate for the step
that follows.) Both ends are read from the clock of this machine.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from nanokimi.system.printable import show_every_letter
from tests.e2e.conftest import FLAGS, Lab, NotebookPage, find_chromium
from tests.e2e.test_live_08 import NAME, Run, with_longer_runs

CLICKS = 40  # of the slider; of Pause and Continue half as many
# In a cell before the training: what the training's thread is told, and when.
NOTING = """\
import json

from nanokimi.steering import EndTraining

answer = TrainingPanel.steer


def note(what):
    with open("../out/clicks.jsonl", "a") as file:
        file.write(json.dumps({"what": what, "time": time.time()}) + "\\n")


def steer(panel, step):
    if held := panel.paused:
        note("Pause")
    try:
        found = answer(panel, step)
    except EndTraining:
        note("Stop")
        raise
    if held:
        note("Continue")
    for each in found:
        note(each.value)
    return found


TrainingPanel.steer = steer
"""


class Clicker:
    """Presses, and waits until the training's thread has noted it."""

    def __init__(self, run: Run, notes: Path):
        self.run, self.notes = run, notes
        self.seconds: dict[str, list[float]] = {}

    def noted(self) -> list[dict]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    def press(self, what: str, how) -> None:
        self.run.page.wait_for_timeout(random.randint(700, 2500))
        before, pressed = len(self.noted()), time.time()
        how()
        (first, *_) = self.run.until(lambda: self.noted()[before:], f"an answer to {what}")
        self.seconds.setdefault(what, []).append(first["time"] - pressed)

    def press_button(self, name: str) -> None:
        mouse, box = self.run.page.mouse, self.run.panel.get_by_role("button", name=name).bounding_box()
        mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.press(name, lambda: (mouse.down(), mouse.up()))


def measure(lab: Lab, page) -> dict[str, list[float]]:
    """Seconds from press to action, a list per control."""
    notebook = lab.folder / "notebooks" / NAME
    with_longer_runs(notebook, "kimi", every=25, more=NOTING)
    notes = lab.folder / "out" / "clicks.jsonl"
    notes.parent.mkdir()
    notes.touch()
    nb = NotebookPage(page, lab, NAME)
    nb.run_all()
    clicker = Clicker(Run(nb, lab), notes)
    clicker.run.panel.get_by_role("button", name="Stop").wait_for()
    clicker.run.panel.scroll_into_view_if_needed()
    clicker.run.until(lambda: clicker.run.step() >= 3, "step 3 in the panel", 120)
    slider = clicker.run.panel.locator(".widget-hslider", has_text="Learning rate ×").get_by_role("slider")
    slider.focus()
    for _ in range(CLICKS):  # in one direction: a change that is taken back within a step is no change
        clicker.press("Learning rate", lambda: page.keyboard.press("ArrowLeft"))
    for _ in range(CLICKS // 2):
        clicker.press_button("Pause")
        clicker.press_button("Continue")
    clicker.press_button("Stop")
    nb.wait_until_run("report", 120)
    steps = [r["tokens"] / r["step"] / r["tokens_per_s"] for r in clicker.run.records()]
    print(f"profile cpu; a step took {statistics.median(steps):.2f} s (median of {len(steps)})")
    return clicker.seconds


def main() -> None:
    show_every_letter()
    if (chromium := find_chromium()) is None:
        sys.exit("clicks: no chromium in PATH (on Debian and Ubuntu, apt install chromium)")
    os.environ["NANOKIMI_PROFILE"] = "cpu"
    random.seed(0)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with Lab.of_copy(Path(name)) as lab:
            page = browser.new_page(viewport={"width": 1200, "height": 1100})
            page.set_default_timeout(120_000)
            for what, seconds in measure(lab, page).items():
                late = sum(each > 0.5 for each in seconds)
                print(
                    f"{what:13} acts after {statistics.median(seconds):.2f} s at the median, "
                    f"{max(seconds):.2f} s at most; {late} of {len(seconds)} later than half a second"
                )
        browser.close()


if __name__ == "__main__":
    main()
