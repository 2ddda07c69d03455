"""Decode plain and compiled: `python -m tests.contracts.compiled_decoding` prints a line of JSON with what was found.

In a process of its own, because the tests check all shapes at run time, and that cannot be compiled.
"""

import json
import re
import sys
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch._dynamo.utils import counters
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.utils import run_and_get_code

import nanokimi.kimi
from nanokimi import load_model_config
from nanokimi.compiled.decode import CompiledStep
from nanokimi.config import RopeConfig
from nanokimi.generate import generate
from nanokimi.model import Model, build_model
from tests import tiny

GREEDY = {"temperature": 0.0}
DRAWN = {"temperature": 0.8, "top_k": 9, "top_p": 0.95, "seed": 5}
STOP = 9  # the first text of a drawn BATCH has it, and no other
BATCH = [[3], [1, 2, 3, 4], [5] * 15]
# What computes nothing: numbers seen in another way.
VIEWS = {"torch.ops.aten.view_as_complex.default", "torch.ops.aten.view_as_real.default"}
CALL = re.compile(r"(?:\w+ = )?(cpp_fused|extern_kernels\.\w+|torch\.ops\.[\w.]+)\w*\(")


def compare(model: Model, prompt: list, settings: dict[str, Any]) -> tuple[bool, int]:
    """Whether forty tokens, past the end of the context, are the same compiled; and how many graphs there are now."""
    wanted = list(generate(model, prompt, 40, **settings))
    same = list(generate(model, prompt, 40, compile="on", **settings)) == wanted
    return same and len(wanted) == 40, counters["stats"]["unique_graphs"]


def compare_all() -> dict[str, tuple[bool, int]]:
    cfg = tiny.kimi()
    kimi = tiny.harsh_(build_model(cfg))
    turned = tiny.harsh_(build_model(replace(cfg, rope=RopeConfig(base=3.0))))
    scaled = tiny.harsh_(build_model(replace(cfg, moe=replace(cfg.moe, routed_scaling_factor=9.0))))
    return {
        "kimi": compare(kimi, [1, 2, 3], GREEDY),
        "kimi again, drawn": compare(kimi, [4, 5], DRAWN),
        "other weights": compare(tiny.harsh_(build_model(cfg), seed=1), [1, 2, 3], GREEDY),
        "the same weights, other angles": compare(turned, [1, 2, 3], GREEDY),
        "the same weights, another factor": compare(scaled, [1, 2, 3], GREEDY),
        "a batch, of which one text ends": compare(kimi, BATCH, DRAWN | {"stop_id": STOP}),
        "gpt": compare(tiny.harsh_(build_model(tiny.gpt())), [1, 2, 3], GREEDY),
    }


@torch.inference_mode()
def count_kernels() -> dict[str, int]:
    """What one token of kimi-small calls on a CPU: compiled loops, products and other operations of torch."""
    with mock.patch.object(nanokimi.kimi, "draw_first_weights_", lambda *_: None):
        model = build_model(replace(load_model_config("kimi-small"), vocab_size=512))
    step = CompiledStep(model, "on")
    cache = step.new_cache()
    step(torch.zeros(1, 5, dtype=torch.long), cache)
    # The loops are written, and not compiled: what they are is enough.
    with mock.patch.object(AsyncCompile, "cpp_pybinding", lambda *_, **__: lambda *_: None):
        _, (code,) = run_and_get_code(step, torch.zeros(1, 1, dtype=torch.long), cache)
    body = code.partition("def call(")[2]
    found = Counter(match[1] for line in body.splitlines() if (match := CALL.match(line.strip())))
    return {name: n for name, n in found.items() if name not in VIEWS}


if __name__ == "__main__":
    if sys.argv[1] == "tokens":
        print(json.dumps({"found": compare_all(), "breaks": sum(counters["graph_break"].values())}))
    else:
        print(json.dumps(count_kernels()))
