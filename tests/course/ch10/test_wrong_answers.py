"""Wrong answers to notebook 10, written in other ways than the known mistakes: each is refused and named."""

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import AnswerKey, judge
from nanokimi.cache import SequenceCache
from nanokimi.generate import generate, next_token_probs
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


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


def drawing_from(chosen):
    """The core's text, drawn with what `chosen(top_k, top_p)` leaves of the two."""

    def answer(model, prompt, max_new_tokens, *, top_k=None, top_p=None, **settings):
        top_k, top_p = chosen(top_k, top_p)
        return generate(model, prompt, max_new_tokens, top_k=top_k, top_p=top_p, **settings)

    return answer


def cache_with_room(larger):
    """A cache whose room becomes `larger(room, need)` when it is too small."""

    class Cache(SequenceCache):
        def _grow(self, new, end):
            n = larger(self._room[0].shape[-2], end) if self._room else max(16, end)
            old, self._room = self.entries(), [t.new_empty(*t.shape[:-2], n, t.shape[-1]) for t in new]
            for room, kept in zip(self._room, old):
                room[..., : self.length, :] = kept

    return Cache


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


def asks_for_the_nucleus_of_temperature_one(next_token_probs):
    got = next_token_probs(torch.tensor([3.0, 2.0, 1.0, -1.0]), temperature=2.0, top_p=0.85)
    assert int((got > 0).sum()) == 2


def asks_about_a_cut_that_leaves_all(next_token_probs):
    logits = torch.tensor([3.0, 2.0, 1.0, -1.0])
    got = next_token_probs(logits, temperature=0.9, top_p=0.9999)
    assert torch.allclose(got, (logits / 0.9).softmax(dim=0), atol=1e-4)


def asks_that_equals_stay_together(next_token_probs):
    got = next_token_probs(torch.tensor([4.0, 1.0, 1.0, 1.0]), top_k=3)
    assert got[2] == got[3]


def asks_that_more_than_k_stay(next_token_probs):
    got = next_token_probs(torch.tensor([2.0, 1.0, 1.0, 0.0]), top_k=2)
    assert (got > 0).tolist() == [True, True, True, False]


def asks_about_a_tie_that_fits(next_token_probs):
    assert int((next_token_probs(torch.tensor([1.0, 1.0, 0.0]), top_k=2) > 0).sum()) == 2


def seeded_for_each_token(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None
):
    """The right text, but for what is drawn: a generator with a seed of its own for every token."""
    if max_new_tokens < 1:
        raise ValueError("no tokens")
    text, cache, new = list(prompt), model.new_cache(), list(prompt)
    next_token_probs(torch.zeros(3), temperature, top_k, top_p)
    if not 0 < len(prompt) <= model.cfg.max_seq_len:
        raise ValueError("the prompt")
    for step in range(max_new_tokens):
        if cache[0].length + len(new) > model.cfg.max_seq_len:
            cache, new = model.new_cache(), text[-max(1, model.cfg.max_seq_len // 2) :]
        with torch.no_grad():
            logits = model(torch.tensor([new]), cache).logits[0, -1]
        row = next_token_probs(logits, temperature, top_k, top_p)
        token = int(row.multinomial(1, generator=torch.Generator().manual_seed(seed + step)))
        if token == stop_id:
            return
        text, new = [*text, token], [token]
        yield token


def counts_all_tokens(next_token_probs):
    assert (next_token_probs(torch.tensor([3.0, 2.0, 1.0, -1.0]), 2.0, top_p=0.9) > 0).sum() == 4


def counts_two_tokens_of_two(next_token_probs):
    assert (next_token_probs(torch.tensor([4.0, 0.0]), temperature=0.5, top_p=0.6) > 0).tolist() == [True] * 2


NAMED = [
    ("generate", seeded_for_each_token, "generate_with_a_seed_for_each_token"),
    ("test_sound_sampling", counts_all_tokens, "sampling_test_of_a_nucleus_too_large"),
    ("test_sound_sampling", counts_two_tokens_of_two, "sampling_test_of_a_nucleus_too_large"),
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
    ("generate", drawing_from(lambda k, p: (None, p) if p else (k, p)), "generate_of_top_p_alone"),
    ("generate", drawing_from(lambda k, p: (k, None) if k else (k, p)), "generate_of_top_k_alone"),
    ("generate", text(newest_half, own=lambda prompt: []), "generate_forgetting_the_prompt"),
    ("test_sound_sampling", asks_about_the_temperature_and_top_k, "sampling_test_with_top_k"),
    (
        "test_sound_sampling",
        asks_for_the_nucleus_of_temperature_one,
        "sampling_test_of_the_broken_nucleus",
    ),
    ("test_sound_sampling", asks_about_a_cut_that_leaves_all, "sampling_test_of_temperature_alone"),
    ("test_sound_top_k", asks_that_equals_stay_together, "top_k_test_of_equal_shares_of_the_last"),
    ("test_sound_top_k", asks_that_more_than_k_stay, "top_k_test_of_the_broken_count"),
    ("test_sound_top_k", asks_about_a_tie_that_fits, "top_k_test_without_ties"),
]


SOME = sample(NAMED, 4)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[f"{n}-{m}" for n, _, m in SOME])
def test_a_wrong_answer_is_named_as_what_it_is(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.status == "failed"
    assert (result.diagnosis and result.diagnosis.name) == mistake, result


def test_the_same_steps_without_a_slip_pass():
    assert judge_answer("next_token_probs", probs(first_k, nucleus)).status == "passed"
    result = judge_answer("generate", text(newest_half))
    assert result.status == "passed", result


@pytest.mark.parametrize(
    "larger", [lambda room, need: 2 * room, lambda room, need: room + 1024, lambda room, need: 4096]
)
def test_a_room_that_grows_by_one_step_only_is_refused(larger):
    difference = judge_answer("SequenceCache", cache_with_room(larger)).difference
    assert difference and difference.says.startswith("It raises RuntimeError"), difference


@pytest.mark.parametrize("larger", [lambda room, need: max(2 * room, need), lambda room, need: need + 1])
def test_how_much_room_is_kept_is_free(larger):
    result = judge_answer("SequenceCache", cache_with_room(larger))
    assert result.status == "passed", result


def test_each_setting_of_a_text_counts_beside_the_others():
    for without in (("top_k",), ("top_p",), ("temperature",), ("top_k", "top_p"), ("temperature", "top_p")):

        def answer(model, prompt, n, without=without, **settings):
            three = {"temperature", "top_k", "top_p"} <= settings.keys()
            return generate(
                model, prompt, n, **{k: v for k, v in settings.items() if not (three and k in without)}
            )

        assert judge_answer("generate", answer).status == "failed", without


def test_a_cache_of_two_tensors_at_most_is_told_so():
    difference = judge_answer("SequenceCache", CacheOfKeysAndValues).difference
    assert difference and difference.says.startswith("append returns 2 tensors where 3 are stored;")


def test_a_prompt_that_grows_is_said_to_be_the_callers():
    difference = judge_answer("generate", text(newest_half, own=lambda prompt: prompt)).difference
    assert difference and "`prompt`, which belongs to the caller" in difference.says


def test_few_runs_tell_which_mistake_of_generate_it_is():
    """A learner waits for the first failing check: most known mistakes are told apart by one input."""
    exercise = find("generate")
    key = AnswerKey(exercise)
    judge(exercise, text(newer_half_of_the_text), key=key)
    runs = [known for known, _ in key._outcomes if known is not exercise.core]
    assert len(runs) < 3 * len(exercise.mistakes)
