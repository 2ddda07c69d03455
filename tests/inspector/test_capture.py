"""Looking inside: what is captured is what the modules did, the model stays as it was, and nothing is kept."""

import gc
import weakref

import pytest
import torch

from lab_utils.inspector.capture import capture
from nanokimi.kimi import Kimi
from tests import tiny


@pytest.fixture
def model() -> Kimi:
    return tiny.harsh_(Kimi(tiny.kimi()))


TOKENS = torch.arange(12).view(2, 6)


def hooks_of(model) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_captured_output_is_what_the_module_returns(model):
    with capture(model, "layers.1.mlp", "layers.*.self_attn") as seen:
        routing = model(TOKENS).routing
        assert seen.names == ("layers.0.self_attn", "layers.1.self_attn", "layers.1.mlp")
        (x,), (y, stats) = seen["layers.1.mlp"].inputs, seen["layers.1.mlp"].output
        again, _ = model.layers[1].mlp(x)
    torch.testing.assert_close(y, again, rtol=0, atol=0)
    assert torch.equal(stats.expert_idx, routing[0].expert_idx)
    assert not y.requires_grad and not stats.scores.requires_grad


def test_the_residual_stream_adds_up(model):
    """An oracle of its own: the last block's input plus what its two parts add is what the final norm reads."""
    with capture(model, "layers.1", "layers.1.*", "norm") as seen:
        model(TOKENS)
        start = seen["layers.1"].inputs[0]
        total = start + seen["layers.1.self_attn"].output.out + seen["layers.1.mlp"].output[0]
        torch.testing.assert_close(seen["norm"].inputs[0], total, rtol=0, atol=1e-5)


def test_every_call_is_kept_in_order(model):
    with capture(model, "lm_head", "norm") as seen:
        with pytest.raises(ValueError, match="'lm_head' has not run"):
            seen["lm_head"]
        model(TOKENS)
        logits = model(TOKENS[:, :3]).logits
        assert [call.output.shape[1] for call in seen.calls("norm")] == [6, 3]
        assert torch.equal(seen["lm_head"].output, logits)


def test_the_model_computes_the_same_and_keeps_no_hook(model):
    before = model(TOKENS).logits
    with capture(model, "*") as seen:
        during = model(TOKENS).logits
        assert hooks_of(model) > 10
    assert torch.equal(before, during)
    assert hooks_of(model) == 0
    with pytest.raises(RuntimeError, match="inside the `with` block"):
        seen["norm"]


def test_nothing_is_kept_after_the_block(model):
    with capture(model, "norm") as seen:
        with torch.no_grad():
            model(TOKENS)
        kept = weakref.ref(seen["norm"].output)
        assert kept() is not None
    gc.collect()
    assert kept() is None


def test_hooks_go_when_the_block_fails(model):
    with pytest.raises(ZeroDivisionError), capture(model, "norm"):
        _ = 1 / 0
    assert hooks_of(model) == 0


def test_gradients_flow_as_without_it(model):
    with capture(model, "*"):
        model(TOKENS).logits.sum().backward()
    assert model.layers[1].mlp.gate.grad.abs().sum() > 0


def test_unknown_names_are_named(model):
    sentence = r"no module is called 'layers\.9\.mlp'; did you mean layers"
    with pytest.raises(ValueError, match=sentence), capture(model, "layers.9.mlp"):
        pass
    with capture(model, "norm") as seen, pytest.raises(ValueError, match=r"'layers\.0' is not captured"):
        seen.calls("layers.0")
