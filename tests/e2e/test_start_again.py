"""The button that puts exercises back, in an open notebook: the cells come back, and the work is kept."""

import json

NAME = "mine.ipynb"
BUTTON = 'from lab_utils.course.start_again import start_again\n\nstart_again("03")'


def test_an_open_notebook_gets_its_stubs_back(notebook, lab):
    folder = lab.folder / "notebooks"
    mine = json.loads((folder / "03_swiglu_experts.ipynb").read_text(encoding="utf-8"))
    cells = {cell["id"]: cell for cell in mine["cells"]}
    stub, cells["swiglu-exercise"]["source"] = cells["swiglu-exercise"]["source"], "def swiglu(): my_work"
    button = {"cell_type": "code", "id": "button", "metadata": {}, "outputs": [], "execution_count": None}
    mine["cells"].insert(0, button | {"source": BUTTON})
    (folder / NAME).write_text(json.dumps(mine), encoding="utf-8")

    nb = notebook(NAME)
    nb.command("notebook:run-cell")
    nb.output("button").get_by_role("button", name="Put its exercises back").click()
    nb.output("button").get_by_text("Save the notebook first").wait_for()
    nb.save()
    nb.output("button").get_by_role("button", name="Really? Click again").click()
    nb.output("button").get_by_text("stubs again: swiglu.").wait_for()
    (kept,) = (folder / "before").glob("mine-*.ipynb")
    assert "my_work" in kept.read_text(encoding="utf-8")

    # What the message tells to do: the menu's entry has this name, and after it nothing asks.
    label = nb.page.evaluate("() => window.jupyterapp.commands.label('docmanager:reload')")
    assert "Reload" in label and "from Disk" in label
    nb.command("docmanager:reload")
    if (revert := nb.page.get_by_role("button", name="Reload")).count():
        revert.click()
    nb.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells"
        ".some(c => c.getId() === 'swiglu-exercise' && !c.source.includes('my_work'))"
    )
    assert nb.cell("swiglu-exercise")["source"] == "".join(stub)
    nb.save()
    assert "my_work" not in json.dumps(lab.saved(NAME))
