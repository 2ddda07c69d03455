"""The exercises of notebook 02: attention."""

import torch
from torch import Tensor

from lab_utils.course.chapters.ch02_attention import bugs
from lab_utils.course.chapters.ch02_attention.mistakes import attention as mistakes
from lab_utils.course.chapters.ch02_attention.mistakes import norm as norm_mistakes
from lab_utils.course.chapters.ch02_attention.mistakes import positions as position_mistakes
from lab_utils.course.exercise import (
    Case,
    Exercise,
    Parts,
    Property,
    call_with_gradients,
    verdict,
    with_weights_of,
)
from nanokimi.attention import attend, causal_mask, join_heads, split_heads
from nanokimi.config import RopeConfig
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope, rope_frequencies, rotations

CPU = torch.device("cpu")


def _mask_cases() -> list[Case]:
    return [
        Case("one query, one key", (1, 1, CPU)),
        Case("three queries, three keys", (3, 3, CPU)),
        Case("one new query after four cached keys", (1, 5, CPU)),
        Case("two new queries after three cached keys", (2, 5, CPU)),
        Case("a longer context", (40, 64, CPU)),
    ]


def _sees_itself(parts: dict, n_queries: int, n_keys: int, device: torch.device) -> bool:
    own = torch.arange(n_queries) + n_keys - n_queries
    return bool(parts["result"][torch.arange(n_queries), own].all())


def _qkv(
    queries: int, keys: int, dtype: torch.dtype = torch.float32, qk: int = 4, v: int = 3
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    shapes = ((2, 2, queries, qk), (2, 2, keys, qk), (2, 2, keys, v))
    # Twice the usual spread, so that a wrong scale moves the weights.
    return tuple(2 * torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)


def _attend_cases() -> list[Case]:
    q, k, v = _qkv(3, 3)
    every_other = torch.tensor([[True, False, False], [True, True, False], [True, False, True]])
    ahead = torch.tensor([[True, False, True], [True, True, False], [True, False, True]])
    # Whole numbers, so that every order of adding up gives the same scores.
    large_q, large_k = (100 * q).round(), (4 * k).round()
    return [
        Case("one token", (*_qkv(1, 1), 0.5)),
        Case("three tokens", (*_qkv(3, 3), 0.5)),
        Case("one new token after a cache of four", (*_qkv(1, 5), 0.5)),
        Case("two new tokens after a cache of three", (*_qkv(2, 5), 0.5)),
        Case("float64", (*_qkv(6, 6, torch.float64), 0.5)),
        Case("a mask of the caller's", (q, k, v, 0.7, every_other)),
        Case("a mask of the caller's that shows the future", (q, k, v, 0.7, ahead)),
        Case("scores in the hundreds", (large_q, large_k, v, 0.25)),
        Case("equal scores", (torch.zeros_like(q), k, v, 0.5)),
        Case("a longer context", (*_qkv(70, 70), 0.3)),
    ]


def _within_values(parts: dict, q: Tensor, k: Tensor, v: Tensor, *_) -> bool:
    low, high = v.amin(dim=-2, keepdim=True) - 1e-4, v.amax(dim=-2, keepdim=True) + 1e-4
    return bool(((parts["result"] >= low) & (parts["result"] <= high)).all())


def test_sound_attend(attend) -> None:
    """Equal scores: the last of three tokens must get the mean of the three values."""
    v = torch.tensor([[0.0], [3.0], [6.0]])[None, None]
    same = torch.zeros(1, 1, 3, 2)
    assert torch.allclose(attend(same, same, v, 1.0)[0, 0, :, 0], torch.tensor([0.0, 1.5, 3.0]))


def attend_in_a_loop(q, k, v, scale, visible=None):
    """A sound version that adds in another order."""
    queries, keys = q.shape[-2], k.shape[-2]
    visible = causal_mask(queries, keys, q.device) if visible is None else visible
    rows = []
    for t in range(queries):
        seen = visible[t].nonzero().flatten().flip(0)
        weights = (scale * (k[..., seen, :] * q[..., t : t + 1, :]).sum(dim=-1)).softmax(dim=-1)
        rows.append((weights[..., None] * v[..., seen, :]).sum(dim=-2))
    return torch.stack(rows, dim=-2)


def _attend_in_double(q, k, v, scale):
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device)
    scores = (q.double() @ k.double().mT * scale).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v.double()


