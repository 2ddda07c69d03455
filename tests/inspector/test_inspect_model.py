"""What the inspector leaves alone, and what its table says."""

import copy

import pytest
import torch
from torch import nn

from lab_utils.inspector.inspect_model import RUNS, inspect_model
from lab_utils.inspector.subject import as_subject
from nanokimi.model import build_model
from tests import tiny
from tests.inspector.invariants import (
    CACHE_SIZE,
    CACHED,
    CAUSALITY,
    PREFIX,
    flatten,
    inspect_harsh,
)
from tests.inspector.reader_modules import CONTEXT, Attention, Cache, D, Plain, SeesTheNext
from tests.tiny import harsh_


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_callers_random_numbers_stay(training):
    model = harsh_(build_model(tiny.kimi("mla"))).train(training)
    model(torch.zeros(1, 3, dtype=torch.long)).logits.sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = inspect_model(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert flatten(model.state_dict()) == flatten(before)
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert {m.training for m in model.modules()} == {training}
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert all(not m._forward_hooks for m in model.modules())
    torch.randn(5)
    assert repr(inspect_model(model)) == repr(first)


class RemembersItsLoss(Plain):
    def forward(self, x):
        out = super().forward(x)
        self.last = out.sum()
        return out


def test_a_module_that_kept_a_tensor_of_its_graph_can_be_asked():
    layer = harsh_(RemembersItsLoss())
    layer(torch.randn(1, 3, D, generator=torch.Generator().manual_seed(0)))
    assert inspect_model(layer).passed


class Raises(Attention):
    def keep(self, cache, k, v, x):
        raise RuntimeError("<script>alert(1)</script>\nand a second line")


def test_a_module_that_raises_fails_in_one_escaped_sentence():
    inspection = inspect_harsh(Raises(), cache_elements=lambda n: n)
    assert inspection.failed == (CACHED, CACHE_SIZE)
    assert inspection[CACHED].evidence == "Asked for this, it raises RuntimeError: <script>alert(1)</script>."
    assert "<script>" not in inspection._repr_html_()
    assert "&lt;script&gt;" in inspection._repr_html_()


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Bilinear(3, 3, 3), "it takes neither tokens nor vectors"),
        (lambda x: None, "it returns no tensor for an input of shape (1, 2, 16)"),
        (lambda x: x.mean(1), "it returns a tensor of shape (1, 16)"),
        ("no function", "str is not a module or a function"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_row(module, says):
    inspection = inspect_model(module)
    assert inspection.failed == (RUNS,)
    assert says in inspection[RUNS].evidence
    assert inspection.causality_picture() is None
    assert "\n" not in inspection[RUNS].evidence


def test_nan_passes_no_comparison():
    assert inspect_model(lambda x: x / 0 * 0, d_model=3).failed == (CAUSALITY, PREFIX)


def test_the_table_in_words_and_the_picture():
    inspection = inspect_harsh(SeesTheNext(), seq_len=5)
    assert inspection.headline() == "SeesTheNext: 1 of 3 invariants hold, 7 do not apply"
    assert max(map(len, repr(inspection).splitlines())) <= 110
    picture = inspection.causality_picture()
    assert "4 pairs above the diagonal are filled, the first at row 0, column 1" in picture.alt
    assert picture.figure.get_suptitle() == "The future is seen: 4 crossed fields above the diagonal"
    (crosses,) = [line for line in picture.figure.axes[0].lines if line.get_marker() == "x"]
    assert sorted(zip(crosses.get_ydata(), crosses.get_xdata())) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert "<details open" in inspection._repr_html_()
    sound = inspect_harsh(Plain(), seq_len=5)
    assert "<details style" in sound._repr_html_()
    assert (
        sound.causality_picture().figure.get_suptitle() == "Nobody sees the future: white above the diagonal"
    )


def test_a_given_cache_and_a_short_context_are_used():
    assert as_subject(harsh_(Attention()), seq_len=99).seq_len == CONTEXT
    inspection = inspect_harsh(Attention(), new_cache=Cache, seq_len=3)
    assert inspection[CACHED].passed
    with pytest.raises(KeyError, match="is none of causality"):
        inspection["speed"]
