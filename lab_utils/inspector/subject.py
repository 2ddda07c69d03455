"""A module or function as the probes run it: copied, fed and read without knowing its class.

Whether it takes tokens or vectors, rotations or a cache, and what it returns is found by trying and by the names that
are usual in the field. The model itself is never called: every probe works on its own copy.
"""

from __future__ import annotations

import copy
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.inspector.answer import Answer, Routing, facts_in, named_number, tensor_in, watch
from nanokimi.cache import SequenceCache
from nanokimi.config import RopeConfig
from nanokimi.rope import rotations

CONTEXT_NAMES = ("max_seq_len", "block_size", "context_length", "n_positions", "max_position_embeddings")
SHORT, GUESSED_WIDTH = 12, 16


@dataclass(frozen=True)
class Subject:
    """A module or function, and how to run it. Made by `as_subject`."""

    model: Callable[..., Any]
    takes_tokens: bool
    width: int  # vocab_size or d_model
    dtype: torch.dtype
    seq_len: int
    max_seq_len: int | None
    new_cache: Callable[[], Any] | None
    rope_dim: int | None
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_module(self) -> bool:
        return isinstance(self.model, nn.Module)

    @property
    def tolerance(self) -> float:
        """The largest relative difference that counts as rounding. Routers stay in float32."""
        return 1e-5 if self.dtype == torch.float64 else 1e-3

    def fresh(self) -> Callable[..., Any]:
        """A copy in eval mode that a probe may change; a plain function itself."""
        if not self.is_module:
            return self.model
        return copy_module(self.model).to(self.dtype).eval()

    def training_copy(self, only: str | None = None) -> nn.Module:
        """A copy in training mode; with `only`, all modules but the one of that name are in eval mode."""
        assert isinstance(self.model, nn.Module)
        model = copy_module(self.model).to(self.dtype).train(only is None)
        if only is not None:
            model.get_submodule(only).training = True
        return model

    def inputs(self, batch: int, seq_len: int, draw: int = 0) -> Tensor:
        """Random tokens (batch, seq) or vectors (batch, seq, d_model) from the subject's own seed."""
        generator = torch.Generator().manual_seed(self.seed + draw)
        if self.takes_tokens:
            return torch.randint(self.width, (batch, seq_len), generator=generator).to(self.device)
        x = torch.randn(batch, seq_len, self.width, generator=generator, dtype=torch.float64)
        return x.to(self.device, self.dtype)

    def directions(self, n: int, width: int) -> Tensor:
        """n orthogonal vectors of `width` numbers; the squares of all their numbers sum to `width`."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        q, _ = torch.linalg.qr(torch.randn(width, n, generator=generator, dtype=torch.float64))
        return (q.mT * (width / n) ** 0.5).to(self.device, self.dtype)

    def run(self, model: Callable[..., Any], x: Tensor, cache: Any = None, start: int = 0) -> Answer:
        """The answer of one forward pass. `start` is the position of the first token; a cache holds the earlier ones.

        The global generator gets the subject's seed for the run and its old state afterwards. So a module that draws
        random numbers draws the same ones in every run, and the caller's random numbers stay as they were.
        """
        extra: dict[str, Any] = {} if cache is None else {"cache": cache}
        if self.rope_dim is not None:
            positions = torch.arange(start, start + x.shape[1], device=self.device)
            extra["rotation"] = rotations(positions, self.rope_dim, RopeConfig())
        with torch.random.fork_rng(devices=[]), watch(model) as seen:
            torch.random.default_generator.manual_seed(self.seed)
            returned = model(x, **extra)
        for stats in facts_in(returned):
            if not any(stats is other.stats for other in seen):
                seen.append(Routing(stats, None, "", tensor_in(returned)))
        out = tensor_in(returned)
        if out is None or out.shape[:2] != x.shape[:2]:
            got = "no tensor" if out is None else f"a tensor of shape {tuple(out.shape)}"
            raise ValueError(f"it returns {got} for an input of shape {tuple(x.shape)}")
        if not out.is_floating_point():
            raise ValueError(f"it returns {out.dtype}; it must return one vector of floats per token")
        return Answer(out, tuple(seen))


def as_subject(
    model: Callable[..., Any],
    *,
    d_model: int | None = None,
    vocab_size: int | None = None,
    seq_len: int | None = None,
    new_cache: Callable[[], Any] | None = None,
    seed: int = 0,
) -> Subject:
    """The subject for `model`: it runs with tokens where it has an embedding, else with vectors.

    It runs in float64 where that works, so that a difference is a mistake and not rounding. Raises a `ValueError` with
    the module's own error where it accepts no kind of input.
    """
    if not callable(model):
        raise ValueError(f"{type(model).__name__} is not a module or a function: it cannot be called")
    max_seq_len = named_number(model, *CONTEXT_NAMES)
    length = seq_len or max(SHORT, 2 * (_largest(model, "block_len") or 0) + 1)
    if max_seq_len is not None:
        length = min(length, max_seq_len)
    parameters = _parameters(model)
    guess = Subject(
        model=model,
        takes_tokens=False,
        width=0,
        dtype=torch.float64,
        seq_len=length,
        max_seq_len=max_seq_len,
        new_cache=new_cache or _cache_maker(model),
        rope_dim=None,
        seed=seed,
        device=next((p.device for p in parameters), torch.device("cpu")),
    )
    own = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
    refusals = []
    for takes_tokens, width in _inputs_to_try(model, d_model, vocab_size):
        for dtype in dict.fromkeys((torch.float64, own)):
            tried = replace(
                guess,
                takes_tokens=takes_tokens,
                width=width,
                dtype=dtype,
                rope_dim=None if takes_tokens else _rope_dim(model, width),
            )
            try:
                with torch.no_grad():
                    tried.run(tried.fresh(), tried.inputs(1, min(2, length)))
            except Exception as error:
                what = "tokens" if takes_tokens else f"(batch, seq, {width})"
                refusals.append(f"{what}: {one_line(error)}")
            else:
                return tried
    raise ValueError(f"it takes neither tokens nor vectors; given {refusals[0]}")


def one_line(error: Exception, width: int = 160) -> str:
    """An exception in one short line: its class and the first line of its message."""
    first = next(iter(str(error).strip().splitlines()), "").rstrip(".:")
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= width else text[: width - 4] + " ..."


def copy_module(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy, even of a module that keeps a tensor of its last forward pass, which torch refuses to copy."""
    memo = {} if memo is None else memo
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(module, memo)


