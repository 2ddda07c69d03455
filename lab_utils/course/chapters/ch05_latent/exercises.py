"""The exercises of notebook 05: expansion, absorption, the whole of MLA, then blocks of latents and their cache."""

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch05_latent import bugs, cases
from lab_utils.course.chapters.ch05_latent.mistakes import block_latent as block_mistakes
from lab_utils.course.chapters.ch05_latent.mistakes import latent as mistakes
from lab_utils.course.chapters.ch05_latent.mistakes import weak_tests as latent_tests
from lab_utils.course.exercise import Case, Exercise, Property, call_with_gradients, verdict
from nanokimi.attention import SequenceCache, attend
from nanokimi.block_latent import BlockLatentAttention, block_visibility
from nanokimi.config import BlockLatentConfig, MLAConfig, RopeConfig
from nanokimi.count import cache_elements
from nanokimi.mla import MultiHeadLatentAttention, absorb_query, expand_latent
from nanokimi.rope import rotations

compress = BlockLatentAttention.compress

# ---------------------------------------------------------------- find the bug: the scale


def test_sound_latents(attend_latents) -> None:
    """The absorbed logit is the naive one, so its scale is the naive one's: 1/sqrt(nope + rope)."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 2, 3, 4), (1, 3, 6), (1, 3, 2), (2, 2, 6), (2, 3, 6))
    q, latent, k_rope, expand_k, expand_v = (torch.randn(s, generator=generator) for s in shapes)
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = attend(q, k, v, 4**-0.5)
    assert torch.allclose(attend_latents(q, latent, k_rope, expand_k, expand_v), expected, atol=1e-4)


def attend_absorbed(q, latent, k_rope, expand_k, expand_v, scale=None):
    """The sound absorbed form."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k = torch.cat([latent, k_rope], dim=-1)[:, None].expand(-1, q.shape[1], -1, -1)
    return attend(absorb_query(q, expand_k), k, k[..., : latent.shape[-1]], scale) @ expand_v.mT


def attend_in_a_loop(q, latent, k_rope, expand_k, expand_v):
    """A sound version, head by head and token by token."""
    first = latent.shape[1] - q.shape[2]
    heads = []
    for h in range(q.shape[1]):
        k, v = torch.cat([latent @ expand_k[h].T, k_rope], dim=-1), latent @ expand_v[h].T
        rows = []
        for t in range(q.shape[2]):
            seen = first + t + 1
            logits = (q[:, h, t, None] * k[:, :seen]).sum(dim=-1) / q.shape[-1] ** 0.5
            rows.append((logits.softmax(dim=-1)[..., None] * v[:, :seen]).sum(dim=1))
        heads.append(torch.stack(rows, dim=1))
    return torch.stack(heads, dim=1)


def _attend_naive(q, latent, k_rope, expand_k, expand_v):
    return attend(q, *expand_latent(latent, k_rope, expand_k, expand_v), q.shape[-1] ** -0.5)


# ---------------------------------------------------------------- find the bug: the cache


def test_sound_layer(mla_class) -> None:
    """After three tokens the cache must hold three times the latent and the rope key, and nothing else."""
    cfg = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=4, qk_rope_head_dim=2, v_head_dim=4)
    layer, cache = mla_class(8, 4, cfg, RopeConfig()), SequenceCache()
    layer(torch.ones(1, 3, 8), rotations(torch.arange(3), 2, RopeConfig()), cache)
    assert cache.nbytes == 3 * (6 + 2) * 4  # float32 has four bytes


class LatentAttentionWithTwoTensors(MultiHeadLatentAttention):
    """A sound layer that keeps latent and rope key apart and expands what it has kept whenever it is read."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        whole = SequenceCache()
        if cache.length:
            whole.append(torch.cat(cache.entries(), dim=-1))
        out = super().forward(x, rotation, whole, with_max_qk_logit)
        (entries,) = whole.entries()
        cache.append(
            *entries[:, cache.length :].split([self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim], -1)
        )
        return out


class _KeepsNothing(MultiHeadLatentAttention):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        out = super().forward(x[:, -1:], rotation[-1:], None, with_max_qk_logit)
        return out._replace(out=out.out.expand_as(x))


class _KeepsTheWrongOrder(MultiHeadLatentAttention):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        out = super().forward(x, rotation, cache, with_max_qk_logit)
        return out if cache is None else out._replace(out=out.out.flip(1))


class _KeepsTwice(MultiHeadLatentAttention):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        own = SequenceCache()
        out = super().forward(x, rotation, own, with_max_qk_logit)
        cache.append(*own.entries(), *own.entries())
        return out


class _GivesOneToken(MultiHeadLatentAttention):
    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        out = super().forward(x, rotation, cache, with_max_qk_logit)
        return out._replace(out=out.out[:, -1:])


# ---------------------------------------------------------------- find the bug: the future


def test_sound_summary(layer) -> None:
    """Other tokens behind must not move what stands before them."""
    x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 5:] = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(layer(x)[:, :5], layer(other)[:, :5], atol=1e-4)


class Blocks(nn.Module):
    """A sound layer: the core's block form, with its rotations."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = cases.harsh(BlockLatentAttention(8, 2, BlockLatentConfig(n_latents=2, block_len=3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, rotations(torch.arange(x.shape[1]), 4, RopeConfig())).out


