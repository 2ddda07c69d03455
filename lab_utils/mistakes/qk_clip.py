"""Wrong answers to the exercises of notebook 07: the largest logit, QK-clip, and the tests that find bugs."""

import torch
from torch import nn

from lab_utils.exercise import mistake
from nanokimi.attention import causal_mask
from nanokimi.optim import Muon, newton_schulz

# ---------------------------------------------------------------- max_logit


def largest(q, k, scale, visible, hidden=-torch.inf, over=(0, 2, 3), of=lambda logits: logits):
    """Written out, with the places where a mistake goes."""
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    logits = of(q @ k.transpose(-1, -2))
    return logits.masked_fill(~visible, hidden).amax(dim=over).float() * scale


@mistake(
    "Pairs that nobody sees count too: the future is not masked.",
    "A query and a later key have a large product. Does it matter to the softmax?",
)
def max_logit_of_the_future(q, k, scale, visible=None):
    return largest(q, k, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


@mistake(
    "Hidden pairs are set to 0, so a head whose visible logits are all negative gets 0.",
    "Which number never wins a maximum?",
)
def max_logit_hiding_with_zero(q, k, scale, visible=None):
    return largest(q, k, scale, visible, hidden=0.0)


@mistake(
    "The logits are not scaled. The softmax sees the scaled ones, and tau is meant for them.",
    "Which of the arguments does your function never read?",
)
def max_logit_unscaled(q, k, scale, visible=None):
    return largest(q, k, 1.0, visible)


@mistake(
    "The maximum is taken over the absolute values. A very negative logit gives no weight and harms nothing.",
    "All logits of a head are negative. What is its largest?",
)
def max_logit_absolute(q, k, scale, visible=None):
    return largest(q, k, scale, visible, of=torch.abs)


@mistake(
    "There is one number for all heads. QK-clip shrinks each head by its own.",
    "Which shape does the docstring promise?",
)
def max_logit_over_all_heads(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(0, 1, 2, 3)).expand(q.shape[1])


@mistake(
    "The maxima of the sequences are averaged. One sequence with a huge logit is enough to harm.",
    "What should happen to the batch dimension?",
)
def max_logit_mean_of_the_batch(q, k, scale, visible=None):
    return largest(q, k, scale, visible, over=(2, 3)).mean(dim=0)


@mistake(
    "`visible` is ignored: your function always masks causally.",
    "Follow the argument `visible` through your code.",
)
def max_logit_ignoring_visible(q, k, scale, visible=None):
    return largest(q, k, scale, None)


@mistake(
    "The queries are taken for the first positions. With fewer queries than keys they are the last.",
    "One new query after four cached keys: how many keys does it see?",
)
def max_logit_with_queries_first(q, k, scale, visible=None):
    first = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    return largest(q, k, scale, first if visible is None else visible)


@mistake(
    "This is a bound, the length of the longest query times that of the longest key, and not the largest logit.",
    "Take one query and one key at a right angle.",
)
def max_logit_by_lengths(q, k, scale, visible=None):
    return (q.norm(dim=-1).amax(dim=(0, 2)) * k.norm(dim=-1).amax(dim=(0, 2))).float() * scale


MAX_LOGIT = (
    max_logit_of_the_future,
    max_logit_hiding_with_zero,
    max_logit_unscaled,
    max_logit_absolute,
    max_logit_over_all_heads,
    max_logit_mean_of_the_batch,
    max_logit_ignoring_visible,
    max_logit_with_queries_first,
    max_logit_by_lengths,
)

# ---------------------------------------------------------------- clip_qk_


def factor(max_qk_logit, tau):
    return (tau / max_qk_logit.clamp(min=tau))[:, None, None]


@torch.no_grad()
def scale_rows(layer, q_nope=None, q_rope=None, k_nope=None, v=None):
    """Multiply the named rows of the two projections, where there is a factor for them."""
    q_proj = layer.q_proj if layer.cfg.q_lora_rank is None else layer.q_b_proj
    n = layer.cfg.qk_nope_head_dim
    q = q_proj.weight.unflatten(0, (layer.n_heads, -1))
    kv = layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1))
    for rows, by in ((q[:, :n], q_nope), (q[:, n:], q_rope), (kv[:, :n], k_nope), (kv[:, n:], v)):
        if by is not None:
            rows.mul_(by)


