"""Whatever is passed to a public function or setting, it works or is refused in one line: no traceback of a library.

A table of odd values meets every argument of every public name, and every field of every configuration.
"""

import inspect
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import nanokimi
from lab_utils.bench.plan import BenchPreset, make_plan
from lab_utils.bench.results import output_folder, read_results, read_steps
from lab_utils.course.planner import planner
from lab_utils.course.predict import predict
from lab_utils.machine.profile import check_profile, resolve_profile
from lab_utils.observatory.specimen import choose_size, find_specimen
from nanokimi import config, hub
from nanokimi.checkpoint import find_newest, has_checkpoint, load_checkpoint
from nanokimi.config import ConfigError, GPTConfig, KimiConfig
from nanokimi.generate import next_token_probs
from nanokimi.steering import Intervention, Steering
from nanokimi.text.corpus import batch, windows
from tests import tiny
from tests.core.test_checkpoint import save
from tests.own.attentions import Plain, PlainAttention


class Odd:
    """An object that nobody expects, with a name that no line should show whole."""

    def __repr__(self) -> str:
        return "odd\x1b[2J\n" * 50


ODD = {
    "none": None,
    "yes": True,
    "zero": 0,
    "minus one": -1,
    "a half": 1.5,
    "nan": math.nan,
    "infinity": math.inf,
    "a tiny number": 5e-324,
    "a huge number": 1e308,
    "a large whole number": 10**12,
    "thousands of digits": 10**5000,
    "a number as text": "3",
    "no text": "",
    "text": "kimi-tiny",
    "acts on a terminal": "\x1b]0;x\x07\n\r\u202e",
    "half a letter": "\ud800",
    "a zero byte": "a\0b.yaml",
    "a long text": "x" * 100_000,
    "bytes": b"\xff",
    "a list": [],
    "names": {},
    "wrong names": {"a": 1, 2: 3},
    "deep": [[[[]]]],
    "a function": print,
    "a class": KimiConfig,
    "an object": Odd(),
    "numpy": np.int64(3),
    "an array": np.zeros((2, 2)),
    "a tensor": torch.zeros(2),
    "shapes only": torch.zeros(2, device="meta"),
    "a path": Path("nowhere"),
    "another configuration": GPTConfig(),
    "complex": 1j,
}


def settings_classes() -> list[type]:
    found = [cls for cls in vars(config).values() if isinstance(cls, type) and is_dataclass(cls)]
    return [*found, Steering, BenchPreset]


def functions() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Every public function with arguments that work, each to be replaced by an odd one."""
    model, corpus = nanokimi.build_model(tiny.kimi()), tiny.corpus()
    cfg = tiny.train_config(steps=1, warmup_steps=0, eval_every=1)
    exported = nanokimi.Kimi(tiny.model_config("kimi-mla"))
    return {
        "build_model": (nanokimi.build_model, {"cfg": tiny.gpt(), "seed": 0}),
        "GPT": (nanokimi.GPT, {"cfg": tiny.gpt(), "seed": 0}),
        "Kimi": (nanokimi.Kimi, {"cfg": tiny.kimi(), "seed": 0}),
        "evaluate": (
            nanokimi.evaluate,
            {"model": model, "corpus": corpus, "cfg": cfg, "interrupt": print},
        ),
        "generate": (
            lambda **given: next(nanokimi.generate(**given)),
            {
                "model": model,
                "prompt": [1, 2],
                "max_new_tokens": 2,
                "temperature": 1.0,
                "top_k": None,
                "top_p": None,
                "seed": 0,
                "stop_id": None,
                "compile": "off",
            },
        ),
        "train": (
            lambda **given: next(nanokimi.train(**given)),
            {"model": model, "corpus": corpus, "cfg": cfg, "run_dir": None, "resume": False, "steer": None},
        ),
        "load_corpus": (
            nanokimi.load_corpus,
            {"cfg": nanokimi.DataConfig(n_stories=20, tokenizer="char"), "on_progress": None, "seq_len": 1},
        ),
        "load_model_config": (nanokimi.load_model_config, {"name": "kimi-smoke", "overrides": ()}),
        "load_pretrained": (nanokimi.load_pretrained, {"name": "kimi-storyworld"}),
        "load_train_config": (nanokimi.load_train_config, {"name": "train-smoke", "overrides": ()}),
        "load_checkpoint": (load_checkpoint, {"path": "nowhere", "device": "cpu"}),
        "find_newest": (find_newest, {"path": "nowhere"}),
        "has_checkpoint": (has_checkpoint, {"run_dir": "nowhere"}),
        "register_attention": (
            nanokimi.register_attention,
            {"name": "odd", "module": PlainAttention, "config": Plain},
        ),
        "next_token_probs": (
            next_token_probs,
            {"logits": torch.zeros(4), "temperature": 1.0, "top_k": None, "top_p": None},
        ),
        "batch": (batch, {"split": corpus.train, "step": 0, "batch_size": 1, "seq_len": 4, "seed": 0}),
        "windows": (windows, {"split": corpus.val, "n": 2, "seq_len": 4}),
        "save_pretrained": (
            hub.save_pretrained,
            {"model": exported, "encoding": corpus.tokenizer, "folder": "new"},
        ),
        "from_pretrained": (hub.from_pretrained, {"folder": "nowhere"}),
        "to_hub_config": (hub.to_hub_config, {"cfg": exported.cfg, "end_of_text": None}),
        "from_hub_config": (hub.from_hub_config, {"data": hub.to_hub_config(exported.cfg)}),
        "to_hub_weights": (hub.to_hub_weights, {"model": exported}),
        "from_hub_weights": (
            hub.from_hub_weights,
            {"weights": hub.to_hub_weights(exported), "cfg": exported.cfg},
        ),
        "hub_names": (
            lambda **given: list(hub.hub_names(**given)),
            {"name": "lm_head.weight", "tensor": torch.zeros(2, 2)},
        ),
        "Intervention": (Intervention, {"step": 1, "what": "lr_factor", "value": 1.0}),
        "make_plan": (make_plan, {"profile": "smoke", "arms": "gpt", "seeds": 1, "data": ""}),
        "check_profile": (check_profile, {"profile": "smoke"}),
        "resolve_profile": (resolve_profile, {"profile": "smoke"}),
        "planner": (
            planner,
            {"cfg": nanokimi.load_model_config("kimi-smoke"), "name": "mine", "measured": Path("nowhere")},
        ),
        "output_folder": (output_folder, {"out_dir": "", "name": "notebook"}),
        "read_results": (read_results, {"path": Path("nowhere")}),
        "read_steps": (read_steps, {"run_dir": Path("nowhere")}),
        "choose_size": (choose_size, {"profile": "smoke"}),
        "find_specimen": (find_specimen, {"profile": "smok", "path": "", "out_dir": ""}),
        "predict": (predict, {"name": "x", "question": "?", "choices": ("a", "b"), "guess": "a"}),
    }


FUNCTIONS = functions()


@pytest.fixture(autouse=True)
def _as_a_user_calls(monkeypatch):
    """Without the tests' own check of the annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def complaint(call: Callable[[], object]) -> str:
    """What is wrong with how `call` ends; nothing where it works or refuses in one line, within 10 s."""
    started = time.perf_counter()
    try:
        call()
    except ValueError as refused:
        line = str(refused)
        if "\n" in line or len(line) > 600 or not line.isprintable():
            return f"{type(refused).__name__} with {len(line)} letters: {line[:200]!r}"
        return "" if line else "an empty line"
    except OSError as error:  # what the file system itself says of a name
        return "" if error.strerror else f"OSError: {str(error)[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]!r}"
    took = time.perf_counter() - started
    return f"took {took:.1f} s" if took > 10 else ""


