"""Block latent attention never sees the future: docs/specification.md, section 3, and a mutant that does see it."""

import math

import pytest
import torch

from nanokimi import block_latent
from nanokimi.attention import CausalSelfAttention
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.cache import BlockLatentCache
from nanokimi.config import BlockLatentConfig, KimiConfig, RopeConfig
from nanokimi.count import cache_elements
from nanokimi.kimi import Kimi
from nanokimi.mask import block_visibility
from nanokimi.rope import apply_rope, rotations
from tests.tiny import harsh_

D, H, M, B = 12, 3, 2, 4
ROPE = RopeConfig(base=100.0)
LENGTHS = [1, 3, 4, 5, 8, 11, 13]


def attention(block_len=B, dtype=torch.float64):
    return harsh_(
        BlockLatentAttention(D, H, BlockLatentConfig(n_latents=M, block_len=block_len)), std=0.15
    ).to(dtype)


def some_input(seq_len=13, dtype=torch.float64, seed=3):
    return torch.randn(2, seq_len, D, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def turns(seq_len):
    return rotations(torch.arange(seq_len), D // H, ROPE)


def decode(layer, x, chunks, with_max=False):
    cache, outs, maxima = BlockLatentCache(), [], []
    for piece, turn in zip(x.split(chunks, 1), turns(x.shape[1]).split(chunks)):
        out = layer(piece, turn, cache, with_max)
        outs.append(out.out)
        maxima.append(out.max_qk_logit)
    return torch.cat(outs, 1), torch.stack(maxima).amax(0) if with_max else None, cache


def reads(layer, x):
    """(reader, read): the largest entry of the Jacobian between two positions."""
    jacobian = torch.autograd.functional.jacobian(
        lambda x: layer(x, turns(x.shape[1])).out.sum(dim=(0, 2)), x
    )
    return jacobian.abs().amax(dim=(1, 3))


def by_definition(layer, x, block_len=B):
    """docs/specification.md, section 3, one token at a time: (largest logit per head, output).

    A latent stands at its block's last token.
    """
    w = {name.removesuffix(".weight"): p.detach() for name, p in layer.named_parameters()}
    outs, best = [], torch.full((H,), -math.inf, dtype=x.dtype)
    for t in range(x.shape[1]):
        seen, places = [], []
        for j in range(t // block_len):
            block = x[:, j * block_len : (j + 1) * block_len]
            scores = (w["latents"] @ w["latent_q_proj"].T) @ (block @ w["latent_k_proj"].T).mT / D**0.5
            seen += (scores.softmax(-1) @ (block @ w["latent_v_proj"].T)).unbind(1)
            places += [(j + 1) * block_len - 1] * M
        seen += x[:, t // block_len * block_len : t + 1].unbind(1)
        places += range(t // block_len * block_len, t + 1)
        seen = torch.stack(seen, 1)
        heads = []
        for h in range(H):
            rows = slice(h * D // H, (h + 1) * D // H)
            q = apply_rope(x[:, t : t + 1] @ w["q_proj"][rows].T, rotations(torch.tensor([t]), D // H, ROPE))
            k = apply_rope(seen @ w["k_proj"][rows].T, rotations(torch.tensor(places), D // H, ROPE))
            logits = q @ k.mT * (D // H) ** -0.5
            best[h] = max(best[h], logits.max())
            heads.append(logits.softmax(-1) @ (seen @ w["v_proj"][rows].T))
        outs.append(torch.cat(heads, -1) @ w["o_proj"].T)
    return best, torch.cat(outs, 1)


def leaky_visibility(seq_len, block_len, n_latents, device):
    """The mutant j <= floor(t/b): a token reads the summary of its own block, later tokens included."""
    visible = block_visibility(seq_len, block_len, n_latents, device)
    block = torch.arange(seq_len) // block_len
    latent_block = torch.arange(seq_len // block_len).repeat_interleave(n_latents)
    return torch.cat([latent_block[None] <= block[:, None], visible[:, latent_block.numel() :]], dim=1)


@pytest.fixture(params=[False, True], ids=["", "mutant"])
def mutant(request, monkeypatch):
    """Runs a test as it is, and with the leak, where it has to fail."""
    if request.param:
        monkeypatch.setattr(block_latent, "block_visibility", leaky_visibility)
    return request.param


# ---------------------------------------------------------------- causality


@pytest.mark.parametrize("seq_len", [8, 11, 13])
def test_jacobian_above_the_diagonal_is_exactly_zero(mutant, seq_len):
    found = reads(attention(), some_input(seq_len))
    assert found.triu(1).eq(0).all() != mutant
    # All of the past is read, through the latents or at first hand.
    assert (found.tril() > 0).sum() == seq_len * (seq_len + 1) // 2


def test_every_prefix_gives_the_same(mutant):
    layer, x = attention(), some_input(13)
    full = layer(x, turns(13)).out
    wrong = [
        n
        for n in range(1, 14)
        if not torch.allclose(layer(x[:, :n], turns(n)).out, full[:, :n], atol=1e-12, rtol=0)
    ]
    assert wrong == ([1, 2, 3, 5, 6, 7, 9, 10, 11] if mutant else [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_in_the_suffix_leaves_the_prefix_bit_identical(mutant, dtype):
    layer, x = attention(dtype=dtype), some_input(13, dtype)
    full, moved = layer(x, turns(13)).out, []
    for n in range(1, 13):
        noisy = torch.cat([x[:, :n], 10 * some_input(13 - n, dtype, seed=n)], 1)
        if not torch.equal(layer(noisy, turns(13)).out[:, :n], full[:, :n]):
            moved.append(n)
    assert bool(moved) == mutant


def test_visibility_by_hand():
    """b = 2, one latent a block, five tokens: two latent columns, then the tokens."""
    assert block_visibility(5, 2, 1, torch.device("cpu")).int().tolist() == [
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0, 1],
    ]


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("seq_len", LENGTHS)
def test_equals_the_definition(seq_len):
    layer, x = attention(), some_input(seq_len)
    torch.testing.assert_close(layer(x, turns(seq_len)).out, by_definition(layer, x)[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("block_len", [14, 100])
def test_a_block_longer_than_the_text_is_ordinary_attention(block_len):
    layer, x = attention(block_len), some_input(13)
    ordinary = CausalSelfAttention(D, H).double()
    ordinary.load_state_dict({n: p for n, p in layer.state_dict().items() if "latent" not in n})
    for with_max in (False, True):
        ours, theirs = layer(x, turns(13), None, with_max), ordinary(x, turns(13), None, with_max)
        torch.testing.assert_close(ours.out, theirs.out, atol=1e-12, rtol=0)
    torch.testing.assert_close(ours.max_qk_logit, theirs.max_qk_logit)
    assert not torch.allclose(attention(4)(x, turns(13)).out, theirs.out, atol=1e-2)


@pytest.mark.parametrize("chunks", [[1] * 13, [13], [3, 5, 1, 4], [4, 4, 5], [9, 4], [2, 7, 4]], ids=str)
@pytest.mark.parametrize("block_len", [1, 4, 20])
def test_cached_decode_equals_the_whole(chunks, block_len):
    layer, x = attention(block_len), some_input(13)
    torch.testing.assert_close(decode(layer, x, chunks)[0], layer(x, turns(13)).out, atol=1e-12, rtol=0)


def test_cached_model_equals_the_whole():
    """Positions run on through closed blocks, in every layer."""
    model = harsh_(Kimi(config()), std=0.15).double()
    tokens = torch.randint(31, (2, 23), generator=torch.Generator().manual_seed(0))
    cache = model.new_cache()
    logits = [model(piece, cache).logits for piece in tokens.split([5, 1, 1, 9, 7], 1)]
    torch.testing.assert_close(torch.cat(logits, 1), model(tokens).logits, atol=1e-10, rtol=0)


def config():
    return KimiConfig(
        vocab_size=31, n_layers=2, d_model=D, n_heads=H, intermediate_size=24, rope=ROPE,
        attention="block_latent", block_latent=BlockLatentConfig(n_latents=M, block_len=B),
    )  # fmt: skip


def test_cache_holds_latents_of_closed_blocks_and_the_open_block():
    model, elements = Kimi(config()), []
    cache = model.new_cache()
    for n_tokens in range(1, 14):
        model(torch.zeros(1, 1, dtype=torch.long), cache)
        elements.append(sum(c.nbytes for c in cache) // 4)
        assert elements[-1] == cache_elements(model.cfg, n_tokens)
    # Two layers: keys, values and inputs of 1 to 3 open tokens; then 2 latents' keys and values, and again.
    assert elements[:5] == [2 * D * n for n in (3, 6, 9, 2 * M, 2 * M + 3)]
    assert elements[11] == 2 * D * 3 * 2 * M


# ---------------------------------------------------------------- QK-clip


@pytest.mark.parametrize("seq_len", [13, 403])
def test_largest_logit_is_exact(seq_len):
    layer, x = attention(), some_input(seq_len)
    expected, _ = by_definition(layer, x)
    torch.testing.assert_close(
        layer(x, turns(seq_len), None, True).max_qk_logit.double(), expected, rtol=1e-6, atol=0
    )
    _, cached, _ = decode(layer, x, [seq_len - 6, 1, 5], with_max=True)
    torch.testing.assert_close(cached.double(), expected, rtol=1e-6, atol=0)
    assert layer(x, turns(seq_len)).max_qk_logit is None


def test_qk_clip_brings_the_maxima_to_tau():
    layer, x = attention(), some_input(13)
    before = layer(x, turns(13), None, True).max_qk_logit
    tau = before.median().item()
    layer.clip_qk_(before, tau)
    after, _ = by_definition(layer, x)
    torch.testing.assert_close(after.float(), before.clamp(max=tau), rtol=1e-5, atol=0)
    assert (before > 1.01 * tau).sum() == 1


def test_qk_clip_scales_every_logit_by_g():
    """The logit is bilinear in the head's query and key rows, so each takes the root of g."""
    layer = attention()
    old = [p.weight.detach().unflatten(0, (H, -1)).clone() for p in (layer.q_proj, layer.k_proj)]
    layer.clip_qk_(torch.tensor([8.0, 2.0, 1.0]), 2.0)
    new = [p.weight.detach().unflatten(0, (H, -1)) for p in (layer.q_proj, layer.k_proj)]
    for h, g in enumerate([0.25, 1.0, 1.0]):
        torch.testing.assert_close(new[0][h].T @ new[1][h], g * old[0][h].T @ old[1][h])
