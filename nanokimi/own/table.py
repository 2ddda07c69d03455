"""The table of attentions that are not the lab's own: name, module, configuration.

It is the one thing in the core that is remembered between calls. A configuration and a checkpoint hold the name alone,
so something must say which code belongs to it; code from a checkpoint would be a stranger's.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, NamedTuple

from nanokimi.system.checked import fits_signature
from nanokimi.system.printable import quote
from nanokimi.system.refusals import ConfigError, require

BUILT_IN = ("mha", "mla", "block_latent", "kda")


class OwnAttention(NamedTuple):
    """An entry of the table: the class of the layer, and the class of its settings."""

    module: type[Any]
    config: type[Any]


_table: dict[str, OwnAttention] = {}  # tests/test_house.py knows of it


@fits_signature
def register_attention(name: str, module: type, config: type) -> None:
    """Make an attention of one's own a value of `KimiConfig.attention`, which checkpoints reload.

    name: the value, a word in lower case. The same name again replaces the entry, as running a cell twice does.
    module: a class of `torch.nn.Module` that is built as `module(d_model, n_heads, settings)` and has
        `forward(x, rotation, cache=None, with_max_qk_logit=False)`, which returns an `AttentionOutput`:
        x (batch, seq, d_model); rotation (seq, d_model / n_heads / 2), complex, for `rope.apply_rope`, of the new
        tokens; cache: a `SequenceCache`, to which it appends tensors of its choice along dimension -2, one entry per
        new token, or None in training. `out` has the shape of x, no token reads a later one, and with a cache it is
        what it is without. With `with_max_qk_logit`, `max_qk_logit` is the largest scaled logit per head (n_heads,).
        `clip_qk_(max_qk_logit, tau)`: QK-clip, in place. Without this method, QK-clip is refused for this attention.
    config: a frozen dataclass whose fields have defaults: numbers, texts, True, False, None. `KimiConfig.own_attention`
        holds one of it.

    Raises `ConfigError` in one line for what can be seen without running it. The rest is tried on small inputs when a
    model is built (`own.trial`). A model draws all weights anew from its seed: matrices N(0, 0.02²), gains 1, biases 0.

    >>> from dataclasses import dataclass
    >>> from nanokimi import KimiConfig, register_attention
    >>> from nanokimi.attention import CausalSelfAttention
    >>> @dataclass(frozen=True)
    ... class Plain:
    ...     pass
    >>> class PlainAttention(CausalSelfAttention):
    ...     def __init__(self, d_model, n_heads, settings):
    ...         super().__init__(d_model, n_heads)
    >>> register_attention("plain", PlainAttention, Plain)
    >>> KimiConfig(attention="plain").own_attention
    Plain()
    """
    from torch import nn  # here, since configurations need no torch

    word = isinstance(name, str) and name.isidentifier() and name == name.lower()
    require(word, f"name={quote(name)} must be a word in lower case, such as 'sliding_window'")
    require(name not in BUILT_IN, f"name={quote(name)} is one of the lab's own: choose another")
    where = f"attention {quote(name)}"
    is_module = isinstance(module, type) and issubclass(module, nn.Module)
    require(is_module, f"{where}: module={quote(module)} must be a class of torch.nn.Module")
    is_frozen = isinstance(config, type) and is_dataclass(config) and config.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
    require(is_frozen, f"{where}: config={quote(config)} must be a frozen dataclass")
    call = f"{module.__name__}(d_model, n_heads, settings)"
    require(_takes(module, 3), f"{where}: it must be built as {call}")
    forward = f"{where}: it must have forward(x, rotation, cache=None, with_max_qk_logit=False)"
    require(_takes(module.forward, 5), forward)
    clip = getattr(module, "clip_qk_", None)
    right_clip = clip is None or (callable(clip) and _takes(clip, 3))
    require(right_clip, f"{where}: QK-clip must be clip_qk_(max_qk_logit, tau), or not be there")
    _table[name] = OwnAttention(module, config)


def _takes(call: Any, n: int) -> bool:
    """Whether `call` can be called with `n` arguments, its self included where it is a function of a class."""
    try:
        inspect.signature(call).bind(*range(n))
    except TypeError:
        return False
    return True


def is_known(name: object) -> bool:
    """Whether there is an attention of this name, the lab's or one's own."""
    return name in BUILT_IN or name in _table


def is_own(name: object) -> bool:
    """Whether what a configuration's `attention` says is one of one's own; a pattern has the lab's only."""
    return isinstance(name, str) and name not in BUILT_IN


def find_own(name: str) -> OwnAttention | None:
    """The entry of an attention of one's own; None for the lab's."""
    return _table.get(name)


def explain_unknown(name: object) -> str:
    """What to do about an attention that nobody has registered, after its name."""
    own = "".join(f", or {each!r}" for each in sorted(_table))
    allowed = f"must be 'mha', 'mla', 'block_latent' or 'kda'{own}"
    return f"attention={quote(name)} {allowed}; for one of your own call register_attention first"


def require_clip(name: str | tuple[str, ...]) -> None:
    """`ConfigError` for an attention that has no QK-clip; in a pattern some layer has it."""
    if isinstance(name, tuple):
        return
    require(name != "kda", "attention=kda has no softmax and so no logits to clip: leave qk_clip_tau empty")
    own = _table.get(name)
    lack = f"attention={quote(name)} has no clip_qk_, so its logits are not measured: leave qk_clip_tau empty"
    require(own is None or hasattr(own.module, "clip_qk_"), lack)


def fit(name: str, given: Any) -> Any:
    """The settings of the attention `name`: of its own class, made from plain data where need be; None for the lab's.

    Raises `ConfigError` where name or settings do not fit, or where a checkpoint could not hold them.
    """
    require(is_known(name), explain_unknown(name))
    if name in BUILT_IN:
        require(given is None, f"section own_attention: is not used by attention={name}")
        return None
    config = _table[name].config
    if given is None:
        given = {}
    try:
        made = config(**given) if isinstance(given, Mapping) else given
    except Exception as error:  # a user's class: whatever it raises is said in one line
        raise ConfigError(f"own_attention: {error}") from None
    allowed = f"must be a {config.__name__}, or the values of one"
    # By name: whoever runs a cell again has made the class anew.
    require(type(made).__qualname__ == config.__qualname__, f"own_attention={quote(given)} {allowed}")
    try:
        again = config(**json.loads(json.dumps(asdict(made), allow_nan=False)))
        is_kept = asdict(again) == asdict(made) and hash(again) == hash(made)
    except (TypeError, ValueError):
        is_kept = False
    require(is_kept, f"own_attention={quote(made)} cannot be saved: use numbers, texts, True, False and None")
    return again
