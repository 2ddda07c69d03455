"""A forward pass replaced for a while, and activations that are computed twice in place of being kept."""

import pytest
import torch
from torch import nn

from nanokimi.system.replaced import recompute, replace_forward
from tests.tiny import normal


class Counted(nn.Module):
    """Two products with a nonlinearity; counts its forward passes."""

    def __init__(self):
        super().__init__()
        self.runs = 0
        self.up, self.down = nn.Linear(4, 64), nn.Linear(64, 4)

    def forward(self, x):
        self.runs += 1
        return self.down(self.up(x).relu())


def test_hooks_run_around_the_other_forward_pass_and_the_module_is_as_before():
    module, seen = nn.Linear(2, 2), []
    module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    before = set(vars(module))
    with replace_forward(module, lambda x: x + 1):
        assert module(torch.zeros(1)).item() == 1
    assert len(seen) == 1 and set(vars(module)) == before
    assert module(torch.zeros(2)).shape == (2,)


def test_after_an_error_and_inside_another_the_forward_pass_is_the_one_before():
    module = nn.Identity()
    with replace_forward(module, lambda x: x + 1):
        with pytest.raises(ZeroDivisionError), replace_forward(module, lambda x: x / 0):
            module(1)
        assert module(1) == 2
    assert module(1) == 1


def test_what_is_kept_is_less_and_the_gradients_are_the_same():
    layers = nn.Sequential(*(Counted() for _ in range(3)))
    x = normal(5, 4).requires_grad_()
    found = []
    for modules in ((), layers):
        kept = 0

        def keep(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with recompute(modules), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = layers(x).square().sum()
            found.append((kept, loss, *torch.autograd.grad(loss, (x, *layers.parameters()))))
    (usual, *numbers), (less, *again) = found
    assert all(map(torch.equal, again, numbers))
    # The hidden layers, 5 x 64 numbers each, are no longer kept.
    assert usual - less >= 3 * 5 * 64
    assert [layer.runs for layer in layers] == [3, 3, 3]  # once, and twice


def test_without_gradients_nothing_is_computed_twice():
    layer = Counted()
    with recompute([layer]), torch.no_grad():
        layer(normal(5, 4))
    assert layer.runs == 1
