"""Folders of the hub's format, damaged or hostile: each is read as a model, or refused in one line, within bounds."""

import json
import os
import random
import resource
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.faults.hub_damages import DAMAGES
from benchmarks.faults.outcome import Outcome
from nanokimi import hub
from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, RopeConfig, YarnConfig
from nanokimi.kimi import Kimi
from nanokimi.system.printable import escape_text
from nanokimi.text import tokenizer

NAME = "hub folders damaged"
RELEASE, SAMPLE = 1500, 60
LONGEST_S, LONGEST_LINE, MOST_BYTES = 2.0, 1000, 400_000_000


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Every try damages a whole folder in one way, and reads it in a process of its own."""
    torch.set_num_threads(1)  # a fork has no threads of its own
    _write_whole(folder / "one", folder / "parts")
    lost = []
    for number in range(tries):
        draw = random.Random(f"{seed}-{number}")
        target = folder / "damaged"
        shutil.copytree(folder / draw.choice(("one", "one", "parts")), target)
        damage = draw.choice(DAMAGES)
        damage(draw, target)
        why = _read_in_a_fork(target)
        if why:
            lost.append(f"seed {seed}, try {number}, {damage.__name__.strip('_')}: {why}")
        shutil.rmtree(target)
        on_progress(number + 1)
    return Outcome(tries=tries, survived=tries - len(lost), lost=lost)


def _write_whole(one: Path, parts: Path) -> None:
    """The same small model twice: in one file, and in three that an index names."""
    cfg = KimiConfig(
        vocab_size=30,
        max_seq_len=32,
        d_model=12,
        n_layers=3,
        n_heads=2,
        intermediate_size=10,
        rope=RopeConfig(base=100.0, yarn=YarnConfig(factor=4.0, original_max_seq_len=16)),
        mla=MLAConfig(q_lora_rank=6, kv_lora_rank=8, qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4),
        moe=MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=6),
    )
    hub.save_pretrained(Kimi(cfg), tokenizer.char(["once upon a time"]), one)
    shutil.copytree(one, parts)
    weights = load_file(parts / "model.safetensors")
    (parts / "model.safetensors").unlink()
    files = {name: f"model-{i % 3 + 1:05d}-of-00003.safetensors" for i, name in enumerate(sorted(weights))}
    for file in set(files.values()):
        save_file({name: weights[name] for name in files if files[name] == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


# ---------------------------------------------------------------- one try


def _read_in_a_fork(folder: Path) -> str:
    """Why reading was not survived; empty where it was."""
    before = _peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, _read(folder).encode(errors="backslashreplace")[:2000])
        os._exit(0)
    os.close(writing)
    ended = select.select([reading], [], [], LONGEST_S)[0]
    if not ended:
        os.kill(child, signal.SIGKILL)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    if not ended:
        return f"longer than {LONGEST_S:g} s"
    if os.WIFSIGNALED(status) or not said:
        return f"ended by {signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else 'itself'}"
    if _peak_bytes(usage) - before > MOST_BYTES:
        return f"{(_peak_bytes(usage) - before) / 1e6:.0f} MB"
    return "" if said == "survived" else f"{said} ({time.monotonic() - started:.1f} s)"


def _read(folder: Path) -> str:
    """`survived`, or what happened instead."""
    try:
        model = hub.from_pretrained(folder)
        with torch.no_grad():
            model(torch.zeros(1, 1, dtype=torch.long))
    except hub.HubError as error:
        line = str(error)
        if escape_text(line) != line or "\n" in line or len(line) > LONGEST_LINE:
            return f"not one plain line: {line[:200]!r}"
        return "survived" if str(folder) in line else f"no folder is named: {line}"
    except BaseException as error:
        return f"a traceback: {error!r}"[:300]
    return "survived"


def _peak_bytes(usage: Any) -> int:
    return usage.ru_maxrss * 1024