def _attend_to_all(q, k, v, scale):
    return attend(q, k, v, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


# ---------------------------------------------------------------- heads, RoPE, RMSNorm


def _numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def _split_cases() -> list[Case]:
    return [
        Case("one token, two heads of one channel", (torch.tensor([[[1.0, 2.0]]]), 2)),
        Case("two tokens, two heads", (_numbers(1, 2, 4), 2)),
        Case("three heads", (_numbers(2, 5, 6), 3)),
        Case("one head", (_numbers(2, 3, 4), 1)),
        Case("float64", (_numbers(1, 4, 8, dtype=torch.float64), 4)),
    ]


def _join_cases() -> list[Case]:
    return [
        Case("two heads of one channel", (torch.tensor([[[[1.0]], [[2.0]]]]),)),
        Case("two heads, two tokens", (_numbers(1, 2, 2, 3),)),
        Case("three heads", (_numbers(2, 3, 5, 4),)),
        Case("one head", (_numbers(2, 1, 3, 4),)),
        Case("float64", (_numbers(1, 4, 5, 2, dtype=torch.float64),)),
    ]


def _frequency_cases() -> list[Case]:
    return [
        Case("one pair", (2, RopeConfig(base=10_000.0))),
        Case("two pairs, base 100", (4, RopeConfig(base=100.0))),
        Case("eight pairs", (16, RopeConfig(base=10_000.0))),
        Case("K2's base", (64, RopeConfig(base=50_000.0))),
        Case("a small base", (10, RopeConfig(base=2.0))),
    ]


def _turns(seq: int, rope_dim: int, start: int = 0, base: float = 50.0) -> Tensor:
    return rotations(torch.arange(start, start + seq), rope_dim, RopeConfig(base=base))


def _rope_cases() -> list[Case]:
    return [
        Case("one token at position 1, one pair", (torch.tensor([[1.0, 0.0]]), _turns(1, 2, start=1))),
        Case("three tokens, two pairs", (_numbers(3, 4), _turns(3, 4))),
        Case("heads and a batch", (_numbers(2, 2, 5, 6), _turns(5, 6))),
        Case("positions behind a cache", (_numbers(1, 2, 3, 4), _turns(3, 4, start=9))),
        Case("float64", (_numbers(1, 4, 4, dtype=torch.float64), _turns(4, 4))),
        Case("bfloat16 comes back as bfloat16", (_numbers(2, 4, 4).bfloat16(), _turns(4, 4, start=2))),
    ]


def _keeps_length(parts: Parts, x: Tensor, rotation: Tensor) -> bool:
    before, after = x.double().norm(dim=-1), parts["result"].double().norm(dim=-1)
    return torch.allclose(before, after, rtol=1e-2 if x.dtype == torch.bfloat16 else 1e-4)


def _run_norm(implementation: type, x: Tensor, eps: float) -> Parts:
    """Output and gradients with gains other than 1."""
    reference = RMSNorm(x.shape[-1], eps)
    with torch.no_grad():
        reference.weight.copy_(torch.linspace(0.5, 1.5, x.shape[-1]))
    module = with_weights_of(implementation(x.shape[-1], eps), reference)
    module.to(
        torch.promote_types(x.dtype, torch.float32)
    )  # float64 stays float64, bfloat16 meets float32 gains
    parts = call_with_gradients(lambda x: module(x), x)
    grad = module.weight.grad
    return parts | {"gradient of weight": torch.zeros_like(module.weight) if grad is None else grad}


def _norm_cases() -> list[Case]:
    return [
        Case("one token of two channels", (torch.tensor([[3.0, 4.0]]), 1e-6)),
        Case("a batch", (_numbers(2, 3, 5), 1e-6)),
        Case("a mean far from 0", (_numbers(3, 4) + 5, 1e-6)),
        Case("an eps that counts", (0.1 * _numbers(3, 4), 0.5)),
        Case("a token of zeros", (torch.zeros(1, 4), 1e-3)),
        Case("large numbers in bfloat16", ((1000 * _numbers(2, 64)).bfloat16(), 1e-6)),
        Case("one channel", (_numbers(2, 1), 1e-5)),
        Case("float64", (_numbers(2, 4, dtype=torch.float64), 1e-5)),
    ]


def test_sound_decoding(decode_step) -> None:
    """Step by step with a cache must give what all tokens at once give."""
    q, k, v = (_numbers(1, 1, 4, 4) for _ in range(3))

    def turn(positions: Tensor) -> Tensor:
        return rotations(positions, 4, RopeConfig(base=10.0))

    whole = attend(apply_rope(q, turn(torch.arange(4))), apply_rope(k, turn(torch.arange(4))), v, 0.5)
    cache: list = []
    steps = [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, attend, apply_rope, turn)
        for t in range(4)
    ]
    assert torch.allclose(torch.cat(steps, dim=-2), whole, atol=1e-5)


