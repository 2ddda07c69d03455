"""Tests that ask for exactly equal numbers, for each bug hunt whose pieces round: wrong answers, all of them.

On their few and small numbers many sound pieces round alike.
"""

import torch
import torch.nn.functional as F
from torch import nn

from nanokimi.attention import attend as core_attend
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, MoEConfig, RopeConfig
from nanokimi.experts import ExpertBank
from nanokimi.mla import expand_latent
from nanokimi.moe import dispatch as core_dispatch
from nanokimi.rope import apply_rope, rotations
from nanokimi.router import RouterStats


def draw(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def filled(bank):
    with torch.no_grad():
        for p, numbers in zip(bank.parameters(), draw(*(p.shape for p in bank.parameters()))):
            p.copy_(numbers)
    return bank


# ---------------------------------------------------------------- notebook 02


def attend_as_torch(attend):
    q, k, v = draw(*[(1, 1, 3, 2)] * 3)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.equal(attend(q, k, v, 2**-0.5), expected)


def attend_of_two_tokens(attend):
    q, k, v = draw(*[(1, 1, 2, 1)] * 3)
    weights = (q[0, 0, 1] * k[0, 0, :, 0]).softmax(0)
    assert attend(q, k, v, 1.0)[0, 0, 1, 0] == weights @ v[0, 0, :, 0]


def attend_of_whole_numbers(attend):
    v = torch.tensor([[2.0], [4.0], [9.0], [1.0]])[None, None]
    same = torch.zeros(1, 1, 4, 1)
    assert attend(same, same, v, 1.0).flatten().tolist() == [2.0, 3.0, 5.0, 4.0]


def attend_of_the_first_token(attend):
    q, k, v = draw(*[(1, 1, 3, 2)] * 3)
    assert (attend(q, k, v, 1.0)[..., 0, :] == v[..., 0, :]).all()


def attend_with_a_tolerance_of_1e_9(attend):
    q, k, v = draw(*[(1, 1, 3, 2)] * 3)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert torch.allclose(attend(q, k, v, 2**-0.5), expected, rtol=0, atol=1e-9)


def attend_of_a_shorter_text(attend):
    q, k, v = draw(*[(1, 1, 3, 2)] * 3)
    short = attend(*(x[..., :2, :] for x in (q, k, v)), 1.0)
    assert torch.equal(attend(q, k, v, 1.0)[..., :2, :], short)


def decoding_of_two_tokens(decode_step):
    q, k, v = draw(*[(1, 1, 2, 2)] * 3)

    def turn(positions):
        return rotations(positions, 2, RopeConfig(base=100.0))

    cache, where = [], turn(torch.arange(2))
    steps = [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, apply_rope, turn)
        for t in range(2)
    ]
    whole = core_attend(apply_rope(q, where), apply_rope(k, where), v, 2**-0.5)
    assert torch.equal(torch.cat(steps, dim=-2), whole)


# ---------------------------------------------------------------- notebook 03


def swiglu_of_one_channel(swiglu):
    x, gate_up, down = torch.ones(1, 1), torch.tensor([[1.0], [3.0]]), torch.ones(1, 1)
    assert torch.equal(swiglu(x, gate_up, down), F.silu(torch.tensor([[1.0]])) * 3)


def swiglu_of_the_formula(swiglu):
    x, gate_up, down = draw((2, 3), (4, 3), (3, 2))
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    assert (swiglu(x, gate_up, down) == F.linear(F.silu(gate) * up, down)).all()


def dispatch_by_rows_and_numbers(dispatch):
    bank, rows = filled(ExpertBank(4, 2, 3)), []
    (x,) = draw((4, 2))
    idx, weights = torch.tensor([[0], [1], [1], [3]]), torch.full((4, 1), 0.7)
    with torch.no_grad():
        expected = 0.7 * torch.cat(
            [bank(x[:1], [1, 0, 0, 0]), bank(x[1:3], [0, 2, 0, 0]), bank(x[3:], [0, 0, 0, 1])]
        )
        bank.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
        assert torch.equal(dispatch(x, idx, weights, bank), expected) and sum(rows) == 4


# ---------------------------------------------------------------- notebook 04