class MeanOfThePast(nn.Module):
    """A sound layer: a weighted mean of all tokens so far, its exponentials taken from one maximum for all.

    That maximum lets a later token change how an earlier result is rounded. The scores are bounded, so that it
    cannot do more: with free ones a huge token behind would make all weights before it vanish.
    """

    def forward(self, x: Tensor) -> Tensor:
        scores = 3 * x.sum(dim=-1, keepdim=True).tanh()
        weights = (scores - scores.amax().detach()).exp()
        return (weights * x).cumsum(dim=1) / weights.cumsum(dim=1)


def _the_token_before(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


def _summary_attention() -> nn.Module:
    return cases.harsh(bugs.SummaryAttention(8, 2))


EXERCISES = (
    Exercise(
        name="expand_latent",
        notebook="05",
        core=expand_latent,
        cases=cases.expand_cases,
        observe=call_with_gradients,
        mistakes=mistakes.EXPAND,
        properties=(
            Property("the last channels of every head's key are the one rope key", cases.shares_rope_key),
        ),
        hints=(
            "For one head h and one token: k = [expand_k[h] @ c ; k_rope], v = expand_v[h] @ c. Which axes are added?",
            "torch.einsum says which letters remain: latent is 'btr', expand_k 'hnr', and the keys are 'bhtn'.",
            "k_rope[:, None].expand(-1, n_heads, -1, -1) is the same key for every head; torch.cat joins it behind.",
        ),
        moral="One latent a token feeds the keys and values of all heads; position comes beside it, once.",
    ),
    Exercise(
        name="absorb_query",
        notebook="05",
        core=absorb_query,
        cases=cases.absorb_cases,
        observe=call_with_gradients,
        mistakes=mistakes.ABSORB,
        properties=(
            Property("its dot product with [c ; k_rope] is the naive form's logit", cases.logits_stay),
        ),
        hints=(
            "Only the first nope channels of q change; the rope channels stay as they are, behind.",
            "expand_k.shape[1] is the number of nope channels. q_nope meets expand_k over them, head by head.",
            "(batch, heads, seq, nope) @ (heads, nope, rank) multiplies head by head; torch.cat the rope part behind.",
        ),
        moral="Brackets moved: q·(W c) = (Wᵀ q)·c. One product for the query replaces one for every cached token.",
    ),
    Exercise(
        name="test_sound_latents",
        notebook="05",
        core=test_sound_latents,
        cases=lambda: [
            Case("the broken piece", (bugs.attend_latents,)),
            Case("the absorbed form with its right scale", (attend_absorbed,)),
            Case("a sound version in a loop", (attend_in_a_loop,)),
            Case("the naive form", (_attend_naive,), judged=False),
            Case("a piece that gives zeros", (lambda *given: 0 * attend_absorbed(*given),), judged=False),
            Case(
                "a piece of another shape", (lambda *given: attend_absorbed(*given)[..., :1],), judged=False
            ),
            Case("a piece without a scale", (lambda *given: attend_absorbed(*given, scale=1.0),), judged=False),
            Case(
                "a piece that gives every token its own value",
                (lambda q, c, k_rope, expand_k, expand_v: c[:, None] @ expand_v.mT,),
                judged=False,
            ),
        ],
        observe=verdict,
        mistakes=latent_tests.SCALE_TESTS,
        hints=(
            "Both forms compute the same logit. What is the naive form's scale, and what is the piece's?",
            "Build the naive answer in the test: expand_latent, then attend. Choose widths that are all different.",
            "expected = attend(q, k, v, (nope + rope) ** -0.5), with two tokens or more and a rank that is not nope.",
        ),
        moral="The scale belongs to the logit's variance, not to the width of whatever vectors it is computed from.",
    ),
    Exercise(
        name="MultiHeadLatentAttention",
        notebook="05",
        core=MultiHeadLatentAttention,
        cases=cases.mla_cases,
        observe=cases.observe_mla,
        mistakes=mistakes.MLA,
        tolerance=1e-4,
        properties=(
            Property("the cache gains kv_lora_rank + qk_rope_head_dim numbers a token", cases.cache_stays_small),
        ),
        hints=(
            "First without a cache: q with its rope part turned; latent and k_rope; expand_latent; attend; o_proj.",
            "self.kv_a_proj(x).split([kv_lora_rank, qk_rope_head_dim], -1); norm the first, turn the second. "
            "self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split([nope, v], dim=1) gives both expansions.",
            "With a cache: (entries,) = cache.append(torch.cat([latent, k_rope], -1)); the keys are these for every "
            "head, the values their first kv_lora_rank channels; attend with absorb_query's query, then @ expand_v.mT.",
        ),
        moral="Naive in training, absorbed in decoding: one function, two orders of the same products.",
    ),
    Exercise(
        name="test_sound_layer",
        notebook="05",
        core=test_sound_layer,
        cases=lambda: [
            Case("the broken piece", (bugs.LatentAttentionOfAColleague,)),
            Case("the core's layer", (MultiHeadLatentAttention,)),
            Case("a sound layer that keeps two tensors", (LatentAttentionWithTwoTensors,)),
            Case("a layer that keeps nothing", (_KeepsNothing,), judged=False),
            Case("a layer whose outputs with a cache are wrong", (_KeepsTheWrongOrder,), judged=False),
            Case("a layer that keeps everything twice", (_KeepsTwice,), judged=False),
            Case("a layer that gives one token only", (_GivesOneToken,), judged=False),
        ],
        observe=verdict,
        mistakes=latent_tests.CACHE_TESTS,
        hints=(
            "The outputs are right. Read what the piece hands to cache.append.",
            "A SequenceCache has .nbytes. How many should three tokens take?",
            "assert cache.nbytes == n_tokens * (kv_lora_rank + qk_rope_head_dim) * 4, with several heads.",
        ),
        moral="What is called latent and what is stored are two things. Count the bytes.",
    ),
    Exercise(
        name="test_sound_summary",
        notebook="05",
        core=test_sound_summary,
        cases=lambda: [
            Case("the broken piece", (_summary_attention(),)),
            Case("a sound layer: blocks of latents", (Blocks(),)),
            Case("a sound layer: a weighted mean of the past", (MeanOfThePast(),)),
            Case("a layer that gives zeros", (lambda x: 0 * x,), judged=False),
            Case("a layer that gives the token before", (_the_token_before,), judged=False),
            Case("a layer that gives its input", (lambda x: x.clone(),), judged=False),
            Case("a layer that adds the sum of all tokens", (lambda x: x + x.sum(1, True),), judged=False),
            Case("a layer of another shape", (lambda x: x[..., :1],), judged=False),
        ],
        observe=verdict,
        mistakes=latent_tests.FUTURE_TESTS,
        hints=(
            "Change something late in the text. Which outputs must not notice?",
            "Two inputs that agree up to token 4 must give outputs that agree up to token 4.",
            "torch.allclose(layer(x)[:, :5], layer(other)[:, :5], atol=1e-4), where other differs from token 5 on.",
        ),
        moral="One test of three lines finds what no loss curve shows: a leak makes the loss look better.",
    ),
    Exercise(
        name="compress",
        notebook="05",
        core=compress,
        cases=cases.compress_cases,
        observe=cases.observe_compress,
        mistakes=block_mistakes.COMPRESS,
        tolerance=1e-4,
        properties=(
            Property("every block gives n_latents vectors of d_model numbers", cases.gives_every_block_its_latents),
        ),
        hints=(
            "It is attention with one head: who asks, who is asked, and what is handed over?",
            "q = self.latent_q_proj(self.latents) is (n_latents, d_model); matmul broadcasts it over the blocks.",
            "weights = (q @ k.transpose(-1, -2) * d_model ** -0.5).softmax(dim=-1); then weights @ v.",
        ),
        moral="A block is summed up from its own tokens alone: that is what makes causality possible at all.",
    ),
    Exercise(
        name="block_visibility",
        notebook="05",
        core=block_visibility,
        cases=cases.visibility_cases,
        mistakes=block_mistakes.VISIBILITY,
        hints=(
            "Two masks side by side: one for the latents' columns, one for the tokens'. Draw them for b = 2, T = 4.",
            "block = position // block_len. The latents' blocks are 0, 0, 1, 1, ... for two latents a block.",
            "Latent: its block < the token's block. Token: same block and position <= own. torch.cat along dim 1.",
        ),
        moral="A token reads a summary only of blocks that ended before its own began.",
    ),
    Exercise(
        name="cache_elements",
        notebook="05",
        core=cache_elements,
        cases=cases.element_cases,
        mistakes=block_mistakes.ELEMENTS,
        hints=(
            "Three kinds of attention, three formulas; all of them times n_layers. A GPTConfig has ordinary heads.",
            "Blocks: divmod(n_tokens, block_len) gives full blocks and open tokens.",
            "Latents and open tokens keep 2 · d_model each; open tokens also their input, d_model more.",
        ),
        moral="K2 keeps 35,136 numbers a token. Its 64 expanded heads would need 1,249,280.",
    ),
)  # fmt: skip
