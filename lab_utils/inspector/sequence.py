"""What must hold along the sequence: a prefix gets the same outputs as inside the whole, a cache changes nothing, and
no cache is larger than its formula says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.inspector.answer import named_number
from lab_utils.inspector.finding import Finding, amount, does_not_apply, relative_difference
from lab_utils.inspector.subject import Subject
from lab_utils.show.words import plural
from nanokimi import count
from nanokimi.config import BlockLatentConfig, GPTConfig, KDAConfig, KimiConfig, MLAConfig
from nanokimi.own.table import is_own

PREFIX, CACHED, ABSORBED, CACHE_SIZE = "prefix consistency", "cached decode", "absorbed = naive", "cache size"


def probe_prefixes(subject: Subject) -> Finding:
    """Whether f(x[:, :n]) == f(x)[:, :n]: later tokens change no earlier output."""
    length = min(3 * subject.seq_len, subject.max_seq_len or 3 * subject.seq_len)
    # Every short prefix, and a dozen over the whole length: odd and even, inside a block and at its end.
    lengths = sorted(
        {*range(1, min(length, 9)), *(length * i // 12 for i in range(1, 12)), length - 1} - {0, length}
    )
    model, x = subject.fresh(), subject.inputs(2, length)
    if not lengths:
        return does_not_apply(
            PREFIX, f"With {plural(length, 'token')} there is no shorter prefix to ask for."
        )
    with torch.no_grad():
        whole = subject.run(model, x).out
        off = {n: relative_difference(subject.run(model, x[:, :n]).out, whole[:, :n]) for n in lengths}
    wrong = [n for n in lengths if not off[n] <= subject.tolerance]
    data = {"relative_difference": off}
    if wrong:
        n = wrong[0]
        return Finding(
            PREFIX,
            False,
            f"{len(wrong)} of {len(lengths)} prefixes of {length} tokens answer differently alone: the "
            f"shortest has {plural(n, 'token')} and is off by {amount(off[n])} of the largest output.",
            data,
        )
    return Finding(
        PREFIX,
        True,
        f"{len(lengths)} prefixes of 1 to {length - 1} tokens answer alone as within {length}, to "
        f"{amount(max(off.values()))} of the largest output.",
        data,
    )


def probe_cached_decode(subject: Subject) -> Finding:
    """Whether pieces with a cache, whatever the pieces, give the same outputs as the whole at once.

    The whole runs without a cache. For a module with an absorbed form it runs with a cache: `probe_absorbed_form`
    compares the two forms, so that each of the two probes finds its own mistake.
    """
    if subject.new_cache is None:
        return does_not_apply(CACHED, "Its forward takes no cache.")
    x = subject.inputs(2, subject.seq_len)
    n, has_two_forms = x.shape[1], _has_latent_attention(subject)
    with torch.no_grad():
        whole = _decode(subject, x, [n])[0] if has_two_forms else subject.run(subject.fresh(), x).out
        off = {
            tuple(pieces): relative_difference(_decode(subject, x, pieces)[0], whole) for pieces in _splits(n)
        }
    wrong = [pieces for pieces, difference in off.items() if not difference <= subject.tolerance]
    data = {"relative_difference": off}
    if wrong:
        pieces = wrong[0]
        return Finding(
            CACHED,
            False,
            f"{len(wrong)} of {len(off)} ways to cut {n} tokens answer differently with a cache; in pieces of "
            f"{_describe_pieces(pieces)} it is off by {amount(off[pieces])} of the largest output.",
            data,
        )
    against = "fed at once" if has_two_forms else "without a cache"
    return Finding(
        CACHED,
        True,
        f"{n} tokens cut in {len(off)} ways (one by one, with a long prompt, uneven) give the same as {against}, to "
        f"{amount(max(off.values()))} of the largest output.",
        data,
    )


def probe_absorbed_form(subject: Subject) -> Finding:
    """Whether latent attention gives the same with a cache (absorbed) as without (naive), for the whole at once."""
    if not _has_latent_attention(subject):
        return does_not_apply(
            ABSORBED, "It has no latent attention: no module with a kv_lora_rank and a cache."
        )
    x = subject.inputs(2, subject.seq_len)
    with torch.no_grad():
        naive = subject.run(subject.fresh(), x).out
        absorbed = _decode(subject, x, [x.shape[1]])[0]
    off = relative_difference(absorbed, naive)
    passed = off <= subject.tolerance
    words = "agree to" if passed else "differ by"
    return Finding(
        ABSORBED,
        passed,
        f"With a cache (absorbed) and without (naive) the outputs for {x.shape[1]} tokens {words} {amount(off)} of the "
        "largest output.",
        {"relative_difference": off},
    )


def probe_cache_size(subject: Subject, formula: Callable[[int], int] | None = None) -> Finding:
    """Whether the cache holds as many numbers per sequence as the formula says, after every third token.

    Without `formula(n_tokens)` it is `nanokimi.count.cache_elements` of the module's configuration.
    """
    if subject.new_cache is None:
        return does_not_apply(CACHE_SIZE, "Its forward takes no cache.")
    formula = formula or _find_formula(subject)
    if formula is None:
        return does_not_apply(
            CACHE_SIZE,
            "No configuration says how much it may keep: pass cache_elements=, the numbers after n tokens.",
        )
    batch, kept = 2, {}
    for n in sorted({1, *range(3, subject.seq_len + 1, 3), subject.seq_len}):
        with torch.no_grad():
            cache = _decode(subject, subject.inputs(batch, n), [n])[1]
        kept[n] = count_numbers(cache, subject.dtype) / batch
    expected = {n: formula(n) for n in kept}
    wrong = [n for n in kept if kept[n] != expected[n]]
    n = wrong[-1] if wrong else subject.seq_len
    words = "and the formula says" if wrong else "as the formula says:"
    return Finding(
        CACHE_SIZE,
        not wrong,
        f"After {plural(n, 'token')} it keeps {kept[n]:,.0f} numbers per sequence, {words} {expected[n]:,}"
        + (
            f" ({kept[n] / expected[n]:.2f} times as many)."
            if wrong
            else f" ({expected[n] / n:,.0f} per token)."
        ),
        {"kept": kept, "formula": expected},
    )


def count_numbers(cache: Any, dtype: torch.dtype) -> int:
    """How many numbers a cache holds: from its `nbytes` where it has them (without reserved room), else its tensors."""
    if isinstance(cache, Tensor):
        return cache.numel()
    if isinstance(nbytes := getattr(cache, "nbytes", None), int):
        return nbytes // dtype.itemsize
    if isinstance(cache, dict):
        return sum(count_numbers(part, dtype) for part in cache.values())
    if isinstance(cache, list | tuple):
        return sum(count_numbers(part, dtype) for part in cache)
    return count_numbers(vars(cache), dtype) if hasattr(cache, "__dict__") else 0


# ---------------------------------------------------------------- decoding


def _decode(subject: Subject, x: Tensor, pieces: Sequence[int]) -> tuple[Tensor, Any]:
    """The outputs for `x` in pieces of these lengths, and the cache at the end."""
    assert subject.new_cache is not None
    model, cache, outs, start = subject.fresh(), subject.new_cache(), [], 0
    for piece in x.split(list(pieces), dim=1):
        outs.append(subject.run(model, piece, cache, start).out)
        start += piece.shape[1]
    return torch.cat(outs, dim=1), cache


def _splits(n: int) -> Iterator[list[int]]:
    """Ways to cut n tokens: one by one, a prompt and then one by one, two halves, all but one, uneven."""
    half = n // 2
    ways = [[1] * n, [half] + [1] * (n - half), [half, n - half], [n - 1, 1], [1, n - 1]]
    ways.append([3] * (n // 3) + ([n % 3] if n % 3 else []))
    uneven, left = [], n
    for piece in (5, 1, 2, 7, 1, 4):
        uneven.append(min(piece, left))
        left -= uneven[-1]
    ways.append([piece for piece in [*uneven, left] if piece])
    seen = set()
    for way in ways:
        if min(way) > 0 and len(way) > 1 and tuple(way) not in seen:
            seen.add(tuple(way))
            yield way


def _describe_pieces(pieces: Sequence[int]) -> str:
    shown = " + ".join(map(str, pieces[:5]))
    return shown if len(pieces) <= 5 else f"{shown} + ..."


def _has_latent_attention(subject: Subject) -> bool:
    if subject.new_cache is None or not isinstance(subject.model, torch.nn.Module):
        return False
    return any(named_number(module, "kv_lora_rank") is not None for module in subject.model.modules())


def _find_formula(subject: Subject) -> Callable[[int], int] | None:
    """The core's formula, for a model or one attention layer that has a configuration of the core; else None."""
    cfg = getattr(subject.model, "cfg", None)
    if isinstance(cfg, MLAConfig):
        cfg = KimiConfig(n_layers=1, first_k_dense_replace=0, attention="mla", mla=cfg)
    elif isinstance(cfg, BlockLatentConfig):
        heads = named_number(subject.model, "n_heads") or 1
        cfg = KimiConfig(
            n_layers=1,
            first_k_dense_replace=0,
            d_model=subject.width,
            n_heads=heads,
            attention="block_latent",
            block_latent=cfg,
        )
    elif isinstance(cfg, KDAConfig):
        heads = named_number(subject.model, "n_heads") or 1
        cfg = KimiConfig(n_layers=1, n_heads=heads, attention="kda", kda=cfg)
    if not isinstance(cfg, GPTConfig | KimiConfig) or is_own(getattr(cfg, "attention", "mla")):
        return None
    return lambda n: count.cache_elements(cfg, n)
