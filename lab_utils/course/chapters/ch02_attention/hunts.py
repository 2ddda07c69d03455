"""The bug hunts of notebook 02: a test that finds each bug, and the pieces that every answer is tried on."""

from dataclasses import replace

import torch
from torch import Tensor

from lab_utils.course.chapters.ch02_attention import bugs, cases
from lab_utils.course.doubles import with_more_calls, with_other_last_digits
from lab_utils.course.exercise import Case, give_nothing, plainly_wrong
from lab_utils.course.probes import shifted, wavering, widened
from nanokimi.attention import attend
from nanokimi.config import RopeConfig
from nanokimi.mask import causal_mask
from nanokimi.rope import apply_rope, rotations


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


def attend_by_einsum(q, k, v, scale, visible=None):
    """A sound version of the piece in the notebook."""
    visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
    scores = (torch.einsum("bhqd,bhkd->bhqk", q, k) * scale).masked_fill(~visible, -torch.inf)
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return torch.einsum("bhqk,bhkd->bhqd", weights / weights.sum(dim=-1, keepdim=True), v)


def _attend_in_double(q, k, v, scale):
    return attend_plainly(q.double(), k.double(), v.double(), scale)


def attend_plainly(q, k, v, scale):
    """A sound version, as the formula has it."""
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return (q @ k.mT * scale).masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v


def _attend_to_all(q, k, v, scale):
    return attend(q, k, v, scale, torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool))


def test_sound_decoding(decode_step) -> None:
    """Step by step with a cache must give what all tokens at once give."""
    q, k, v = (cases.numbers(1, 1, 4, 4) for _ in range(3))

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
    """Sound: the new tokens come after those in the cache."""
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


def decode_step_with_one_entry(q, k, v, cache, attend, apply_rope, turn):
    """Sound: the cache holds one pair of tensors, which grow."""
    start = cache[0][0].shape[-2] if cache else 0
    rotation = turn(torch.arange(start, start + q.shape[-2]))
    new = (apply_rope(k, rotation), v)
    cache[:] = [tuple(torch.cat(pair, dim=-2) for pair in zip(cache[0], new))] if cache else [new]
    return attend(apply_rope(q, rotation), *cache[0], q.shape[-1] ** -0.5)


