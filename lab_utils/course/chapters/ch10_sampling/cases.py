"""What the answers to the exercises of notebook 10 are tried on, and how they are looked at."""

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import REFUSED, Case, Parts, Problem, parts_of
from lab_utils.show.words import plural
from nanokimi.config import GPTConfig, KimiConfig
from nanokimi.generate import generate, next_token_probs
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config

COUNTS_ITS_ROOM = (
    "`nbytes` counts the whole room of the tensors that the cache keeps, not only what is stored in it."
)
WRONG_ARGUMENTS = "arguments that must be refused"


def _or_its_refusal(must_refuse: bool, implementation: Any, *args: Any, **settings: Any) -> Parts:
    """The parts of the result; or, where the core refuses its input with a ValueError, whether the other one does."""
    try:
        parts = parts_of(implementation(*args, **settings))
    except (ValueError, AssertionError) as error:
        # Anywhere else it is a finding, whose text the learner has to see.
        if not must_refuse:
            raise
        return {
            WRONG_ARGUMENTS: REFUSED if isinstance(error, ValueError) else "refused with an AssertionError"
        }
    return {WRONG_ARGUMENTS: "let through"} if must_refuse else parts


def _refuses(core: Any, *args: Any, **settings: Any) -> bool:
    try:
        core(*args, **settings)
    except ValueError:
        return True
    return False


def observe_probs(implementation: Any, logits: Tensor, settings: dict) -> Parts:
    must_refuse = _refuses(next_token_probs, logits, **settings)
    parts = _or_its_refusal(must_refuse, implementation, logits, **settings)
    if isinstance(parts.get("result"), Tensor):
        left = parts["result"] > 0
        # At 1, how many tokens are lost depends on how the probabilities are added up: that any is lost says enough.
        if settings.get("top_p") == 1.0:
            parts["every token can be drawn"] = bool(left.all())
        else:
            parts["tokens left"] = int(left.sum())
    return parts


def probs_cases() -> list[Case]:
    some = torch.tensor([1.0, 3.0, 0.5, 2.0, -1.0])
    many = 2 * torch.randn(300, generator=torch.Generator().manual_seed(0))
    settings = [
        ("the distribution as it is", some, {}),
        ("greedy", some, {"temperature": 0.0}),
        ("greedy, all logits below zero", torch.tensor([-3.0, -2.0, -1.0]), {"temperature": 0.0}),
        ("greedy, two tokens tie", torch.tensor([1.0, 2.0, 2.0]), {"temperature": 0.0}),
        ("a low temperature", some, {"temperature": 0.5}),
        ("top_k=2", some, {"top_k": 2}),
        ("top_k=1", some, {"top_k": 1}),
        ("top_k=2 of four equal logits", torch.zeros(4), {"top_k": 2}),
        ("top_p=0.7", some, {"top_p": 0.7}),
        ("top_p smaller than the likeliest token", some, {"top_p": 0.1}),
        ("top_p=0.5 of two equal logits", torch.zeros(2), {"top_p": 0.5}),
        ("top_p=0.6 of four equal logits", torch.zeros(4), {"top_p": 0.6}),
        ("top_p=1 leaves every token, however unlikely", torch.linspace(0, -40, 60), {"top_p": 1.0}),
        ("temperature 2 and top_p=0.7", some, {"temperature": 2.0, "top_p": 0.7}),
        ("temperature 2, top_k=3 and top_p=0.7", some, {"temperature": 2.0, "top_k": 3, "top_p": 0.7}),
        ("temperature 2, top_k=2 and top_p=0.9", some, {"temperature": 2.0, "top_k": 2, "top_p": 0.9}),
        ("top_k above the number of tokens", some, {"top_k": 9}),
        ("three hundred tokens", many, {"temperature": 0.8, "top_k": 50, "top_p": 0.9}),
        ("bfloat16 logits", many.bfloat16(), {"temperature": 0.8, "top_p": 0.9}),
    ]
    wrong = [
        ("temperature -1", some, {"temperature": -1.0}),
        ("top_k=0", some, {"top_k": 0}),
        ("top_p=0", some, {"top_p": 0.0}),
        ("top_p=1.5", some, {"top_p": 1.5}),
        ("top_k=0 at temperature 0", some, {"temperature": 0.0, "top_k": 0}),
        ("top_p=2 at temperature 0", some, {"temperature": 0.0, "top_p": 2.0}),
    ]
    return [Case(says, (logits, chosen)) for says, logits, chosen in settings] + [
        Case(says, (logits, chosen), aside=True) for says, logits, chosen in wrong
    ]


