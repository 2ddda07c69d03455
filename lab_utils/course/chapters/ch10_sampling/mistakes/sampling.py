"""Wrong answers to the exercises of notebook 10: what is drawn from, the cache, the loop."""

import itertools

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import SequenceCache
from nanokimi.generate import next_token_probs as core_probs

# ---------------------------------------------------------------- next_token_probs


@mistake(
    "The logits are multiplied by the temperature; they have to be divided by it.",
    "A high temperature should make the distribution flatter. Try temperature 2 on logits [2, 0].",
)
def probs_multiplying_by_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits if temperature == 0 else logits * temperature**2, temperature, top_k, top_p)


@mistake(
    "The temperature comes after top-p: the nucleus is chosen from the distribution at temperature 1.",
    "At temperature 2 the distribution is flatter. Should the nucleus of p = 0.7 then hold more tokens, or as many?",
)
def probs_with_temperature_last(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    kept = core_probs(logits, 1.0, top_k, top_p)
    return (kept.log() / temperature).softmax(dim=-1)


@mistake(
    "Top-k keeps every token that ties with the k-th: more than k tokens are left.",
    "Four equal logits and top_k=2: how many tokens may have a probability above 0?",
)
def probs_keeping_all_ties(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None and temperature > 0:
        smallest = logits.topk(min(top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return core_probs(logits, temperature, None, top_p)


@mistake(
    "What is left after top-k or top-p is not normalised again: the probabilities sum to less than 1.",
    "Add up what your function returns for top_k=1.",
)
def probs_that_do_not_sum_to_one(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    kept = core_probs(logits, temperature, top_k, top_p) > 0
    return (logits.float() / temperature).softmax(dim=-1) * kept


@mistake(
    "The token that brings the sum to p is dropped. It belongs to the nucleus: the kept tokens must reach p.",
    "One token of probability 0.9 and p = 0.5: what is left with your rule?",
)
def probs_stopping_before_p(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_p is None or top_p == 1:
        return core_probs(logits, temperature, top_k)
    ordered, ids = core_probs(logits, temperature, top_k).sort(descending=True, stable=True)
    stays = ordered.cumsum(dim=-1) <= top_p
    stays[0] = True
    ordered = ordered * stays
    return torch.zeros_like(ordered).scatter(0, ids, ordered / ordered.sum())


@mistake(
    "The probabilities are in the order of their size, no longer in the order of the tokens.",
    "Entry i must be the probability of token i.",
)
def probs_left_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k, top_p).sort(descending=True).values


@mistake(
    "Temperature 0 is taken for 1. It stands for greedy: everything on the likeliest token.",
    "What does the docstring say of temperature 0?",
)
def probs_with_zero_as_one(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature or 1.0, top_k, top_p)


@mistake(
    "Top-p is measured before top-k has cut: the nucleus is too large.",
    "After top-k the rest is a distribution of its own. Of what sum is p a share?",
)
def probs_with_top_p_before_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    return core_probs(core_probs(logits, temperature, None, top_p).log(), 1.0, top_k)


@mistake(
    "At a tie top-k does not keep the lower ids. torch.topk promises no order among equals; a stable sort does.",
    "Four equal logits and top_k=2: which two tokens does the docstring ask for?",
)
def probs_keeping_the_higher_ids(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


@mistake(
    "With top_p=1 unlikely tokens are lost: added up in floating point, the likely ones reach 1 before the end.",
    "How many of sixty tokens should top_p=1 leave, and what is the sum of the first fifty?",
)
def probs_cutting_at_one(logits, temperature=1.0, top_k=None, top_p=None):
    probs = core_probs(logits, temperature, top_k, top_p)
    if top_p != 1:
        return probs
    ordered, ids = probs.sort(descending=True, stable=True)
    reached = torch.tensor(list(itertools.accumulate(ordered.tolist())), dtype=torch.float64)
    ordered[int((reached < 1).sum()) + 1 :] = 0
    return torch.zeros_like(probs).scatter(0, ids, ordered)


@mistake(
    "The logits are divided by the temperature in their own format. In bfloat16 that rounds them to three digits.",
    "At which place in your function do the logits become float32?",
)
def probs_dividing_in_bfloat16(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits / temperature, 1.0, top_k, top_p)


NEXT_TOKEN_PROBS = (
    probs_multiplying_by_temperature,
    probs_with_temperature_last,
    probs_keeping_all_ties,
    probs_that_do_not_sum_to_one,
    probs_stopping_before_p,
    probs_left_sorted,
    probs_with_zero_as_one,
    probs_with_top_p_before_top_k,
    probs_keeping_the_higher_ids,
    probs_cutting_at_one,
    probs_dividing_in_bfloat16,
)

# ---------------------------------------------------------------- SequenceCache


@mistake(
    "Only the newest entries come back; attention needs all of them, from the first token on.",
    "After appending two tokens and then one: how many keys must the new query see?",
)
class CacheOfTheNewest(SequenceCache):
    def append(self, *new):
        super().append(*new)
        return new


@mistake(
    "New entries come before the old ones. Time runs to the right: the newest is last.",
    "In which order do the keys stand that the mask supposes?",
)
class CacheBackwards(SequenceCache):
    def append(self, *new):
        if self._room:
            old = self.entries()
            self._room, self.length = [], 0
            new = tuple(torch.cat(pair, dim=-2) for pair in zip(new, old))
        return super().append(*new)


@mistake(
    "The length is not moved on: each new token overwrites the one before.",
    "What is `length` after three tokens?",
)
class CacheThatForgets(SequenceCache):
    def append(self, *new):
        self._room, self.length = [], 0
        return super().append(*new)


@mistake(
    "`nbytes` counts the room that was reserved, not what is stored.",
    "Three numbers of four bytes are stored. What should `nbytes` say?",
)
class CacheCountingRoom(SequenceCache):
    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self._room)


@mistake(
    "`nbytes` counts numbers, not bytes.",
    "How many bytes has a float32, and how many a float64?",
)
class CacheCountingNumbers(SequenceCache):
    @property
    def nbytes(self):
        return sum(t.numel() for t in self.entries())


@mistake(
    "The entries are kept as handed over, not copied: when the caller writes into its tensor, the past changes.",
    "What does the cache hold after the caller has reused its buffer?",
)
class CacheOfReferences(SequenceCache):
    def __init__(self):
        super().__init__()
        self._pieces = []

    def append(self, *new):
        self._pieces.append(new)
        self.length += new[0].shape[-2]
        return self.entries()

    def entries(self):
        return tuple(torch.cat(column, dim=-2) for column in zip(*self._pieces))


@mistake(
    "The first entries are kept as handed over, not copied: when the caller writes into its tensor, the past changes.",
    "torch.cat makes a new tensor. What does your first append make?",
)
class CacheWithTheFirstByReference(CacheOfReferences.wrong):
    def append(self, *new):
        return super().append(*(tuple(t.clone() for t in new) if self._pieces else new))


@mistake(
    "`length` counts the calls of append. It should count the tokens.",
    "A prompt of three tokens comes in one call. What is `length` after it?",
)
class CacheCountingCalls(CacheOfReferences.wrong):
    def append(self, *new):
        whole = super().append(*(t.clone() for t in new))
        self.length = len(self._pieces)
        return whole


SEQUENCE_CACHE = (
    CacheOfTheNewest,
    CacheBackwards,
    CacheThatForgets,
    CacheCountingRoom,
    CacheCountingNumbers,
    CacheOfReferences,
    CacheWithTheFirstByReference,
    CacheCountingCalls,
)

# ---------------------------------------------------------------- generate


def decode(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None, **wrong
):
    """The loop written out, with the places where a mistake goes."""
    context = model.cfg.max_seq_len
    if wrong.get("refuse", True) and (not 1 <= len(prompt) <= context or max_new_tokens < 1):
        raise ValueError
    generator = torch.Generator().manual_seed(seed)
    tokens, cache, new = list(prompt), model.new_cache(), list(prompt)
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            if cache[0].length + len(new) > context:
                kept = context if wrong.get("sliding") else max(1, context // 2)
                cache, new = model.new_cache(), tokens[-kept:]
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
    "The logits of the first position are used. The next token is told by the last one.",
    "A prompt of three tokens gives three rows of logits. Which row speaks of the fourth token?",
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
    "The generator is made anew for every token, so every draw uses the same random number.",
    "How often should manual_seed be called in one text?",
)
def generate_with_a_fresh_seed_each_time(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, fresh_generator=True)


@mistake(
    "The stop token is given out as well; the text should end before it.",
    "What does the docstring say about `stop_id`?",
)
def generate_with_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, with_stop=True)


@mistake(
    "`stop_id` is not looked at: the text goes on behind the stop token.",
    "Follow the argument `stop_id` through your code.",
)
def generate_past_the_stop_token(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, without_stop=True)


@mistake(
    "The whole text is fed again with a cache that already holds it: every token is seen many times over.",
    "After the first call the cache knows the prompt. What is new?",
)
def generate_feeding_everything_again(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, whole_text_again=True)


@mistake(
    "At the end of the context the window slides on by one token, and nearly all of the text is read again each time.",
    "How many tokens should be read again when the context is full, and how many forgotten?",
)
def generate_with_a_sliding_window(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, sliding=True)


@mistake(
    "Wrong arguments are not refused: no prompt, one that is too long, or no token asked for.",
    "For which arguments does the docstring promise a ValueError, and when does yours come?",
)
def generate_refusing_nothing(model, prompt, max_new_tokens, **settings):
    return decode(model, prompt, max_new_tokens, **settings, refuse=False)


GENERATE = (
    generate_from_the_first_position,
    generate_always_greedy,
    generate_with_a_fresh_seed_each_time,
    generate_with_the_stop_token,
    generate_past_the_stop_token,
    generate_feeding_everything_again,
    generate_with_a_sliding_window,
    generate_refusing_nothing,
)
