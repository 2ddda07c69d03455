"""Tracking: the records of a training, shown in TensorBoard, trackio or Weights & Biases while it runs.

The three are extras: each is imported only when it is asked for, and nothing that trains imports this file. A run that
is resumed goes on in the same place: `tracking.json` in its folder holds the name that trackio and wandb know it by.
"""

import importlib
import importlib.util
import json
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nanokimi.config import ConfigError
from nanokimi.record import StepRecord
from nanokimi.system.atomic import make_folder, write_json
from nanokimi.system.printable import quote
from nanokimi.system.reading import read_small_json
from nanokimi.system.refusals import require
from nanokimi.tracking.facts import Table, list_numbers, list_tables

TOOLS = ("tensorboard", "trackio", "wandb")
PROJECT = "nanokimi"  # under which trackio and wandb list the runs
NAME_FILE = "tracking.json"


class Place(NamedTuple):
    """Where one run is tracked. write: takes a step, its numbers and its tables, by name."""

    write: Callable[[int, dict[str, float], dict[str, Table]], None]
    close: Callable[[], None]


class Tracker:
    """One run in one tool. It ends as a context manager does."""

    def __init__(self, place: Place):
        self._place = place

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self._place.close()

    def log(self, record: StepRecord, sample: tuple[str, str] | None = None) -> None:
        """Write the numbers of a step; with an evaluation the table of its router too.

        sample: a beginning of a text, and what the model wrote after it.
        """
        tables = dict(list_tables(record))
        if sample is not None:
            tables["sample"] = Table(("beginning", "the model goes on"), [sample])
        self._place.write(record.step, dict(list_numbers(record)), tables)


def check_tool(tool: str) -> None:
    """`ConfigError` where the tool is none of `TOOLS`, or its package is not installed."""
    require(tool in TOOLS, f"tool={quote(tool)} must be one of {', '.join(TOOLS)}")
    if importlib.util.find_spec(tool) is None:
        raise ConfigError(f"tracking with {tool} needs its package: pip install {tool}")


def track(
    tool: str, run_dir: str | Path, settings: Mapping[str, Any] | None = None, done: int = 0
) -> Tracker:
    """A tracker of the run in `run_dir`.

    tool: tensorboard writes into `run_dir/tensorboard`; wandb into `run_dir/wandb` and, unless WANDB_MODE=offline, to
        its service; trackio where TRACKIO_DIR says.
    settings: plain data that is shown beside the run.
    done: the step that the run is resumed after. The tracked run goes on there; 0 begins a new one.

    Raises `ConfigError` where the package is missing, before anything is written.
    """
    check_tool(tool)
    run_dir = Path(run_dir).absolute()
    make_folder(run_dir)
    begin = {"tensorboard": _use_tensorboard, "trackio": _use_trackio, "wandb": _use_wandb}[tool]
    return Tracker(begin(run_dir, dict(settings or {}), done))


def _use_tensorboard(run_dir: Path, settings: dict[str, Any], done: int) -> Place:
    from torch.utils.tensorboard import SummaryWriter

    # What a killed process has written after the last checkpoint comes again.
    writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=done + 1 if done else None)
    if not done and settings:
        writer.add_text("settings", f"```\n{json.dumps(settings, indent=1)}\n```", 0)

    def write(step: int, numbers: dict[str, float], tables: dict[str, Table]) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        for name, table in tables.items():
            writer.add_text(name, _as_markdown(table), step)

    return Place(write, writer.close)


def _use_trackio(run_dir: Path, settings: dict[str, Any], done: int) -> Place:
    trackio = importlib.import_module("trackio")
    name = _name_run(run_dir, done)
    run = trackio.init(
        project=PROJECT,
        name=f"{run_dir.name}-{name}",
        config=settings,
        resume="allow" if done else "never",
        embed=False,
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    write_json(run_dir / NAME_FILE, {"run": name})
    return Place(_write_with(run, trackio.Table), run.finish)


def _use_wandb(run_dir: Path, settings: dict[str, Any], done: int) -> Place:
    wandb = importlib.import_module("wandb")
    name = _name_run(run_dir, done)
    try:
        run = wandb.init(
            project=PROJECT,
            name=run_dir.name,
            id=name,
            resume="allow" if done else "never",
            dir=str(run_dir),
            config=settings,
            settings=wandb.Settings(console="off"),  # else it takes the terminal from the progress bar
        )
    except wandb.Error as error:
        why = str(error).rstrip(".")
        raise ConfigError(f"wandb does not begin: {why}; WANDB_MODE=offline needs no service") from None
    write_json(run_dir / NAME_FILE, {"run": name})
    return Place(_write_with(run, wandb.Table), run.finish)


def _write_with(run: Any, table_of: Callable[..., Any]) -> Callable[..., None]:
    """How trackio and wandb, whose words are the same, write a step."""

    def write(step: int, numbers: dict[str, float], tables: dict[str, Table]) -> None:
        made = {
            name: table_of(columns=list(columns), data=[list(row) for row in rows])
            for name, (columns, rows) in tables.items()
        }
        run.log({**numbers, **made}, step=step)

    return write


def _name_run(run_dir: Path, done: int) -> str:
    """The run's own name: that of `tracking.json` for a run that goes on, else a new one."""
    path = run_dir / NAME_FILE
    if done and path.exists():
        found = read_small_json(path, 1000)
        name = found.get("run") if isinstance(found, dict) else None
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{8}", name):
            raise ConfigError(f"{quote(str(path))} names no tracked run: delete it to begin a new one")
        return name
    return uuid.uuid4().hex[:8]


def _as_markdown(table: Table) -> str:
    rows = (table.columns, ["---"] * len(table.columns), *table.rows)
    return "\n".join("| " + " | ".join(map(_as_cell, row)) + " |" for row in rows)


def _as_cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", "<br>")
