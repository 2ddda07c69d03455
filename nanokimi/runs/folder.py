"""The folder of a run: one owner, the checkpoints in it, and how an older run makes way for a new one.

It holds `step-000300/`, the checkpoint before it, `steps.jsonl`, and a lock while somebody trains in it. What an older
run has left is set aside, under names that begin with `.replaced-`, when a new run has done its first step, and
deleted when the new run has its first checkpoint. A reader takes the checkpoints that are not set aside, and those
that are while there are no others: at every moment the folder holds the older run or the new one, never a mix.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from nanokimi.config import ConfigError
from nanokimi.system.atomic import remove_folder, remove_leftovers, sync, write_text
from nanokimi.system.lock import Taken, hold
from nanokimi.system.printable import quote

LOG, LOCK, REPLACED = "steps.jsonl", ".lock", ".replaced-"
_CHECKPOINT = re.compile(r"step-([0-9]{6,12})")


@contextlib.contextmanager
def own(run_dir: Path) -> Iterator[None]:
    """Be the only one who trains in `run_dir` while the block runs.

    Raises `ConfigError` where somebody else does, here or in another process, and where the folder cannot be written.
    A folder that did not exist and is empty at the end is deleted again.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(run_dir / LOCK))
        except Taken:
            raise ConfigError(
                f"folder {quote(str(run_dir))} is in use: another training writes there; "
                "wait until it ends, or name another folder"
            ) from None
        except OSError as error:
            raise ConfigError(f"folder {quote(str(run_dir))} cannot be written: {error.strerror}") from None
        yield


def explain_gone(run_dir: Path) -> str | None:
    """Why nothing can be written in the folder of a run that is no longer there, and what to do; None where it is."""
    if run_dir.is_dir():
        return None
    return (
        f"folder {quote(str(run_dir))} is gone: it was deleted or moved while the training ran; a run that was moved "
        "goes on by `nanokimi train --resume --out NEW`, with NEW the place where it is now"
    )


def list_checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints of the run in `run_dir`, whether they load or not, the newest first."""
    return _find(run_dir, "") or _find(run_dir, REPLACED)


def begin(run_dir: Path, resumed_step: int | None) -> None:
    """Make a folder that we own ready for the first step that is written, of a new run where `resumed_step` is None.

    What killed processes have left is deleted, and so are checkpoints of later steps, which did not load. For a new run
    the older run is set aside.
    """
    remove_leftovers(run_dir, older_than_s=0.0)
    if resumed_step is not None:
        keep_two(run_dir / f"step-{resumed_step:06d}")
        return
    older = _find(run_dir, "")
    if older:
        _forget_replaced(run_dir)  # still older
    for each in reversed(older):  # the newest last: until then, it is the older run's newest checkpoint
        os.replace(each, each.with_name(f"{REPLACED}{each.name}"))
    log, aside = run_dir / LOG, run_dir / f"{REPLACED}{LOG}"
    if _find(run_dir, REPLACED) and not os.path.lexists(aside):
        sync(run_dir)
        if os.path.lexists(log):
            os.replace(log, aside)
        else:
            write_text(aside, "")
        sync(run_dir)


def bring_back(run_dir: Path) -> None:
    """Undo that an older run was set aside, where the new one was killed before it had a checkpoint."""
    aside = _find(run_dir, REPLACED)
    if _find(run_dir, "") or not aside:
        return
    log = run_dir / f"{REPLACED}{LOG}"
    if os.path.lexists(log):
        os.replace(log, run_dir / LOG)
        sync(run_dir)
    for each in aside:  # the newest first: from then on it is the run's newest
        os.replace(each, each.with_name(each.name.removeprefix(REPLACED)))
    sync(run_dir)


def make_room(target: Path) -> None:
    """Set aside what stands in the place of a checkpoint that is about to get its name."""
    if os.path.lexists(target):
        aside = target.with_name(f"{REPLACED}{target.name}")
        if os.path.lexists(aside):
            remove_folder(aside)
        os.replace(target, aside)


def keep_two(newest: Path) -> None:
    """Delete all checkpoints but `newest` and the one before it, and what was set aside."""
    others = [each for each in _find(newest.parent, "") if each.name != newest.name]
    before = [each for each in others if step_of(each) < step_of(newest)]
    for each in others:
        if each not in before[:1]:
            remove_folder(each)
    _forget_replaced(newest.parent)


def _find(run_dir: Path, prefix: str) -> list[Path]:
    """The checkpoints whose names begin with `prefix`, the newest first. A link counts, so that it is told of."""
    try:
        found = [
            each
            for each in run_dir.glob(f"{prefix}step-*")
            if _CHECKPOINT.fullmatch(each.name.removeprefix(prefix)) and (each / "checkpoint.json").exists()
        ]
    except FileNotFoundError:
        return []  # the folder has gone while we looked: a start that is refused makes it for a moment
    return sorted(found, key=step_of, reverse=True)


def locate(run_dir: str | Path) -> Path:
    """The absolute path of a run's folder; `ConfigError` for an empty text, which would be the current folder."""
    if not str(run_dir).strip() or "\0" in str(run_dir):
        raise ConfigError(f"run_dir={quote(str(run_dir))} must name a folder")
    return Path(run_dir).absolute()


def step_of(checkpoint: Path) -> int:
    """The step after which this checkpoint was saved, by its name."""
    return int(checkpoint.name.rpartition("-")[2])


def list_torn(checkpoint: Path) -> list[Path]:
    """Folders with the name of a newer checkpoint, without what it says about itself: somebody deleted files."""
    named = [each for each in checkpoint.parent.glob("step-*") if _CHECKPOINT.fullmatch(each.name)]
    newer = [each for each in named if step_of(each) > step_of(checkpoint)]
    return [each for each in newer if not (each / "checkpoint.json").exists()]


def _forget_replaced(run_dir: Path) -> None:
    """Delete what was set aside, the log last: it may belong to a checkpoint that is still there."""
    aside = list(run_dir.glob(f"{REPLACED}*"))
    for each in sorted(aside, key=lambda path: path.name == f"{REPLACED}{LOG}"):
        remove_folder(each)
