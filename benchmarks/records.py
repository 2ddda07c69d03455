"""Where a measurement is kept, and what it says about itself: in out/benchmarks/, with --record in benchmarks/results/.

The tables of README.md and of docs come from benchmarks/results/, and tests compare them. So a run on one's own
machine leaves those files as they are.
"""

import argparse
import platform
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

import torch

from lab_utils.machine.describe import cpu_name
from nanokimi.config import ConfigError
from nanokimi.device import choose_device

RESULTS = Path(__file__).parent / "results"
OWN = Path("out/benchmarks")


def add_record_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the result in benchmarks/results/, where the tables of the docs come from",
    )


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--machine", default=None, help="the name under which the results are kept")


def choose_measured_device(command: str, name: str) -> torch.device:
    """The device for `--device`. Ends the command with one line where this machine has no such device."""
    try:
        return choose_device(name)
    except ConfigError:
        sys.exit(f"{command}: --device {name}: this machine has no CUDA device; use cpu or auto")


def record_path(name: str, record: bool) -> Path:
    """The file of the result called `name`."""
    return (RESULTS if record else OWN) / f"{name}.json"


def machine_record_path(kind: str, machine: str, record: bool) -> Path:
    """The file of one kind of result on one machine: every machine has its own."""
    return record_path(f"{kind}-{re.sub('[^a-z0-9]+', '-', machine.lower()).strip('-')}", record)


def machine_name(device: torch.device) -> str:
    """The GPU's name, or the processor's name and its threads: measurements are compared on one machine only."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def describe_run(machine: str, command: str) -> dict[str, Any]:
    """What every measurement of a machine's speed says about itself."""
    return {
        "machine": machine,
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.{command}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
