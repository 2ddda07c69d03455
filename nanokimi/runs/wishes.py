"""What somebody asks of a training from outside: a small file in the folder of its run, read before every step."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nanokimi.runs.state import check_section, read_section
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import quote
from nanokimi.system.reading import read_small_json

WISHES = "steer.json"
_MOST_BYTES = 100_000


@dataclass(frozen=True)
class Wishes:
    """What the file holds, and what holds where there is none.

    pause: wait before the next step. stop: save and end. settings: values for settings of `Steering`, by name.
    """

    pause: bool = False
    stop: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def read_wishes(run_dir: Path) -> Wishes:
    """The wishes in the folder of a run; `ValueError` of one line for a file that holds something else."""
    path = run_dir / WISHES
    if not path.exists():
        return Wishes()
    found = read_section(read_small_json(path, _MOST_BYTES), WISHES, (), ("pause", "stop", "settings"))
    for name in ("pause", "stop"):
        if not isinstance(found.get(name, False), bool):
            raise ValueError(f"{WISHES}: {name}={quote(found[name], 80)} must be true or false")
    settings = check_section(found.get("settings", {}), f"{WISHES}: settings")
    return Wishes(found.get("pause", False), found.get("stop", False), settings)


def write_wishes(run_dir: Path, wishes: Wishes) -> None:
    """Ask this of the training that runs in the folder."""
    write_json(run_dir / WISHES, asdict(wishes))


def forget_wishes(run_dir: Path) -> None:
    """Delete wishes that an earlier training was asked."""
    (run_dir / WISHES).unlink(missing_ok=True)