def decode_step_with_positions(q, k, v, cache, attend, apply_rope, turn):
    """Sound: the new tokens stand behind those in the cache."""
    start = sum(keys.shape[-2] for keys, _ in cache)
    rotation = turn(torch.arange(start, start + q.shape[-2]))
    cache.append((apply_rope(k, rotation), v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    return attend(apply_rope(q, rotation), keys, values, q.shape[-1] ** -0.5)


def decode_step_turning_late(q, k, v, cache, attend, apply_rope, turn):
    """Sound, and slower: the cache holds keys as they came, and all are turned in every step."""
    cache.append((k, v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    n = keys.shape[-2]
    late = apply_rope(q, turn(torch.arange(n - q.shape[-2], n)))
    return attend(late, apply_rope(keys, turn(torch.arange(n))), values, q.shape[-1] ** -0.5)


def _decode_zeros(q, k, v, cache, *rest):
    return 0 * decode_step_with_positions(q, k, v, cache, *rest)


def _decode_one_channel(q, k, v, cache, *rest):
    return decode_step_with_positions(q, k, v, cache, *rest)[..., :1]


def _decode_without_memory(q, k, v, cache, attend, apply_rope, turn):
    return decode_step_with_positions(q, k, v, [], attend, apply_rope, turn)


EXERCISES = (
    Exercise(
        name="causal_mask",
        notebook="02",
        core=causal_mask,
        cases=_mask_cases,
        mistakes=mistakes.CAUSAL_MASK,
        properties=(Property("every query may look at its own position", _sees_itself),),
        hints=(
            "Draw the square for three queries and three keys and tick what may be seen. What shape is it?",
            "torch.ones(...).tril() keeps a triangle; its argument moves the diagonal.",
            "The first query stands at position n_keys - n_queries: so far to the right goes the diagonal.",
        ),
        moral="Queries are the last positions: the same mask serves training, and decoding with a cache.",
    ),
    Exercise(
        name="attend",
        notebook="02",
        core=attend,
        cases=_attend_cases,
        mistakes=mistakes.ATTEND,
        properties=(
            Property("every output lies between the smallest and the largest value", _within_values),
        ),
        hints=(
            "Four lines: scores, mask, softmax, weighted mean of the values.",
            "Hide a score by making it -inf before the softmax; causal_mask above says which.",
            "scores = q @ k.transpose(-1, -2) * scale; softmax over the last axis, the keys; then `@ v`.",
        ),
        moral="The core calls F.scaled_dot_product_attention, which computes this without storing the weights.",
    ),
    Exercise(
        name="test_sound_attend",
        notebook="02",
        core=test_sound_attend,
        cases=lambda: [
            Case("the broken piece", (bugs.attend_by_columns,)),
            Case("the core's attend", (attend,)),
            Case("a sound version that adds in another order", (attend_in_a_loop,)),
            Case("a piece of another shape", (lambda q, k, v, scale: v[..., :1, :],), judged=False),
            Case("a piece that gives zeros", (lambda q, k, v, scale: 0 * v,), judged=False),
            Case("a piece in float64", (_attend_in_double,), judged=False),
            Case("a piece that sees the future", (_attend_to_all,), judged=False),
        ],
        observe=verdict,
        mistakes=mistakes.ATTEND_TESTS,
        hints=(
            "The weights of one query over all the keys that it sees must sum to ... ?",
            "Choose queries and keys so that you know the weights without computing: all zeros, for instance.",
            "With equal scores the output is the plain mean of the visible values: compare it with a tolerance.",
        ),
        moral="The sum ran over the queries. Rows must sum to 1; a picture of the weights does not show it.",
    ),
    Exercise(
        name="split_heads",
        notebook="02",
        core=split_heads,
        cases=_split_cases,
        mistakes=mistakes.SPLIT_HEADS,
        hints=(
            "First cut the channels, then move the heads in front of the tokens.",
            "x.unflatten(-1, (n_heads, -1)) has shape (batch, seq, n_heads, head_dim).",
            ".transpose(1, 2) exchanges tokens and heads.",
        ),
        moral="A head is a run of neighbouring channels. Cut first, then move: a bare reshape mixes tokens.",
    ),
    Exercise(
        name="join_heads",
        notebook="02",
        core=join_heads,
        cases=_join_cases,
        mistakes=mistakes.JOIN_HEADS,
        hints=(
            "split_heads, backwards.",
            "Move the heads behind the tokens again; then make one axis of the last two.",
            "x.transpose(1, 2).flatten(2)",
        ),
        moral="Split and join undo each other; that is the test to write for both.",
    ),
    Exercise(
        name="rope_frequencies",
        notebook="02",
        core=rope_frequencies,
        cases=_frequency_cases,
        mistakes=position_mistakes.ROPE_FREQUENCIES,
        properties=(
            Property(
                "the first pair turns by 1 radian a token",
                lambda p, *_: abs(float(p["result"][0]) - 1) < 1e-5,
            ),
        ),
        hints=(
            "There are rope_dim / 2 pairs, numbered from 0. How fast does pair 0 turn?",
            "theta_i = base ** (-2 i / rope_dim), for all i at once: torch.arange(rope_dim // 2).",
            "Compute in float64 and return .float(): with a base of 50,000 the last digits count.",
        ),
        moral="Fast pairs tell neighbours apart, slow ones far places: the hands of a clock.",
    ),
    Exercise(
        name="apply_rope",
        notebook="02",
        core=apply_rope,
        cases=_rope_cases,
        observe=call_with_gradients,
        mistakes=position_mistakes.APPLY_ROPE,
        properties=(Property("every token keeps its length", _keeps_length),),
        tolerance=2e-5,
        hints=(
            "A pair (a, b) is the complex number a + ib; turning is a product with e^(i·angle).",
            "torch.view_as_complex takes (..., pairs, 2), view_as_real gives it back; bfloat16 must become float32.",
            "x.float().unflatten(-1, (-1, 2)), view_as_complex, times rotation, view_as_real, flatten(-2).",
        ),
        moral="A rotation keeps lengths, and two rotations leave only their difference: position becomes relative.",
    ),
    Exercise(
        name="RMSNorm",
        notebook="02",
        core=RMSNorm,
        cases=_norm_cases,
        observe=_run_norm,
        mistakes=norm_mistakes.RMS_NORM,
        tolerance=1e-6,
        hints=(
            "Square, mean, root: read the letters of RMS backwards.",
            "x * (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt(), times the weight.",
            "bfloat16 goes to float32 for the whole computation and back at the very end: .to(x.dtype).",
        ),
        moral="The direction stays, the length becomes sqrt(d): what a layer reads no longer depends on depth.",
    ),
    Exercise(
        name="test_sound_decoding",
        notebook="02",
        core=test_sound_decoding,
        cases=lambda: [
            Case("the broken piece", (bugs.decode_step,)),
            Case("a sound step", (decode_step_with_positions,)),
            Case("a sound step that turns all keys late", (decode_step_turning_late,)),
            Case("a piece that gives zeros", (_decode_zeros,), judged=False),
            Case("a piece of another shape", (_decode_one_channel,), judged=False),
            Case("a piece without memory", (_decode_without_memory,), judged=False),
        ],
        observe=verdict,
        mistakes=position_mistakes.DECODING_TESTS,
        hints=(
            "What should come out of decoding, compared with all tokens at once?",
            "Take three or four tokens, decode them one after the other with one cache, and attend to all at once.",
            "The whole has positions 0, 1, 2 ...; where does the piece think that its second token stands?",
        ),
        moral="Cached equals uncached, for several steps: the first step alone hides every mistake of position.",
    ),
)
