"""Sampling: from logits to a distribution, from the distribution to a token, and one token after another."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nanokimi.model import Model
from nanokimi.presets.sampling import check_logits, check_prompt, check_run, check_sampling, require
from nanokimi.system.finite import NotFiniteError, check_held, check_weights


def next_token_probs(
    logits: Float[Tensor, " vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, " vocab"]:
    """The distribution to sample from, in float32: temperature first, then top-k, then top-p (Holtzman et al. 2020).

    temperature: divides the logits; 1 leaves them as they are, 0 puts everything on the likeliest token.
    top_k: keep exactly k tokens, at a tie those with the lower ids; None keeps all.
    top_p: keep the fewest likeliest tokens whose probabilities together reach p, at least one; None keeps all.

    Raises `ConfigError` for a setting outside its range, and `NotFiniteError` where the largest logit is no number.
    """
    check_logits(logits)
    check_sampling(temperature, top_k, top_p)
    logits = logits.float()
    if not logits.max().isfinite():
        raise NotFiniteError(f"the largest logit is {logits.max().item()}")
    scaled = logits / temperature
    # At 0, and so close to it that the quotients overflow, what is left is the limit: the likeliest token.
    if not scaled.max().isfinite():
        return torch.zeros_like(logits).scatter(0, logits.argmax(dim=-1, keepdim=True), 1.0)
    ordered, ids = scaled.sort(descending=True, stable=True)
    if top_k is not None and top_k < len(ordered):
        ordered[top_k:] = -torch.inf
    probs = ordered.softmax(dim=-1)
    # At 1 every token stays, also those behind a sum that rounding has already brought to 1.
    if top_p is not None and top_p < 1:
        # A token stays while the tokens before it have not reached p: the first one always, however small p is.
        probs[1:][(probs.cumsum(dim=-1) - probs >= top_p)[1:]] = 0.0
        probs = probs / probs.sum()
    return torch.zeros_like(probs).scatter(0, ids, probs)


@torch.inference_mode()
def generate(
    model: Model,
    prompt: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop_id: int | None = None,
) -> Iterator[int]:
    """Yield the ids of the tokens that continue `prompt`: at most `max_new_tokens`, and none from `stop_id` on.

    `temperature`, `top_k` and `top_p` are those of `next_token_probs`; one `seed` gives one text. Every token runs
    through the model once, because the cache holds what the next ones need. When the context is full, its older half is
    forgotten and the newer half is read again. Raises `ConfigError` at the first token for a prompt that is
    empty, longer than the context or with ids that the model lacks and for a setting outside its range, and
    `NotFiniteError` for weights that are not finite.

    >>> from nanokimi import build_model, generate, load_model_config
    >>> model = build_model(load_model_config("kimi-smoke"))
    >>> len(list(generate(model, [1, 2, 3], 5, temperature=0.8)))
    5
    """
    require(isinstance(model, Model), "model", model, "be a GPT or a Kimi")
    check_held(model)
    check_sampling(temperature, top_k, top_p)
    check_run(max_new_tokens, seed, stop_id)
    tokens = check_prompt(prompt, context := model.cfg.max_seq_len, model.cfg.vocab_size)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(int(seed))
    cache, new = model.new_cache(), list(tokens)
    for _ in range(max_new_tokens):
        if cache[0].length + len(new) > context:
            cache, new = model.new_cache(), tokens[-max(1, context // 2) :]
        logits = model(torch.tensor([new], device=device), cache).logits[0, -1]
        # Drawn on the CPU, so that one seed gives one text on every device that computes the same logits.
        try:
            probs = next_token_probs(logits.cpu(), temperature, top_k, top_p)
        except NotFiniteError:
            check_weights(model)  # where a weight is the cause, its name says more
            raise
        token = int(torch.multinomial(probs, 1, generator=generator))
        if token == stop_id:
            return
        tokens.append(token)
        new = [token]
        yield token
