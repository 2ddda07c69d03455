"""Whether a front end shows the widgets of this kernel, and how their messages get through while a cell runs."""

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

    papermill, nbclient and nbval start kernels without these signs, so the answer is False there. The environment
    variable NANOKIMI_LIVE=0 or 1 overrides this; any other value is a `ValueError`.
    """
    setting = os.environ.get("NANOKIMI_LIVE", "")
    if setting not in ("", "0", "1"):
        raise ValueError(f"NANOKIMI_LIVE={setting!r} must be 0 (no widgets), 1 (widgets) or not set")
    if setting:
        return setting == "1"
    return "google.colab" in sys.modules or any(os.environ.get(name) for name in _FRONT_ENDS)


@contextlib.contextmanager
def answer_widgets() -> Iterator[None]:
    """Within the block, in an async cell, every change of a widget reaches the kernel, not only the first one.

    ipywidgets sends the next change of a widget when the kernel has reported the last one as done. ipykernel (7.4)
    handles the messages of widgets while an async cell runs, but does not report them as done. This block reports
    them, and then reports the cell as busy again. Outside a kernel it does nothing.
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
