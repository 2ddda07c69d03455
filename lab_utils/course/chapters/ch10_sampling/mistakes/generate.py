"""The known wrong answers to generate, of notebook 10."""

import torch

from lab_utils.course.chapters.ch10_sampling.mistakes.generate_bounds import BOUNDS, decode
from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


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
    "The generator is seeded again before every token, with `seed` and the number of the token. One generator, seeded "
    "once, draws all tokens of a text.",
    "How often should manual_seed be called in one text?",
)
def generate_with_a_seed_for_each_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, seed_of_its_own=True)


@mistake(
    "The stop token is yielded as well; the text should end before it.",
    "What does the docstring say about `stop_id`?",
)
def generate_with_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, with_stop=True)


@mistake(
    "The stop token is left out, and the text goes on without it. It should end there.",
    "What does your loop do after it has seen the stop token: `continue`, or `return`?",
)
def generate_drawing_again_at_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, skip_stop=True)


@mistake(
    "The stop token is not yielded, but the model reads it, and the text goes on. It should end there.",
    "What does your loop do after it has seen the stop token?",
)
def generate_reading_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, read_stop=True)


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
    "The model reads all of the text again for every token: no cache holds it.",
    "Which tokens has the model already seen when the second one is drawn?",
)
def generate_without_a_cache(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, forgetful=True)


@mistake(
    "`top_k` makes no difference to what is drawn.",
    "Follow the argument `top_k` through your code.",
)
def generate_without_top_k(model, prompt, max_new_tokens, *, top_k=None, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "`top_p` makes no difference to what is drawn.",
    "Follow the argument `top_p` through your code.",
)
def generate_without_top_p(model, prompt, max_new_tokens, *, top_p=None, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "With top_p, top_k makes no difference: only one of the two cuts. They follow each other.",
    "What does your function hand to next_token_probs when both are given?",
)
def generate_of_top_p_alone(model, prompt, max_new_tokens, *, top_k=None, top_p=None, **settings):
    chosen = {"top_k": top_k} if top_p is None else {"top_p": top_p}
    return decode(model, prompt, max_new_tokens, **settings, **chosen)


@mistake(
    "With top_k, top_p makes no difference: only one of the two cuts. They follow each other.",
    "What does your function hand to next_token_probs when both are given?",
)
def generate_of_top_k_alone(model, prompt, max_new_tokens, *, top_k=None, top_p=None, **settings):
    core_probs(torch.zeros(3), 1.0, None, top_p)
    chosen = {"top_p": top_p} if top_k is None else {"top_k": top_k}
    return decode(model, prompt, max_new_tokens, **settings, **chosen)


@mistake(
    "At the end of the context the window slides on by one token, and nearly all of the text is read again each time.",
    "How many tokens should be read again when the context is full, and how many forgotten?",
)
def generate_with_a_sliding_window(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, keep=lambda tokens, context: tokens[-context:])


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


@mistake(
    "The text ends at its first token where the prompt already holds the stop token. Only what is drawn may end it.",
    "Do you ask whether the new token is the stop token, or whether the whole text holds it?",
)
def generate_ended_by_the_prompt(model, prompt, max_new_tokens, *, stop_id=None, **settings):
    new = decode(model, prompt, max_new_tokens, **settings, stop_id=stop_id)
    return [] if stop_id in prompt else new


@mistake(
    "The prompt is added to: it belongs to the caller. `list(prompt)` makes a list of your own.",
    "What does the caller find in its prompt afterwards?",
)
def generate_adding_to_the_prompt(model, prompt, max_new_tokens, **settings):
    new = list(decode(model, prompt, max_new_tokens, **settings))
    prompt.extend(new)
    return new


# ---------------------------------------------------------------- the loop


@mistake("One token too many is generated.", "How many tokens come for max_new_tokens=1?")
def generate_one_too_many(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, more=1)


@mistake("One token too few is generated.", "How many tokens come for max_new_tokens=1?")
def generate_one_too_few(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, more=-1)


@mistake(
    "The prompt is yielded too. Only the tokens that continue it are asked for.",
    "How many tokens come for a prompt of three and max_new_tokens=1?",
)
def generate_with_the_prompt(model, prompt, max_new_tokens, **settings):
    new = list(decode(model, prompt, max_new_tokens, **settings))
    return [*prompt, *new]


@mistake(
    "The temperature makes no difference to what is drawn.",
    "Follow the argument `temperature` through your code.",
)
def generate_without_temperature(model, prompt, max_new_tokens, *, temperature=1.0, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "Temperature, top_k and top_p make no difference to what is drawn, which comes from the plain softmax.",
    "Which function turns logits and settings into probabilities?",
)
def generate_from_the_plain_softmax(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, **settings
):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "`seed` makes no difference: every seed gives the same text.",
    "Follow the argument `seed` through your code.",
)
def generate_without_seed(model, prompt, max_new_tokens, *, seed=0, **settings):
    return decode(model, prompt, max_new_tokens, **settings)


@mistake(
    "The model gets each new token alone, without a cache: it forgets everything before it.",
    "What does the second token know of the prompt?",
)
def generate_without_memory(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, no_cache=True, forget=False)


@mistake(
    "The whole text is fed again for each token, with a cache that holds it already; when it no longer fits, the text "
    "begins anew with its newest half.",
    "After the first call the prompt is in the cache. What is new?",
)
def generate_feeding_all_into_the_cache(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, whole_text=True)


GENERATE = (
    generate_from_the_first_position,
    generate_always_greedy,
    generate_with_a_fresh_seed_each_time,
    generate_with_a_seed_for_each_token,
    generate_with_the_stop_token,
    generate_past_the_stop_token,
    generate_drawing_again_at_the_stop_token,
    generate_reading_the_stop_token,
    generate_feeding_everything_again,
    generate_without_a_cache,
    generate_without_top_k,
    generate_without_top_p,
    generate_of_top_p_alone,
    generate_of_top_k_alone,
    generate_with_a_sliding_window,
    generate_refusing_nothing,
    generate_with_a_false_zero,
    generate_ended_by_the_prompt,
    generate_adding_to_the_prompt,
    generate_one_too_many,
    generate_one_too_few,
    generate_with_the_prompt,
    generate_without_temperature,
    generate_from_the_plain_softmax,
    generate_without_seed,
    generate_without_memory,
    generate_feeding_all_into_the_cache,
    *BOUNDS,
)