def sums_to_one(parts: Parts, *_: Any) -> bool:
    return "result" not in parts or abs(parts["result"].sum().item() - 1) < 1e-4


def as_many_as_k(parts: Parts, logits: Tensor, settings: dict) -> bool:
    if "result" not in parts:
        return True
    return int((parts["result"] > 0).sum()) <= settings.get("top_k", len(logits))


def observe_cache(implementation: Any, beside: bool, *steps: tuple[Tensor, ...]) -> Parts:
    """Everything that a caller can see while it appends. `beside`: the cache of another layer grows beside it."""
    cache, parts = implementation(), {}
    other = implementation() if beside else None
    append = "a's append" if beside else "append"  # as the panel calls it
    if isinstance(cache.length, int) and cache.length:
        raise Problem(
            "A new cache is not empty: it holds what another one has stored. What belongs to one cache is set in "
            "__init__, as `self.x = ...`, and not in the class."
        )
    for number, new in enumerate(steps, 1):
        if other is not None:
            other.append(*(torch.zeros_like(t) for t in new))
        whole = cache.append(*new)
        if isinstance(whole, tuple | list) and len(whole) != len(new):
            raise Problem(
                f"append returns {plural(len(whole), 'tensor')} where {len(new)} are stored; it should return each."
            )
        if callable(cache.nbytes):
            raise Problem(
                "`nbytes` is a method. It should be a property: `@property` stands above it in the stub."
            )
        if _counts_its_room(cache, sum(t.nbytes for step in steps[:number] for t in step)):
            raise Problem(COUNTS_ITS_ROOM)
        parts |= {f"tensor {i} after {append} {number}": t.clone() for i, t in enumerate(whole)}
        parts |= {
            f"length after {append} {number}": cache.length,
            f"nbytes after {append} {number}": cache.nbytes,
        }
        for t in new:
            t.zero_()  # the caller may use its tensors again
    parts |= {f"entry {i} at the end": t for i, t in enumerate(cache.entries())}
    return parts


def _counts_its_room(cache: Any, n_stored: int) -> bool:
    """Whether `nbytes` is the size of all tensors that the cache keeps, which have room for more than is stored."""
    held = [
        each
        for value in vars(cache).values()
        for each in (value if isinstance(value, list | tuple) else [value])
    ]
    held = [each for each in held if isinstance(each, Tensor)]
    has_room = isinstance(cache.length, int) and any(t.ndim > 1 and t.shape[-2] > cache.length for t in held)
    return has_room and cache.nbytes == sum(t.nbytes for t in held) > n_stored


def cache_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)

    def new(*tokens: int, width: int = 2, heads: int = 2, n_tensors: int = 1, dtype=torch.float32) -> tuple:
        shapes = [(1, heads, t, width) for t in tokens]
        return tuple(
            tuple(torch.randn(s, generator=generator, dtype=dtype) for _ in range(n_tensors)) for s in shapes
        )

    pairs = [tuple(t.repeat(2, 1, 1, 1) for t in step) for step in new(2, 1, 2, n_tensors=2)]
    alone = [
        ("one token", new(1)),
        ("two tokens, then one", new(2, 1)),
        ("keys and values", new(3, 1, 1, n_tensors=2)),
        ("many single tokens, so that room runs out more than once", new(*[1] * 20)),
        ("float64, and a long piece after a short one", new(1, 30, 2, dtype=torch.float64)),
        ("three tensors", new(2, 1, n_tensors=3)),
        ("wide entries of many heads", new(1, 1, 1, 4, width=9, heads=9)),
        ("latents of three dimensions", tuple((t[0][:, 0],) for t in new(2, 1, 4, width=5))),
        ("keys and values of two sequences, one head", tuple((k[:, :1], v[:, :1, :, :1]) for k, v in pairs)),
        ("a text of five thousand tokens, then one more", new(5000, 1, width=1, heads=1)),
        ("one token, then a text of five thousand", new(1, 5000, 1, width=1, heads=1)),
    ]
    return [Case(says, (False, *steps)) for says, steps in alone] + [
        Case("two caches side by side, the second one gets zeros", (True, *new(1, 1))),
    ]


