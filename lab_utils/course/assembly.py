"""A Kimi, its training and its decoding, put together from a reader's answers, with the core for the rest.

Nothing of the core is changed. Its modules are run once more, privately, and in these copies the reader's functions and
classes stand in the places of the core's. In the copies, and in the reader's own code, `from nanokimi.router import
topk_route` gives what stands there.
"""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import nn

import nanokimi
from lab_utils.course.exercise import Exercise
from lab_utils.course.saved_work import Answer
from nanokimi import checkpoint

# The modules that use an answer, or something that does. The others are the core's own: settings, text, files.
COPIED = {
    f"nanokimi.{name}"
    for name in (
        "attention", "block_latent", "cache", "evaluate", "experts", "generate", "kda", "kimi", "loss", "mask", "mla",
        "moe", "norm", "optim", "output", "qk_clip", "rope", "router", "step", "train",
    )
}  # fmt: skip
# Plain data and an error, by which the core's other modules and the lab know what they get.
SHARED = {
    "AttentionOutput", "Evaluation", "ModelOutput", "RoleLoss", "RouterStats", "StepFacts", "TrainingDiverged",
}  # fmt: skip
# An estimate from random numbers: a Kimi with another one has other logits.
ESTIMATES = {"derived_scaling_factor"}


def place_of(exercise: Exercise) -> str:
    """The module in which an answer is put: where the core's function is, or is used; empty where none of these is."""
    core = exercise.core
    if exercise.name in ESTIMATES:
        return ""
    used = (name for name in sorted(COPIED) if vars(importlib.import_module(name)).get(core.__name__) is core)
    return core.__module__ if core.__module__ in COPIED else next(used, "")


class Assembly:
    """The core's modules with the answers in them. `assembly.module("nanokimi.kimi").Kimi(cfg)` is the reader's Kimi.

    All of its layers count as the core's for `isinstance`, so whatever takes a Kimi takes it.
    """

    def __init__(self, answers: Iterable[Answer]):
        self._answers = [answer for answer in answers if place_of(answer.exercise)]
        self._modules: dict[str, ModuleType] = {}
        self._namespaces: list[dict[str, Any]] = []
        self._root = _Root(self)
        self._builtins = vars(builtins) | {"__import__": self._import}

    def module(self, name: str) -> Any:
        """The module of this name: a copy with the answers, or the core's own where no answer can matter."""
        if name not in COPIED:
            return importlib.import_module(name)
        if name not in self._modules:
            self._copy(name)
        return self._modules[name]

    def _copy(self, name: str) -> None:
        core = importlib.import_module(name)
        assert core.__file__ is not None
        module = ModuleType(name.replace("nanokimi", "yours", 1), core.__doc__)
        self._modules[name] = module
        there = vars(module)
        self._namespaces.append(there)
        there["__builtins__"] = self._builtins
        source = Path(core.__file__).read_text(encoding="utf-8")
        exec(compile(source, core.__file__, "exec", dont_inherit=True), there)
        there |= {key: vars(core)[key] for key in SHARED & there.keys()}
        if name == "nanokimi.train":
            there["checkpoint"] = _WEIGHTS_ONLY
        for answer in self._answers:
            if place_of(answer.exercise) == name:
                self._put(answer, module)
        for key, value in vars(core).items():
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == name:
                self._replace(there[key], _like(there[key], value))

    def _put(self, answer: Answer, module: ModuleType) -> None:
        """Put an answer in the place of the core's function, class or method."""
        # A print that was left in an answer would write a line in every step.
        names = {
            "__name__": "__main__",
            "__builtins__": self._builtins | {"print": lambda *args, **more: None},
        }
        self._namespaces.append(names)
        home = vars(self.module(answer.exercise.core.__module__))
        names |= {name: home[name] for name in answer.borrowed}
        made = answer.define(names)
        owner, _, name = answer.exercise.core.__qualname__.rpartition(".")
        if owner:
            setattr(vars(module)[owner], name, made)
            return
        before = vars(module)[name]
        if isinstance(made, type):
            # The stubs leave out what other notebooks ask for: a KimiBlock has no clip_qk_.
            for key, value in vars(before).items():
                if not hasattr(made, key):
                    setattr(made, key, value)
        self._replace(before, made)

    def _replace(self, before: Any, after: Any) -> None:
        """Put `after` wherever `before` stands. An answer may have been imported while its module was still loading."""
        for names in self._namespaces:
            for key, value in names.items():
                if value is before:
                    names[key] = after

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        """What an import statement asks for, in the copies and in the answers."""
        if level or name.partition(".")[0] != "nanokimi":
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist and name != "nanokimi":
            return self.module(name)
        return self._root


class _Root(ModuleType):
    """The package `nanokimi`, as the copies and the answers see it."""

    def __init__(self, assembly: Assembly):
        super().__init__("nanokimi")
        self._assembly = assembly

    def __getattr__(self, name: str) -> Any:
        if home := nanokimi._MODULES.get(name):
            return getattr(self._assembly.module(home), name)
        try:
            return self._assembly.module(f"nanokimi.{name}")
        except ModuleNotFoundError:
            return getattr(nanokimi, name)


def _like(made: type[nn.Module], core: type[nn.Module]) -> type[nn.Module]:
    """The class `made`, whose objects pass for those of `core` where somebody asks `isinstance`."""
    return type(made.__name__, (made,), {"__class__": property(lambda self: core), "__module__": "yours"})


def _save_weights(run_dir: Path, model: Any, optimizers: Any, *rest: Any) -> Path:
    """A checkpoint without the optimizers' states: a reader's Muon may keep another one than the core's."""
    return checkpoint.save_checkpoint(run_dir, model, [], *rest)


_WEIGHTS_ONLY = SimpleNamespace(save_checkpoint=_save_weights)
