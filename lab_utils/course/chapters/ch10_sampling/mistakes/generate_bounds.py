"""The known wrong answers to generate, of notebook 10: a full context, and arguments that must be refused."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


def decode(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None, **wrong
):
    """The loop written out, with the places where a mistake goes."""
    context = model.cfg.max_seq_len
    fits = len(prompt) >= 1 or wrong.get("of_nothing"), len(prompt) <= context or wrong.get("too_long")
    if wrong.get("refuse", True) and (not all(fits) or (max_new_tokens < 1 and not wrong.get("no_tokens"))):
        raise ValueError
    if wrong.get("refuse", True):
        core_probs(torch.zeros(3), temperature, top_k, top_p)
    generator = torch.Generator().manual_seed(seed)
    tokens, cache, new, held, read = list(prompt), model.new_cache(), list(prompt), [], []
    with torch.inference_mode():
        for _ in range(max_new_tokens + wrong.get("more", 0)):
            if cache[0].length + len(new) > context and not wrong.get("bounded", True):
                return
            used = cache[0].length + len(new) + (wrong.get("early", 0) if held else wrong.get("at_once", 0))
            if used > context and wrong.get("forget", True):
                text = read if wrong.get("late") else tokens
                cache, new, held = model.new_cache(), wrong.get("keep", newest_half)(text, context), []
            held, read = held + new, read + new
            if wrong.get("forgetful"):
                cache, new = model.new_cache(), held
            logits = model(torch.tensor([new]), None if wrong.get("no_cache") else cache).logits
            logits = logits[0, wrong.get("position", -1)]
            if wrong.get("fresh_generator"):
                generator = torch.Generator().manual_seed(seed)
            if wrong.get("seed_of_its_own"):
                generator.manual_seed(seed + len(tokens) - len(prompt))
            probs = core_probs(logits, temperature, top_k, top_p)
            token = int(torch.multinomial(probs, 1, generator=generator))
            if wrong.get("always_greedy"):
                token = int(logits.argmax())
            if token == stop_id:
                if wrong.get("skip_stop") and not wrong.get("read_stop"):
                    continue
                if wrong.get("with_stop"):
                    yield token
                if not wrong.get("without_stop") and not wrong.get("read_stop"):
                    return
            tokens.append(token)
            new = [token]
            if wrong.get("whole_text_again"):
                new = tokens[-min(len(tokens), context - cache[0].length) :]
            if wrong.get("whole_text"):
                new = list(tokens)
            if token != stop_id or not wrong.get("read_stop"):
                yield token


def newest_half(tokens, context):
    return tokens[-max(1, context // 2) :]


# ---------------------------------------------------------------- a full context


@mistake(
    "The text ends where the context is full. It should forget its older half and go on.",
    "What does the third point above the cell say?",
)
def generate_until_the_context_is_full(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, bounded=False)


@mistake(
    "A full context is not noticed: the model refuses the next token. Forget the older half first.",
    "How many tokens does the cache hold then, and how many fit?",
)
def generate_beyond_the_context(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, forget=False)


@mistake(
    "When the context is full, the oldest tokens are read again. The newest ones should be.",
    "At which end of the text does the next token follow?",
)
def generate_from_the_oldest_half(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[: max(1, n // 2)])


@mistake(
    "When the context is full, all but one token of it are read again. Half of it should be.",
    "How soon is the context full again?",
)
def generate_forgetting_one(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-max(1, n - 1) :])


@mistake(
    "When the context is full, everything but the newest token is forgotten. The newest half should be read again.",
    "What does the next token know of the text?",
)
def generate_forgetting_everything(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-1:])


@mistake(
    "In a context of one token half of it is 0 tokens, and `tokens[-0:]` is the whole text. At least one is kept.",
    "What is 1 // 2, and what is tokens[-0:]?",
)
def generate_with_half_of_one(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-(n // 2) :])


@mistake(
    "When the context is full, half of all tokens so far are read again. It should be half of the context.",
    "The text grows on and on. When does its half no longer fit?",
)
def generate_keeping_half_of_the_text(model, prompt, max_new_tokens, **settings):
    def half(tokens, n):
        return tokens[-max(1, len(tokens) // 2) :]

    return decode(model, prompt, max_new_tokens, **settings, keep=half)


@mistake(
    "When the context is full, half of it is rounded up. It should be rounded down: max_seq_len // 2.",
    "How many tokens are the newest half of a context of seven?",
)
def generate_with_half_rounded_up(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-((n + 1) // 2) :])


@mistake(
    "When the context is full, all but one token of it are read again. Half of it should be, and of a context of one "
    "token that one: `tokens[-0:]` is the whole text.",
    "How soon is the context full again? And what is tokens[-0:]?",
)
def generate_forgetting_one_of_any(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-(n - 1) :])


@mistake(
    "When the context is full, the newest token is lost: the half that is read again ends before it.",
    "Which token has been drawn last, and does the model ever see it?",
)
def generate_losing_the_newest(model, prompt, max_new_tokens, **settings):
    def before_the_newest(tokens, n):
        return tokens[-max(1, n // 2) - 1 : -1] or tokens[-1:]

    return decode(model, prompt, max_new_tokens, **settings, keep=before_the_newest)


@mistake(
    "When the context is full, only drawn tokens are read again. The text begins with the prompt: where few are drawn "
    "yet, the newest half holds the end of the prompt too.",
    "A prompt of nine tokens in a context of twelve: which six are the newest when it is full?",
)
def generate_forgetting_the_prompt(model, prompt, max_new_tokens, **settings):
    def drawn(tokens, n):
        return tokens[len(prompt) :][-max(1, n // 2) :]

    return decode(model, prompt, max_new_tokens, **settings, keep=drawn)


@mistake(
    "When the context is full, the newest token is lost: it is no part of the text yet when the half is taken.",
    "In which order does your loop draw a token, put it to the text and look whether the context is full?",
)
def generate_adding_the_newest_too_late(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, late=True)


@mistake(
    "When the context is full, one token more than half of it is read again: the half is taken of the full context and "
    "the newest token together.",
    "How many tokens are max_seq_len // 2, and how many does your text hold then?",
)
def generate_with_half_of_one_more(model, prompt, max_new_tokens, **settings):
    return decode(
        model, prompt, max_new_tokens, **settings, keep=lambda tokens, n: tokens[-(n + 1 - (n + 1) // 2) :]
    )


FORGETS_EARLY = (
    "The older half is forgotten one token too early: the last place of the context stays empty.",
    "With eleven tokens in a context of twelve, does one more fit?",
)


@mistake(*FORGETS_EARLY)
def generate_forgetting_early(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, early=1)


@mistake(*FORGETS_EARLY)
def generate_forgetting_early_of_the_prompt_too(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, early=1, at_once=1)


# ---------------------------------------------------------------- what is refused


@mistake("max_new_tokens=0 is not refused.", "For which arguments does the docstring promise a ValueError?")
def generate_of_no_tokens(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, no_tokens=True)


@mistake(
    "A prompt that is longer than the context is not refused: it is cut.",
    "For which arguments does the docstring promise a ValueError?",
)
def generate_cutting_the_prompt(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt[-model.cfg.max_seq_len :], max_new_tokens, **settings)


BOUNDS = (
    generate_until_the_context_is_full,
    generate_beyond_the_context,
    generate_from_the_oldest_half,
    generate_forgetting_one,
    generate_forgetting_everything,
    generate_with_half_of_one,
    generate_keeping_half_of_the_text,
    generate_with_half_rounded_up,
    generate_forgetting_one_of_any,
    generate_losing_the_newest,
    generate_forgetting_the_prompt,
    generate_adding_the_newest_too_late,
    generate_with_half_of_one_more,
    generate_forgetting_early,
    generate_forgetting_early_of_the_prompt_too,
    generate_of_no_tokens,
    generate_cutting_the_prompt,
)
