"""What a training step on a CPU keeps between its forward and its backward pass, counted on a few tokens.

Every layer is linear in the tokens here, attention too, so a short text says what a long one takes. One layer of each
kind is run, as a model of its own; its weights are there for a moment.
"""

from dataclasses import replace

import torch
from torch import Tensor

from nanokimi.config import KimiConfig, ModelConfig, TrainConfig
from nanokimi.loss import CHUNK
from nanokimi.model import build_model

PROBE = 128  # tokens, or fewer
NUMBER = 4  # bytes: a CPU computes in float32


def count_activations(model: ModelConfig, training: TrainConfig) -> int:
    """The bytes that a step holds at its peak, beside the weights, their gradients and the optimizer's numbers."""
    if isinstance(model, KimiConfig):
        kinds = [(model.only(first), len(alike)) for first, alike in model.alike().items()]
    else:
        kinds = [(replace(model, n_layers=1), model.n_layers)]
    kept = [(*_measure(replace(one, vocab_size=1), training), n) for one, n in kinds]
    ends = kept[0][1]
    tokens = training.batch_size * training.seq_len
    row = NUMBER * model.vocab_size
    # The logits and their gradient; of as many tokens as the loss takes at a time the logarithms and their gradient,
    # or, once it has taken all, the gradient in parts and put together.
    at_the_loss = row * (2 * tokens + max(tokens, 2 * min(tokens, CHUNK)))
    if not training.recompute:
        return round(tokens * (sum(n * layer for layer, _, n in kept) + ends) + at_the_loss)
    # The inputs of the layers are kept; later one layer at a time is computed again, beside the logits.
    in_a_layer = tokens * (row + max(layer for layer, _, _ in kept))
    return round(tokens * (NUMBER * model.n_layers * model.d_model + ends) + max(at_the_loss, in_a_layer))


def _measure(model: ModelConfig, training: TrainConfig) -> tuple[float, float]:
    """The bytes per token that the only layer keeps, and those that stand before and behind it."""
    network, seen, total = build_model(model), set[int](), 0
    weights = {each.untyped_storage().data_ptr() for each in network.parameters()}
    alive: list[Tensor] = []  # so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        place = tensor.untyped_storage()
        if place.data_ptr() not in seen | weights:
            seen.add(place.data_ptr())
            alive.append(tensor)
            total += place.nbytes()
        return tensor

    marks: list[int] = []
    network.layers[0].register_forward_pre_hook(lambda *_: marks.append(total))
    network.norm.register_forward_pre_hook(lambda *_: marks.append(total))
    n_tokens = min(PROBE, training.seq_len, model.max_seq_len)
    # Of a pattern's layers those of Kimi Delta Attention have no logits.
    is_clipped = training.qk_clip_tau is not None and getattr(model, "attention", "") != "kda"
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(1, n_tokens, dtype=torch.long), with_max_qk_logit=is_clipped)
    in_layer = marks[1] - marks[0]
    return in_layer / n_tokens, (total - in_layer) / n_tokens
