"""Causal attention against loops in float64, its cache, and the exact largest logit that QK-clip needs."""

import math
from functools import partial

import pytest
import torch

from nanokimi.attention import CausalSelfAttention, attend, attend_shared
from nanokimi.cache import SequenceCache
from nanokimi.config import RopeConfig
from nanokimi.mask import causal_mask
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope, rotations
from tests import tiny
from tests.tiny import harsh_

normal = partial(tiny.normal, dtype=torch.float64)

ROPE = RopeConfig(base=100.0)


def by_loops(q, k, v, scale, sees):
    """softmax(scale·q·k) v over the keys s for which sees(t, s), one number after another."""
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    for b, h, t in torch.cartesian_prod(*map(torch.arange, q.shape[:3])).tolist():
        keys = [s for s in range(k.shape[2]) if sees(t, s)]
        logits = [scale * sum(float(x) * float(y) for x, y in zip(q[b, h, t], k[b, h, s])) for s in keys]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        for s, weight in zip(keys, weights):
            out[b, h, t] += weight / sum(weights) * v[b, h, s]
    return out


def layer_and_input(d_model=12, n_heads=3, seq_len=9, dtype=torch.float64):
    layer = harsh_(CausalSelfAttention(d_model, n_heads), std=0.15).to(dtype)
    return (
        layer,
        normal(2, seq_len, d_model, seed=5).to(dtype),
        rotations(torch.arange(seq_len), d_model // n_heads, ROPE),
    )


def largest(out_logits, sees):
    """max over the batch and the visible pairs, a head."""
    batch, heads, queries, keys = out_logits.shape
    return [
        max(
            out_logits[b, h, t, s].item()
            for b in range(batch)
            for t in range(queries)
            for s in range(keys)
            if sees(t, s)
        )
        for h in range(heads)
    ]


# ---------------------------------------------------------------- attend


@pytest.mark.parametrize(("n_queries", "n_keys"), [(5, 5), (1, 6), (3, 7), (1, 1)])
def test_attend_equals_loops(n_queries, n_keys):
    q, k, v = normal(2, 3, n_queries, 4), normal(2, 3, n_keys, 4, seed=1), normal(2, 3, n_keys, 5, seed=2)
    past = n_keys - n_queries
    expected = by_loops(q, k, v, 0.7, lambda t, s: s <= t + past)
    torch.testing.assert_close(attend(q, k, v, 0.7), expected, atol=1e-12, rtol=0)


def test_attend_equals_loops_for_any_visibility():
    q, k, v = normal(2, 3, 5, 4), normal(2, 3, 8, 4, seed=1), normal(2, 3, 8, 5, seed=2)
    visible = torch.rand(5, 8, generator=torch.Generator().manual_seed(3)) < 0.4
    visible[:, 0] = True
    expected = by_loops(q, k, v, 0.7, lambda t, s: visible[t, s])
    torch.testing.assert_close(attend(q, k, v, 0.7, visible), expected, atol=1e-12, rtol=0)


def test_weights_of_a_token_sum_to_one():
    q, k = normal(1, 2, 6, 4), normal(1, 2, 6, 4, seed=1)
    torch.testing.assert_close(
        attend(q, k, torch.ones(1, 2, 6, 3, dtype=torch.float64), 1.0),
        torch.ones(1, 2, 6, 3, dtype=torch.float64),
    )


def test_causal_mask_by_hand():
    assert causal_mask(2, 4, torch.device("cpu")).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


# ---------------------------------------------------------------- the layer


def test_layer_equals_loops():
    layer, x, rotation = layer_and_input()
    weights = [p.weight.detach().unflatten(0, (3, 4)) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
    q, k, v = (torch.einsum("btd,hcd->bhtc", x, w) for w in weights)
    q, k = apply_rope(q, rotation), apply_rope(k, rotation)
    heads = by_loops(q, k, v, 0.5, lambda t, s: s <= t)
    expected = torch.einsum("bhtc,dhc->btd", heads, layer.o_proj.weight.detach().unflatten(1, (3, 4)))
    torch.testing.assert_close(layer(x, rotation).out.detach(), expected, atol=1e-10, rtol=0)


def test_no_token_reads_a_later_one():
    layer, x, rotation = layer_and_input()
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x, rotation).out.sum(dim=(0, 2)), x)
    reads = jacobian.abs().amax(dim=(1, 3))  # (reader, read)
    assert reads.triu(1).eq(0).all()
    assert (
        reads.tril().flatten()[reads.tril().flatten() > 0].numel() == 9 * 10 // 2
    )  # and reads all before it


@pytest.mark.parametrize("chunks", [[1] * 9, [4, 1, 3, 1], [9]])
def test_cached_decode_equals_the_whole(chunks):
    layer, x, rotation = layer_and_input()
    cache, pieces = SequenceCache(), []
    for piece, turn in zip(x.split(chunks, 1), rotation.split(chunks)):
        pieces.append(layer(piece, turn, cache).out)
    torch.testing.assert_close(torch.cat(pieces, 1), layer(x, rotation).out, atol=1e-12, rtol=0)
    assert cache.length == 9
    assert cache.nbytes == 2 * 9 * 2 * 12 * 8  # sequences · tokens · (key and value) · d_model · bytes


# ---------------------------------------------------------------- the cache


