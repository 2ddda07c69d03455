"""One owner at a time: a lock that the operating system takes back when its process ends, however it ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nanokimi.system.atomic import make_folder, remove_empty


class Taken(ValueError):
    """Somebody else holds the lock: one line that names its file."""


@contextlib.contextmanager
def hold(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock whose file is `path` while the block runs; the file is deleted at its end.

    Missing folders above `path` are made, and deleted again if they are empty at the end. A lock that another process
    holds, or another block of this one, is waited for `wait_s` seconds; then comes `Taken`. `OSError` where the file
    cannot be made, a link in its place too.
    """
    missing = [each for each in path.parents if not each.exists()]
    # Not bound to a thread: a generator that holds the lock may be closed by another one.
    lock = FileLock(path, thread_local=False)
    try:
        _acquire(lock, path, wait_s)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows deletes no open file: it stays there, and is no harm
                path.unlink()  # before the release: whoever gets a lock on the deleted file tries again
            lock.release()
    finally:
        remove_empty(missing)


def _acquire(lock: FileLock, path: Path, wait_s: float) -> None:
    tries = 100
    while not lock.is_locked:
        tries -= 1
        try:
            make_folder(path.parent)
            lock.acquire(timeout=wait_s, poll_interval=0.02)
        except Timeout:
            raise Taken(f"{path} is held by another program") from None
        except (FileNotFoundError, FileExistsError):
            # Blocks that had made the folder end and delete it, at any moment of ours. So often: it cannot be made.
            if not tries:
                raise
