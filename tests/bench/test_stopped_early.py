"""Notebook 08 after a Stop that comes before the first step, or before the first evaluation: the later cells run."""

import json
from pathlib import Path

import pytest

from lab_utils.machine.headless import run_notebook
from nanokimi.checkpoint import load_checkpoint

NAME = "08_train_kimi_vs_gpt.ipynb"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / NAME
EARLY = """\
class StopsEarly(TrainingPanel):
    def steer(self, step):
        if step > {after}:
            self.stop()
        return super().steer(step)


TrainingPanel = StopsEarly
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("arms", ["kimi", "default"])
def test_every_cell_runs_after_a_stop_before_the_first_evaluation(arms, after, tmp_path):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["id"] == "imports":
            cell["source"] = "".join(cell["source"]) + "\n" + EARLY.format(after=after)
    (changed := tmp_path / NAME).write_text(json.dumps(notebook), encoding="utf-8")
    environ = {"NANOKIMI_PROGRESS": str(tmp_path / "progress.json"), "NANOKIMI_LIVE": "0"}
    chosen = {"profile": "smoke", "arms": arms, "out_dir": str(out := tmp_path / "out")}
    run_notebook(changed, ran := tmp_path / "ran.ipynb", chosen, environ)
    cells = {cell["id"]: cell for cell in json.loads(ran.read_text(encoding="utf-8"))["cells"]}
    (shown,) = cells["samples"]["outputs"]
    first = "kimi" if arms == "kimi" else "gpt"
    assert "".join(shown["data"]["text/plain"]).startswith(f"{first}: ")
    assert load_checkpoint(out / "runs" / f"{first}-s0").state.step == after
    assert (out / "report.html").exists()
