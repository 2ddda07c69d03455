"""What Linux is asked for where a task is contained: its processes, its users, and rights given away for good."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

# From the headers of Linux.
_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 36, 38
_UNUSED_USER, _NOBODY = 1_900_000_000, 65_534


def call(name: str, *args: Any) -> None:
    """Call a function of libc that returns -1 where it fails; then this raises `OSError` with its name."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    if ctypes.CDLL(None, use_errno=True)[name](*words) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def end_with_parent(parent: int | None = None) -> None:
    """Let the system end this process when its parent ends, however that ends. At once where that is not `parent`."""
    call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Processes that come from this one and lose their parent become its children."""
    call("prctl", _SUBREAPER, 1, 0, 0, 0)


def become(user: int) -> None:
    """Become this user, for good, with no group but its own. Only root may."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def drop_rights() -> None:
    """Give every right of root away, for this process and its children; programs that would give rights do not."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", _DUMPABLE, 1, 0, 0, 0)  # after a change of user, its own /proc is its own again


def find_unused_user(number: int = 0) -> int:
    """A user that owns nothing, another one for every number below 16. Unlike `nobody`, no other program runs as it."""
    user = _UNUSED_USER + 16 * os.getpid() + number % 16
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        inside, _, length = map(int, line.split())
        if inside <= user < inside + length:
            return user
    return _NOBODY


class Process(NamedTuple):
    """A process: its parent, its state, such as "Z" for one that has ended, and when it began, in ticks."""

    parent: int
    state: str
    begun: int


def read_processes() -> dict[int, Process]:
    """Every process that can be seen, by its number."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path("/proc", name, "stat").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            fields = text[text.rindex(b")") + 2 :].split()  # its name may hold spaces and brackets
            found[int(name)] = Process(int(fields[1]), fields[0].decode(), int(fields[19]))
    return found


def find_tree(root: int) -> dict[int, Process]:
    """A process and all that come from it, without those that have ended."""
    children: dict[int, list[int]] = {}
    processes = read_processes()
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, left = set(), [root]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return {pid: processes[pid] for pid in found if pid in processes and processes[pid].state != "Z"}


def owner(path: str) -> int | None:
    """The user that owns a file or a process; None where there is none."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def count_threads_of(user: int) -> int:
    """How many threads the user has: its limit on processes counts them too."""
    n = 0
    for pid in read_processes():
        if owner(f"/proc/{pid}") == user:
            try:
                n += len(os.listdir(f"/proc/{pid}/task"))
            except OSError:
                continue
    return n


# ---------------------------------------------------------------- memory


def sum_memory(tree: Iterable[int], exactly: bool) -> int:
    """Bytes that the processes hold. Memory that two of them share counts twice, unless `exactly`, which is slower."""
    file, fields = (
        ("smaps_rollup", (b"Pss_Anon", b"Pss_Shmem")) if exactly else ("status", (b"RssAnon", b"RssShmem"))
    )
    total, unmapped = 0, {}
    for pid in tree:
        try:
            lines = Path(f"/proc/{pid}/{file}").read_bytes().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.split(b":")[0] in fields) * 1024
            for name in os.listdir(f"/proc/{pid}/fd"):
                # A file in memory that has no name counts although no process maps it.
                if os.readlink(f"/proc/{pid}/fd/{name}").startswith("/memfd:"):
                    about = os.stat(f"/proc/{pid}/fd/{name}")
                    unmapped[about.st_ino] = about.st_blocks * 512
        except OSError:
            continue  # it has ended meanwhile, or it hides
    return total + sum(unmapped.values())


def share_of_free_memory() -> float:
    """The share of the machine's memory that programs can still get."""
    about = dict(line.split(":")[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    free, total = (int(about[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    return free / total
