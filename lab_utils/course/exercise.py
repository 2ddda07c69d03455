"""An exercise: the core's function, the inputs on which answers are tried, known wrong answers, hints.

An answer is compared by its *parts*, a dictionary of values by name. `call` takes the parts from the returned value.
Where the answer is a change in place, a gradient, a module or a test, the exercise has another `observe`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.anonymous import anonymous, sources_hidden

Parts = dict[str, Any]  # name: tensor, number, string, or a list of them
REFUSED = "refused with a ValueError"  # the part of an input that must be refused
TEST = "the test"  # the one part of an answer that is a test: "passes", "fails", or "changes" between runs


class Problem(Exception):
    """What is wrong with an answer, as a sentence for its author."""


@dataclass(frozen=True)
class Case:
    """One input: what is special about it ("one token"), and the arguments.

    In a bug hunt the argument is a piece of code, and `says` is what it does: "a sound piece that sorts first".
    A case that is not judged only helps to tell one mistake from another. A case `aside` asks for something by itself,
    as a ValueError: whoever forgets that may make another mistake too, and it is named by the other cases.
    A sound piece may be the double of another one (by its `says`), from which it differs in nothing that a test may
    ask for: `tells` is what is wrong with a test that passes for that {piece} and refuses this one.
    """

    says: str
    args: tuple
    judged: bool = True
    aside: bool = False
    double_of: str = ""
    tells: str = ""

    def fresh_args(self) -> tuple:
        """Copies of the arguments, so that an answer that writes into them spoils nothing."""
        return tuple(_copy(arg) for arg in self.args)


@dataclass(frozen=True)
class Property:
    """Something that holds for every right answer: "the weights of a token sum to 1". `holds(parts, *args)` tells."""

    says: str
    holds: Callable[..., bool]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give: what is wrong, and where to look, without the right answer."""

    wrong: Callable
    says: str
    look_at: str

    @property
    def name(self) -> str:
        return self.wrong.__name__


def mistake(says: str, look_at: str) -> Callable[[Callable], Mistake]:
    """Decorator: the function below is this mistake."""
    return lambda wrong: Mistake(wrong, says, look_at)


