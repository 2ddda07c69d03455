"""Notebooks 08 and 10 with a reader's parts: an arm called "yours" is trained, and its Kimi writes."""

import json

import pytest

from lab_utils.course.hints import reveal
from lab_utils.machine.headless import run_notebook
from tests.course.filled import fill

PARTS = ("expert_load", "lr_at", "next_token_probs")


def texts_of(path, identity: str) -> str:
    """What a cell of a notebook that ran has written or shows as text."""
    cells = {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
    outputs = cells[identity]["outputs"]
    return "".join("".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in outputs)


def test_the_arm_yours_is_trained_and_writes(tmp_path):
    (folder := tmp_path / "notebooks").mkdir()
    fill(folder, {name: reveal(name).source for name in PARTS})
    environ = {
        "NANOKIMI_PROGRESS": str(tmp_path / "progress.json"),
        "NANOKIMI_PROFILE": "smoke",
        "NANOKIMI_LIVE": "0",
    }
    chosen = {"profile": "smoke", "arms": "kimi,yours", "out_dir": str(tmp_path / "out")}
    run_notebook(folder / "08_train_kimi_vs_gpt.ipynb", eight := tmp_path / "08.ipynb", chosen, environ)
    assert texts_of(eight, "text").startswith("yours: 3 parts of ")
    kimi, mine = (run for run in json.loads((tmp_path / "out" / "results.json").read_text())["runs"])
    assert (kimi["arm"], mine["arm"]) == ("kimi", "yours") and kimi["batch_digest"] == mine["batch_digest"]
    for ours, theirs in zip(mine["points"], kimi["points"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-3)
    assert "\nyours" in texts_of(eight, "table") and "yours: step 30 of 30" in texts_of(eight, "train")
    del chosen["arms"]
    run_notebook(folder / "10_generate.ipynb", ten := tmp_path / "10.ipynb", chosen, environ)
    assert texts_of(ten, "yours").startswith("[yours, 3 of ")
