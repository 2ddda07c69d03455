"""A faithful miniature of the Kimi K2 architecture, its GPT baseline, and what trains and measures them.

`__all__` has the names that building, training and sampling need: `from nanokimi import build_model, train`. All else
is imported from the module that holds the idea: `from nanokimi.router import topk_route`.
"""

from nanokimi.system import own_path as _  # noqa: F401  # isort: skip  before all that could be a stranger's
import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanokimi.config import DataConfig, GPTConfig, KimiConfig, TrainConfig
    from nanokimi.evaluate import evaluate
    from nanokimi.generate import generate
    from nanokimi.gpt import GPT
    from nanokimi.kimi import Kimi
    from nanokimi.model import build_model
    from nanokimi.own.table import register_attention
    from nanokimi.presets.yaml_config import load_model_config, load_train_config
    from nanokimi.pretrained import load_pretrained
    from nanokimi.text.corpus import load_corpus
    from nanokimi.train import train

__version__ = "0.4.0"

__all__ = [
    "GPT",
    "DataConfig",
    "GPTConfig",
    "Kimi",
    "KimiConfig",
    "TrainConfig",
    "build_model",
    "evaluate",
    "generate",
    "load_corpus",
    "load_model_config",
    "load_pretrained",
    "load_train_config",
    "register_attention",
    "train",
]

# The module of every public name. It is imported when the name is first asked for: `import nanokimi` loads no torch.
_MODULES = {
    "GPT": "nanokimi.gpt",
    "DataConfig": "nanokimi.config",
    "GPTConfig": "nanokimi.config",
    "Kimi": "nanokimi.kimi",
    "KimiConfig": "nanokimi.config",
    "TrainConfig": "nanokimi.config",
    "build_model": "nanokimi.model",
    "evaluate": "nanokimi.evaluate",
    "generate": "nanokimi.generate",
    "load_corpus": "nanokimi.text.corpus",
    "load_model_config": "nanokimi.presets.yaml_config",
    "load_pretrained": "nanokimi.pretrained",
    "load_train_config": "nanokimi.presets.yaml_config",
    "register_attention": "nanokimi.own.table",
    "train": "nanokimi.train",
}


def __getattr__(name: str) -> Any:
    """The public `name`, asked for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module 'nanokimi' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """What is there, and the public names that nobody has asked for yet."""
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """A package whose public names are never its modules.

    Three functions have the name of their module: `train`, `evaluate` and `generate`. When Python imports a module, it
    sets it as an attribute of its package, so after any `import nanokimi.train`, `from nanokimi import train` would
    give the module, without asking `__getattr__`. Here it is not set: the name belongs to the function, in whatever
    order things are imported, and `from nanokimi.train import train` finds the module as ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