@mistake(
    "The query's rope rows take sqrt(g) only. Their key is shared and cannot take the other half.",
    "The rope part of a logit is a product of two. Which of the two did you shrink, and by how much?",
)
def clip_qk_with_root_on_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g.sqrt(), g.sqrt())


@mistake(
    "The nope rows of query and key each take all of g: their product shrinks by g².",
    "By which factor does a product shrink whose two factors both shrink by g?",
)
def clip_qk_squared(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g, g)


@mistake(
    "The values are scaled too. They are no part of a logit.",
    "kv_b_proj makes keys and values. Which of its rows may change?",
)
def clip_qk_of_values_too(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt(), g.sqrt())


@mistake(
    "Heads below tau are scaled up to it: g is above 1 for them.",
    "Which g does a head need whose largest logit is below tau?",
)
def clip_qk_that_blows_up(self, max_qk_logit, tau):
    g = (tau / max_qk_logit)[:, None, None].clamp(min=1e-6)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "Every head is shrunk by the factor of the worst one.",
    "QK-clip has one g a head. How many has yours?",
)
def clip_qk_of_every_head(self, max_qk_logit, tau):
    g = factor(max_qk_logit.max().expand(self.n_heads), tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The rope rows are taken for the first ones. In a head's rows the nope part comes first.",
    "In which order does the layer cut a head's query apart?",
)
def clip_qk_with_rope_first(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    r = self.cfg.qk_rope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    rows = q_proj.weight.unflatten(0, (self.n_heads, -1))
    rows[:, :r].mul_(g)
    rows[:, r:].mul_(g.sqrt())
    scale_rows(self, k_nope=g.sqrt())


@mistake(
    "Only the query is shrunk, by all of g. The logits come out right, but query and key drift apart in size: "
    "asked for is half of it on each.",
    "Which rows of kv_b_proj should change?",
)
def clip_qk_of_the_query_alone(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g)


@mistake(
    "The rope rows are left as they are, so the rope part of the logits does not shrink.",
    "A logit has two parts. Which factor does each get?",
)
def clip_qk_without_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), None, g.sqrt())


