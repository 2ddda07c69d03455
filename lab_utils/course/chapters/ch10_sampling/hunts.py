"""The bug hunts of notebook 10: a test that finds each bug, and the pieces that every answer is tried on."""

from collections.abc import Callable

import torch

from lab_utils.course.chapters.ch10_sampling import bugs
from lab_utils.course.doubles import changing, with_other_last_digits
from lab_utils.course.exercise import Case, give_nothing, plainly_wrong
from nanokimi.generate import next_token_probs


def test_sound_sampling(next_token_probs) -> None:
    """Logits 2, 1, 0: at temperature 2 the likeliest two have 0.506 + 0.307 = 0.814, so p = 0.82 needs all three.
    At temperature 1 they have 0.665 + 0.245 = 0.910, and two are enough."""
    probs = next_token_probs(torch.tensor([2.0, 1.0, 0.0]), temperature=2.0, top_p=0.82)
    assert (probs > 0).all()


def test_sound_top_k(next_token_probs) -> None:
    """Of five logits three tie for the second place: top_k=2 leaves two tokens all the same."""
    assert (next_token_probs(torch.tensor([0.0, 1.0, 2.0, 1.0, 1.0]), top_k=2) > 0).sum() == 2


def probs_in_a_loop(logits, temperature=1.0, top_k=None, top_p=None):
    """A sound version, token by token."""
    bugs.check_settings(temperature, top_k, top_p)
    if temperature == 0:
        return torch.eye(len(logits))[int(logits.argmax())]
    weights = (logits.double() / temperature - (logits.double() / temperature).max()).exp()
    order = sorted(range(len(logits)), key=lambda i: (-weights[i].item(), i))[:top_k]
    total, kept, reached = sum(weights[i] for i in order), [], 0.0
    for i in order:
        kept.append(i)
        reached += weights[i] / total
        if top_p is not None and reached >= top_p and top_p < 1:
            break
    probs = torch.zeros(len(logits))
    for i in kept:
        probs[i] = weights[i] / sum(weights[j] for j in kept)
    return probs


def probs_of_divided_logits(logits, temperature=1.0, top_k=None, top_p=None):
    """A sound version that divides by the temperature itself."""
    bugs.check_settings(temperature, top_k, top_p)
    if temperature == 0:
        return next_token_probs(logits, 0.0)
    return next_token_probs(logits.float() / temperature, 1.0, top_k, top_p)


def _rounded_down(probs, *_):
    """Probabilities one rounding smaller, equal ones alike; shares of few bits, such as 1 and 1/2, are exact."""
    return torch.where(probs * 16 == (probs * 16).round(), probs, probs.nextafter(torch.zeros_like(probs)))


def _zeros(logits, temperature=1.0, top_k=None, top_p=None):
    return 0 * logits


def _nans(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.full_like(logits, torch.nan)


def _uniform(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.full_like(logits, 1 / len(logits))


def _uncut(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature)


def _without_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature, None, top_p)


def _without_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature, top_k)


def _likeliest(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.eye(len(logits))[int(logits.argmax())]


def _cooled(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature and 1 / temperature, top_k, top_p)


def _higher_of_equals(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


def _sampling_cases(piece: Callable, hidden: Callable) -> list[Case]:
    return [
        Case("the piece above", (piece,)),
        Case("a hidden piece with the same fault, in other words", (hidden,)),
        *with_other_last_digits(
            [
                Case("the core's next_token_probs", (next_token_probs,)),
                Case("a sound piece that goes token by token", (probs_in_a_loop,)),
                Case("a sound piece that works in steps", (probs_of_divided_logits,)),
            ],
            changing(_rounded_down),
        ),
        Case("a piece that gives zeros", (_zeros,), judged=False),
        Case("a piece that gives no numbers", (_nans,), judged=False),
        Case("a piece that gives every token the same", (_uniform,), judged=False),
        Case("a piece that never cuts", (_uncut,), judged=False),
        Case("a piece that never cuts to k", (_without_top_k,), judged=False),
        Case("a piece that never cuts to p", (_without_top_p,), judged=False),
        Case("a piece that is always greedy", (_likeliest,), judged=False),
        Case("a piece that multiplies by the temperature", (_cooled,), judged=False),
        Case("a piece that keeps the higher ids of equals", (_higher_of_equals,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
        *plainly_wrong(next_token_probs),
    ]


def sampling_cases() -> list[Case]:
    return _sampling_cases(bugs.probs_of_a_colleague, bugs.probs_heated_last)


def top_k_cases() -> list[Case]:
    return _sampling_cases(bugs.probs_of_another_colleague, bugs.probs_of_all_who_tie)
