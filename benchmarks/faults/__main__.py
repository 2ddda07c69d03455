"""What the project survives: `make faults`, or `python -m benchmarks.faults --kinds kills --tries 100`.

Every other file of this folder makes one kind of fault on purpose, as often as a release asks for, and counts what
survived. The result goes to out/benchmarks/faults.json after every kind, with --record to benchmarks/results/; kinds
that are not run keep their row. `python -m benchmarks.tables` prints the table of the record, which stands in
docs/reliability.md. All kinds together take one to two hours on two cores.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import benchmarks.faults as room
from benchmarks.faults.outcome import Outcome
from benchmarks.records import add_record_option, record_path
from lab_utils.machine.describe import cpu_name
from nanokimi.system.atomic import write_json
from nanokimi.system.lock import hold
from nanokimi.system.printable import one_line, show_every_letter

SPEAK_EVERY_S = 10.0


def find_kinds() -> dict[str, ModuleType]:
    """The modules that make a kind of fault, by their names."""
    names = [found.name for found in pkgutil.iter_modules(room.__path__)]
    modules = {
        name: importlib.import_module(f"{room.__name__}.{name}") for name in names if name != "__main__"
    }
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def make_faults(kind: ModuleType, tries: int, seed: int) -> dict[str, Any]:
    """One row of the table: the fault is made `tries` times, in a folder that is deleted afterwards."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nanokimi-faults-") as folder:
        outcome: Outcome = kind.run(tries, seed, Path(folder), _speak(kind.NAME, tries, started))
    assert outcome.survived + len(outcome.lost) == outcome.tries, f"{kind.NAME}: the sums differ"
    return {
        "fault": kind.NAME,
        "tries": outcome.tries,
        "survived": outcome.survived,
        "lost": [one_line(line) for line in outcome.lost],
        "seconds": round(time.monotonic() - started, 1),
    }


def _speak(name: str, tries: int, started: float) -> Callable[[int], None]:
    """Tells stderr, now and then, how many tries are done and how long the others may take."""
    spoken = started

    def tell(done: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        if done and now - spoken > SPEAK_EVERY_S:
            spoken = now
            left = (now - started) / done * (tries - done)
            print(f"  {name}: {done} of {tries}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return tell


def _keep(path: Path, name: str, row: dict[str, Any]) -> None:
    """Put the row of one kind into the record; another program may write those of other kinds at the same time."""
    with hold(path.with_suffix(".lock"), wait_s=60):
        kinds = json.loads(path.read_text(encoding="utf-8"))["kinds"] if path.exists() else {}
        kinds[name] = row
        write_json(path, {"command": "make faults", "kinds": dict(sorted(kinds.items()))})


def main() -> int:
    """The exit code: 0 when nothing was lost, else 1."""
    show_every_letter()
    kinds = find_kinds()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=sorted(kinds), default=sorted(kinds), metavar="KIND")
    parser.add_argument("--tries", type=int, help="tries per kind, instead of those of a release; not kept")
    parser.add_argument("--seed", type=int, default=0, help="other faults of the same kinds")
    add_record_option(parser)
    options = parser.parse_args()
    machine = f"{cpu_name()}, {torch.get_num_threads()} threads"
    rows = []
    for name in options.kinds:
        kind = kinds[name]
        print(kind.NAME, file=sys.stderr, flush=True)
        row = make_faults(kind, options.tries or kind.RELEASE, options.seed)
        rows.append(row)
        lost = len(row["lost"])
        print(
            f"{row['fault']}: {row['survived']} of {row['tries']} survived, {lost} lost, {row['seconds']} s",
            flush=True,
        )
        for line in row["lost"][:20]:
            print(f"  {line}", flush=True)
        if options.tries is None:
            about = {"seed": options.seed, "date": date.today().isoformat(), "machine": machine}
            _keep(record_path("faults", options.record), name, row | about)
    return int(any(row["lost"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
