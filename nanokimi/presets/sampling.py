"""The settings of sampling: what `generate` may be asked for, and the one line that a mistake in it gives."""

from collections.abc import Mapping, Set
from numbers import Integral, Real
from typing import Any, TypeGuard

from torch import Tensor

from nanokimi.system.printable import quote
from nanokimi.system.refusals import ConfigError


def check_logits(logits: Any) -> None:
    """What a token is drawn from."""
    row = isinstance(logits, Tensor) and logits.ndim == 1 and len(logits) and not logits.is_complex()
    require(bool(row) and not logits.is_meta, "logits", logits, "be a tensor with one number per token")


def check_sampling(temperature: Any, top_k: Any, top_p: Any) -> None:
    """How a token is drawn."""
    warm = _is_number(temperature) and 0 <= temperature <= 1e30
    require(warm, "temperature", temperature, "be 0 (greedy) or more, at most 1e30")
    some = top_k is None or (_is_whole(top_k) and top_k >= 1)
    require(some, "top_k", top_k, "be a whole number of at least 1")
    share = top_p is None or (_is_number(top_p) and 0 < top_p <= 1)
    require(share, "top_p", top_p, "lie in 0..1, 0 left out")


def is_batch(prompt: Any) -> bool:
    """Whether this is a list of prompts: a list whose first entry is a list."""
    return _is_listed(prompt) and len(prompt) > 0 and _is_listed(next(iter(prompt)))


def check_prompt(prompt: Any, context: int, vocab_size: int, name: str = "prompt") -> list[int]:
    """The prompt's ids as Python's numbers."""
    if isinstance(prompt, str | bytes):
        raise ConfigError(
            f"{name}={quote(prompt)} is text: give the ids of its tokens, tokenizer.encode(text)"
        )
    if isinstance(prompt, Tensor):
        raise ConfigError(
            f"{name} is a tensor: give a list of ids, as its .tolist() for a tensor of one dimension"
        )
    require(_is_listed(prompt), name, prompt, "be a list of ids")
    if not 1 <= len(prompt) <= context:
        raise ConfigError(f"the {name} has {len(prompt)} tokens; allowed are 1 to {context} (max_seq_len)")
    ids = []
    for i, token in enumerate(prompt):
        known = _is_whole(token) and int(token) in range(vocab_size)
        require(known, f"{name}[{i}]", token, f"be a whole number in 0..vocab_size-1={vocab_size - 1}")
        ids.append(int(token))
    return ids


def check_run(max_new_tokens: Any, seed: Any, stop_id: Any, compile: Any) -> None:
    """How many tokens, from which seed, which one ends the text, and whether their step is compiled."""
    enough = _is_whole(max_new_tokens) and max_new_tokens >= 1
    require(enough, "max_new_tokens", max_new_tokens, "be a whole number of at least 1")
    in_range = _is_whole(seed) and -(2**63) <= seed < 2**64  # what torch's generator takes
    require(in_range, "seed", seed, "be a whole number in -2^63..2^64-1")
    require(stop_id is None or _is_whole(stop_id), "stop_id", stop_id, "be a whole number")
    known = isinstance(compile, str) and compile in ("auto", "on", "off")
    require(known, "compile", compile, "be auto, on or off")


def _is_listed(value: Any) -> bool:
    is_list = hasattr(value, "__len__") and hasattr(value, "__iter__")
    return is_list and not isinstance(value, str | bytes | Set | Mapping | Tensor)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def require(ok: bool, name: str, value: object, what: str) -> None:
    """`ConfigError`, with the argument's name and value and what it must be, unless all is well."""
    if not ok:
        raise ConfigError(f"{name}={quote(value)} must {what}")