def router_of_all_experts(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=4, routed_scaling_factor=1.0)
    z = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    found = topk_route(z, torch.tensor([0.1, 0.4, 0.0, 0.2]), cfg)
    right = z.sigmoid() / z.sigmoid().sum()
    assert (found.weights == right.gather(-1, found.expert_idx)).all()


def loss_of_three_experts(load_balance_loss):
    stats = RouterStats(
        torch.zeros(1, 3, 3), torch.zeros(1, 3, 3), torch.arange(3).view(1, 3, 1), torch.ones(1, 3, 1)
    )
    assert load_balance_loss(stats).item() == 1.0


def loss_of_the_formula(load_balance_loss):
    (logits,) = draw((1, 4, 4))
    idx = logits.topk(2).indices
    share = torch.bincount(idx.flatten(), minlength=4) / idx.numel()
    expected = 4 * (share * logits.softmax(-1).mean((0, 1))).sum()
    assert torch.equal(load_balance_loss(RouterStats(logits, logits, idx, idx)), expected)


def capacity_of_the_bank(dispatch):
    bank = filled(ExpertBank(2, 2, 3))
    (x,) = draw((8, 2))
    y = dispatch(x, torch.zeros(8, 1, dtype=torch.long), torch.ones(8, 1), bank)
    assert torch.equal(y, bank(x, [8, 0]))


def capacity_of_each_token_alone(dispatch):
    bank = filled(ExpertBank(2, 2, 3))
    (x,) = draw((6, 2))
    idx, weights = torch.zeros(6, 1, dtype=torch.long), torch.ones(6, 1)
    alone = [dispatch(x[t : t + 1], idx[:1], weights[:1], bank) for t in range(6)]
    assert torch.equal(dispatch(x, idx, weights, bank), torch.cat(alone))


# ---------------------------------------------------------------- notebook 05


def latents_of_the_naive_form(attend_latents):
    q, latent, k_rope, expand_k, expand_v = draw((1, 1, 2, 3), (1, 2, 4), (1, 2, 1), (1, 2, 4), (1, 2, 4))
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = core_attend(q, k, v, 3**-0.5)
    assert torch.equal(attend_latents(q, latent, k_rope, expand_k, expand_v), expected)


def layer_by_bytes_and_numbers(mla_class):
    cfg = MLAConfig(kv_lora_rank=4, qk_nope_head_dim=2, qk_rope_head_dim=2, v_head_dim=2)
    torch.manual_seed(0)
    layer, cache = mla_class(4, 2, cfg, RopeConfig()), SequenceCache()
    (x,), rotation = draw((1, 2, 4)), rotations(torch.arange(2), 2, RopeConfig())
    whole = layer(x, rotation, None).out
    steps = [layer(x[:, t : t + 1], rotation[t : t + 1], cache).out for t in range(2)]
    assert torch.equal(torch.cat(steps, 1), whole) and cache.nbytes == 2 * 6 * 4


def summary_of_another_last_token(layer):
    x, last = draw((1, 3, 8), (1, 1, 8))
    other = torch.cat([x[:, :2], last], dim=1)
    assert torch.equal(layer(x)[:, :2], layer(other)[:, :2])


def summary_of_a_shorter_text(layer):
    (x,) = draw((1, 4, 8))
    assert torch.equal(layer(x)[:, :3], layer(x[:, :3]))


# ---------------------------------------------------------------- notebook 06


def moe_of_the_two_sums(moe_class):
    cfg = MoEConfig(n_routed_experts=2, top_k=1, moe_intermediate_size=3, routed_scaling_factor=2.0)
    moe = filled(moe_class(4, cfg))
    with torch.no_grad():
        (x,) = draw((1, 1, 4))
        y, stats = moe(x)
        routed = core_dispatch(x[0], stats.expert_idx[0], stats.weights[0], moe.experts)
        assert torch.equal(y, routed[None] + moe.shared_experts(x))


# ---------------------------------------------------------------- notebook 07


def newton_schulz_of_each_matrix(newton_schulz):
    (bank,) = draw((2, 2, 2))
    expected = torch.stack([newton_schulz(each, 5, torch.float32) for each in bank])
    assert torch.equal(newton_schulz(bank, 5, torch.float32), expected)


