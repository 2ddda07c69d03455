"""The folder of a study: which study it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from lab_utils.bench.results import MOST_BYTES
from nanokimi.config import ConfigError, to_dict
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import quote
from nanokimi.system.reading import UnreadableFile, read_small_json

FORMAT = 1
STUDY, RESULTS = "study.json", "results.json"


class StudyOf(Protocol):
    """What every plan of a study has."""

    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def preset(self) -> Any: ...


def claim_folder(plan: StudyOf, folder: Path) -> None:
    """Note in the folder which study it holds. `ConfigError` where it holds another one, or cannot be written."""
    mine = describe_study(plan)
    try:
        if (folder / STUDY).exists():
            theirs = read_small_json(folder / STUDY, MOST_BYTES)
            if theirs != json.loads(json.dumps(mine)):  # as it reads back: JSON has lists only
                raise ConfigError(
                    f"--out={quote(str(folder))} holds a study with other settings; name another folder, or delete it"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STUDY, mine)
    except UnreadableFile as error:
        raise ConfigError(f"--out={quote(str(folder))}: {error}; name another folder") from None
    except OSError as error:
        raise ConfigError(f"--out={quote(str(folder))} cannot be written: {error.strerror}") from None


def describe_study(plan: StudyOf) -> dict[str, Any]:
    """Which study this is."""
    return {"format": FORMAT, "name": plan.name, "profile": plan.profile, "preset": to_dict(plan.preset)}