def decode_step_turning_back(q, k, v, cache, attend, apply_rope, turn):
    """Sound: positions count from the new token on, and older keys are turned back by their distance to it."""
    start = sum(keys.shape[-2] for keys, _ in cache)
    cache.append((k, v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    new = turn(torch.arange(q.shape[-2]))
    places = torch.cat([turn(torch.arange(start, 0, -1)).conj(), new]) if start else new
    return attend(apply_rope(q, new), apply_rope(keys, places), values, q.shape[-1] ** -0.5)


class DecodingByItself:
    """Right, but it keeps the tokens in a list of its own: the cache that it gets may be any."""

    def __init__(self):
        self.own: list = []

    def __call__(self, q, k, v, cache, attend, apply_rope, turn):
        return decode_step_with_positions(q, k, v, self.own, attend, apply_rope, turn)


def _call_everything(q, k, v, cache, attend, apply_rope, turn):
    rotation = turn(torch.arange(q.shape[-2]))
    attend(apply_rope(q, rotation), apply_rope(k, rotation), v, q.shape[-1] ** -0.5)


def _decode_at_other_places(q, k, v, cache, attend, apply_rope, turn):
    return decode_step_with_positions(q, k, v, cache, attend, apply_rope, lambda p: turn(p) ** 2)


def _decode_zeros(q, k, v, cache, *rest):
    return 0 * decode_step_with_positions(q, k, v, cache, *rest)


def _decode_without_memory(q, k, v, cache, attend, apply_rope, turn):
    return decode_step_with_positions(q, k, v, [], attend, apply_rope, turn)


def _decode_once(q, k, v, cache, *rest):
    is_first = not cache
    return is_first * decode_step_with_positions(q, k, v, cache, *rest)


def _decode_without_scale(q, k, v, cache, attend, apply_rope, turn):
    return decode_step_with_positions(
        q, k, v, cache, lambda q, k, v, _: attend(q, k, v, 1.0), apply_rope, turn
    )


def _decode_turning_queries_alone(q, k, v, cache, attend, apply_rope, turn):
    start = len(cache)
    cache.append((k, v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    rotation = turn(torch.arange(start, start + q.shape[-2]))
    return attend(apply_rope(q, rotation), keys, values, q.shape[-1] ** -0.5)


def _decode_turning_keys_alone(q, k, v, cache, attend, apply_rope, turn):
    start = len(cache)
    cache.append((apply_rope(k, turn(torch.arange(start, start + q.shape[-2]))), v))
    keys, values = (torch.cat(parts, dim=-2) for parts in zip(*cache))
    return attend(q, keys, values, q.shape[-1] ** -0.5)


def attend_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.attend_by_columns,)),
        Case("a hidden piece with the same fault, which adds key by key", (bugs.attend_key_by_key,)),
        Case(
            "a hidden piece with the same fault, which calls softmax",
            (bugs.attend_with_a_softmax_over_queries,),
        ),
        *with_other_last_digits(
            [
                Case("the core's attend", (attend,)),
                Case(
                    "a sound piece that goes query by query and adds from the last key back",
                    (attend_in_a_loop,),
                ),
                Case("a sound piece that takes the softmax apart", (attend_by_einsum,)),
                Case("a sound piece, as the formula has it", (attend_plainly,), judged=False),
            ]
        ),
        Case("a piece that gives zeros", (lambda q, k, v, scale: 0 * v,), judged=False),
        Case("a piece that gives ones", (lambda q, k, v, scale: 0 * v + 1,), judged=False),
        Case("a piece that gives the values back", (lambda q, k, v, scale: v.clone(),), judged=False),
        Case("a piece in float64", (_attend_in_double,), judged=False),
        Case("a piece that sees the future", (_attend_to_all,), judged=False),
        Case("a piece that does not scale", (lambda q, k, v, scale: attend(q, k, v, 1.0),), judged=False),
        Case(
            "a piece that scales by 1/sqrt(d), whatever it is told",
            (lambda q, k, v, scale: attend(q, k, v, q.shape[-1] ** -0.5),),
            judged=False,
        ),
        Case("a piece that gives nothing", (give_nothing,), judged=False, aside=True),
        *plainly_wrong(attend),
        replace(widened(attend), aside=True),
        wavering(attend),
        shifted(attend),
    ]


def decoding_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.decode_step,)),
        Case(
            "a hidden piece with the same fault, which keeps one pair of tensors in the cache",
            (bugs.decode_step_with_one_entry,),
        ),
        *with_more_calls(
            with_other_last_digits(
                [
                    Case(
                        "a sound piece that turns each key once and appends it", (decode_step_with_positions,)
                    ),
                    Case("a sound piece that turns all keys anew in every step", (decode_step_turning_late,)),
                    Case(
                        "a sound piece that keeps one pair of tensors in the cache",
                        (decode_step_with_one_entry,),
                    ),
                    Case(
                        "a sound piece that counts positions from the new token on, and turns older keys back",
                        (decode_step_turning_back,),
                    ),
                ]
            ),
            _call_everything,
        ),
        Case("a piece that keeps all tokens by itself", (DecodingByItself(),), judged=False),
        Case("a piece that turns everything by twice the angle", (_decode_at_other_places,), judged=False),
        Case("a piece that gives zeros", (_decode_zeros,), judged=False),
        Case("a piece without memory", (_decode_without_memory,), judged=False),
        Case("a piece that is right for the first token alone", (_decode_once,), judged=False),
        Case("a piece that does not scale", (_decode_without_scale,), judged=False),
        Case("a piece that turns the queries alone", (_decode_turning_queries_alone,), judged=False),
        Case("a piece that turns the keys alone", (_decode_turning_keys_alone,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False, aside=True),
        *plainly_wrong(decode_step_with_positions),
        replace(widened(decode_step_with_positions), aside=True),
        wavering(decode_step_with_positions),
        shifted(decode_step_with_positions),
    ]
