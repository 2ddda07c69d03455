"""Right answers to notebook 10, written in other ways than the core, pass: bfloat16 and refusals in particular."""

import numpy as np
import pytest
import torch

from nanokimi.generate import next_token_probs
from tests.course.keys import judge_answer


def with_refusals(cut):
    """`cut(logits, T, k, p)` for settings that are in order; the rest as the docstring has it."""

    def probs(logits, temperature=1.0, top_k=None, top_p=None):
        if (
            temperature < 0
            or (top_k is not None and top_k < 1)
            or not 0 < (top_p or 1 if top_p is None else top_p) <= 1
        ):
            raise ValueError("no such setting")
        if temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
        return cut(logits, temperature, top_k or len(logits), 1.0 if top_p is None else top_p)

    probs.__name__ = cut.__name__
    return probs


@with_refusals
def in_float64(logits, temperature, k, p):
    z = logits.double() / temperature
    order = z.argsort(descending=True, stable=True)
    probs = z[order].softmax(dim=0)
    probs[k:] = 0
    probs = probs / probs.sum()
    if p < 1:
        before = torch.cat([torch.zeros(1), probs.cumsum(dim=0)[:-1]])
        probs = torch.where(before < p, probs, 0.0)
    return torch.zeros(len(z)).index_put((order,), (probs / probs.sum()).float())


@with_refusals
def in_numpy(logits, temperature, k, p):
    z = logits.float().numpy().astype(np.float64) / temperature
    weights = np.exp(z - z.max())
    kept = sorted(range(len(z)), key=lambda i: (-weights[i], i))[:k]
    total, reached = sum(weights[i] for i in kept), 0.0
    probs = torch.zeros(len(z))
    for i in kept:
        probs[i] = weights[i]
        reached += weights[i] / total
        if p < 1 and reached >= p:
            break
    return probs / probs.sum()


@with_refusals
def by_hiding_logits(logits, temperature, k, p):
    z = logits.float() / temperature
    order = z.argsort(descending=True, stable=True)
    z[order[k:]] = -torch.inf
    if p < 1:
        n = int((z.softmax(dim=0)[order].cumsum(dim=0) < p).sum()) + 1
        z[order[n:]] = -torch.inf
    return z.softmax(dim=0)


@with_refusals
def by_powers(logits, temperature, k, p):
    probs = logits.softmax(dim=0, dtype=torch.float32) ** (1 / temperature)
    ordered, ids = (probs / probs.sum()).sort(descending=True, stable=True)
    ordered[k:] = 0
    ordered = ordered / ordered.sum()
    if p < 1:
        ordered[ordered.cumsum(dim=0) - ordered >= p] = 0
    return torch.zeros_like(probs).scatter(0, ids, ordered / ordered.sum())


class CacheWithCat:
    def __init__(self):
        self.length, self.stored = 0, None

    def append(self, *new):
        old = self.stored or [t[..., :0, :] for t in new]
        self.stored = [torch.cat(pair, dim=-2) for pair in zip(old, new)]
        self.length += new[0].shape[-2]
        return self.entries()

    def entries(self):
        return tuple(self.stored)

    @property
    def nbytes(self):
        return sum(t.nbytes for t in self.stored)


class CacheWithRoom:
    def __init__(self):
        self.length, self.room = 0, []

    def append(self, *new):
        end = self.length + new[0].shape[-2]
        if not self.room:
            self.room = [t.new_empty(*t.shape[:-2], 4, t.shape[-1]) for t in new]
        while end > self.room[0].shape[-2]:
            self.room = [torch.cat([t, torch.empty_like(t)], dim=-2) for t in self.room]
        for room, t in zip(self.room, new):
            room[..., self.length : end, :] = t
        self.length = end
        return self.entries()

    def entries(self):
        return tuple(t[..., : self.length, :] for t in self.room)

    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self.entries())


