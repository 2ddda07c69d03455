"""The exercises of notebook 10: from logits to text."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.chapters.ch10_sampling import bugs
from lab_utils.course.chapters.ch10_sampling.mistakes import sampling as mistakes
from lab_utils.course.chapters.ch10_sampling.mistakes import weak_tests as test_mistakes
from lab_utils.course.exercise import Case, Exercise, Parts, Property, parts_of, verdict
from nanokimi.attention import SequenceCache
from nanokimi.config import GPTConfig
from nanokimi.generate import generate, next_token_probs
from nanokimi.model import build_model
from nanokimi.yaml_config import load_model_config


def _or_its_refusal(core: Any, implementation: Any, *args: Any, **settings: Any) -> Parts:
    """The result; or, where the core refuses its input with a ValueError, that the implementation does so too."""
    try:
        return parts_of(implementation(*args, **settings))
    except ValueError:
        # Anywhere else a ValueError is a finding, whose text the learner has to see.
        if not _refuses(core, *args, **settings):
            raise
        return {"result": "refused with a ValueError"}


def _refuses(core: Any, *args: Any, **settings: Any) -> bool:
    try:
        parts_of(core(*args, **settings))
    except ValueError:
        return True
    return False


# ---------------------------------------------------------------- next_token_probs


def _observe_probs(implementation: Any, logits: Tensor, settings: dict) -> Parts:
    parts = _or_its_refusal(next_token_probs, implementation, logits, **settings)
    if isinstance(parts.get("result"), Tensor):
        left = parts["result"] > 0
        # At 1, how many tokens are lost depends on how the probabilities are added up: that any is lost says enough.
        if settings.get("top_p") == 1.0:
            parts["every token can be drawn"] = bool(left.all())
        else:
            parts["tokens left"] = int(left.sum())
    return parts


def _probs_cases() -> list[Case]:
    some = torch.tensor([1.0, 3.0, 0.5, 2.0, -1.0])
    many = 2 * torch.randn(300, generator=torch.Generator().manual_seed(0))
    settings = [
        ("the distribution as it is", some, {}),
        ("greedy", some, {"temperature": 0.0}),
        ("greedy, two tokens tie", torch.tensor([1.0, 2.0, 2.0]), {"temperature": 0.0}),
        ("a low temperature", some, {"temperature": 0.5}),
        ("top_k=2", some, {"top_k": 2}),
        ("top_k=1", some, {"top_k": 1}),
        ("top_k=2 of four equal logits", torch.zeros(4), {"top_k": 2}),
        ("top_p=0.7", some, {"top_p": 0.7}),
        ("top_p smaller than the likeliest token", some, {"top_p": 0.1}),
        ("top_p=0.5 of two equal logits", torch.zeros(2), {"top_p": 0.5}),
        ("top_p=1 leaves every token, however unlikely", torch.linspace(0, -40, 60), {"top_p": 1.0}),
        ("temperature 2 and top_p=0.7", some, {"temperature": 2.0, "top_p": 0.7}),
        ("temperature 2, top_k=3 and top_p=0.7", some, {"temperature": 2.0, "top_k": 3, "top_p": 0.7}),
        ("more tokens asked for than there are", some, {"top_k": 9}),
        ("three hundred tokens", many, {"temperature": 0.8, "top_k": 50, "top_p": 0.9}),
        ("bfloat16 logits", many.bfloat16(), {"temperature": 0.8, "top_p": 0.9}),
        ("temperature -1", some, {"temperature": -1.0}),
        ("top_k=0", some, {"top_k": 0}),
        ("top_p=0", some, {"top_p": 0.0}),
        ("top_p=1.5", some, {"top_p": 1.5}),
    ]
    return [Case(says, (logits, chosen)) for says, logits, chosen in settings]


def _sums_to_one(parts: Parts, *_: Any) -> bool:
    return isinstance(parts["result"], str) or abs(parts["result"].sum().item() - 1) < 1e-5


def _as_many_as_k(parts: Parts, logits: Tensor, settings: dict) -> bool:
    if isinstance(parts["result"], str):
        return True
    return int((parts["result"] > 0).sum()) <= settings.get("top_k", len(logits))


# ---------------------------------------------------------------- SequenceCache


def _observe_cache(implementation: Any, *steps: tuple[Tensor, ...]) -> Parts:
    """Everything that a caller can see while it appends."""
    cache, parts = implementation(), {}
    for number, new in enumerate(steps, 1):
        whole = cache.append(*new)
        parts |= {f"tensor {i} after append {number}": t.clone() for i, t in enumerate(whole)}
        parts |= {
            f"length after append {number}": cache.length,
            f"nbytes after append {number}": cache.nbytes,
        }
        new[0].zero_()  # the caller may use its tensor again
    parts |= {f"entry {i} at the end": t for i, t in enumerate(cache.entries())}
    return parts


def _cache_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)

    def new(*tokens: int, width: int = 2, heads: int = 2, n_tensors: int = 1, dtype=torch.float32) -> tuple:
        shapes = [(1, heads, t, width) for t in tokens]
        return tuple(
            tuple(torch.randn(s, generator=generator, dtype=dtype) for _ in range(n_tensors)) for s in shapes
        )

    return [
        Case("one token", new(1)),
        Case("two tokens, then one", new(2, 1)),
        Case("keys and values", new(3, 1, 1, n_tensors=2)),
        Case("many single tokens, so that room runs out more than once", new(*[1] * 20)),
        Case("float64, and a long piece after a short one", new(1, 30, 2, dtype=torch.float64)),
        Case("wide entries of many heads", new(1, 1, 1, 4, width=9, heads=9)),
        Case("latents of three dimensions", tuple((t[0][:, 0],) for t in new(2, 1, 4, width=5))),
    ]


# ---------------------------------------------------------------- generate


def _observe_generate(implementation: Any, model: Any, prompt: list[int], n: int, settings: dict) -> Parts:
    return _or_its_refusal(generate, implementation, model, prompt, n, **settings)


def _small_model(kind: str, context: int = 12) -> torch.nn.Module:
    """A random model whose next token depends strongly on what came before."""
    if kind == "gpt":
        cfg = GPTConfig(vocab_size=11, max_seq_len=context, d_model=16, n_layers=2, n_heads=2)
    else:
        cfg = replace(load_model_config("kimi-smoke"), vocab_size=11, max_seq_len=context)
    model = build_model(cfg).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0.0, 0.35, generator=generator)
    return model


def _generate_cases() -> list[Case]:
    gpt, kimi = _small_model("gpt"), _small_model("kimi")
    greedy = {"temperature": 0.0}
    stop = list(generate(gpt, [1, 2, 3], 6, temperature=0.0))[3]
    drawn = list(generate(gpt, [1, 2, 3], 9, seed=5))
    settings = [
        ("one token, greedy", gpt, [4], 1, greedy),
        ("a prompt of three, greedy", gpt, [1, 2, 3], 5, greedy),
        ("drawn with a seed", gpt, [1, 2, 3], 8, {"seed": 3}),
        (
            "Kimi, with temperature, top_k and top_p",
            kimi,
            [5, 6],
            8,
            {"temperature": 0.7, "top_k": 5, "top_p": 0.9},
        ),
        ("a stop token, greedy", gpt, [1, 2, 3], 6, {"temperature": 0.0, "stop_id": stop}),
        ("a stop token that is drawn", gpt, [1, 2, 3], 9, {"seed": 5, "stop_id": drawn[4]}),
        ("past the end of the context", gpt, [1, 2, 3], 20, {"seed": 1}),
        ("a prompt that fills the context, Kimi", kimi, [i % 11 for i in range(12)], 4, greedy),
        ("a context of one token", _small_model("gpt", context=1), [3], 3, greedy),
        ("an empty prompt", gpt, [], 3, greedy),
        ("a prompt longer than the context", gpt, [1] * 13, 3, greedy),
        ("no token asked for", gpt, [1], 0, greedy),
        ("top_p=0", gpt, [1], 2, {"top_p": 0.0}),
    ]
    return [Case(says, (model, prompt, n, chosen)) for says, model, prompt, n, chosen in settings]


# ---------------------------------------------------------------- find the bug


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


def _zeros(logits, temperature=1.0, top_k=None, top_p=None):
    return 0 * logits


def _nans(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.full_like(logits, torch.nan)


def _uniform(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.full_like(logits, 1 / len(logits))


def _uncut(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature)


def _likeliest(logits, temperature=1.0, top_k=None, top_p=None):
    return torch.eye(len(logits))[int(logits.argmax())]


def _cooled(logits, temperature=1.0, top_k=None, top_p=None):
    return next_token_probs(logits, temperature and 1 / temperature, top_k, top_p)


def _sampling_cases(piece: Any) -> list[Case]:
    return [
        Case("the broken piece", (piece,)),
        Case("the core's next_token_probs", (next_token_probs,)),
        Case("a sound version, token by token", (probs_in_a_loop,)),
        Case("a piece that gives zeros", (_zeros,), judged=False),
        Case("a piece that gives no numbers", (_nans,), judged=False),
        Case("a piece that gives every token the same", (_uniform,), judged=False),
        Case("a piece that never cuts", (_uncut,), judged=False),
        Case("a piece that is always greedy", (_likeliest,), judged=False),
        Case("a piece that multiplies by the temperature", (_cooled,), judged=False),
    ]


EXERCISES = (
    Exercise(
        name="next_token_probs",
        notebook="10",
        core=next_token_probs,
        cases=_probs_cases,
        observe=_observe_probs,
        mistakes=mistakes.NEXT_TOKEN_PROBS,
        properties=(
            Property("the probabilities sum to 1", _sums_to_one),
            Property("no more than top_k tokens are left", _as_many_as_k),
        ),
        hints=(
            "Divide by the temperature, sort, cut, put back. Temperature 0 and wrong settings come before all that.",
            "With the logits in falling order top-k is a slice, and top-p a comparison with a running sum.",
            "A token stays in the nucleus while the sum of those before it is below p; then divide by what is left.",
        ),
        moral="Temperature, then top-k, then top-p: each works on the distribution that the one before has left.",
    ),
    Exercise(
        name="SequenceCache",
        notebook="10",
        core=SequenceCache,
        cases=_cache_cases,
        observe=_observe_cache,
        writes_into_arguments=True,
        mistakes=mistakes.SEQUENCE_CACHE,
        hints=(
            "Begin with torch.cat along dimension -2; get `length` and `nbytes` right; then make it cheap.",
            "torch.cat copies the whole past for every token. Keep a larger tensor, write into it, return a slice.",
            "When the room is too small take twice as much as is needed; then a token costs constant time on average.",
        ),
        moral="Doubling the room makes appending cheap on average, and what counts as stored is the slice.",
    ),
    Exercise(
        name="generate",
        notebook="10",
        core=generate,
        cases=_generate_cases,
        observe=_observe_generate,
        mistakes=mistakes.GENERATE,
        hints=(
            "Feed the prompt once, with model.new_cache(); afterwards feed only the token that is new.",
            "The last row of logits tells the next token: next_token_probs, then torch.multinomial with one generator.",
            "When cache[0].length + len(new) passes max_seq_len: a new cache, and the newest half of the text is new.",
        ),
        moral="Every token goes through the model once; the cache holds what later tokens need of it.",
    ),
    Exercise(
        name="test_sound_sampling",
        notebook="10",
        core=test_sound_sampling,
        cases=lambda: _sampling_cases(bugs.probs_of_a_colleague),
        observe=verdict,
        mistakes=test_mistakes.SAMPLING_TESTS,
        hints=(
            "Three settings, three steps. Is their order the one of the docstring of next_token_probs?",
            "Choose few logits, a temperature other than 1 and a top_p, and count the tokens that are left.",
            "Logits 2, 1, 0 at temperature 2: the first two have 0.814 together. What must p = 0.82 leave?",
        ),
        moral="Hot distributions need a larger nucleus. Cut before heating, and the temperature loses half its effect.",
    ),
    Exercise(
        name="test_sound_top_k",
        notebook="10",
        core=test_sound_top_k,
        cases=lambda: _sampling_cases(bugs.probs_of_another_colleague),
        observe=verdict,
        mistakes=test_mistakes.TOP_K_TESTS,
        hints=(
            "Which logits make `smaller than the k-th` and `not among the first k` different things?",
            "Give the second place to several tokens and ask for top_k=2.",
            "Count the tokens with a probability above 0: it must be exactly 2.",
        ),
        moral="A threshold keeps all that tie with it. In bfloat16, with its few digits, ties are common.",
    ),
)
