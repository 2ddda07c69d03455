"""Sampling: from logits to a distribution, from the distribution to a token, and one token after another."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nanokimi.cache import PaddedCache, StateCache, new_layer_cache
from nanokimi.compiled.decode import CompiledStep, choose_step
from nanokimi.model import Model, attentions, takes_padding
from nanokimi.presets.sampling import check_logits, check_prompt, check_run, check_sampling, is_batch, require
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
    prompt: Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop_id: int | None = None,
    compile: str = "auto",
) -> Iterator[Any]:
    """Yield the ids of the tokens that continue `prompt`: at most `max_new_tokens`, and none from `stop_id` on.

    `temperature`, `top_k` and `top_p` are those of `next_token_probs`; one `seed` gives one text. Every token runs
    through the model once, because the cache holds what the next ones need. When the context is full, its older half is
    forgotten and the newer half is read again.

    A list of prompts, of any lengths, yields a list each time: the next token of every text, as it would go on alone,
    and None for a text that has ended. One pass of the model serves all of them.

    `compile` runs every token after the prompt by one compiled graph: "on", "off", or "auto", which is on for CUDA and
    2,000 tokens or more. The first token then takes a minute or so longer. The tokens are the same, but where two are
    as likely to the last digits.

    Raises `ConfigError` at the first token for a prompt that is empty, longer than the context or with ids that the
    model lacks, for a setting outside its range and for compile="on" where that cannot be, and `NotFiniteError` for
    weights that are not finite.

    >>> from nanokimi import build_model, generate, load_model_config
    >>> model = build_model(load_model_config("kimi-smoke"))
    >>> len(list(generate(model, [1, 2, 3], 5, temperature=0.8)))
    5
    >>> [len(tokens) for tokens in generate(model, [[1, 2, 3], [4]], 3)]
    [2, 2, 2]
    """
    require(isinstance(model, Model), "model", model, "be a GPT or a Kimi")
    check_held(model)
    check_sampling(temperature, top_k, top_p)
    check_run(max_new_tokens, seed, stop_id, compile)
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    step = choose_step(model, compile, max_new_tokens)
    if is_batch(prompt):
        yield from _generate_batch(model, step, prompt, max_new_tokens, seed, stop_id, sampling)
        return
    tokens = check_prompt(prompt, context := model.cfg.max_seq_len, model.cfg.vocab_size)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(int(seed))
    cache, new = step.new_cache(), list(tokens)
    for _ in range(max_new_tokens):
        if cache[0].length + len(new) > context:
            cache, new = step.new_cache(), tokens[-max(1, context // 2) :]
        logits = step(torch.tensor([new], device=device), cache).logits[:, -1]
        (token,) = _draw(model, logits.cpu(), [generator], sampling)
        if token == stop_id:
            return
        tokens.append(token)
        new = [token]
        yield token


def _generate_batch(
    model: Model,
    step: Model | CompiledStep,
    prompts: Any,
    max_new_tokens: int,
    seed: int,
    stop_id: int | None,
    sampling: dict[str, Any],
) -> Iterator[list[int | None]]:
    """`generate` for several prompts."""
    context, device = model.cfg.max_seq_len, next(model.parameters()).device
    # What each text was and has become, without what is forgotten.
    texts = [check_prompt(p, context, model.cfg.vocab_size, f"prompt[{i}]") for i, p in enumerate(prompts)]
    if not takes_padding(model):
        alone = [generate(model, t, max_new_tokens, seed=seed, stop_id=stop_id, **sampling) for t in texts]
        yield from map(list, zip_longest(*alone))
        return
    generators = [torch.Generator().manual_seed(int(seed)) for _ in texts]
    going, cache = list(range(len(texts))), None
    rows = going  # the texts that have a row in the cache
    for _ in range(max_new_tokens):
        for i in going:
            if len(texts[i]) > context:
                texts[i], cache = texts[i][-max(1, context // 2) :], None
        # The columns are full also where the longest text has ended and only its padding is left.
        if cache is None or cache[0].length == context:
            longest = max(len(texts[i]) for i in going)
            padding = [longest - len(texts[i]) for i in rows]
            if isinstance(step, CompiledStep):
                cache = step.new_cache(padding)
            else:
                cache = [new_layer_cache(name, padding, device) for name in attentions(model)]
            new = [[0] * n + texts[i] for n, i in zip(padding, rows, strict=True)]
        else:
            new = [texts[i][-1:] for i in rows]
        logits = step(torch.tensor(new, device=device), cache).logits[:, -1].cpu()
        logits = logits[[rows.index(i) for i in going]]
        drawn = dict(zip(going, _draw(model, logits, [generators[i] for i in going], sampling), strict=True))
        ended = [i for i in going if drawn[i] == stop_id]
        going = [i for i in going if i not in ended]
        if not going:
            return
        if isinstance(step, CompiledStep):
            for i in ended:
                texts[i] = [0]  # it keeps its row, because fewer rows would be another graph
        elif ended:
            for layer in cache:
                assert isinstance(layer, PaddedCache | StateCache)
                layer.keep(torch.tensor([rows.index(i) for i in going], device=device))
            rows = going
        for i in going:
            texts[i].append(drawn[i])
        yield [drawn[i] if i in going else None for i in range(len(texts))]


def _draw(
    model: Model,
    logits: Float[Tensor, "texts vocab"],
    generators: Sequence[torch.Generator],
    sampling: dict[str, Any],
) -> list[int]:
    """The next token of every text, on the CPU: there one seed gives one text, whatever device has computed."""
    if sampling["temperature"] == 0:
        largest, tokens = logits.float().max(dim=-1)
        if largest.isfinite().all():
            return tokens.tolist()  # nothing is left to chance
    try:
        probs = [next_token_probs(row, **sampling) for row in logits]
    except NotFiniteError:
        check_weights(model)  # where a weight is the cause, its name says more
        raise
    return [int(torch.multinomial(p, 1, generator=g)) for p, g in zip(probs, generators, strict=True)]
