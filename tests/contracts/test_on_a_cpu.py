"""What a training step asks of a CPU: operators, views included, and how often a tensor's numbers are read."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lab_utils.bench.plan import make_plan
from nanokimi import step
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
from nanokimi.steering import Steering
from tests import tiny


class Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operators += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "operators", "reads"),
    [("gpt", 692, 2), ("kimi", 2500, 5)],
)
def test_a_step(name, operators, reads, monkeypatch):
    arm = make_plan("cpu", "ladder").arm(name)
    model = build_model(arm.model)
    optimizers = build_optimizers(model, arm.train.optim)

    def text(*_, batch_size, seq_len, seed):
        tokens = torch.arange(2 * batch_size * seq_len) % arm.model.vocab_size
        return tuple(tokens.view(2, batch_size, seq_len).unbind())

    def take():
        step.take_step(
            model, optimizers, tiny.corpus(), arm.train, Steering.from_config(arm.train), 0,
            torch.float32, lambda: None,
        )  # fmt: skip

    monkeypatch.setattr(step, "batch", text)
    take()  # makes the optimizers' buffers
    found, read = Counting(), []
    to_list = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: read.append(tensor.shape) or to_list(tensor))
    with found:
        take()
    assert 300 < found.operators <= operators, found.operators
    assert 0 < len(read) <= reads, (
        read
    )  # the losses, the facts, and in each MoE layer the counts, or the ends of runs
