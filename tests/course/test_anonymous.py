"""A piece without a name does what the piece does, in the ways in which a test may use it."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lab_utils.course.anonymous import anonymous


class Scaled(nn.Module):
    def __init__(self, width, factor=2.0):
        super().__init__()
        self.inner = nn.Linear(width, width, bias=False)
        self.factor = factor

    def forward(self, x):
        return self.scaled(self.inner(x))

    def scaled(self, x):
        return self.factor * x


class Twice(Scaled):
    def forward(self, x):
        return 2 * super().forward(x)


def named(a, b=1):
    if b == 0:
        raise ZeroDivisionError("b is zero")
    return a / b


def test_a_function():
    piece = anonymous(named)
    assert piece(4, b=2) == 2 and piece.__name__ == anonymous(print).__name__
    with pytest.raises(ZeroDivisionError, match="b is zero") as error:
        piece(1, 0)
    assert [entry.name for entry in error.traceback][-1] == "_call"
    with pytest.raises(TypeError, match="takes other arguments"):
        piece()


def test_a_class_makes_modules_with_everything_that_a_module_has():
    layer, x = anonymous(Twice)(3, factor=5.0), torch.ones(2, 3)
    expected = 10 * x @ layer.inner.weight.T
    assert isinstance(layer, nn.Module) and list(layer.state_dict()) == ["inner.weight"]
    assert torch.allclose(layer(x), expected) and torch.equal(layer.scaled(x), 5 * x)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    zeros = {"inner.weight": torch.zeros(3, 3)}
    assert torch.equal(functional_call(layer, zeros, (x,)), torch.zeros(2, 3))
    layer.register_forward_hook(lambda module, args, out: out + 1)
    layer.factor = 0.0
    assert torch.equal(layer(x), torch.ones(2, 3))
    layer.eval().double()
    assert not layer.inner.training and layer.inner.weight.dtype == torch.float64
    with pytest.raises(AttributeError, match="this piece of code has no attribute 'other'"):
        _ = layer.other


def test_a_finished_module_keeps_its_weights():
    made = Scaled(3)
    piece = anonymous(made)
    assert torch.equal(piece(torch.ones(3)), made(torch.ones(3))) and piece.inner is made.inner
    assert type(piece).__name__ == type(anonymous(Twice)(3)).__name__


def test_an_optimizer():
    p = nn.Parameter(torch.ones(2))
    optimizer = anonymous(torch.optim.SGD)([p], lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    p.sum().backward()
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    assert p.tolist() == [0.5, 0.5] and p.grad is None
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