@mistake(
    "tau is taken for a bound on the unscaled logits: it is divided by the layer's scale.",
    "Is `max_qk_logit` the logit before or after the multiplication by scale?",
)
def clip_qk_of_unscaled_logits(self, max_qk_logit, tau):
    g = factor(max_qk_logit / self.scale, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


CLIP_QK_ = (
    clip_qk_with_root_on_rope,
    clip_qk_squared,
    clip_qk_of_values_too,
    clip_qk_that_blows_up,
    clip_qk_of_every_head,
    clip_qk_with_rope_first,
    clip_qk_of_the_query_alone,
    clip_qk_without_rope,
    clip_qk_of_unscaled_logits,
)

# ---------------------------------------------------------------- test_sound_newton_schulz (find the bug)


def bank(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@mistake(
    "The test compares nothing: it lets every function pass.",
    "Is there an `assert` that a wrong result breaks?",
)
def test_bank_never_fails(newton_schulz):
    newton_schulz(bank(2, 3, 4), 5, torch.float32)


@mistake("The test fails for every function, the sound one too.", "Run it on the core's newton_schulz first.")
def test_bank_always_fails(newton_schulz):
    raise AssertionError


@mistake(
    "The test looks at the shape only. The broken piece gives the right shape.",
    "Which *number* would be different?",
)
def test_bank_shape(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).shape == (2, 3, 4)


@mistake(
    "The test tries a single matrix. There the piece is right.",
    "Where does the piece treat three dimensions otherwise than two?",
)
def test_bank_of_one_matrix(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(6, 4), 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "The test asks for singular values of exactly 1. Five steps of the quintic come only near it, so the core's "
    "fails too.",
    "Between which bounds do the core's singular values lie?",
)
def test_bank_exactly_one(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32))
    assert torch.allclose(s, torch.ones_like(s), atol=1e-3)


@mistake(
    "The test asks for the same bits as the core's own: a sound function that computes in another way fails.",
    "Test for what every sound result has: a property, with a tolerance.",
)
def test_bank_equal_bits(candidate):
    g = bank(2, 3, 4)
    assert torch.equal(candidate(g, 5, torch.float32), newton_schulz(g, 5, torch.float32))


BANK_TESTS = (
    test_bank_never_fails,
    test_bank_always_fails,
    test_bank_shape,
    test_bank_of_one_matrix,
    test_bank_exactly_one,
    test_bank_equal_bits,
)

# ---------------------------------------------------------------- test_sound_muon (find the bug)


def moved(optimizer, shape=(6, 8), lr=0.1, grad=None) -> torch.Tensor:
    """What one step without decay has added to the parameter, divided by the rate."""
    p = nn.Parameter(torch.zeros(shape))
    p.grad = bank(*shape) if grad is None else grad
    optimizer([{"params": [p]}], lr=lr, weight_decay=0.0, ns_dtype=torch.float32).step()
    return p.detach() / lr


@mistake(
    "The test compares nothing: it lets every optimizer pass.",
    "Is there an `assert` that a wrong update breaks?",
)
def test_update_never_fails(optimizer):
    moved(optimizer)


@mistake(
    "The test fails for every optimizer, the sound one too.",
    "Run it on the core's Muon first.",
)
def test_update_always_fails(optimizer):
    raise AssertionError


@mistake(
    "The test measures the size of the update. The broken piece was made to have the same.",
    "What does Muon do to the *directions* of a gradient?",
)
def test_update_size(optimizer):
    assert 0.1 < moved(optimizer).square().mean().sqrt() < 0.3


@mistake(
    "The test only looks whether the loss falls. It falls under every optimizer with the right sign.",
    "A plausible wrong optimizer trains too. Look at the update itself.",
)
def test_update_trains(optimizer):
    p = nn.Parameter(bank(4, 4))
    found = optimizer([{"params": [p]}], lr=0.05, weight_decay=0.0, ns_dtype=torch.float32)
    before = p.square().sum().item()
    for _ in range(5):
        p.grad = p.detach().clone()
        found.step()
    assert p.square().sum().item() < before


@mistake(
    "The gradient of the test has one row. There is a single singular value, and every update is orthogonal up to its "
    "size.",
    "How many singular values does your gradient have?",
)
def test_update_of_one_row(optimizer):
    s = torch.linalg.svdvals(moved(optimizer, shape=(1, 8)))
    assert s.max() < 2 * s.min()


@mistake(
    "The test asks for the core's update to the last digit, and rejects a sound one with exact singular values.",
    "Compare the singular values with one another, with room for the quintic's 0.68 to 1.14.",
)
def test_update_to_the_digit(optimizer):
    assert torch.allclose(moved(optimizer), moved(Muon), atol=1e-4)


UPDATE_TESTS = (
    test_update_never_fails,
    test_update_always_fails,
    test_update_size,
    test_update_trains,
    test_update_of_one_row,
    test_update_to_the_digit,
)

# ---------------------------------------------------------------- test_sound_clip (find the bug)


@mistake(
    "The test compares nothing: it lets every clip pass.",
    "Is there an `assert` that a wrong clip breaks?",
)
def test_clip_never_fails(clip_qk_, layer, largest_logits):
    clip_qk_(layer, largest_logits(), 1.0)


@mistake(
    "The test fails for every clip, the sound one too.",
    "Run it on the core's clip_qk_ first.",
)
def test_clip_always_fails(clip_qk_, layer, largest_logits):
    raise AssertionError


@mistake(
    "The test asks whether the logits have become smaller. They have, but not enough.",
    "Which number exactly should the largest logit have afterwards?",
)
def test_clip_makes_smaller(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, before.min().item() / 2)
    assert (largest_logits() < before).all()


@mistake(
    "The threshold of the test lies above all logits, so nothing is clipped.",
    "Measure the largest logits first, and choose a tau below some of them.",
)
def test_clip_high_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    clip_qk_(layer, before, 2 * before.max().item())
    assert torch.allclose(largest_logits(), before, rtol=1e-4)


@mistake(
    "The test asks that every head be at tau afterwards. A head that was below must stay where it was.",
    "tau between the heads: what should become of each?",
)
def test_clip_every_head_at_tau(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    assert torch.allclose(largest_logits(), torch.full_like(before, tau), rtol=1e-4)


@mistake(
    "The test looks only at the heads below tau. The piece leaves those alone, as it should.",
    "What should become of a head above tau?",
)
def test_clip_of_the_heads_below(clip_qk_, layer, largest_logits):
    before = largest_logits()
    tau = before.mean().item()
    clip_qk_(layer, before, tau)
    below = before < tau
    assert torch.allclose(largest_logits()[below], before[below], rtol=1e-4)


CLIP_TESTS = (
    test_clip_never_fails,
    test_clip_always_fails,
    test_clip_makes_smaller,
    test_clip_high_tau,
    test_clip_every_head_at_tau,
    test_clip_of_the_heads_below,
)