def observe_generate(
    implementation: Any, model: Any, prompt: list[int], max_new_tokens: int, settings: dict
) -> Parts:
    """The tokens, and how often the model ran one that it had already run."""
    n_wanted = _n_run_by_the_core(model.cfg, tuple(prompt), max_new_tokens, tuple(sorted(settings.items())))
    run = _count_runs(model)
    parts = _or_its_refusal(n_wanted is None, implementation, model, prompt, max_new_tokens, **settings)
    if n_wanted is None:
        return parts
    # One more is no fault: whoever runs the model after each draw, not before it, runs the last token too.
    return parts | {"tokens run more often than once": max(0, sum(run) - n_wanted - 1)}


def _count_runs(model: nn.Module) -> list[int]:
    """A list that grows by the number of tokens each time that the model runs."""
    run: list[int] = []
    table = next(module for module in model.modules() if isinstance(module, nn.Embedding))
    table.register_forward_pre_hook(lambda module, args: run.append(args[0].numel()))
    return run


@functools.cache
def _n_run_by_the_core(cfg: GPTConfig | KimiConfig, prompt: tuple, n: int, settings: tuple) -> int | None:
    """How many tokens the core runs through the small model of this configuration; None where it refuses to."""
    run = _count_runs(model := _fill(cfg))
    try:
        list(generate(model, list(prompt), n, **dict(settings)))
    except ValueError:
        return None
    return sum(run)


def small_model(kind: str, context: int = 12) -> nn.Module:
    """A random model whose next token depends strongly on what came before."""
    if kind == "gpt":
        return _fill(GPTConfig(vocab_size=11, max_seq_len=context, d_model=16, n_layers=2, n_heads=2))
    return _fill(replace(load_model_config("kimi-smoke"), vocab_size=11, max_seq_len=context))


def _fill(cfg: GPTConfig | KimiConfig) -> nn.Module:
    model = build_model(cfg).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0.0, 0.35, generator=generator)
    return model


def generate_cases() -> list[Case]:
    gpt, kimi = small_model("gpt"), small_model("kimi")
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
        ("drawn from two tokens, top_k=2", gpt, [1, 2, 3], 8, {"seed": 3, "top_k": 2}),
        ("drawn with top_p=0.4", gpt, [1, 2, 3], 8, {"seed": 3, "top_p": 0.4}),
        (
            "Kimi, where temperature, top_k and top_p each change the text",
            kimi,
            [1, 2, 3],
            8,
            {"seed": 50, "temperature": 1.5, "top_k": 4, "top_p": 0.7},
        ),
        ("a stop token, greedy", gpt, [1, 2, 3], 6, {"temperature": 0.0, "stop_id": stop}),
        ("a stop token that is drawn", gpt, [1, 2, 3], 9, {"seed": 5, "stop_id": drawn[4]}),
        ("the stop token has the id 0", kimi, [3], 6, {"seed": 4, "stop_id": 0}),
        ("the prompt holds the stop token too", gpt, [4, 2, 3], 9, {"seed": 7, "stop_id": 4}),
        ("past the end of the context", gpt, [1, 2, 3], 20, {"seed": 1}),
        ("past the end, most of it a long prompt", gpt, [i % 11 for i in range(9)], 8, {"seed": 2}),
        ("a prompt that fills the context, Kimi", kimi, [i % 11 for i in range(12)], 4, greedy),
        ("past the end of a context of seven tokens", small_model("gpt", context=7), [1, 2, 3], 9, greedy),
        ("a context of one token", small_model("gpt", context=1), [3], 3, greedy),
    ]
    wrong = [
        ("an empty prompt", gpt, [], 3, greedy),
        ("a prompt longer than the context", gpt, [1] * 13, 3, greedy),
        ("max_new_tokens=0", gpt, [1], 0, greedy),
        ("top_p=0", gpt, [1], 2, {"top_p": 0.0}),
    ]
    return [Case(says, tuple(args)) for says, *args in settings] + [
        Case(says, tuple(args), aside=True) for says, *args in wrong
    ]
