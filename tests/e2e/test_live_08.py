"""Notebook 08 in JupyterLab: what the panel shows moves while the cell runs, and what is clicked reaches the loop."""

import json
import re
import shutil
import time
from statistics import fmean

import pytest

from lab_utils.bench.watch import StepFile
from tests.e2e.conftest import KERNEL_IS, WAIT

NAME = "08_train_kimi_vs_gpt.ipynb"
STEPS = 20_000  # more than the test waits for: it ends by Stop
LONGER = f"""\
from dataclasses import replace

plan = replace(
    plan, arms=tuple(replace(a, train=replace(a.train, steps={STEPS}, eval_every={{every}})) for a in plan.arms)
)
"""


def with_longer_runs(path, arms: str, every: int = 100, more: str = "") -> None:
    """The smoke profile's thirty steps are over before anybody could click. `more` runs before the training."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if cell["id"] == "parameters":
            cell["source"] = "".join(cell["source"]).replace('arms = "default"', f'arms = "{arms}"')
    ids = [cell["id"] for cell in notebook["cells"]]
    longer = {"cell_type": "code", "id": "longer", "metadata": {}, "outputs": [], "execution_count": None}
    notebook["cells"].insert(ids.index("models-md"), longer | {"source": LONGER.format(every=every) + more})
    path.write_text(json.dumps(notebook), encoding="utf-8")


class Run:
    """The panel of a running cell, and the log that the run writes."""

    def __init__(self, nb, lab):
        self.nb, self.page, self.panel = nb, nb.page, nb.output("train")
        self.folder = lab.folder / "out" / "notebook" / "runs" / "kimi-s0"
        self._log, self._records = StepFile(self.folder), []

    def records(self) -> list[dict]:
        self._records += self._log.read_new()
        return self._records

    def until(self, true, what: str, seconds: float = WAIT):
        deadline = time.monotonic() + seconds
        while not (found := true()):
            assert not self.nb.errors(), self.nb.errors()
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            self.page.wait_for_timeout(50)
        return found

    def step(self) -> int:
        """As the panel says."""
        found = re.search(r"step (\d+) of", self.panel.inner_text())
        return int(found[1]) if found else 0

    def load(self) -> list[str]:
        """The numbers in the heat map's cells, as drawn."""
        return self.panel.locator(".heatmap-label").all_text_contents()

    def intervention(self, what: str, after: int = 0) -> dict:
        """The newest intervention of this kind in the log, later than step `after`."""

        def newest():
            all_of_it = [each for record in self.records() for each in record["interventions"]]
            wanted = [each for each in all_of_it if each["what"] == what and each["step"] > after]
            return wanted[-1] if wanted else None

        return self.until(newest, f"an intervention {what}")

    def step_done(self) -> int:
        return self.records()[-1]["step"]

    def max_vio(self, after: int) -> float:
        return fmean(x for record in self.records() if record["step"] > after for x in record["max_vio"])

    def recent_max_vio(self, since: dict) -> float:
        """The mean of the last 30 steps, which must all lie behind the intervention."""
        self.until(lambda: self.step_done() >= since["step"] + 30, "30 steps after the intervention")
        return self.max_vio(self.step_done() - 30)


@pytest.fixture
def run(notebook, lab) -> Run:
    """Notebook 08 with Kimi alone, its cells started, the panel up and the first steps done."""
    with_longer_runs(lab.folder / "notebooks" / NAME, "kimi")
    shutil.rmtree(lab.folder / "out", ignore_errors=True)  # of the test before
    nb = notebook(NAME, height=1100)
    nb.run_all()
    running = Run(nb, lab)
    running.panel.get_by_role("button", name="Stop").wait_for()
    running.panel.scroll_into_view_if_needed()
    running.until(lambda: running.step() >= 5, "step 5 in the panel")
    return running


