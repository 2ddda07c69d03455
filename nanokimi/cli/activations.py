"""What a training step on a CPU keeps between its forward and its backward pass, counted on a few tokens.

Every layer is linear in the tokens here, attention too, so a short text says what a long one takes. One layer of each
kind is run; its weights are there for a moment.
"""

from dataclasses import replace

import torch
from torch import Tensor

from nanokimi.config import GPTConfig, KimiConfig, ModelConfig, TrainConfig
from nanokimi.loss import CHUNK
from nanokimi.model import build_model

PROBE = 128  # tokens, or fewer
NUMBER = 4  # bytes: a CPU computes in float32


def count_activations(model: ModelConfig, training: TrainConfig) -> int:
    """The bytes that a step holds at its peak, beside the weights, their gradients and the optimizer's numbers."""
    n_dense = _count_dense(model)
    # The last layer of the small model is one of each that has no dense MLP, where there is one.
    small = replace(model, **_few_layers(model, n_dense), vocab_size=1)
    first, last, ends = _measure(small, training)
    tokens = training.batch_size * training.seq_len
    row = NUMBER * model.vocab_size
    # The logits and their gradient; of as many tokens as the loss takes at a time the logarithms and their gradient,
    # or, once it has taken all, the gradient in parts and put together.
    at_the_loss = row * (2 * tokens + max(tokens, 2 * min(tokens, CHUNK)))
    if not training.recompute:
        kept = n_dense * first + (model.n_layers - n_dense) * last + ends
        return round(tokens * kept + at_the_loss)
    # The inputs of the layers are kept; later one layer at a time is computed again, beside the logits.
    in_a_layer = tokens * (row + max(first if n_dense else 0, last))
    return round(tokens * (NUMBER * model.n_layers * model.d_model + ends) + max(at_the_loss, in_a_layer))


def _count_dense(model: ModelConfig) -> int:
    """How many of the layers have a dense MLP in front of those that have experts; 0 where all are of one kind."""
    if isinstance(model, GPTConfig) or model.moe is None:
        return 0
    return min(model.first_k_dense_replace, model.n_layers)


def _few_layers(model: ModelConfig, n_dense: int) -> dict[str, int]:
    if not n_dense or not isinstance(model, KimiConfig):
        return {"n_layers": 1}
    return {"n_layers": min(2, model.n_layers), "first_k_dense_replace": 1}


def _measure(model: ModelConfig, training: TrainConfig) -> tuple[float, float, float]:
    """The bytes per token that the first layer keeps, the last one, and what stands before and behind all layers."""
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
    for layer in network.layers:
        layer.register_forward_pre_hook(lambda *_: marks.append(total))
    network.norm.register_forward_pre_hook(lambda *_: marks.append(total))
    n_tokens = min(PROBE, training.seq_len, model.max_seq_len)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(
            torch.zeros(1, n_tokens, dtype=torch.long), with_max_qk_logit=training.qk_clip_tau is not None
        )
    first, last = marks[1] - marks[0], marks[-1] - marks[-2]
    return first / n_tokens, last / n_tokens, (total - marks[-1] + marks[0]) / n_tokens
