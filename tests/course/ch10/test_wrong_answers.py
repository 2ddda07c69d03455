"""Wrong answers to notebook 10, written in other ways than the known mistakes: each is refused and named."""

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import AnswerKey, judge
from nanokimi.generate import next_token_probs


def probs(cut_k, cut_p, heat=lambda logits, temperature, k: logits / temperature):
    """The three steps with these cuts of ordered probabilities; refusals and temperature 0 as they should be."""

    def answer(logits, temperature=1.0, top_k=None, top_p=None):
        if temperature == 0:
            return next_token_probs(logits, 0.0, top_k, top_p)
        next_token_probs(logits, temperature, top_k, top_p)  # refuses what is wrong
        ordered, ids = (
            heat(logits.float(), temperature, top_k).softmax(dim=0).sort(descending=True, stable=True)
        )
        if top_k is not None:
            ordered = cut_k(ordered, top_k)
            ordered = ordered / ordered.sum()
        if top_p is not None and top_p < 1:
            ordered = cut_p(ordered, top_p)
        return torch.zeros(len(logits)).index_put((ids,), ordered / ordered.sum())

    return answer


def first_k(ordered, k):
    return torch.where(torch.arange(len(ordered)) < k, ordered, 0)


def nucleus(ordered, p, least=1):
    n = max(least, int((ordered.cumsum(dim=0) < p).sum()) + 1)
    return torch.where(torch.arange(len(ordered)) < n, ordered, 0)


def nucleus_with_ties(ordered, p):
    kept = nucleus(ordered, p)
    return torch.where(ordered >= kept[kept > 0].min(), ordered, 0)


def at_two_temperatures(logits, temperature, k):
    return logits if k else logits / temperature


def text(restart, own=list, ends=lambda token, text, stop_id: token == stop_id, late=False):
    @torch.no_grad()
    def answer(
        model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None
    ):
        size = model.cfg.max_seq_len
        if not 1 <= len(prompt) <= size or max_new_tokens < 1:
            raise ValueError("no such text")
        generator = torch.Generator().manual_seed(seed)
        text, cache, new = own(prompt), model.new_cache(), list(prompt)
        if late:
            text = []
        for _ in range(max_new_tokens):
            if cache[0].length + len(new) > size:
                cache, text = model.new_cache(), restart(text, size)
                new = text[-max(1, size // 2) :] if late else text[:]
            logits = model(torch.tensor([new]), cache).logits[0, -1]
            if late:
                text = text + new
            row = next_token_probs(logits, temperature, top_k, top_p)
            token = int(torch.multinomial(row, 1, generator=generator))
            if not late:
                text.append(token)
            if ends(token, text, stop_id):
                return
            new = [token]
            yield token

    return answer


def newest_half(text, size):
    return text[-max(1, size // 2) :]


def newer_half_of_the_text(text, size):
    return text[len(text) // 2 :]


class CacheOfKeysAndValues:
    def __init__(self):
        self.length, self.keys, self.values = 0, None, None

    def append(self, *new):
        for name, t in zip(("keys", "values"), new):
            old = getattr(self, name)
            setattr(self, name, t.clone() if old is None else torch.cat([old, t], dim=-2))
        self.length += new[0].shape[-2]
        return self.entries()

    def entries(self):
        return tuple(t for t in (self.keys, self.values) if t is not None)

    @property
    def nbytes(self):
        return sum(t.nbytes for t in self.entries())


def asks_about_the_temperature_and_top_k(next_token_probs):
    got = next_token_probs(torch.tensor([3.0, 2.0, 1.0]), 0.5, 2)
    assert abs(float(got[0]) - 1 / (1 + torch.tensor(-2.0).exp())) < 1e-4


NAMED = [
    ("next_token_probs", probs(first_k, nucleus_with_ties), "probs_keeping_all_ties_of_the_nucleus"),
    ("next_token_probs", probs(first_k, lambda o, p: nucleus(o, p, least=2)), "probs_of_two_at_least"),
    ("next_token_probs", probs(first_k, lambda o, p: o * (o >= p * o[0])), "probs_of_min_p_itself"),
    ("next_token_probs", probs(first_k, nucleus, at_two_temperatures), "probs_without_temperature_at_top_k"),
    ("generate", text(newer_half_of_the_text), "generate_with_half_of_one_more"),
    ("generate", text(lambda text, size: text, late=True), "generate_adding_the_newest_too_late"),
    (
        "generate",
        text(newest_half, ends=lambda token, text, stop_id: stop_id in text),
        "generate_ended_by_the_prompt",
    ),
    ("test_sound_sampling", asks_about_the_temperature_and_top_k, "sampling_test_with_top_k"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[f"{n}-{m}" for n, _, m in NAMED])
def test_a_wrong_answer_is_named_as_what_it_is(name, answer, mistake):
    result = judge(find(name), answer)
    assert result.status == "failed"
    assert (result.diagnosis and result.diagnosis.name) == mistake, result


def test_the_same_steps_without_a_slip_pass():
    assert judge(find("next_token_probs"), probs(first_k, nucleus)).status == "passed"
    result = judge(find("generate"), text(newest_half))
    assert result.status == "passed", result


def test_a_cache_of_two_tensors_at_most_is_told_so():
    difference = judge(find("SequenceCache"), CacheOfKeysAndValues).difference
    assert difference and difference.says.startswith("append returns 2 tensors where 3 are stored;")


@pytest.mark.slow
def test_a_prompt_that_grows_is_said_to_be_the_callers():
    difference = judge(find("generate"), text(newest_half, own=lambda prompt: prompt)).difference
    assert difference and "`prompt`, which belongs to the caller" in difference.says


@pytest.mark.slow
def test_few_runs_tell_which_mistake_of_generate_it_is():
    """A learner waits for the first failing check: most known mistakes are told apart by one input."""
    exercise = find("generate")
    key = AnswerKey(exercise)
    judge(exercise, text(newer_half_of_the_text), key=key)
    runs = [known for known, _ in key._outcomes if known is not exercise.core]
    assert len(runs) < 3 * len(exercise.mistakes)