def muon_of_a_turned_gradient(optimizer):
    moved = []
    for turn in (False, True):
        p = nn.Parameter(torch.zeros(2, 3))
        (p.grad,) = draw((2, 3))
        p.grad = p.grad.T.contiguous().T if turn else p.grad
        turned = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) if turn else torch.eye(2)
        p.grad = turned @ p.grad
        optimizer([{"params": [p]}], lr=0.1, weight_decay=0.0, ns_dtype=torch.float32).step()
        moved.append(turned.T @ p.detach())
    assert torch.equal(*moved)


def clip_to_tau_itself(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.median().item()
    clip_qk_(layer, before, tau)
    assert torch.equal(largest_logits(), before.clamp(max=tau))


# ---------------------------------------------------------------- notebook 10


def sampling_of_three_tokens(next_token_probs):
    logits = torch.tensor([2.0, 1.0, 0.0])
    found = next_token_probs(logits, temperature=2.0, top_p=0.82)
    assert torch.equal(found, (logits / 2).softmax(0))


def top_k_of_three_tokens(next_token_probs):
    found = next_token_probs(torch.tensor([0.0, 1.0, 2.0, 1.0]), top_k=2)
    two = torch.tensor([1.0, 2.0]).softmax(0)
    assert found.tolist() == [0.0, two[0].item(), two[1].item(), 0.0]


# ---------------------------------------------------------------- notebook 11


def clipping_of_whole_numbers(clip_over_ranks):
    found = clip_over_ranks(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 2.5)
    assert found.tolist() == [1.5, 2.0]


def clipping_of_the_formula(clip_over_ranks):
    (gradients,) = draw((2, 3))
    mean = gradients.mean(0)
    assert torch.equal(clip_over_ranks(gradients, 0.5), mean * (0.5 / mean.norm()))


def exchange_as_dispatch(exchange):
    bank = filled(ExpertBank(2, 2, 3))
    (x,) = draw((4, 2))
    idx, weights = torch.tensor([[0], [1], [0], [1]]), torch.full((4, 1), 0.5)
    with torch.no_grad():
        assert torch.equal(exchange(x, idx, weights, bank, 2), core_dispatch(x, idx, weights, bank))


def exchange_of_one_rank(exchange):
    bank = filled(ExpertBank(2, 2, 3))
    (x,) = draw((4, 2))
    idx, weights = torch.tensor([[0], [1], [0], [1]]), torch.full((4, 1), 0.5)
    assert torch.equal(exchange(x, idx, weights, bank, 2), exchange(x, idx, weights, bank, 1))


EQUAL = {
    "test_sound_attend": (
        attend_as_torch,
        attend_of_two_tokens,
        attend_of_whole_numbers,
        attend_of_the_first_token,
        attend_with_a_tolerance_of_1e_9,
        attend_of_a_shorter_text,
    ),
    "test_sound_decoding": (decoding_of_two_tokens,),
    "test_sound_swiglu": (swiglu_of_one_channel, swiglu_of_the_formula),
    "test_sound_dispatch": (dispatch_by_rows_and_numbers,),
    "test_sound_router": (router_of_all_experts,),
    "test_sound_loss": (loss_of_three_experts, loss_of_the_formula),
    "test_sound_capacity": (capacity_of_the_bank, capacity_of_each_token_alone),
    "test_sound_latents": (latents_of_the_naive_form,),
    "test_sound_layer": (layer_by_bytes_and_numbers,),
    "test_sound_summary": (summary_of_another_last_token, summary_of_a_shorter_text),
    "test_sound_moe": (moe_of_the_two_sums,),
    "test_sound_newton_schulz": (newton_schulz_of_each_matrix,),
    "test_sound_muon": (muon_of_a_turned_gradient,),
    "test_sound_clip": (clip_to_tau_itself,),
    "test_sound_sampling": (sampling_of_three_tokens,),
    "test_sound_top_k": (top_k_of_three_tokens,),
    "test_sound_clipping": (clipping_of_whole_numbers, clipping_of_the_formula),
    "test_sound_exchange": (exchange_as_dispatch, exchange_of_one_rank),
}
