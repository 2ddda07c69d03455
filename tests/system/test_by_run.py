"""Products per run of rows, against one product at a time and against gradients by finite differences."""

import pytest
import torch
import torch.nn.functional as F

from nanokimi.system.by_run import has_kernel, linear_by_run
from tests.tiny import normal

ENDS = {"some": (3, 3, 7), "the first is empty": (0, 4, 7), "the last is empty": (5, 7, 7), "one": (0, 0, 7)}


def make(dtype=torch.float64):
    return normal(7, 5, seed=1, dtype=dtype), normal(3, 4, 5, seed=2, dtype=dtype)


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_every_row_goes_through_the_matrix_of_its_run(ends):
    rows, weight = make()
    run = [sum(place >= end for end in ends) for place in range(7)]
    expected = torch.stack([weight[i] @ row for i, row in zip(run, rows, strict=True)])
    found = linear_by_run(rows, weight, torch.tensor(ends, dtype=torch.int32))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_its_gradients(ends):
    rows, weight = (each.requires_grad_() for each in make())
    ends = torch.tensor(ends, dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda r, w: linear_by_run(r, w, ends), (rows, weight))


def test_no_rows_at_all():
    rows, weight = make()
    weight.requires_grad_()
    found = linear_by_run(rows[:0], weight, torch.zeros(3, dtype=torch.int32))
    found.sum().backward()
    assert found.shape == (0, 4) and not weight.grad.any()


def test_a_compiler_sees_one_operation_with_the_right_shapes():
    torch.library.opcheck(
        torch.ops.nanokimi.linear_in_turn,
        (*(each.requires_grad_() for each in make()), torch.tensor(ENDS["some"], dtype=torch.int32)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_of_torch_gives_the_same(monkeypatch, dtype):
    """The kernel of a GPU has a slow twin on the CPU. Widths of 16 bytes, as it wants them."""
    rows, weight = normal(7, 16, seed=1).to(dtype), normal(3, 8, 16, seed=2).to(dtype)
    ends, used, kernel = torch.tensor(ENDS["some"], dtype=torch.int32), [], F.grouped_mm
    monkeypatch.setattr(F, "grouped_mm", lambda *a, **k: used.append(1) or kernel(*a, **k))
    in_turn = linear_by_run(rows, weight, ends)
    monkeypatch.setattr("nanokimi.system.by_run.has_kernel", lambda *_: True)
    assert not used
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(linear_by_run(rows, weight, ends), in_turn, rtol=tolerance, atol=tolerance)
    assert used


class OnCuda(torch.Tensor):
    """A tensor that says that it lies on a GPU."""

    is_cuda = True


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "has"),
    [
        ((9, 0), torch.bfloat16, 16, True),
        ((10, 0), torch.bfloat16, 16, True),
        ((8, 9), torch.bfloat16, 16, False),
        ((9, 0), torch.float32, 16, False),
        ((9, 0), torch.bfloat16, 12, False),
    ],
)
def test_where_one_kernel_takes_all_runs(monkeypatch, capability, dtype, width, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_kernel(OnCuda(7, width), OnCuda(3, 8, width), dtype) == has
    assert not has_kernel(*make(), torch.bfloat16)


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_ends_as_numbers_give_the_same_as_ends_in_a_tensor(ends):
    found = []
    for given in (torch.tensor(ends, dtype=torch.int32), list(ends)):
        rows, weight = (each.requires_grad_() for each in make())
        out = linear_by_run(rows, weight, given)
        found.append((out, *torch.autograd.grad(out.square().sum(), (rows, weight))))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_with_ends_as_numbers_nothing_is_read_and_one_step_of_autograd_is_made(monkeypatch):
    rows, weight = (each.requires_grad_() for each in make())
    monkeypatch.setattr(torch.Tensor, "tolist", lambda *_: pytest.fail("a tensor was read"))
    out = linear_by_run(rows, weight, [3, 3, 7])
    assert [
        source
        for source, _ in out.grad_fn.next_functions
        if source.name() != "torch::autograd::AccumulateGrad"
    ] == []
    out.sum().backward()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (grad,) = torch.autograd.grad(
            linear_by_run(rows, weight, [3, 3, 7]).square().sum(), rows, create_graph=True
        )
        grad.sum().backward()
