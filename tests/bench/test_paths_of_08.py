"""Notebook 08 says what is true whatever was trained: one model alone, two seeds, another text, stopped, steered."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab_utils.machine.headless import run_notebook

NAME = "08_train_kimi_vs_gpt.ipynb"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / NAME
# The training with number `training`, from 0, is stopped before step `stop`; at step `turn` its rate is halved.
BY_HAND = """\
class ByHand(TrainingPanel):
    def steer(self, step):
        if len(self.histories) == {training} + 1:
            if step == {stop}:
                self.stop()
            if step == {turn}:
                self.request("lr_factor", 0.5)
        return super().steer(step)


TrainingPanel = ByHand
"""
# A cell that shows this run, and not a question before it, a record or the reader's progress.
OF_THIS_RUN = ("text", "models", "timing", "train", "table", "loss", "share", "verdicts", "fairness", "ladder",
               "roles-table", "roles", "excess", "router", "uneven", "logits-answer", "samples")  # fmt: skip
OWN_TEXT = "".join(
    f"The {a} {b} sees a {c}. " for a in ("old", "red", "shy") for b in "abcdefgh" for c in "pqrstuvw"
)
PATHS = {
    "gpt": {"arms": "gpt"},
    "kimi": {"arms": "kimi"},
    "no GPT": {"arms": "gpt-muon,kimi"},
    "two seeds": {"arms": "kimi", "seeds": 2},
    "own text": {"arms": "default", "data": OWN_TEXT},
    "stopped at once": {"arms": "default", "by_hand": dict(training=0, stop=1, turn=0)},
    "stopped early": {"arms": "kimi", "by_hand": dict(training=0, stop=11, turn=0)},
    "stopped in the second": {"arms": "default", "by_hand": dict(training=1, stop=11, turn=0)},
    "steered": {"arms": "default", "by_hand": dict(training=1, stop=0, turn=5)},
}


def run_path(path: dict, folder: Path) -> dict[str, list[dict]]:
    """The outputs of each code cell, by the cell's id."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["id"] == "imports" and "by_hand" in path:
            cell["source"] = "".join(cell["source"]) + "\n" + BY_HAND.format(**path["by_hand"])
    (changed := folder / NAME).write_text(json.dumps(notebook), encoding="utf-8")
    environ = {"NANOKIMI_PROGRESS": str(folder / "progress.json"), "NANOKIMI_LIVE": "0"}
    chosen = {"profile": "smoke", "out_dir": str(folder / "out"), "arms": path["arms"]}
    chosen["seeds"] = path.get("seeds", 1)
    if "data" in path:
        (text := folder / "own.txt").write_text(path["data"] * 40, encoding="utf-8")
        chosen["data"] = str(text)
    run_notebook(changed, ran := folder / "ran.ipynb", chosen, environ)
    cells = json.loads(ran.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}


def words_of(outputs: list[dict]) -> str:
    """What the outputs of a cell say, without the sheets of looks in their HTML."""
    said = []
    for output in outputs:
        data = output.get("data", {})
        said += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join("".join(each) for each in said)


def is_blank(png: str) -> bool:
    """Whether a picture has neither a curve nor a cell: nothing but black and grey on white."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")).astype(int)
    return np.ptp(pixels, axis=-1).max() < 30


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_every_path_says_what_is_true(name, tmp_path):
    path = PATHS[name]
    shown = run_path(path, tmp_path)
    by_cell = {cell: words_of(shown[cell]) for cell in OF_THIS_RUN}
    said = "\n".join(by_cell.values())
    assert all(text.strip() for text in by_cell.values()), by_cell
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", said)
    # The floor of the storyworld is known from the start; that of somebody's text never is.
    assert ("not known" in said) == ("data" in path)
    assert not any(
        is_blank(o["data"]["image/png"])
        for c in OF_THIS_RUN
        for o in shown[c]
        if "image/png" in o.get("data", {})
    )
    arms = ["gpt", "kimi"] if path["arms"] == "default" else path["arms"].split(",")
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for arm in {"gpt", "kimi"} - set(arms):
        for text in (said, report):
            assert f"{arm} →" not in text and f"→ {arm}" not in text and f"{arm} wins" not in text
        assert f"{arm} was not trained" in by_cell["verdicts"]
    ended = "by_hand" not in path or path["by_hand"]["stop"] == 0
    assert ("reaches GPT's final loss" in by_cell["share"]) == (ended and set(arms) >= {"gpt", "kimi"})
    assert "never reaches" not in said and "not reached" not in said
    assert ("Measured: " in by_cell["uneven"]) == (ended and "kimi" in arms)
    if not ended:
        assert (
            "did not come to its end" in by_cell["excess"]
            and "did not come to its end" in by_cell["logits-answer"]
        )
    if name == "two seeds":
        assert "kimi, seed 1, router 1:" in by_cell["uneven"]
    if name == "own text":
        assert "roles" in by_cell["roles"] and "roles" in by_cell["excess"]
    if name == "steered":
        assert "kimi with seed 0" in by_cell["fairness"] and "(it was steered by hand)" in by_cell["share"]
