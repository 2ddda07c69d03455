"""A chart of plotly's moves at its first run in JupyterLab: nobody has to point at a picture first."""

import nbformat

CODE = """
from matplotlib.figure import Figure
from lab_utils.machine.front_end import is_live
from lab_utils.show.snapshot import Snapshot
Snapshot(Figure(figsize=(2, 2)), "Two points.", {"data": [{"y": [1, 2]}], "layout": {}}, is_live())
"""


def test_a_chart_is_live_after_its_cell_has_run(notebook, lab):
    cell = nbformat.v4.new_code_cell(CODE, id="chart")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = nbformat.v4.new_notebook(cells=[cell], metadata=kernel)
    nbformat.write(made, lab.folder / "notebooks" / "chart.ipynb")
    nb = notebook("chart.ipynb")
    nb.run_all()
    nb.wait_until_run("chart")
    nb.output("chart").locator(".plot-container .scatterlayer .point").nth(1).wait_for()
    # JupyterLab itself then keeps a picture of it, for readers without plotly.
    nb.page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.content.model.cells.get(0).outputs.get(0).data['image/png']"
    )
