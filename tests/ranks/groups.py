"""Groups of processes as torchrun starts them, at the price of one import of torch: they are forks of one process.

    python -m tests.ranks.groups FOLDER scenario ranks scenario ranks ...

runs each scenario of `scenarios.py` in so many processes, and writes what they return to FOLDER/scenario-ranks.json: a
list with an entry per rank, which is an error's text where the rank has raised one.
"""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it, and FSDP2 the next two: here once for all processes
import torch.distributed as dist
import torch.distributed.fsdp
import torch.distributed.tensor.debug

from nanokimi import torchrun
from tests.ranks import scenarios

LIMIT_S = 60.0  # of a group


def run_group(folder: Path, name: str, n: int) -> None:
    """Run a scenario in `n` processes, and end those that are left after the time limit."""
    board = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun holds one
    started, children = time.monotonic(), list[int]()
    for rank in range(n):
        pid = os.fork()
        if pid == 0:
            run_rank(folder, name, n, rank, board.port)
        children.append(pid)
    for pid in children:
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() - started > LIMIT_S:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    parts = [folder / f"{name}-{n}.{rank}" for rank in range(n)]
    found = [json.loads(part.read_text()) if part.exists() else "nothing" for part in parts]
    (folder / f"{name}-{n}.json").write_text(json.dumps(found))


def run_rank(folder: Path, name: str, n: int, rank: int, port: int) -> None:
    """Be one rank of a scenario, and exit."""
    about = dict(
        RANK=rank,
        LOCAL_RANK=rank,
        WORLD_SIZE=n,
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        GROUP_WORLD_SIZE=1,
    )
    about |= dict(TORCHELASTIC_RUN_ID="test", TORCHELASTIC_RESTART_COUNT=0, TORCHELASTIC_USE_AGENT_STORE=True)
    os.environ |= {key: str(value) for key, value in about.items()}
    try:
        torchrun.start(limit_s=3.0 if name == "hang" else 30.0)
        found = getattr(scenarios, name)(folder)
    except BaseException:
        found = traceback.format_exc()
    (folder / f"{name}-{n}.{rank}").write_text(json.dumps(found))
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, n in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
        run_group(Path(sys.argv[1]), name, int(n))