def test_watch_steer_and_stop(run, lab):
    panel, page = run.panel, run.page

    # Step and heat map advance while the cell is running.
    step, load = run.step(), run.until(run.load, "numbers in the heat map")
    run.until(lambda: run.step() > step + 20, "20 more steps in the panel")
    run.until(lambda: run.load() != load, "another heat map")
    assert run.nb.cell("train")["execution_count"] is None or "kimi" in panel.inner_text()

    # The learning rate reaches the loop, by keyboard (how soon: benchmarks/clicks.py).
    slider = panel.locator(".widget-hslider", has_text="Learning rate ×").get_by_role("slider")
    slider.focus()
    before = run.step_done()
    page.keyboard.press("ArrowRight")
    asked = run.intervention("lr_factor", before)
    assert asked["value"] > 1.0
    lr = {record["step"]: record["lr"] for record in run.records()}
    assert lr[asked["step"]] / lr[asked["step"] - 1] == pytest.approx(asked["value"], rel=0.02)
    # And so does every further press: a widget is heard more than once.
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        further = run.intervention("lr_factor", asked["step"])
        assert further["value"] > asked["value"]
        asked = further

    # Pause really pauses; Continue goes on.
    panel.get_by_role("button", name="Pause").click()
    panel.get_by_role("button", name="Continue").wait_for()
    page.wait_for_timeout(300)
    paused = len(run.records())
    page.wait_for_timeout(700)
    assert len(run.records()) == paused
    panel.get_by_role("button", name="Continue").click()
    run.until(lambda: len(run.records()) > paused, "steps after Continue")

    # Bad input is a sentence; a good one freezes an expert.
    frozen = panel.get_by_label("Frozen experts, layer:expert")
    frozen.fill("0:1")
    frozen.press("Enter")
    panel.get_by_text("layer 0 has no experts; allowed are 1..1").wait_for()
    frozen.fill("1:<b>3")
    frozen.press("Enter")
    panel.get_by_text("'1:<b>3' is no expert: write layer:expert").wait_for()
    frozen.fill("1:3")
    frozen.press("Enter")
    assert run.intervention("frozen_experts")["value"] == [[1, 3]]

    # Balancing switched off: the router collapses; switched on, it is cured.
    now = run.step_done()
    balanced = run.max_vio(now - 30)
    panel.get_by_label("Balancing").select_option("none")
    off = run.intervention("bias_update_rate", now)
    assert off["value"] == 0.0
    run.until(lambda: run.recent_max_vio(off) > balanced + 0.6, f"MaxVio well above {balanced:.2f}")
    collapsed = run.recent_max_vio(off)
    panel.get_by_label("Balancing").select_option("bias update")
    on = run.intervention("bias_update_rate", off["step"])
    run.until(lambda: run.recent_max_vio(on) < collapsed - 0.5, f"MaxVio well below {collapsed:.2f}")

    # Stop ends the cell, keeps the checkpoint, and the later cells run.
    panel.get_by_role("button", name="Stop").click()
    run.nb.wait_until_run("report")
    assert run.nb.errors() == []
    last = run.step_done()
    assert last < STEPS
    assert max(path.name for path in run.folder.glob("step-*")) == f"step-{last:06d}"

    # What is left: a picture and words, no widget, no error, a small file.
    saved = run.nb.save()
    (shown, *words) = next(cell for cell in saved["cells"] if cell["id"] == "train")["outputs"]
    assert {"image/png", "text/plain"} <= set(shown["data"])
    assert "Steered by hand. 1: kimi" in "".join(shown["data"]["text/plain"])
    assert any("kimi wrote after step" in "".join(each["data"]["text/plain"]) for each in words)
    # The questions before the run stay what they are, buttons; their state is not saved.
    assert "widget-view" not in json.dumps([shown, *words]) and "widgets" not in saved["metadata"]
    assert len(json.dumps(saved)) < 500_000
    assert (
        "kimi with seed 0 was steered by hand"
        in (lab.folder / "out" / "notebook" / "report.html").read_text()
    )


def test_the_square_button_is_a_stop(run):
    """Interrupting the kernel leaves no traceback: a checkpoint, a picture, and the next cells."""
    run.nb.command("notebook:interrupt-kernel")
    run.nb.wait_until_run("report")
    assert run.nb.errors() == []
    assert list(run.folder.glob("step-*"))
    outputs = run.nb.cell("train")["outputs"]
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_closing_the_tab_stops_nothing_and_a_new_one_shows_the_panel(run, lab, notebook):
    """The kernel trains on; a tab opened later shows and steers the same panel, and keeps the closing picture."""
    run.nb.save()
    run.page.close()
    before = run.step_done()
    deadline = time.monotonic() + 30
    while run.step_done() <= before + 20:
        assert time.monotonic() < deadline, "the training stopped with its tab"
        time.sleep(0.1)
    again = Run(notebook(NAME, height=1100, ready="busy"), lab)
    again.panel.get_by_role("button", name="Stop").wait_for()
    again.until(lambda: again.step() > before, "the present step in the new tab")
    # All of the heat map, although the first tab was sent most of it.
    again.until(lambda: len(again.load()) == 8, "all cells of the heat map in the new tab")
    again.panel.get_by_role("button", name="Stop").click()
    again.page.wait_for_function(KERNEL_IS, arg="idle")
    again.panel.get_by_text("The training has ended").wait_for()
    assert "The training panel at its end" in again.panel.locator("img").get_attribute("alt")
    assert again.nb.errors() == []
    assert list(again.folder.glob("step-*"))
    assert again.nb.save()["nbformat"] == 4
