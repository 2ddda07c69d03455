"""Kimi Delta Attention: two forms of one function, its decays, its state as a cache, its first weights."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from transformers.models.glm5_next.modeling_glm5_next import Glm5NextTextForgetGate
from transformers.models.kimi_linear import modeling_kimi_linear as theirs

from nanokimi.cache import StateCache
from nanokimi.config import ConfigError, KDAConfig, KimiConfig
from nanokimi.count import cache_elements, flops_per_token
from nanokimi.kda import KimiDeltaAttention, chunked_delta, l2norm, recurrent_delta
from nanokimi.kimi import Kimi
from tests.tiny import harsh_, kimi, normal

B, H, K, D = 2, 3, 5, 16
LENGTHS = [0, 1, 2, 15, 16, 17, 50]
CHUNKS = [1, 3, 16, 64]
VARIANTS = [
    KDAConfig(head_dim=K),
    KDAConfig(head_dim=K, decay="bounded", output_gate="full_rank"),
    KDAConfig(head_dim=K, conv_size=1, output_gate="full_rank"),
    KDAConfig(head_dim=K, conv_size=2, decay="bounded"),
]
EACH = pytest.mark.parametrize(
    "cfg", VARIANTS, ids=lambda c: f"{c.decay}, {c.output_gate}, {c.conv_size} taps"
)
PIECES = [[1] * 37, [37], [20, 1, 1, 15], [2, 3, 1, 31]]


def some_inputs(seq: int, decay: str = "softplus", dtype=torch.float64) -> tuple:
    """Queries, keys and values of length 1, decays from almost none to almost all in a step, and a state."""
    q, k, v, z = (normal(B, H, seq, K, seed=seed, dtype=dtype) for seed in range(4))
    rate = normal(H, seed=4, dtype=dtype).exp()[:, None, None]
    g = -rate * F.softplus(4 * z) if decay == "softplus" else -5 * (rate * 4 * z).sigmoid()
    beta = normal(B, H, seq, seed=5, dtype=dtype).sigmoid()
    return l2norm(q), l2norm(k), v, g, beta, normal(B, H, K, K, seed=6, dtype=dtype)


def by_definition(q, k, v, g, beta, state):
    """S_t = (I - beta k kT) diag(exp g) S_{t-1} + beta k vT and o_t = S_tT q_t, one text and one head at a time."""
    outs, ends = torch.zeros_like(v), torch.zeros_like(state)
    for b in range(B):
        for h in range(H):
            s = state[b, h]
            for t in range(q.shape[2]):
                key, share = k[b, h, t], beta[b, h, t]
                forget = (torch.eye(K, dtype=s.dtype) - share * torch.outer(key, key)) @ torch.diag(
                    g[b, h, t].exp()
                )
                s = forget @ s + share * torch.outer(key, v[b, h, t])
                outs[b, h, t] = s.T @ q[b, h, t]
            ends[b, h] = s
    return outs, ends


def layer_by_definition(layer: KimiDeltaAttention, x):
    """The whole layer from its weights, by loops over tokens and channels."""
    w = {name: p.detach() for name, p in layer.named_parameters()}
    taps, width, seq = layer.cfg.conv_size, H * K, x.shape[1]
    mixed = torch.cat([x @ w[f"{each}_proj.weight"].T for each in "qkv"], dim=-1)
    convolved = torch.zeros_like(mixed)
    for t in range(seq):
        for tap in range(taps):
            if (source := t - (taps - 1) + tap) >= 0:
                convolved[:, t] += mixed[:, source] * w["conv_weight"][:, 0, tap]
    convolved = convolved * convolved.sigmoid()
    q, k, v = (convolved[..., i * width : (i + 1) * width].unflatten(-1, (H, K)).mT.mT for i in range(3))
    q, k = (each / (each.square().sum(-1, keepdim=True) + 1e-6).sqrt() for each in (q, k))
    z = (x @ w["f_a_proj.weight"].T @ w["f_b_proj.weight"].T + w["dt_bias"]).unflatten(-1, (H, K))
    rate = w["A_log"].exp()[:, None]
    g = -rate * (1 + z.exp()).log() if layer.cfg.decay == "softplus" else -5 / (1 + (-rate * z).exp())
    beta = (x @ w["b_proj.weight"].T).sigmoid()
    heads = [each.transpose(1, 2) for each in (q / math.sqrt(K), k, v, g, beta)]
    out, _ = by_definition(*heads, torch.zeros(B, H, K, K, dtype=x.dtype))
    out = w["o_norm.weight"] * out / (out.square().mean(-1, keepdim=True) + layer.o_norm.eps).sqrt()
    full = layer.cfg.output_gate == "full_rank"
    gate = x @ w["g_proj.weight"].T if full else x @ w["g_a_proj.weight"].T @ w["g_b_proj.weight"].T
    return (out.transpose(1, 2).flatten(2) * gate.sigmoid()) @ w["o_proj.weight"].T


def build(cfg: KDAConfig, dtype=torch.float32) -> KimiDeltaAttention:
    return harsh_(KimiDeltaAttention(D, H, cfg, 1e-5), std=0.6).to(dtype)


def decode(layer, x, pieces, cache=None):
    cache = cache or StateCache()
    return torch.cat([layer(piece, None, cache).out for piece in x.split(pieces, 1)], 1), cache


@pytest.mark.parametrize("decay", ["softplus", "bounded"])
@pytest.mark.parametrize("seq", LENGTHS)
def test_both_forms_are_the_definition(seq, decay):
    given = some_inputs(seq, decay)
    wanted = by_definition(*given)
    for found in (recurrent_delta(*given), *(chunked_delta(*given, chunk_len=n) for n in CHUNKS)):
        torch.testing.assert_close(found, wanted, atol=1e-11, rtol=0)


@pytest.mark.parametrize("decay", ["softplus", "bounded"])
def test_both_forms_are_those_of_transformers(decay):
    """Its own forms start at 0, and norm and scale the queries themselves."""
    q, k, v, g, beta, _ = some_inputs(50, decay, torch.float32)
    q, k = 3 * q, 2 * k
    turned = [each.transpose(1, 2) for each in (q, k, v, g, beta)]
    start = torch.zeros(B, H, K, K)
    for reference in (theirs.recurrent_kimi_delta_attention, theirs.chunk_kimi_delta_attention):
        out, end = reference(
            *turned, initial_state=None, output_final_state=True, use_qk_l2norm_in_kernel=True
        )
        assert out.abs().max() > 0.3
        for form in (recurrent_delta, chunked_delta):
            found = form(l2norm(q) * K**-0.5, l2norm(k), v, g, beta, start)
            torch.testing.assert_close(found, (out.transpose(1, 2), end), atol=1e-5, rtol=0)


def test_chunks_have_the_gradients_of_the_loop():
    given = [each.requires_grad_() for each in some_inputs(37)]
    found = []
    for form in (recurrent_delta, chunked_delta):
        out, end = form(*given)
        found.append(
            torch.autograd.grad((out * normal(*out.shape, dtype=out.dtype)).sum() + end.sum(), given)
        )
    torch.testing.assert_close(found[1], found[0], atol=1e-10, rtol=0)


def test_a_decay_that_forgets_everything_overflows_nowhere():
    """exp(G_i) / exp(G_j) would be 0 / 0 here."""
    q, k, v, _, beta, state = some_inputs(37, dtype=torch.float32)
    g = torch.full_like(v, -400.0).requires_grad_()
    out, end = chunked_delta(q, k, v, g, beta, state)
    torch.testing.assert_close((out, end), recurrent_delta(q, k, v, g, beta, state), atol=1e-6, rtol=0)
    assert torch.autograd.grad(out.sum() + end.sum(), g)[0].isfinite().all()


@EACH
def test_the_layer_is_the_definition(cfg):
    layer, x = build(cfg, torch.float64), normal(B, 37, D, dtype=torch.float64)
    out, wanted = layer(x).out, layer_by_definition(layer, x)
    assert wanted.std() > 0.3
    torch.testing.assert_close(out, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(build(cfg)(x.float()).out, wanted.float(), atol=2e-5, rtol=0)


def test_the_decays_are_those_of_transformers():
    for bound, cfg in ((None, VARIANTS[0]), (-5.0, VARIANTS[1])):
        layer, x = build(cfg), normal(B, 9, D)
        sizes = SimpleNamespace(
            linear_head_dim=K, linear_num_heads=H, hidden_size=D, linear_lower_bound=bound
        )
        gate = Glm5NextTextForgetGate(sizes)
        gate.load_state_dict(
            {name: value for name, value in layer.state_dict().items() if name in gate.state_dict()}
        )
        z = layer.f_b_proj(layer.f_a_proj(x)).unflatten(-1, (H, K)).transpose(1, 2)
        g = layer._log_kept(z).transpose(1, 2)
        assert g.max() > -0.5 and g.min() < -4 and (bound is None or g.min() >= bound)
        torch.testing.assert_close(g, gate(x), atol=1e-5, rtol=0)


@EACH
@pytest.mark.parametrize("pieces", PIECES, ids=lambda p: f"{len(p)} pieces")
def test_with_its_cache_it_is_what_it_is_without(cfg, pieces):
    layer, x = build(cfg, torch.float64), normal(B, 37, D, dtype=torch.float64)
    found, cache = decode(layer, x, pieces)
    torch.testing.assert_close(found, layer(x).out, atol=1e-11, rtol=0)
    # As large after 37 tokens as after one.
    assert cache.length == 37
    _, small = decode(layer, x[:, :1], [1])
    assert cache.nbytes == small.nbytes == 8 * B * (H * K * K + (cfg.conv_size - 1) * 3 * H * K)


@EACH
def test_no_token_reads_a_later_one(cfg):
    layer, x = build(cfg, torch.float64), normal(B, 19, D, dtype=torch.float64)
    reads = (
        torch.autograd.functional.jacobian(lambda x: layer(x).out.sum(dim=(0, 2)), x).abs().amax(dim=(1, 3))
    )
    assert reads.triu(1).eq(0).all()
    assert (reads > 0).sum() == 19 * 20 // 2


def test_no_tokens_give_no_outputs():
    assert build(VARIANTS[0])(torch.zeros(B, 0, D)).out.shape == (B, 0, D)


@EACH
def test_padding_changes_no_text(cfg):
    """Rows that begin with padding, in pieces of which one is padding alone, and then without one of them."""
    layer, padding = build(cfg, torch.float64), [0, 7, 2]
    x, more = normal(3, 12, D, dtype=torch.float64), normal(3, 4, D, seed=1, dtype=torch.float64)
    cache = StateCache(padding)
    found, _ = decode(layer, x, [5, 1, 6], cache)
    for row, n in enumerate(padding):
        torch.testing.assert_close(found[row, n:], layer(x[row : row + 1, n:]).out[0], atol=1e-11, rtol=0)
    cache.keep(torch.tensor([2, 1]))
    wanted = layer(torch.cat([x, more], 1)[1:2, 7:]).out[0, -4:]
    torch.testing.assert_close(layer(more[[2, 1]], None, cache).out[1], wanted, atol=1e-11, rtol=0)
    assert cache.state.shape[0] == 2


# torch's word for a norm whose gain is in bfloat16.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_the_state_is_float32_where_the_rest_is_bfloat16():
    layer, x = build(VARIANTS[0]), normal(B, 37, D)
    cache = StateCache()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, None, cache).out
    assert cache.state.dtype == torch.float32
    assert (out.float() - layer(x).out).abs().max() < 0.1 * layer(x).out.abs().max()
    half = build(VARIANTS[0], torch.bfloat16)
    assert half(x.bfloat16(), None, kept := StateCache()).out.dtype == torch.bfloat16
    assert kept.state.dtype == torch.float32


def test_qk_clip_has_nothing_to_clip():
    layer = build(VARIANTS[0])
    before = {name: p.clone() for name, p in layer.named_parameters()}
    largest = layer(normal(B, 9, D), with_max_qk_logit=True).max_qk_logit
    assert largest.tolist() == [0.0] * H
    layer.clip_qk_(largest, 1e-9)
    assert all(torch.equal(p, before[name]) for name, p in layer.named_parameters())


def test_a_model_of_kda_alone_refuses_qk_clip():
    model, tokens = Kimi(kimi("kda")), torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(
        ConfigError, match=r"^attention=kda has no softmax and so no logits to clip: leave qk_clip_tau"
    ):
        model(tokens, with_max_qk_logit=True)
    rows = harsh_(Kimi(kimi("hybrid")))(tokens, with_max_qk_logit=True).max_qk_logit
    assert rows[0].tolist() == [0.0, 0.0] and (rows[1] != 0).all()


@pytest.mark.parametrize("decay", ["softplus", "bounded"])
def test_first_weights_are_those_of_kimi_linear(decay):
    """transformers' own `_init_weights` has the same ranges; a bounded decay begins with rates of 1, as in GLM's."""
    cfg = KimiConfig(
        n_layers=1, attention="kda", d_model=32, n_heads=64, kda=KDAConfig(head_dim=64, decay=decay)
    )
    layer = Kimi(cfg).layers[0].self_attn
    forgotten = F.softplus(layer.dt_bias.double())
    assert 1e-3 <= forgotten.min() < 1.1e-3 and 0.099 < forgotten.max() <= 0.1001
    assert forgotten.log().mean().item() == pytest.approx(math.log(1e-2), abs=0.1)  # even in the logarithm
    rates = layer.A_log.exp()
    assert (rates == 1).all() if decay == "bounded" else 1 <= rates.min() < 2 and 15 < rates.max() <= 16
    assert 0.49 < layer.conv_weight.abs().max() <= 0.5
    assert layer.f_b_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_counts_by_hand():
    """A layer of KDA and one of MLA, 16 wide, 2 heads; the state is 2 matrices 6 x 6."""
    cfg = kimi("hybrid", moe=None)
    inputs, state, latent = 3 * 3 * 12, 2 * 36, 8 + 4
    assert cache_elements(cfg, 10) == inputs + state + 10 * latent
    assert cache_elements(cfg, 0) == 0
    model, cache = Kimi(cfg), Kimi(cfg).new_cache()
    for n in (4, 5, 9):
        model(torch.zeros(1, n - cache[0].length, dtype=torch.long), cache)
        assert sum(layer.nbytes for layer in cache) == 4 * cache_elements(cfg, n)
    kda = 16 * 12 * 4 + 2 * (16 * 6 + 6 * 12) + 16 * 2 + 36 * 4  # q k v o, two of low rank, beta, taps
    mla = 16 * 2 * 8 + 16 * 12 + 8 * 2 * 12 + 16 * 16
    matrices = kda + mla + 2 * 3 * 16 * 24 + 16 * 24
    wanted = 6 * matrices + 3 * (2 * 3 * state + 2 * 2 * (8 + 8) * (9 + 1) / 2)
    assert flops_per_token(cfg, 9) == wanted