def call(implementation: Callable, *args: Any) -> Parts:
    """The parts of what `implementation(*args)` returns."""
    return parts_of(implementation(*args))


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One function to write. `cases` gives the inputs, the smallest first, the same ones every time.

    `core` is the right answer. Each of the `hints` says more than the one before. `moral` is what to remember.
    The first of the `mistakes` that gives the same parts is the diagnosis.
    """

    name: str
    notebook: str  # its number, "02"
    core: Callable
    cases: Callable[[], Sequence[Case]]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    moral: str = ""
    properties: tuple[Property, ...] = ()
    observe: Callable[..., Parts] = call
    writes_into_arguments: bool = False
    tolerance: float = 1e-5  # for |expected - got|; relative where numbers are larger than 1

    @property
    def is_hunt(self) -> bool:
        """Whether the answer is a test, which must tell broken pieces of code from sound ones."""
        return self.name.startswith("test_")


# ---------------------------------------------------------------- ways to look at an answer


def parts_of(value: Any) -> Parts:
    """A returned value as named parts."""
    if value is None:
        raise Problem("It returns nothing. Is a `return` missing?")
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        return {name: each for name, each in zip(names, value, strict=True) if each is not None}
    if isinstance(value, Iterator):
        return {"result": list(value)}
    if isinstance(value, tuple):
        return {f"result {i}": each for i, each in enumerate(value)}
    return {"result": value}


def call_with_gradients(implementation: Callable, *args: Any, names: Sequence[str] = ()) -> Parts:
    """The returned parts, and the gradient of a fixed weighted sum of them for every float32 or float64 argument.

    `names` are those of the arguments, where they are not just the learner's function's own.
    A bfloat16 argument gets none: its gradient is rounded once each time the argument is converted, so two right
    answers that convert it once and twice differ in the last bit.
    """
    leaves, prepared = {}, []
    called = dict(
        enumerate([f"`{name}`" for name in names] or [f"argument {n + 1}" for n in range(len(args))], 1)
    )
    for number, arg in enumerate(args, 1):
        if isinstance(arg, Tensor) and arg.dtype in (torch.float32, torch.float64):
            leaves[number] = arg.detach().requires_grad_()
            # Nobody may write into a leaf, and torch's error about it would not help a learner.
            arg = leaves[number].clone()
        prepared.append(arg)
    value = implementation(*prepared)
    for number, leaf in leaves.items():
        if not torch.allclose(prepared[number - 1], leaf, rtol=0, atol=0, equal_nan=True):
            raise Problem(f"It writes into {called[number]}, which belongs to the caller.")
    parts = parts_of(value)
    total = sum(_weighted_sum(p) for p in parts.values() if isinstance(p, Tensor) and p.requires_grad)
    if isinstance(total, Tensor):
        total.backward()
    gradients = {
        f"gradient of {called[number]}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for number, leaf in leaves.items()
    }
    return {name: p.detach() if isinstance(p, Tensor) else p for name, p in parts.items()} | gradients


def call_on_its_device(implementation: Callable, *args: Any) -> Parts:
    """The returned parts. Tensors on the meta device hold no numbers: where it is an argument, only their device."""
    parts = call(implementation, *args)
    if torch.device("meta") not in [arg for arg in args if isinstance(arg, torch.device)]:
        return parts
    return {
        name.replace("result", "device"): str(part.device) if isinstance(part, Tensor) else part
        for name, part in parts.items()
    }


def run_test(test: Callable, candidate: Callable) -> Parts:
    """Whether a test "passes" or "fails" for `candidate`: for exercises whose answer is a test.

    The test gets the candidate without its name. Only an AssertionError is a failed test: what else it raises goes on.
    A `return False` says nothing, and raises a `Problem`.
    """
    try:
        with sources_hidden():
            returned = test(anonymous(candidate))
    except AssertionError:
        return {TEST: "fails"}
    if returned is False or (
        isinstance(returned, Tensor) and returned.dtype == torch.bool and not returned.all()
    ):
        raise Problem(
            "Your test returns False for a piece. A test fails by `assert`, and what it returns is not looked at."
        )
    return {TEST: "passes"}


def give_nothing(*args: Any, **kwargs: Any) -> None:
    """A piece of code without a result: a test that passes for it does not look at results."""


def plainly_wrong(piece: Callable[..., Tensor]) -> list[Case]:
    """`piece` with results of another size: they tell apart tests that ask for a shape, a sign or a range."""

    def times(factor: float) -> Callable[..., Tensor]:
        return lambda *args, **kwargs: factor * piece(*args, **kwargs)

    factors = {
        "a piece that gives nan": math.nan,
        "a piece that gives the negative": -1.0,
        "a piece that gives a thousand times as much": 1000.0,
    }
    return [Case(says, (times(factor),), judged=False) for says, factor in factors.items()]


# What is wrong with a test that passes for every piece, `give_nothing` too, and with one that refuses only that.
LOOKS_AT_NOTHING = (
    "The test passes for every piece that was tried, even for one that gives nothing at all.",
    "Is there an `assert`? Does it look at what the piece gives or does, and which piece would make it fail?",
)
LOOKS_AT_NO_NUMBER = (
    "It passes for every piece that was tried and gives something: sound ones, broken ones, plainly wrong ones.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)

LOOKS_FOR_FINITE_NUMBERS = (
    "Of all pieces that were tried, it refuses only those that give nan, infinite numbers, or nothing. The numbers "
    "of the piece above are finite.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)


@torch.no_grad()
def harsh_(module: nn.Module) -> nn.Module:
    """`module`, with weights at which a mistake is seen in the first digit: N(0, 0.4²), gains 1 ± 0.3, biases ± 0.3."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        mean = 1.0 if "norm" in name else 0.0
        tensor.normal_(mean, 0.4 if tensor.ndim > 1 else 0.3, generator=generator)
    return module


def copy_weights(reference: nn.Module, module: nn.Module) -> nn.Module:
    """`module`, with the weights of `reference`. Raises a `Problem` where their names or shapes differ."""
    ours = {name: tuple(t.shape) for name, t in reference.state_dict().items()}
    theirs = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    for name, shape in ours.items():
        if name not in theirs:
            raise Problem(
                f"Your module has no weight called {name}, of shape {shape}; it has {', '.join(theirs)}."
            )
        if theirs[name] != shape:
            raise Problem(f"The weight {name} has shape {theirs[name]}; it must be {shape}.")
    for name in theirs:
        if name not in ours:
            raise Problem(f"Your module has one weight too many: {name}, of shape {theirs[name]}.")
    module.load_state_dict(reference.state_dict())
    return module


def _weighted_sum(tensor: Tensor) -> Tensor:
    """A sum in which every entry has another weight."""
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    weights = torch.arange(1, tensor.numel() + 1, dtype=torch.float64).sin()
    return (tensor.double().flatten() * weights).sum()


def _copy(arg: Any) -> Any:
    if isinstance(arg, Tensor):
        return arg.clone()
    if isinstance(arg, torch.Generator):
        return arg.clone_state()
    return copy.deepcopy(arg)
