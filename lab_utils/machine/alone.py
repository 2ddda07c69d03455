"""Runs inside a new process on Linux: it makes a small world, with nothing of the machine in it but what a task needs.

The task sees Python, the system's programs and this project, all read-only, and folders in memory that end with it: no
other files, no other processes, no network. It is an own user without rights, and whatever it leaves running ends with
the first process of the world. The kernel is the machine's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lab_utils.machine import linux
from lab_utils.machine.linux import call

HOME = "/learner"
BROKEN = 70  # the exit code where a task could not be done
_SYSTEM = (
    "/usr /bin /sbin /lib /lib32 /lib64 /etc/alternatives /etc/fonts /etc/localtime /etc/ld.so.cache".split()
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
_ACCOUNTS = {
    "passwd": f"learner:x:{{0}}:{{0}}::{HOME}:/bin/sh\n",
    "group": "learner:x:{0}:\n",
    "hosts": "127.0.0.1 localhost\n",
}

# From the headers of Linux: new mounts, host name, System V memory, processes, network; new users.
_NEW_WORLD, _NEW_USERS = 1 << 17 | 1 << 26 | 1 << 27 | 1 << 29 | 1 << 30, 1 << 28
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY_NOSUID_NODEV = 442, 0x8000, 7
_DETACH = 2


def run_alone(folder: Path, readable: list[str], size: int, task: Callable[[], Any]) -> int:
    """Call `task` in a world of its own and return its exit code. Raises `OSError` where the system does not allow it.

    folder: an empty one, where the root of that world is put together. readable: what the task may read, beside the
    system. size: how many bytes of files it may write.
    """
    is_root = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", _NEW_WORLD if is_root else _NEW_WORLD | _NEW_USERS)
    if is_root:
        uid = gid = linux.find_unused_user()
    else:
        _map_user(uid, gid)

    def begin() -> int:
        linux.end_with_parent()
        socket.sethostname("learner")
        _build_root(folder, readable, size, uid, gid)
        if is_root:
            linux.become(uid)
            with contextlib.suppress(OSError):  # where this is not allowed, it is not to the task
                call("unshare", _NEW_USERS)
                _map_user(uid, gid)
        # Inside a further world the task could mount folders in memory of any size.
        with contextlib.suppress(OSError):
            Path("/proc/sys/user/max_user_namespaces").write_text("0")
        linux.drop_rights()
        linux.end_with_parent()  # a change of user has cleared it
        os.chdir(HOME)
        return run_child(task)

    return run_child(begin)


def _map_user(uid: int, gid: int) -> None:
    """Keep the number of the user in new users' space."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")


def run_child(task: Callable[[], Any]) -> int:
    """Call `task` in a child that ends with it, and return its exit code. Other children are buried meanwhile."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(task() or 0)
        except BaseException:
            give_up(1)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def give_up(output: int) -> NoReturn:
    """End this process with the exit code BROKEN, and the reason as the last line of the output."""
    line = json.dumps({"broken": traceback.format_exc()[-3000:]})
    os.write(output, f"\n{line}\n".encode())
    os._exit(BROKEN)


def _build_root(folder: Path, readable: list[str], size: int, uid: int, gid: int) -> None:
    """A root in memory at `folder`: what may be read, at its own place, and folders to write in."""
    call("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    options = f"size={size},nr_inodes=100000,mode=755".encode()
    call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", _NOSUID | _NODEV, options)
    for name in (*_SYSTEM, *readable):
        _show(folder, Path(name))
    for name in _DEVICES:
        place = folder / "dev" / name
        place.parent.mkdir(exist_ok=True)
        place.touch()
        call("mount", os.fsencode(f"/dev/{name}"), os.fsencode(place), None, _BIND, None)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (folder / "dev" / name).symlink_to(f"/proc/self/fd{target}")
    for name, text in _ACCOUNTS.items():
        (folder / "etc").mkdir(exist_ok=True)
        (folder / "etc" / name).write_text(text.format(uid))
    for name in ("tmp", "var/tmp", "dev/shm", HOME[1:]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chown(folder / name, uid, gid)
        os.chmod(folder / name, 0o700)
    (folder / "proc").mkdir()
    call("mount", b"proc", os.fsencode(folder / "proc"), b"proc", _NOSUID | _NODEV | _NOEXEC, None)
    # System V memory belongs to no process that could be counted, so there is none of it. Older systems leave that to
    # root; `contain` also watches the machine's free memory.
    with contextlib.suppress(OSError):
        Path("/proc/sys/kernel/shmall").write_text("0")
    os.chdir(folder)
    call("pivot_root", b".", b".")
    call("umount2", b".", _DETACH)  # the old root
    os.chdir("/")


def _show(root: Path, path: Path) -> None:
    """Let `path` be seen below `root`, read-only. What the machine does not have is left out."""
    place = root / path.relative_to("/")
    if place.exists() or place.is_symlink() or not path.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(os.readlink(path))
        return
    if path.is_dir():
        place.mkdir()
    else:
        place.touch()
    call("mount", os.fsencode(path), os.fsencode(place), None, _BIND | _REC, None)
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY_NOSUID_NODEV, 0, 0, 0)
    call("syscall", _MOUNT_SETATTR, -100, os.fsencode(place), _AT_RECURSIVE, attributes, 32)
