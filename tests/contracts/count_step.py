"""Count what one training step of the profile gpu asks of a CUDA device.

`python -m tests.contracts.count_step LIBRARY ARM [recompute]` prints one line of JSON: operations on the device, also
by part of the step; matrix products of the forward and backward pass; how often the program waits for the device; and
the largest memory in GB that a part of the step holds beside weights and optimizers' state.
"""

import contextlib
import json
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

from tests.contracts import pretend

if __name__ == "__main__":
    pretend.use(Path(sys.argv[1]))

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import nanokimi.gpt
import nanokimi.kimi
from lab_utils.bench.plan import make_plan
from nanokimi import attention, mla, qk_clip, step
from nanokimi.model import build_model
from nanokimi.optim import Muon, build_optimizers
from nanokimi.router import scaling_factor
from nanokimi.steering import Steering
from nanokimi.system.replaced import recompute

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "_grouped_mm"}
NO_KERNEL = {
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "_unsafe_view",
    "device",
}


class Counting(TorchDispatchMode):
    """Counts operations on the device, and the bytes that are held at a time beside those that were there before."""

    def __init__(self):
        super().__init__()
        self.operations = self.products = self.waits = self.held = 0
        self.parts: dict[str, int] = {}
        self.peaks: dict[str, int] = {}
        self.part = ""
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        name = func._schema.name.split("::")[1]
        if any(t.is_cuda for t in tensors) and not func.is_view and name not in NO_KERNEL:
            self.operations += 1
            self.products += name in PRODUCTS and not self.part  # those of forward and backward
            self.parts[self.part] = self.parts.get(self.part, 0) + 1
            if name == "_to_copy" and args[0].device != out.device and not kwargs.get("non_blocking"):
                self.waits += 1
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and t.is_cuda:
                self._hold(t.untyped_storage())
        return out

    def _hold(self, storage):
        key, n_bytes = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.held += n_bytes
        self.peaks[self.part] = max(self.peaks.get(self.part, 0), self.held)

        def let_go():
            self._known.discard(key)
            self.held -= n_bytes

        weakref.finalize(storage, let_go)

    def inside(self, part, function):
        """The function, what it does counted as `part`."""

        def counted(*args, **kwargs):
            before, self.part = self.part, part
            try:
                return function(*args, **kwargs)
            finally:
                self.part = before

        return counted


def count(arm_name: str, again: bool) -> dict[str, float]:
    arm = make_plan("gpu", "ladder").arm(arm_name)
    if getattr(arm.model, "moe", None) is not None:
        scaling_factor(arm.model.moe)  # drawn once, with real numbers
    nanokimi.kimi.draw_first_weights_ = nanokimi.gpt.draw_first_weights_ = lambda *_: None
    step.batch = lambda *_, batch_size, seq_len, seed: torch.zeros(2, batch_size, seq_len, dtype=torch.long)
    counting = Counting()

    with FakeTensorMode(allow_non_fake_inputs=True), contextlib.ExitStack() as stack:
        FakeTensor.tolist = lambda tensor: _ones(counting, tensor)
        FakeTensor.item = lambda tensor: _ones(counting, tensor)
        with torch.device("cuda"):
            model = build_model(arm.model)
        stack.enter_context(recompute(model.layers if again else ()))
        optimizers = build_optimizers(model, arm.train.optim)

        def take():
            return step.take_step(
                model, optimizers, SimpleNamespace(train=None), arm.train, Steering.from_config(arm.train), 0,
                torch.bfloat16, lambda: None,
            )  # fmt: skip

        take()  # makes the optimizers' buffers
        for module in (attention, mla, nanokimi.gpt):
            module.max_logit = counting.inside("largest logits", qk_clip.max_logit)
        for optimizer in optimizers:
            part = "Muon" if isinstance(optimizer, Muon) else "AdamW"
            optimizer.step = counting.inside(part, optimizer.step)
        counting.waits = 0
        with counting:
            take()
    return {
        "operations": counting.operations,
        "products": counting.products,
        "waits": counting.waits,
        "parts": counting.parts,
        "peaks": {part: round(n / 1e9, 2) for part, n in counting.peaks.items()},
    }


def _ones(counting: Counting, tensor):
    """Numbers for a tensor that has none; a wait for the device, if it lies there."""
    counting.waits += tensor.is_cuda

    def make(shape):
        return [make(shape[1:]) for _ in range(shape[0])] if shape else 1.0

    return make(tensor.shape)


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[2], "recompute" in sys.argv[3:])))