def test_cache_returns_all_it_was_given():
    whole = normal(2, 3, 40, 4), normal(2, 3, 40, 6, seed=1)
    cache, start = SequenceCache(), 0
    for size in (1, 1, 3, 8, 1, 1, 2, 20, 3):
        k, v = cache.append(*(t[:, :, start : start + size] for t in whole))
        start += size
        assert torch.equal(k, whole[0][:, :, :start])
        assert torch.equal(v, whole[1][:, :, :start])
        assert cache.length == start
        assert cache.nbytes == 2 * 3 * start * (4 + 6) * 8
    assert start == 40


def test_cache_grows_by_doubling():
    """1,000 single tokens: about log2(1000) = 10 new rooms, not 1,000, and never more than twice the need."""
    cache, places = SequenceCache(), []
    for t in range(1000):
        (entries,) = cache.append(torch.full((1, 1, 2), float(t)))
        if not places or entries.data_ptr() != places[-1]:
            places.append(entries.data_ptr())
        assert entries.untyped_storage().nbytes() <= 2 * (t + 1) * 2 * 4
    assert len(places) <= 11
    assert entries[0, :, 0].tolist() == list(range(1000))


# ---------------------------------------------------------------- the largest logit


def test_largest_logit_is_exact_over_the_visible_pairs():
    q, k = normal(2, 3, 6, 4), normal(2, 3, 6, 4, seed=1)
    k[1, 2, 5] = 50 * q[1, 2, 0]  # a huge logit in the future of token 0 and of no one else's liking
    logits = q @ k.transpose(-1, -2) * 0.3
    found = max_logit(q, k, 0.3)
    assert found.tolist() == pytest.approx(largest(logits, lambda t, s: s <= t), rel=1e-6)
    assert found[2] < logits.amax(dim=(0, 2, 3))[2]
    visible = torch.eye(6, dtype=torch.bool)
    assert max_logit(q, k, 0.3, visible).tolist() == pytest.approx(
        largest(logits, lambda t, s: s == t), rel=1e-6
    )


@pytest.mark.parametrize("place", [(0, 0), (63, 3), (64, 64), (300, 7), (599, 599)])
def test_largest_logit_is_found_wherever_it_is(place):
    """Beyond the queries that are taken at a time, and at their edges."""
    t, s = place
    q, k = 0.01 * normal(1, 2, 600, 4), 0.01 * normal(1, 2, 600, 4, seed=1)
    q[0, 1, t] = k[0, 1, s] = torch.tensor([3.0, 0, 0, 0])
    if s < 599:
        k[0, 1, s + 1 :] *= 0.1
    assert max_logit(q, k, 0.5)[1].item() == pytest.approx(4.5, rel=1e-6)


@pytest.mark.parametrize("seq_len", [7, 400])
def test_layer_reports_its_largest_logit_cached_too(seq_len):
    layer, x, rotation = layer_and_input(seq_len=seq_len)
    q, k = (
        apply_rope(torch.einsum("btd,hcd->bhtc", x, p.weight.detach().unflatten(0, (3, 4))), rotation)
        for p in (layer.q_proj, layer.k_proj)
    )
    logits = (q @ k.transpose(-1, -2)) * 0.5
    expected = logits.masked_fill(~torch.ones(seq_len, seq_len).tril().bool(), -math.inf).amax(dim=(0, 2, 3))
    torch.testing.assert_close(
        layer(x, rotation, None, True).max_qk_logit.double(), expected, rtol=1e-6, atol=0
    )
    cache, maxima = SequenceCache(), []
    chunks = [seq_len - 3, 1, 2]
    for piece, turn in zip(x.split(chunks, 1), rotation.split(chunks)):
        maxima.append(layer(piece, turn, cache, True).max_qk_logit)
    torch.testing.assert_close(torch.stack(maxima).amax(0).double(), expected, rtol=1e-6, atol=0)
    assert layer(x, rotation).max_qk_logit is None


def test_qk_clip_brings_the_largest_logit_to_tau_and_keeps_the_others():
    layer, x, rotation = layer_and_input(dtype=torch.float32)
    before = layer(x, rotation, None, True)
    tau = before.max_qk_logit.median().item()  # one head above, one at tau, one below
    values = layer.v_proj.weight.clone()

    def logits():
        q, k = (
            apply_rope(p(x).unflatten(-1, (3, 4)).transpose(1, 2), rotation)
            for p in (layer.q_proj, layer.k_proj)
        )
        return q @ k.transpose(-1, -2) * layer.scale

    old = logits()
    layer.clip_qk_(before.max_qk_logit, tau)
    after = layer(x, rotation, None, True).max_qk_logit
    torch.testing.assert_close(after, before.max_qk_logit.clamp(max=tau), rtol=1e-5, atol=0)
    g = tau / before.max_qk_logit.clamp(min=tau)
    assert sorted(g.eq(1).tolist()) == [False, True, True]
    torch.testing.assert_close(logits(), g[:, None, None] * old, atol=1e-5, rtol=1e-5)
    assert torch.equal(layer.v_proj.weight, values)


@pytest.mark.parametrize("n_queries", [1, 3, 5])
def test_shared_keys_are_the_same_keys_for_every_head(n_queries):
    q, k = normal(2, 4, n_queries, 6), normal(2, 5, 6)
    each = k[:, None].expand(-1, 4, -1, -1)
    wanted = attend(q, each, each[..., :3], 0.4)
    torch.testing.assert_close(attend_shared(q, k, k[..., :3], 0.4), wanted)
