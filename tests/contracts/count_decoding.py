"""Count what one token of decoding asks of a CUDA device, with kimi-small.

`python -m tests.contracts.count_decoding LIBRARY` prints one line of JSON: operations on the device, and how often the
program waits. The model runs as in `generate`: with a cache, without gradients.
"""

import json
import sys
from pathlib import Path

from tests.contracts import pretend

if __name__ == "__main__":
    pretend.use(Path(sys.argv[1]))

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import nanokimi.kimi
from nanokimi import load_model_config
from nanokimi.model import build_model
from nanokimi.router import scaling_factor
from tests.contracts.count_step import Counting


@torch.inference_mode()
def count() -> dict[str, int]:
    cfg = load_model_config("kimi-small")
    scaling_factor(cfg.moe)  # drawn once, with real numbers
    nanokimi.kimi.draw_first_weights_ = lambda *_: None
    counting = Counting()
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            model = build_model(cfg)
        cache = model.new_cache()
        for length in (5, 1):  # the prompt, and a token that finds no more to make
            model(torch.zeros(1, length, dtype=torch.long, device="cuda"), cache)
        with counting:
            model(torch.zeros(1, 1, dtype=torch.long, device="cuda"), cache)
    return {"operations": counting.operations, "waits": counting.waits}


if __name__ == "__main__":
    print(json.dumps(count()))
