"""JupyterLab in a headless Chromium, for tests that click where a person would.

    def test_something(notebook):
        nb = notebook("09_router_observatory.ipynb")
        nb.run_all()
        nb.output("widget").get_by_label("Prompt").fill("Once")

Every module gets a JupyterLab of its own on a copy of notebooks/, with the smoke profile and all of its settings in
a temporary folder. Without a browser these tests are skipped with a word; where CI=true they fail instead.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SETTINGS = {
    # No question about news, and every cell in the page whether it is in view or not.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
WAIT = 180.0  # seconds: the other core may be at work on another test
KERNEL_IS = "state => window.jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status === state"


def lacking(what: str) -> None:
    """Skip with a word, or fail where nothing may be skipped."""
    text = f"no browser test: {what}"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A Chromium. Module scope: while playwright is up, no other test of the session can run an event loop."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        lacking("playwright is not installed (pip install -e '.[e2e]')")
    path = find_chromium()
    if path is None:
        lacking("no chromium in PATH (on Debian and Ubuntu, apt install chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory) -> Iterator["Lab"]:
    """A running JupyterLab; after `browser`, so that nothing is started where there is none."""
    with Lab.of_copy(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def notebook(browser, lab, request) -> Iterator[Callable[..., "NotebookPage"]]:
    """A function that opens a notebook of the copy in a page of its own, 1200 pixels wide by default."""
    pages = []

    def open_notebook(name: str, width: int = 1200, height: int = 1000, ready: str = "idle") -> NotebookPage:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * WAIT)
        pages.append(page)
        return NotebookPage(page, lab, name, ready)

    yield open_notebook
    for page in pages:
        page.close()


class Lab:
    """The server process, and the folder that it serves."""

    @classmethod
    def of_copy(cls, folder: Path) -> "Lab":
        """On a copy of the notebooks, put into `folder`."""
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
        # What tells a notebook where its checkout is, and so where out/ goes.
        (folder / "pyproject.toml").touch()
        return cls(folder)

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> "Lab":
        environ = dict(os.environ)
        environ.pop("NANOKIMI_LIVE", None)  # the lab must find out by itself that somebody is there
        for what in ("CONFIG", "DATA", "RUNTIME"):
            environ[f"JUPYTER_{what}_DIR"] = str(self.folder / f"jupyter-{what.lower()}")
        environ["IPYTHONDIR"] = str(self.folder / "ipython")
        for name, value in SETTINGS.items():
            path = self.folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        environ["JUPYTERLAB_SETTINGS_DIR"] = str(self.folder / "settings")
        environ["JUPYTERLAB_WORKSPACES_DIR"] = str(self.folder / "workspaces")
        port = self.url.rpartition(":")[2]
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
            *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
            f"--ServerApp.root_dir={self.folder / 'notebooks'}",
        ]
        self._log = (self.folder / "jupyterlab.log").open("w")
        self._process = subprocess.Popen(
            command, env=environ, cwd=self.folder, stdout=self._log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/api/status", timeout=5):
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"JupyterLab did not start:\n{(self.folder / 'jupyterlab.log').read_text()}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def saved(self, name: str) -> dict:
        """The notebook as it stands on the disk."""
        return json.loads((self.folder / "notebooks" / name).read_text(encoding="utf-8"))


class NotebookPage:
    """One open notebook, once its kernel is as `ready` says. Cells are named by their id."""

    def __init__(self, page, lab: Lab, name: str, ready: str = "idle"):
        self.page, self.lab, self.name = page, lab, name
        page.goto(f"{lab.url}/lab/workspaces/{name.partition('.')[0]}/tree/{name}?reset")
        page.wait_for_function(
            "name => window.jupyterapp?.shell?.currentWidget?.context?.path === name"
            " && window.jupyterapp.shell.currentWidget.context.isReady",
            arg=name,
        )
        page.wait_for_function(KERNEL_IS, arg=ready)
        page.evaluate("() => { const s = window.jupyterapp.shell; if (!s.leftCollapsed) s.collapseLeft(); }")

    def command(self, name: str) -> None:
        """Run a command of JupyterLab and wait for its end."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def run_all(self) -> None:
        """Start all cells; does not wait."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def cells(self) -> list[dict]:
        """id, type, execution count and outputs of every cell, as the front end holds them."""
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells.map(c => c.toJSON())"
        )

    def cell(self, cell_id: str) -> dict:
        return next(cell for cell in self.cells() if cell["id"] == cell_id)

    def output(self, cell_id: str):
        """A locator of the cell's output area."""
        index = [cell["id"] for cell in self.cells()].index(cell_id)
        return (
            self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
            .nth(index)
            .locator(".jp-Cell-outputArea")
        )

    def wait_until_run(self, cell_id: str, timeout: float = WAIT) -> None:
        """Until the cell has been executed to its end; a failed test names the first error of the notebook."""
        deadline = time.monotonic() + timeout
        while self.cell(cell_id)["execution_count"] is None:
            assert not self.errors(), self.errors()
            assert time.monotonic() < deadline, f"cell {cell_id} did not run within {timeout:.0f} s"
            self.page.wait_for_timeout(100)

    def errors(self) -> list[str]:
        return [
            f"{cell['id']}: {output['ename']}: {output['evalue']}"
            for cell in self.cells()
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def save(self) -> dict:
        """Save and read the file."""
        self.command("docmanager:save")
        return self.lab.saved(self.name)

    def clear(self) -> None:
        """Take the committed outputs away, so that what is seen was made now."""
        self.command("notebook:clear-all-cell-outputs")
