"""What a folder holds when a program ends at any of its file operations: killed, or by a power cut.

A power cut keeps what was synced. Of the rest a file system may keep anything, so two extremes are made: it keeps
nothing (a name comes with its folder's sync, content with its file's), or all names at once, with the content of each
file as it was when it was synced last.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

KILLED, SYNCED, NAMES = "killed", "power cut, only what was synced", "power cut, all names"
_OPERATIONS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync")

Files = dict[str, bytes | None]  # relative paths; None is a folder


@dataclass(frozen=True)
class Cut:
    """The content of the folder after a fault of this kind, before the operation `moment` was made."""

    kind: str
    moment: int
    operation: str
    done: int  # what the caller had been told to be done by then
    files: Files

    def write(self, folder: Path) -> None:
        """Make `folder` hold it."""
        folder.mkdir(parents=True)
        for name, content in sorted(self.files.items()):
            path = folder / name
            path.mkdir() if content is None else path.write_bytes(content)

    def __str__(self) -> str:
        return f"{self.kind} before operation {self.moment}, {self.operation}"


class Disk:
    """Watches the operations on the folder `root`, and keeps every state that a fault could leave."""

    def __init__(self, root: Path):
        self.root, self.done, self.cuts = root, 0, list[Cut]()
        self._moment = 0
        self._contents: dict[int, bytes] = {}  # by inode: a file as it was synced last
        self._names: dict[int, dict[str, int]] = {}  # by inode: a folder as it was synced last
        self._pins: list[int] = []  # open files, so that no inode is used a second time
        self._folders: set[int] = set()
        self._remember(root)

    @contextlib.contextmanager
    def watch(self) -> Iterator["Disk"]:
        """Keep the states while the block runs."""
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [os.close(pin) for pin in self._pins])
            for name in _OPERATIONS:
                stack.enter_context(mock.patch(f"os.{name}", self._wrap(name, getattr(os, name))))
            yield self
            self.keep("the end")

    def keep(self, operation: str) -> None:
        """Keep the three states of this moment, those that are new."""
        self._moment += 1
        states = {
            KILLED: self._walk(self.root, "", synced=False),
            SYNCED: self._restore(self.root.stat().st_ino, ""),
            NAMES: self._walk(self.root, "", synced=True),
        }
        for kind, files in states.items():
            self.cuts.append(Cut(kind, self._moment, operation, self.done, files))

    def _wrap(self, name: str, operation):
        def call(*args, **more):
            self.keep(f"{name} {Path(str(args[0])).name}")
            result = operation(*args, **more)
            if name == "fsync":
                self._remember(Path(os.readlink(f"/proc/self/fd/{args[0]}")))
            return result

        return call

    def _remember(self, path: Path) -> None:
        """A file or folder was synced."""
        pin = os.open(path, os.O_RDONLY)
        self._pins.append(pin)
        inode = os.fstat(pin).st_ino
        if stat.S_ISDIR(os.fstat(pin).st_mode):
            self._names[inode] = {}
            for entry in os.scandir(path):
                self._names[inode][entry.name] = entry.inode()
                self._pins.append(os.open(entry.path, os.O_RDONLY))
                if entry.is_dir():
                    self._folders.add(entry.inode())
        else:
            self._contents[inode] = path.read_bytes()

    def _walk(self, folder: Path, prefix: str, synced: bool) -> Files:
        """What is there now; with `synced`, files have the content that was synced last."""
        found: Files = {}
        for entry in os.scandir(folder):
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                found |= {name: None} | self._walk(Path(entry.path), f"{name}/", synced)
            else:
                now = Path(entry.path).read_bytes()
                found[name] = self._contents.get(entry.inode(), b"") if synced else now
        return found

    def _restore(self, folder: int, prefix: str) -> Files:
        """What was synced, and nothing else."""
        found: Files = {}
        for entry, inode in self._names.get(folder, {}).items():
            name = f"{prefix}{entry}"
            if inode in self._folders:
                found |= {name: None} | self._restore(inode, f"{name}/")
            else:
                found[name] = self._contents.get(inode, b"")
        return found
