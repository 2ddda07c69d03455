"""A token of decoding as one compiled graph, over caches of a fixed size.

The prompt runs through the model as it is, and so does the half of a text that is read again when the context is full.
A graph is compiled for a model's configuration and a number of texts, and serves all later calls in this process.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from nanokimi.block_latent import BlockLatentAttention
from nanokimi.cache import FixedCache
from nanokimi.compiled.choice import choose_compile
from nanokimi.compiled.whole import hold_constants, quiet, refuse
from nanokimi.kda import KimiDeltaAttention
from nanokimi.model import Model
from nanokimi.output import ModelOutput
from nanokimi.system.refusals import ConfigError
from nanokimi.system.replaced import replace_forward

MANY = 2000  # new tokens from which `auto` compiles on CUDA: compiling takes as long as some thousand tokens


class CompiledStep:
    """`model(tokens, cache)` for decoding, with caches of its own, in which every token after the prompt is one graph.

    Watchers of `model` itself see what goes in and comes out; hooks inside it become part of the graph, or cannot be
    compiled. Then `compile=on` raises `ConfigError`, and `auto` warns and runs the model as it is.
    """

    def __init__(self, model: Model, setting: str):
        self._model, self._setting = model, setting
        self._is_plain = False
        hold_constants()
        self._graph = torch.compile(_run, fullgraph=True, dynamic=False)

    def new_cache(self, padding: Sequence[int] = (0,)) -> list[Any]:
        """An empty `FixedCache` per layer, for texts of which each begins with so many entries of padding."""
        device = next(self._model.parameters()).device
        position = torch.zeros(1, dtype=torch.long, device=device)
        return [FixedCache(list(padding), position, self._model.cfg.max_seq_len) for _ in self._model.layers]

    def __call__(self, tokens: Int[Tensor, "batch seq"], cache: list[Any]) -> ModelOutput:
        """What the model returns for the new tokens: any number of them where the cache is empty, one where not."""
        out = self._model(tokens, cache) if cache[0].length == 0 else self._take_step(tokens, cache)
        n_new = tokens.shape[1]
        cache[0].position.add_(n_new)
        for layer in cache:
            layer.length += n_new
        return out

    def _take_step(self, tokens: Tensor, cache: list[Any]) -> ModelOutput:
        if self._is_plain:
            return self._model(tokens, cache)
        # Seconds, which nobody else should pay.
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

        try:
            # By calling the model, so that those who watch it see this as they see every other call.
            with quiet(), replace_forward(self._model, functools.partial(self._graph, self._model)):
                return self._model(tokens, cache)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            refuse(error, "decoding", self._setting)
            self._is_plain = True
        return self._model(tokens, cache)


def _run(model: Model, tokens: Tensor, cache: list[Any]) -> ModelOutput:
    """The model's own forward pass. A function of this module, so that its graphs serve every `CompiledStep`."""
    return type(model).forward(model, tokens, cache)  # pyright: ignore[reportArgumentType]  its own model


def choose_step(model: Model, compile: str, max_new_tokens: int) -> Model | CompiledStep:
    """What runs the model in `generate`, for its setting `compile`: the model itself, or a compiled step.

    `auto` compiles on CUDA, and only for many tokens. Raises `ConfigError` for `on` where a compiler is lacking, or
    where a layer does not know caches of a fixed size.
    """
    device = next(model.parameters()).device
    if not choose_compile(compile, device) or (compile == "auto" and max_new_tokens < MANY):
        return model
    unfit = _find_unfit(model)
    if unfit and compile == "on":
        raise ConfigError(f"compile=on: not for {unfit}; use compile=off or auto")
    return model if unfit else CompiledStep(model, compile)


def _find_unfit(model: Model) -> str:
    """What in the model does not fit a `FixedCache`; empty where nothing is."""
    for module in model.modules():
        if isinstance(module, BlockLatentAttention):
            return "block latent attention, whose cache has no fixed size"
        if isinstance(module, KimiDeltaAttention):
            return "Kimi Delta Attention, which keeps a state and no entries per token"
        # Attention that does not ask `visible_entries` would read room that nothing was written to, and say nothing.
        if type(module).__module__.partition(".")[0] not in ("nanokimi", "torch"):
            return f"a model with code of your own ({type(module).__name__})"
    return ""
