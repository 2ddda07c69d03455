"""`nanokimi bench` where the lab is not installed, or its notebook is not there."""

import sys
from pathlib import Path

import pytest

from lab_utils.bench import command


def test_a_package_that_lacks_is_named_with_what_brings_it(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lab_utils.bench.command", "lab_utils.machine.headless"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "papermill", None)
    code, out, err = run("bench", "--profile=smoke")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("nanokimi: bench needs papermill, which comes with the extra lab: in a checkout")


def test_without_the_notebook_it_says_where_to_run(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "NOTEBOOK", tmp_path / "notebooks/08_train_kimi_vs_gpt.ipynb")
    code, out, err = run("bench", "--profile=smoke")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "which is not installed with the package: run it in a checkout of the repository" in err
    assert list(tmp_path.iterdir()) == []