def counting_tokens(model, prompt, n, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None):
    """The loop with a counter of its own, and the text collected before any of it is given out."""
    context, text, generator = model.cfg.max_seq_len, list(prompt), torch.Generator().manual_seed(seed)
    if not prompt or len(prompt) > context or n < 1:
        raise ValueError("no such text")
    cache, seen, new, written = model.new_cache(), 0, text, []
    with torch.no_grad():
        while len(written) < n:
            if seen + len(new) > context:
                cache, seen, new = model.new_cache(), 0, text[-max(1, context // 2) :]
            logits = model(torch.tensor(new)[None], cache).logits[:, -1].squeeze(0)
            seen += len(new)
            probs = next_token_probs(logits, temperature, top_k, top_p)
            token = torch.multinomial(probs, 1, generator=generator).item()
            if token == stop_id:
                break
            text, new, written = [*text, token], [token], [*written, token]
    return iter(written)


def a_hot_nucleus_is_larger(candidate):
    logits = torch.linspace(3, -3, 20)
    cold, hot = (int((candidate(logits, t, None, 0.8) > 0).sum()) for t in (0.5, 3.0))
    assert hot > cold


def the_lowest_id_wins(candidate):
    assert candidate(torch.ones(3), top_k=1).tolist() == [1.0, 0.0, 0.0]


def checked(model, prompt, max_new_tokens):
    if not 1 <= len(prompt) <= model.cfg.max_seq_len or max_new_tokens < 1:
        raise ValueError(f"{len(prompt)} tokens, {max_new_tokens} new ones")


def in_a_list(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None
):
    """All tokens at once, drawn with torch's own generator."""
    checked(model, prompt, max_new_tokens)
    torch.manual_seed(seed)
    cache, text, new = model.new_cache(), [*prompt], [*prompt]
    while len(text) < len(prompt) + max_new_tokens:
        if cache[0].length + len(new) > model.cfg.max_seq_len:
            cache, new = model.new_cache(), text[-max(1, model.cfg.max_seq_len // 2) :]
        with torch.no_grad():
            logits = model(torch.tensor([new]), cache).logits[0, -1]
        token = torch.multinomial(next_token_probs(logits, temperature, top_k, top_p), 1).item()
        if token == stop_id:
            break
        text.append(token)
        new = [token]
    return text[len(prompt) :]


@torch.no_grad()
def running_after_the_draw(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None
):
    """The model runs the last token too, though nobody reads its logits."""
    checked(model, prompt, max_new_tokens)
    generator, text, cache = torch.Generator(), torch.tensor([prompt]), model.new_cache()
    generator.manual_seed(seed)
    logits = model(text, cache).logits
    for _ in range(max_new_tokens):
        probs = next_token_probs(logits[0, -1], temperature, top_k, top_p)
        token = torch.multinomial(probs, 1, generator=generator)
        if stop_id is not None and int(token) == stop_id:
            return
        yield int(token)
        text, new = torch.cat([text, token[None]], dim=1), token[None]
        if cache[0].length + 1 > model.cfg.max_seq_len:
            cache, new = model.new_cache(), text[:, -max(1, model.cfg.max_seq_len // 2) :]
        logits = model(new, cache).logits


RIGHT = [
    ("next_token_probs", in_float64),
    ("next_token_probs", in_numpy),
    ("next_token_probs", by_hiding_logits),
    ("next_token_probs", by_powers),
    ("SequenceCache", CacheWithCat),
    ("SequenceCache", CacheWithRoom),
    ("generate", counting_tokens),
    ("generate", in_a_list),
    ("generate", running_after_the_draw),
    ("test_sound_sampling", a_hot_nucleus_is_larger),
    ("test_sound_top_k", the_lowest_id_wins),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def top_p_never_reaches_the_end(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature, top_k, None if top_p == 1 else top_p)


def in_the_format_of_the_logits(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature, top_k, top_p).to(logits.dtype)


def test_a_store_that_belongs_to_the_class_is_named():
    class CacheOfTheClass(CacheWithRoom):
        room: list = []  # noqa: RUF012  the mistake

        def __init__(self):
            pass

        @property
        def length(self):
            return self.room[0].shape[-2] if self.room else 0

        def append(self, *new):
            self.room[:] = [torch.cat(pair, dim=-2) for pair in zip(self.room, new)] or [
                t.clone() for t in new
            ]
            return tuple(self.room)

    says = judge_answer("SequenceCache", CacheOfTheClass).difference.says
    assert says.startswith("A new cache is not empty: it holds what another one has stored."), says


def test_the_bfloat16_case_asks_for_float32():
    assert judge_answer("next_token_probs", top_p_never_reaches_the_end).status == "passed"
    result = judge_answer("next_token_probs", in_the_format_of_the_logits)
    assert result.status == "failed" and "bfloat16" in repr(result) and "float32" in repr(result)


def test_a_value_error_that_is_not_asked_for_is_shown_with_its_text():
    def generate(model, prompt, n, **settings):
        raise ValueError("no room for token 13")

    def next_token_probs(logits, *settings, **more):
        raise ValueError("five logits are too many")

    assert "no room for token 13" in repr(judge_answer("generate", generate))
    assert "five logits are too many" in repr(judge_answer("next_token_probs", next_token_probs))


@pytest.mark.parametrize("name", ["test_sound_sampling", "test_sound_top_k"])
def test_a_broken_piece_of_a_hunt_is_broken_in_one_place(name):
    """A test of greedy, of refusals or of top-p alone must not find it: it would pass for the wrong reason."""

    def greedy(candidate):
        assert candidate(torch.tensor([1.0, 3.0]), temperature=0.0).tolist() == [0.0, 1.0]

    def refusal(candidate):
        try:
            candidate(torch.zeros(2), top_p=1.5)
        except ValueError:
            return
        raise AssertionError("top_p=1.5 is no setting")

    def nucleus(candidate):
        assert (candidate(torch.tensor([3.0, 0.0, 0.0]), top_p=0.5) > 0).tolist() == [True, False, False]

    for test in (greedy, refusal, nucleus):
        result = judge_answer(name, test)
        assert result.status == "failed" and result.difference.case == "the piece above", (test, result)
