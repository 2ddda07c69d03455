"""Whether somebody sits in front of this kernel, for whom widgets are made, and that the widgets are heard."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from IPython import get_ipython

# What JupyterLab and Notebook, and VS Code, leave in the environment of the kernels that they start.
_FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID")


def is_live() -> bool:
    """True where a front end shows widgets: JupyterLab, Notebook, VS Code, Colab.

    papermill, nbclient and nbval start kernels without any of these signs, so the answer there is False.
    NANOKIMI_LIVE=0 or 1 settles it from outside; any other value is a `ValueError`.
    """
    wanted = os.environ.get("NANOKIMI_LIVE", "")
    if wanted not in ("", "0", "1"):
        raise ValueError(f"NANOKIMI_LIVE={wanted!r} must be 0 (no widgets), 1 (widgets) or not set")
    if wanted:
        return wanted == "1"
    return "google.colab" in sys.modules or any(os.environ.get(name) for name in _FRONT_ENDS)


@contextlib.contextmanager
def answer_widgets() -> Iterator[None]:
    """Within the block, which lies in an async cell, every change of a widget reaches the kernel, not the first only.

    ipywidgets sends a widget's next change when the kernel has reported the last one as done. ipykernel (7.4) handles
    widgets' messages while an async cell runs, but reports none of them; so it is done here, and the cell is
    reported as busy again. Outside a kernel there is nothing to do.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        yield
        return
    handle, cell = kernel.shell_handlers["comm_msg"], kernel.get_parent("shell")

    def report(state: str, parent: dict) -> None:
        kernel.session.send(
            kernel.iopub_socket, "status", {"execution_state": state}, parent=parent, ident=b"status"
        )

    def handle_and_report(stream: object, ident: object, message: dict) -> None:
        try:
            handle(stream, ident, message)
        finally:
            report("idle", message)
            report("busy", cell)

    kernel.shell_handlers["comm_msg"] = handle_and_report
    try:
        yield
    finally:
        kernel.shell_handlers["comm_msg"] = handle