# ---------------------------------------------------------------- what it takes


def _parameters(model: Any) -> list[nn.Parameter]:
    return list(model.parameters()) if isinstance(model, nn.Module) else []


def _modules(model: Any) -> list[nn.Module]:
    return list(model.modules()) if isinstance(model, nn.Module) else []


def _largest(model: Any, name: str) -> int | None:
    return max((n for m in _modules(model) if (n := named_number(m, name)) is not None), default=None)


def _inputs_to_try(model: Any, d_model: int | None, vocab_size: int | None) -> Iterator[tuple[bool, int]]:
    """Pairs (takes tokens?, width), the likeliest first; where the caller names widths, only those."""
    if d_model is not None or vocab_size is not None:
        if vocab_size is not None:
            yield True, vocab_size
        if d_model is not None:
            yield False, d_model
        return
    tables = [m.num_embeddings for m in _modules(model) if isinstance(m, nn.Embedding)]
    vocab = named_number(model, "vocab_size") or min(tables, default=None)
    if vocab is not None:
        yield True, vocab
    widths = [named_number(model, "d_model", "n_embd", "hidden_size", "dim")]
    widths += [m.in_features for m in _modules(model) if isinstance(m, nn.Linear)]
    widths += [p.shape[-1] for p in _parameters(model) if p.ndim]
    # Eight widths are enough: the first matrices of a layer are the ones that read its input.
    yield from ((False, width) for width in [*dict.fromkeys(filter(None, widths))][:8] or [GUESSED_WIDTH])


def _arguments(model: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters)
    except (TypeError, ValueError):  # a built-in, to which we pass nothing by name
        return {}


def _rope_dim(model: Any, width: int) -> int | None:
    """How many channels a layer rotates, where its forward takes a `rotation`; else None."""
    if "rotation" not in _arguments(model):
        return None
    rotated = named_number(model, "qk_rope_head_dim")
    return rotated or width // (named_number(model, "n_heads") or 1)


def _cache_maker(model: Any) -> Callable[[], Any] | None:
    """What makes an empty cache: the model's own `new_cache`, or else the declared class of forward's `cache`."""
    if isinstance(model, nn.Module) and callable(getattr(model, "new_cache", None)):
        return model.new_cache
    if "cache" not in _arguments(model):
        return None
    try:
        hints = typing.get_type_hints(model.forward if isinstance(model, nn.Module) else model)
    except (NameError, TypeError):  # a declaration that only a type checker can read
        hints = {}
    declared = hints.get("cache")
    union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    kinds = typing.get_args(declared) if union else (declared,)
    made = next((kind for kind in kinds if inspect.isclass(kind) and kind is not type(None)), SequenceCache)
    return SequenceCache if made is object else made
