"""Run a notebook without a browser: by papermill, in a kernel of the Python that runs this program."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from nanokimi.config import ConfigError
from nanokimi.system.interpreter import check_same_tree, python
from nanokimi.system.refusals import nearest


class NotebookFailed(RuntimeError):
    """A cell raised an error, or the kernel died: one line that says which cell and why."""


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels with the Python that runs now, whatever kernels are installed on the machine.

    A notebook imports nothing from the folder in which it lies: that may be a stranger's. `ValueError` where the
    kernel would run another copy of this project.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        # Its warnings (about unencrypted messages on the loopback device) would break the progress bars.
        quiet = "--log-level=ERROR"
        own_code = "--IPKernelApp.ignore_cwd=True"
        return KernelSpec(
            argv=python("-m", "ipykernel", quiet, own_code, "-f", "{connection_file}"),
            display_name="Python 3",
            language="python",
        )

    async def start_kernel(self, **more: Any) -> None:
        check_same_tree()
        await super().start_kernel(**more)


class _OfPapermill(ThisInterpreter):
    """Cancels the tasks that still wait for the kernel, and then ends the kernel.

    Papermill runs each cell in a task of its own. After Ctrl-C nobody waits for the task of the interrupted cell, and
    it would complain that the kernel is dead.
    """

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await super().shutdown_kernel(now, restart)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook in a file. `ConfigError` where there is none, in one line."""
    try:
        found = nbformat.read(path, as_version=4)
        nbformat.validate(found)
    except FileNotFoundError:
        raise ConfigError(f"notebook {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"notebook {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, nbformat.ValidationError):
        raise ConfigError(f"file {path} is not a notebook") from None  # whatever else nbformat met in it
    return found


def check_parameters(notebook: Path, names: list[str]) -> None:
    """Raises `ConfigError` for a name that the notebook's parameters cell does not have; papermill would only warn."""
    read_notebook(notebook)
    known = list(papermill.inspect_notebook(str(notebook)))
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} is not a parameter of {notebook.name}; {nearest(name, known)}")


def run_notebook(notebook: Path, target: Path, parameters: dict[str, Any], environ: dict[str, str]) -> None:
    """Execute `notebook` and write it to `target` after every cell, so that `target` shows the progress.

    `environ` is added to the kernel's environment. Ctrl-C stops the kernel. Raises `NotebookFailed` for an error
    in a cell; `target` then holds the traceback.
    """
    check_parameters(notebook, list(parameters))
    check_same_tree()
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # switches a warning of the debugger off
    before = dict(os.environ)
    # A home that cannot be written does no harm, and a user's own settings of IPython change no result.
    settings = tempfile.TemporaryDirectory(prefix="nanokimi-ipython-", ignore_cleanup_errors=True)
    # Kernels inherit the environment of the process that starts them.
    os.environ.update(quiet | {"IPYTHONDIR": settings.name} | environ)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(target),
            parameters=parameters,
            kernel_manager_class=_OfPapermill,
            cwd=str(notebook.parent),
            progress_bar=False,
            shutdown_kernel="immediate",
            ipython_hist_file="",
        )
    except PapermillExecutionError as error:
        says = (error.evalue.splitlines() or [""])[0]
        raise NotebookFailed(f"cell {error.exec_count}: {error.ename}: {says}") from None
    except DeadKernelError:
        raise NotebookFailed(
            "the kernel died, perhaps because the memory was full: try a smaller profile"
        ) from None
    finally:
        os.environ.clear()
        os.environ.update(before)
        settings.cleanup()
    nbformat.validate(nbformat.read(target, as_version=4))
