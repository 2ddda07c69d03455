"""The known wrong answers to next_token_probs, of notebook 10, that let wrong settings through."""

from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


def probs_letting_through(logits, temperature, top_k, top_p, lets):
    """The core's, which takes for an allowed one every wrong setting that stands in `lets`."""
    if "temperature" in lets:
        temperature = max(temperature, 0.0)
    if "top_k" in lets and top_k is not None:
        top_k = max(top_k, 1)
    if "top_p at 0" in lets and top_p is not None:
        top_p = top_p or 0.5
    if "top_p above 1" in lets and top_p is not None:
        top_p = min(top_p, 1.0)
    return core_probs(logits, temperature, top_k, top_p)


@mistake(
    "No wrong setting is refused: each should raise a ValueError.",
    "What does your function do with temperature -1, with top_k=0, and with top_p=0?",
)
def probs_refusing_nothing(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(
        logits, temperature, top_k, top_p, ("temperature", "top_k", "top_p at 0", "top_p above 1")
    )


@mistake("A temperature below 0 is not refused.", "Which temperatures are allowed?")
def probs_of_any_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("temperature",))


@mistake(
    "top_k=0 is not refused.",
    "What does `if top_k` do when top_k is 0? Compare with `is not None`.",
)
def probs_of_any_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("top_k",))


@mistake("No wrong top_p is refused.", "Which values may top_p have?")
def probs_of_any_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("top_p at 0", "top_p above 1"))


@mistake(
    "top_p=0 is not refused. Nothing is left of which the tokens could reach a share of 0.",
    "What does `if top_p` do when top_p is 0? And is `0 <= top_p` what the text says?",
)
def probs_of_top_p_at_zero(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("top_p at 0",))


@mistake("A top_p above 1 is not refused.", "Which share of the whole is 1.5?")
def probs_of_top_p_above_one(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("top_p above 1",))


@mistake(
    "top_k=0 and top_p=0 are not refused.",
    "What does `if top_k` do when top_k is 0? Compare with `is not None`.",
)
def probs_of_false_zeros(logits, temperature=1.0, top_k=None, top_p=None):
    return probs_letting_through(logits, temperature, top_k, top_p, ("top_k", "top_p at 0"))


@mistake(
    "Wrong settings raise an AssertionError. The docstring asks for a ValueError: `assert` is for mistakes of our own.",
    "Which kind of error does `raise` take?",
)
def probs_asserting(logits, temperature=1.0, top_k=None, top_p=None):
    try:
        return core_probs(logits, temperature, top_k, top_p)
    except ValueError:
        raise AssertionError from None


@mistake(
    "At temperature 0 a wrong top_k or top_p is not refused: the answer is there before they are looked at.",
    "What does your function do first, and what at temperature 0 with top_k=0?",
)
def probs_greedy_before_the_check(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, 0.0) if temperature == 0 else core_probs(logits, temperature, top_k, top_p)


REFUSALS = (
    probs_greedy_before_the_check,
    probs_refusing_nothing,
    probs_of_any_temperature,
    probs_of_any_top_k,
    probs_of_any_top_p,
    probs_of_top_p_at_zero,
    probs_of_top_p_above_one,
    probs_of_false_zeros,
    probs_asserting,
)
