"""Forward hooks: whoever looks at a model from outside sees every layer that has weights."""

import pytest
import torch

from nanokimi.model import build_model
from tests import tiny

# Its weight is used without calling it: latent attention folds it into queries and outputs.
READ_WITHOUT_A_CALL = {
    "kimi-mla": {"layers.0.self_attn.kv_b_proj", "layers.1.self_attn.kv_b_proj"},
    "kimi-hybrid": {"layers.1.self_attn.kv_b_proj"},
}


@pytest.mark.parametrize("cached", [False, True], ids=["whole", "with a cache"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_every_layer_with_weights_is_called(name, cached):
    model = build_model(tiny.model_config(name))
    owners = {path: m for path, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))}
    called = set()
    for path, module in owners.items():
        module.register_forward_hook(lambda *_, path=path: called.add(path))
    # As long as the context: a block of latents is complete before it is read.
    tokens = torch.zeros(1, tiny.CONTEXT, dtype=torch.long)
    model(tokens, model.new_cache() if cached else None)
    assert set(owners) - called == READ_WITHOUT_A_CALL.get(name, set())


@pytest.mark.parametrize("attention", tiny.ATTENTIONS)
def test_what_a_hook_on_the_head_returns_are_the_logits(attention):
    model = build_model(tiny.kimi(attention))
    hook = model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + 1)
    tokens = torch.arange(5)[None]
    hooked = model(tokens).logits
    hook.remove()
    assert torch.equal(hooked, model(tokens).logits + 1)
