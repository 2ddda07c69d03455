"""The processes that `torchrun` has started: joining them, asking rank 0, and naming the one that does not answer.

`ranks` has what they compute together.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")
LIMIT_S = 600.0  # the longest wait for another rank
BEAT_S = 1.0  # while rank 0 waits for a person, the others hear from it so often
GRACE_S = 4.0  # in which those that are left tell each other that they are


class RankLost(RuntimeError):
    """Another rank has ended or does not answer: one line that names it."""


def start(limit_s: float = LIMIT_S) -> None:
    """Join the others. Nobody then waits for another rank longer than `limit_s` seconds. Nothing without torchrun."""
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1" or dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    # Without a board of our own, the addresses of an earlier start would be taken for those of this one.
    dist.init_process_group(
        backend,
        store=_open_board(limit_s),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timedelta(seconds=limit_s),
    )


def n_ranks() -> int:
    """How many processes train the model."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """My number, from 0. Rank 0 alone writes, prints, and asks what to change."""
    return dist.get_rank() if dist.is_initialized() else 0


def n_restarts() -> int:
    """How often torchrun has started the processes of this machine again, after one of them was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def ask_first(question: Callable[[], T]) -> T:
    """What `question()` returns on rank 0, on every rank; the others wait however long that takes, as in a pause.

    What it raises on rank 0 is a `RankLost` with the same words on the others.
    """
    if n_ranks() == 1:
        return question()
    if rank() > 0:
        while (told := _tell(None)) is None:  # rank 0 is still asking
            pass
        answer, error = told
        if error is not None:
            raise RankLost(error)
        return answer
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(question)
        while not wait([asked], BEAT_S).done:
            _tell(None)
    error = asked.exception()
    words = str(error) if isinstance(error, ValueError) else f"rank 0 has ended: {type(error).__name__}"
    _tell((None, words) if error else (asked.result(), None))
    return asked.result()


def _tell(what: Any) -> Any:
    """What rank 0 says, on every rank."""
    box = [what]
    dist.broadcast_object_list(box)
    return box[0]


def is_said(text: str) -> bool:
    """Whether another rank has said the same already: a refusal that all ranks find is one line."""
    with contextlib.suppress(RuntimeError):  # the board went with torchrun
        return n_ranks() > 1 and _open_board().add(f"said {text}", 1) > 1
    return False


@contextlib.contextmanager
def name_lost() -> Iterator[None]:
    """A block that waits for other ranks: where one of them is lost, `RankLost` names it."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        found = _find_lost()
        lost = " and ".join(f"rank {each}" for each in found) or "another rank"
        do = "do" if len(found) > 1 else "does"
        waited = " within the time limit" if "imed out" in str(error) else ""
        raise RankLost(f"rank {rank()} of {n_ranks()}: {lost} {do} not answer{waited}") from None


def _find_lost() -> list[int]:
    """The ranks that do not write their number on the board when the others do."""
    with contextlib.suppress(RuntimeError):  # the board went with torchrun
        board = _open_board()
        board.set(f"left {rank()}", "")
        others, end = set(range(n_ranks())) - {rank()}, time.monotonic() + GRACE_S
        while len(others) > 1 and time.monotonic() < end:
            others = {each for each in others if not board.check([f"left {each}"])}
            time.sleep(0.05)
        return sorted(each for each in others if not board.check([f"left {each}"]))
    return []


def _open_board(limit_s: float = 10.0) -> dist.Store:
    """What all ranks of this start can read and write; torchrun holds it, whoever is lost."""
    # Several machines have a new one for each start, and may have counted other numbers of starts.
    name = f"start {n_restarts()}" if os.environ.get("GROUP_WORLD_SIZE") == "1" else "start"
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        timeout=timedelta(seconds=limit_s),
    )
    return dist.PrefixStore(name, store)
