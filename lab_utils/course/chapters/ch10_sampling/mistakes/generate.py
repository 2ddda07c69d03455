"""The known wrong answers to generate, of notebook 10."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


def decode(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None, **wrong
):
    """The loop written out, with the places where a mistake goes."""
    context = model.cfg.max_seq_len
    if wrong.get("refuse", True) and (not 1 <= len(prompt) <= context or max_new_tokens < 1):
        raise ValueError
    generator = torch.Generator().manual_seed(seed)
    tokens, cache, new, held = list(prompt), model.new_cache(), list(prompt), []
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            if cache[0].length + len(new) > context:
                kept = context if wrong.get("sliding") else max(1, context // 2)
                cache, new, held = model.new_cache(), tokens[-kept:], []
            held = held + new
            if wrong.get("forgetful"):
                cache, new = model.new_cache(), held
            logits = model(torch.tensor([new]), cache).logits[0, wrong.get("position", -1)]
            if wrong.get("fresh_generator"):
                generator = torch.Generator().manual_seed(seed)
            probs = core_probs(logits, temperature, top_k, top_p)
            token = int(torch.multinomial(probs, 1, generator=generator))
            if wrong.get("always_greedy"):
                token = int(logits.argmax())
            if token == stop_id:
                if wrong.get("with_stop"):
                    yield token
                if not wrong.get("without_stop"):
                    return
            tokens.append(token)
            new = [token]
            if wrong.get("whole_text_again"):
                new = tokens[-min(len(tokens), context - cache[0].length) :]
            yield token


@mistake(
    "The logits of the first position are used. The last position predicts the next token.",
    "A prompt of three tokens gives three rows of logits. Which row predicts the fourth token?",
)
def generate_from_the_first_position(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, position=0)


@mistake(
    "The likeliest token is always taken; nothing is drawn.",
    "Where does `seed` go in your function?",
)
def generate_always_greedy(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, always_greedy=True)


@mistake(
    "A new generator is made for every token, so every draw uses the same random number.",
    "How often should manual_seed be called in one text?",
)
def generate_with_a_fresh_seed_each_time(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, fresh_generator=True)


@mistake(
    "The stop token is yielded as well; the text should end before it.",
    "What does the docstring say about `stop_id`?",
)
def generate_with_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, with_stop=True)


@mistake(
    "`stop_id` is ignored: the text goes on after the stop token.",
    "Follow the argument `stop_id` through your code.",
)
def generate_past_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, without_stop=True)


@mistake(
    "The whole text is fed again with a cache that already holds it: every token is seen many times over.",
    "After the first call the prompt is in the cache. What is new?",
)
def generate_feeding_everything_again(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, whole_text_again=True)


@mistake(
    "The text is right, but the model reads all of it again for every token: no cache holds it.",
    "Which tokens has the model already seen when the second one is drawn?",
)
def generate_without_a_cache(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, forgetful=True)


@mistake(
    "`top_k` is never used.",
    "Follow the argument `top_k` through your code.",
)
def generate_without_top_k(model, prompt, max_new_tokens, *, top_k=None, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "`top_p` is never used.",
    "Follow the argument `top_p` through your code.",
)
def generate_without_top_p(model, prompt, max_new_tokens, *, top_p=None, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "At the end of the context the window slides on by one token, and nearly all of the text is read again each time.",
    "How many tokens should be read again when the context is full, and how many forgotten?",
)
def generate_with_a_sliding_window(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, sliding=True)


@mistake(
    "Wrong arguments are not refused: no prompt, one that is too long, or no new token.",
    "For which arguments does the docstring promise a ValueError, and when does yours come?",
)
def generate_refusing_nothing(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, refuse=False)


@mistake(
    "A stop token with the id 0 is not seen: 0 counts as false, like None.",
    "What does `if stop_id` do when stop_id is 0? Compare with `is not None`.",
)
def generate_with_a_false_zero(model, prompt, max_new_tokens, *, stop_id=None, **settings):
    return decode(model, prompt, max_new_tokens, **settings, stop_id=stop_id or None)


GENERATE = (
    generate_from_the_first_position,
    generate_always_greedy,
    generate_with_a_fresh_seed_each_time,
    generate_with_the_stop_token,
    generate_past_the_stop_token,
    generate_feeding_everything_again,
    generate_without_a_cache,
    generate_without_top_k,
    generate_without_top_p,
    generate_with_a_sliding_window,
    generate_refusing_nothing,
    generate_with_a_false_zero,
)
