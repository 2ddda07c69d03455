"""Where the trainings of a benchmark run: in notebook 08, several at once on this machine, or as jobs of SLURM.

`read_place` reads the word that `make bench WHERE=...` gives. The settings of a cluster stand in a YAML file, which is
data: each value is checked, a name that is no setting is refused, and no text in it can end its line in a job's script.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from lab_utils.machine.profile import check_profile, resolve_profile
from nanokimi.cli.options import read_whole
from nanokimi.config import ConfigError
from nanokimi.presets.yaml_config import build, read_yaml
from nanokimi.system.checked import settings
from nanokimi.system.printable import quote
from nanokimi.system.refusals import nearest, require
from nanokimi.system.whole_numbers import Size, SizeOrZero

HERE = "here"
EXAMPLE = Path(__file__).with_name("cluster.yaml")
MOST_AT_ONCE = 64
LOCAL_TRIES = 3
_WORD = re.compile(r"[\w.:,&|@()*\[\]=+/-]{1,200}", re.ASCII)


def _is_word(text: str) -> str:
    """The text; `ValueError` for one that sbatch, or the shell that reads a job's script, could take apart."""
    if not _WORD.fullmatch(text):
        raise ValueError("must be one word of letters, digits and _.:,&|@()*[]=+/-")
    return text


Word = Annotated[str, AfterValidator(_is_word)]


@dataclass(frozen=True)
class Local:
    """Processes of this machine, `at_once` of them at a time."""

    at_once: int
    tries: int = LOCAL_TRIES


@settings
class Cluster:
    """Jobs of SLURM, as cluster.yaml describes them. What is None is left to the cluster."""

    partition: Word | None
    account: Word | None
    qos: Word | None
    constraint: Word | None
    gpus: SizeOrZero  # of one training
    cpus: Size
    memory_gb: Size
    minutes: Size  # after so many SLURM ends a job
    at_once: Size
    tries: Size


def choose_profile(name: str, place: Local | Cluster | None) -> str:
    """The profile to run: of this machine, or of a cluster whose jobs have what this machine may lack.

    `ConfigError` for gpu where there is none, and on this machine for a profile that does not exist.
    """
    if not isinstance(place, Cluster):
        return resolve_profile() if name == "auto" else check_profile(name)
    require(
        name != "gpu" or place.gpus > 0, "profile='gpu' needs gpus: 1 or more in the settings of the cluster"
    )
    return ("gpu" if place.gpus else "cpu") if name == "auto" else name


def read_place(where: str) -> Local | Cluster | None:
    """The place that a word names; None for `here`, which is notebook 08.

    local:N is N trainings at once on this machine, slurm a cluster with the settings of cluster.yaml beside this file,
    slurm:FILE one with the settings of a file of yours. `ConfigError` for any other word, for settings that cannot be
    used, and for slurm where this machine has no sbatch.
    """
    kind, colon, rest = where.partition(":")
    if where == HERE:
        return None
    if kind == "local" and colon:
        n = read_whole(rest)
        require(1 <= n <= MOST_AT_ONCE, f"{quote(where)}: N must be a whole number from 1 to {MOST_AT_ONCE}")
        return Local(n)
    if where == "slurm" or (kind == "slurm" and rest):
        file = rest or str(EXAMPLE)
        require(
            file.endswith((".yaml", ".yml")), f"{quote(where)}: the settings of a cluster are a .yaml file"
        )
        data, names = read_yaml(file), [each.name for each in fields(Cluster)]
        for name in data:
            require(name in names, f"{file}: {quote(name)} is not a setting; {nearest(name, names)}")
        cluster = build(Cluster, data, where=file)
        need = "run it on a login node of the cluster, or take local:2"
        require(shutil.which("sbatch") is not None, f"{quote(where)}: this machine has no sbatch; {need}")
        return cluster
    raise ConfigError(f"{quote(where)} must be here, local:N, slurm or slurm:FILE.yaml")
