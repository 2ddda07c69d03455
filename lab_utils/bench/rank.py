"""One rank of a call that several processes make together, and torchrun, which starts the ranks: see `launch`.

python -m lab_utils.bench.rank FILE N    torchrun for N ranks, up to three times where one of them is lost
python -m lab_utils.bench.rank FILE      a rank: it makes the call in FILE, and rank 0 writes what came of it
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from pathlib import Path

from nanokimi import torchrun
from nanokimi.system.printable import one_line

MAX_RESTARTS = 2


def answer_of(file: Path) -> Path:
    """Where rank 0 writes what came of the call in `file`: the value, and why there is none."""
    return file.with_suffix(".answer")


def main(file: Path, n_ranks: int | None) -> None:
    threading.Thread(target=_end_with_starter, daemon=True).start()
    if n_ranks is not None:
        from torch.distributed.run import main as start_ranks

        restarts = f"--max-restarts={MAX_RESTARTS}"
        start_ranks(["--standalone", f"--nproc-per-node={n_ranks}", restarts, "-m", __spec__.name, str(file)])
        return
    torchrun.start()
    try:
        found = pickle.loads(file.read_bytes())(), ""
    except ValueError as error:  # what a user can correct: no other try would end in another way
        found = None, one_line(error)
    if torchrun.rank() == 0:
        written = file.with_suffix(".writing")
        written.write_bytes(pickle.dumps(found))
        written.replace(answer_of(file))


def _end_with_starter() -> None:
    """End this process when the one that started torchrun closes its side of our standard input, or is killed."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
