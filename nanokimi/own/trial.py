"""An attention of one's own, tried on small inputs when a model is built: shapes, the future, the cache, QK-clip."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from nanokimi.system.refusals import ConfigError, require

LENGTH = 24  # tokens of the trial; a block or a window that is longer is tried within it
_CLOSE = 1e-3  # of the largest output: float32 sums in another order differ by 1e-6


@torch.no_grad()
def try_attention(
    attention: nn.Module,
    name: str,
    x: Float[Tensor, "batch seq d_model"],
    rotation: Complex[Tensor, "seq pairs"],
    n_heads: int,
    new_cache: Callable[[], Any],
) -> None:
    """Run a freshly drawn `attention` on `x`; raise `ConfigError` in one line for what it does not keep to.

    The attention is left as it was. What it raises by itself is its author's to read, and is let through.
    """
    where = f"attention {name!r}"
    attention = copy.deepcopy(attention).eval()
    out = _run(attention, where, x, rotation, None)
    near = _CLOSE * float(out.abs().max())
    seq = x.shape[1]
    for cut in sorted({1, seq // 2, seq - 1} & set(range(1, seq))):
        other = torch.cat([x[:, :cut], -x[:, cut:]], dim=1)
        seen = _run(attention, where, other, rotation, None)[:, :cut]
        blind = bool((seen - out[:, :cut]).abs().max() <= near)
        require(blind, f"{where}: tokens before position {cut} read what comes later; mask it")
    cache, pieces, start = new_cache(), [], 0
    while start < seq:
        # A prompt, a few tokens at once, and one at a time, as decoding does it.
        new = slice(start, {0: seq - seq // 2, seq - seq // 2: seq - seq // 4}.get(start, start + 1))
        pieces.append(_run(attention, where, x[:, new], rotation[new], cache))
        start = new.stop
        kept = f"after {start} tokens its cache has {cache.length}; append one entry per token (cache.append)"
        require(cache.length == start, f"{where}: {kept}")
    same = bool((torch.cat(pieces, dim=1) - out).abs().max() <= near)
    require(same, f"{where}: with a cache it gives another output than without one")
    if hasattr(attention, "clip_qk_"):
        _try_clip(attention, where, x, rotation, n_heads)


def _run(attention: nn.Module, where: str, x: Tensor, rotation: Tensor, cache: Any) -> Tensor:
    """Its output, of the right type and shape."""
    got = attention(x, rotation, cache, False)
    out = getattr(got, "out", None)
    if not (isinstance(got, tuple) and isinstance(out, Tensor)):
        kind = type(got).__name__
        raise ConfigError(
            f"{where}: forward returns a {kind}; it must return AttentionOutput(out, max_qk_logit)"
        )
    shapes = f"it returns out of shape {tuple(out.shape)} for x of shape {tuple(x.shape)}; they must be one"
    require(out.shape == x.shape, f"{where}: {shapes}")
    require(bool(out.isfinite().all()), f"{where}: out is not finite")
    return out


def _try_clip(attention: nn.Module, where: str, x: Tensor, rotation: Tensor, n_heads: int) -> None:
    """QK-clip brings the largest logit of every head down to its threshold."""
    largest = attention(x, rotation, None, True).max_qk_logit
    shape = tuple(largest.shape) if isinstance(largest, Tensor) else largest
    measured = f"with_max_qk_logit gives max_qk_logit {shape}; clip_qk_ needs shape ({n_heads},)"
    require(shape == (n_heads,), f"{where}: {measured}")
    tau = float(largest.max()) / 2
    if tau > 0:
        attention.clip_qk_(largest, tau)  # pyright: ignore[reportCallIssue]  the method that is asked for above
        after = float(attention(x, rotation, None, True).max_qk_logit.max())
        require(
            after <= tau * 1.01, f"{where}: after clip_qk_ with tau={tau:.3g} a logit is still {after:.3g}"
        )
