"""What a benchmark ran on: the machine, the versions, the commit. Hosts, users and folders are not named."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "tiktoken", "tokenizers", "papermill", "matplotlib")


def environment(device: str = "auto") -> dict[str, Any]:
    """Machine, versions, commit and time as plain data; `device` is the one that trains."""
    on_cuda = device != "cpu" and torch.cuda.is_available()
    return {
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": {
            "device": torch.cuda.get_device_name() if on_cuda else "CPU",
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_bytes": total_memory(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES},
        "commit": commit(Path(__file__).parents[2]),
    }


def describe(machine: dict[str, Any]) -> str:
    """One line: `CPU: AMD EPYC, 2 cores, 2 threads, 25 GB, Linux`."""
    memory = machine["memory_bytes"]
    parts = [
        machine["cpu"] if machine["device"] == "CPU" else f"{machine['device']} with {machine['cpu']}",
        *(
            f"{n} {what}{'s' * (n != 1)}"
            for n, what in ((machine["cores"], "core"), (machine["threads"], "thread"))
        ),
        f"{memory / 1e9:.0f} GB" if memory else None,
        machine["system"],
    ]
    return ", ".join(part for part in parts if part)


def cpu_name() -> str:
    """The processor's name as Linux tells it; elsewhere as the platform tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def total_memory() -> int | None:
    """Bytes of memory in this machine; None where the system does not tell it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def commit(folder: Path) -> str | None:
    """The commit of the checkout at `folder`, with `+` where files differ from it.

    None where `folder` is no checkout of its own: a copy without `.git`, or an installed package, may lie inside
    another project, whose commit says nothing about this code.
    """
    try:
        if Path(_git(folder, "rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return None
        _git(folder, "ls-files", "--error-unmatch", str(Path(__file__).relative_to(folder)))
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    # Variables such as GIT_DIR would name another repository, and a file monitor is a program that git would start.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words]
    return subprocess.run(git, capture_output=True, text=True, check=True, env=own).stdout.strip()