def complaints(call: Callable[..., object], names: Iterator[str], given: dict[str, Any]) -> list[str]:
    found = []
    for name in names:
        for what, value in ODD.items():
            wrong = complaint(lambda n=name, v=value: call(**{**given, n: v}))
            if wrong:
                found.append(f"{name} = {what}: {wrong}")
    return found


@pytest.mark.parametrize("cls", settings_classes())
def test_every_setting_takes_or_refuses_every_value(cls):
    assert complaints(cls, (field.name for field in fields(cls)), {}) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_takes_or_refuses_every_value(name, monkeypatch, tmp_path):
    monkeypatch.delenv("NANOKIMI_PROFILE")
    monkeypatch.chdir(tmp_path)
    call, given = FUNCTIONS[name]
    complaint(lambda: call(**given))  # what is imported at the first call takes seconds
    assert complaints(call, iter(given), given) == []


def test_no_public_name_and_no_argument_is_left_out():
    for name in nanokimi.__all__:
        public = getattr(nanokimi, name)
        if is_dataclass(public):
            assert public in settings_classes()
        else:
            assert list(FUNCTIONS[name][1]) == list(inspect.signature(public).parameters)
    functions_of_hub = {name for name in hub.__all__ if not isinstance(getattr(hub, name), type)}
    assert functions_of_hub <= FUNCTIONS.keys()


def test_a_device_that_is_not_here_is_refused_in_one_line(tmp_path):
    path = save(tmp_path)
    assert load_checkpoint(path, torch.device("cpu")).state.step == 3
    for what, value in {**ODD, "no such number": "cpu:x", "not on this machine": "xpu"}.items():
        assert complaint(lambda v=value: load_checkpoint(path, v)) == "", what


PLACES = {
    "train": lambda path: next(nanokimi.train(*MODEL_AND_CORPUS, run_dir=path)),
    "load_checkpoint": load_checkpoint,
    "find_newest": find_newest,
    "has_checkpoint": has_checkpoint,
    "from_pretrained": hub.from_pretrained,
    "save_pretrained": lambda path: hub.save_pretrained(MODEL_AND_CORPUS[0], tiny.corpus().tokenizer, path),
    "DataConfig: cache_dir": lambda path: nanokimi.DataConfig(cache_dir=str(path)),
    "DataConfig: source": lambda path: nanokimi.DataConfig(source=str(path)),
}
MODEL_AND_CORPUS = (
    nanokimi.Kimi(tiny.model_config("kimi-mla")),
    tiny.corpus(),
    tiny.train_config(steps=1, warmup_steps=0),
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize(("name", "why"), [("a\0b", "a zero byte"), ("\ud800", "half a letter")])
def test_a_path_that_no_file_system_has_is_refused_by_name(place, kind, name, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        PLACES[place](kind(name))
    assert str(refused.value).endswith(f"must be a path, and no path has {why}")
    assert list(tmp_path.iterdir()) == []
