"""The baseline against transformers' GPT2LMHeadModel: logits, gradients, cached decode; and QK-clip with biases."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from nanokimi.config import GPTConfig
from nanokimi.gpt import GPT
from tests.tiny import harsh_

CFG = GPTConfig(vocab_size=61, max_seq_len=40, d_model=24, n_layers=3, n_heads=4)
# transformers' name -> ours; its Conv1D matrices are ours transposed.
NAMES = {
    "transformer.wte": "embed_tokens",
    "transformer.wpe": "embed_positions",
    "transformer.ln_f": "norm",
    "transformer.h": "layers",
    ".attn.c_attn": ".qkv_proj",
    ".attn.c_proj": ".o_proj",
    ".mlp.c_fc": ".up_proj",
    ".mlp.c_proj": ".down_proj",
}


def our_names(tensors):
    renamed = {}
    for name, tensor in tensors.items():
        transposed = ".c_" in name and tensor.ndim == 2
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor.T if transposed else tensor
    return renamed


@pytest.fixture(scope="module")
def pair():
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=CFG.vocab_size, n_positions=CFG.max_seq_len, n_embd=CFG.d_model, n_layer=CFG.n_layers,
            n_head=CFG.n_heads, activation_function="gelu", layer_norm_epsilon=1e-5,
            attn_implementation="eager", bos_token_id=0, eos_token_id=0,
        )
    ).eval()  # fmt: skip
    harsh_(theirs, std=0.15)
    ours = GPT(CFG)
    ours.load_state_dict(our_names(dict(theirs.named_parameters())))
    return ours, theirs


def some_tokens(seq_len=32, seed=7):
    return torch.randint(CFG.vocab_size, (2, seq_len), generator=torch.Generator().manual_seed(seed))


def close(a, b):
    torch.testing.assert_close(a, b, atol=2e-5, rtol=0)


def test_logits_equal_transformers(pair):
    ours, theirs = pair
    with torch.no_grad():
        close(ours(some_tokens()).logits, theirs(some_tokens()).logits)
        assert ours(some_tokens()).logits.abs().max() > 1


def test_gradient_of_every_parameter_equals_transformers(pair):
    ours, theirs = pair
    for model in pair:
        model.zero_grad()
        F.cross_entropy(model(some_tokens()).logits.flatten(0, 1), some_tokens(seed=8).flatten()).backward()
    reference = our_names({n: p.grad for n, p in theirs.named_parameters()})
    assert reference.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        assert parameter.grad.abs().max() > 1e-4, name
        close(parameter.grad, reference[name])


@pytest.mark.parametrize("chunks", [[1] * 32, [7, 1, 5, 19]], ids=["token by token", "chunks"])
def test_cached_decode_equals_transformers(pair, chunks):
    ours, theirs = pair
    cache = ours.new_cache()
    with torch.no_grad():
        logits = [ours(piece, cache).logits for piece in some_tokens().split(chunks, 1)]
        close(torch.cat(logits, 1), theirs(some_tokens()).logits)
    assert sum(c.nbytes for c in cache) == 4 * 2 * 32 * CFG.n_layers * 2 * CFG.d_model


def test_every_causal_prefix_equals_transformers(pair):
    ours, theirs = pair
    with torch.no_grad():
        full = theirs(some_tokens()).logits
        for n in range(1, 32):
            close(ours(some_tokens()[:, :n]).logits, full[:, :n])


def test_another_activation_would_show(pair, monkeypatch):
    ours, theirs = pair
    gelu = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x: gelu(x, approximate="tanh"))
    with torch.no_grad():
        assert (ours(some_tokens()).logits - theirs(some_tokens()).logits).abs().max() > 2e-4


def test_too_long_a_context_is_named():
    with pytest.raises(ValueError, match="41 tokens are more than max_seq_len=40"):
        GPT(CFG)(some_tokens(41))


def test_start_is_nanogpts():
    model, again = GPT(CFG, seed=3), GPT(CFG, seed=3)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters()))
    assert model.layers[0].qkv_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.layers[0].o_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.1)
    assert model.layers[0].down_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.1)
    assert not model.layers[0].qkv_proj.bias.any()
    loss = F.cross_entropy(model(some_tokens()).logits.flatten(0, 1), some_tokens(seed=8).flatten())
    assert loss.item() == pytest.approx(math.log(CFG.vocab_size), abs=0.1)


# ---------------------------------------------------------------- QK-clip


def logits_of(layer, x):
    """Scaled logits (B, H, T, T) of a block, -inf in the future."""
    q, k, _ = layer.qkv_proj(layer.ln_1(x)).unflatten(-1, (3, CFG.n_heads, -1)).permute(2, 0, 3, 1, 4)
    future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
    return (q @ k.mT * (CFG.d_model // CFG.n_heads) ** -0.5).masked_fill(future, -math.inf)


def test_largest_logit_is_exact():
    model = harsh_(GPT(CFG), std=0.15)
    tokens = some_tokens()
    with torch.no_grad():
        x, expected = model.embed_tokens(tokens) + model.embed_positions.weight[:32], []
        for layer in model.layers:
            expected.append(logits_of(layer, x).amax(dim=(0, 2, 3)))
            x, _ = layer(x)
        found = model(tokens, with_max_qk_logit=True).max_qk_logit
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=0)
        cache = model.new_cache()
        pieces = [model(p, cache, True).max_qk_logit for p in tokens.split([20, 1, 11], 1)]
        torch.testing.assert_close(torch.stack(pieces).amax(0), found, rtol=1e-5, atol=0)
    assert model(tokens).max_qk_logit is None


def test_qk_clip_scales_the_logits_of_the_heads_above_tau():
    layer = harsh_(GPT(CFG), std=0.15).layers[1]
    x = torch.randn(2, 32, CFG.d_model, generator=torch.Generator().manual_seed(1))
    values = [t[2 * CFG.d_model :].clone() for t in (layer.qkv_proj.weight, layer.qkv_proj.bias)]
    with torch.no_grad():
        old = logits_of(layer, x)
        before = layer(x, None, True)[1]
        tau = before.sort().values[1:3].mean().item()
        layer.clip_qk_(before, tau)
        new, after = logits_of(layer, x), layer(x, None, True)[1]
    torch.testing.assert_close(after, before.clamp(max=tau), rtol=1e-5, atol=0)
    g = tau / before.clamp(min=tau)
    assert (g < 0.99).sum() == 2
    past = torch.ones(32, 32).tril().bool()
    torch.testing.assert_close(new[..., past], (g[:, None, None] * old)[..., past], atol=1e-5, rtol=0)
    assert torch.equal(layer.qkv_proj.weight[2 * CFG.d_model :], values[0])
    assert torch.equal(layer.qkv_proj.bias[2 * CFG.d_model :], values[1])
