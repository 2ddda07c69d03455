"""Decoding over caches of a fixed size, uncompiled: the tokens are those of growing caches, and nothing grows.

tests/contracts/test_compiled_decoding.py tries the same compiled.
"""

import inspect

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit

from nanokimi.cache import FixedCache, next_columns, visible_entries
from nanokimi.compiled.decode import MANY, CompiledStep, choose_step
from nanokimi.config import ConfigError
from nanokimi.generate import generate
from nanokimi.gpt import GPTBlock
from nanokimi.model import build_model
from tests import tiny
from tests.core.test_generate_batch import SETTINGS, prompts_of

MODELS = ["gpt", "kimi-mha", "kimi-mla"]


@pytest.fixture
def uncompiled(monkeypatch):
    """A compiled step that runs the graph's function as it is; a list of the functions, and how often each ran."""
    runs = []

    def compile(function, **settings):
        assert settings == {"fullgraph": True, "dynamic": False}
        return lambda *args: runs.append(args) or function(*args)

    monkeypatch.setattr("nanokimi.compiled.decode.choose_compile", lambda name, device: name == "on")
    monkeypatch.setattr("torch.compile", compile)
    return runs


@pytest.mark.parametrize(("name", "settings"), list(zip(MODELS, SETTINGS, strict=True)), ids=str)
def test_the_tokens_are_those_of_growing_caches(name, settings, uncompiled):
    """Forty tokens past the end of a context of sixteen, one text and six of different lengths."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    for prompt in ([5, 6, 7], prompts_of(1, 4, 7, 15, 16, 4)):
        wanted = list(generate(model, prompt, 40, **settings))
        assert not uncompiled
        assert list(generate(model, prompt, 40, compile="on", **settings)) == wanted
        assert uncompiled
        uncompiled.clear()


def test_the_longest_text_may_end_first(uncompiled):
    model = tiny.harsh_(build_model(tiny.kimi()))
    prompts = prompts_of(15, 2, 3)
    first = next(generate(model, prompts[0], 1, temperature=0.0))
    settings = {"temperature": 0.0, "stop_id": first}
    wanted = list(generate(model, prompts, 30, **settings))
    assert {row[0] for row in wanted} == {None}
    assert list(generate(model, prompts, 30, compile="on", **settings)) == wanted


@pytest.mark.parametrize("name", MODELS)
def test_every_token_asks_for_the_same_graph(name, uncompiled):
    """The same shapes, the same room at the same place in memory, and no number that changes but in tensors."""
    model = tiny.harsh_(build_model(tiny.model_config(name)))
    seen = []
    for _ in generate(model, [1, 2, 3], 14, compile="on"):
        if uncompiled:
            ran, tokens, cache = uncompiled[-1]
            assert ran is model and tokens.shape == (1, 1)
            seen.append([[room.data_ptr() for room in layer._room] for layer in cache])
            assert {room.shape[-2] for layer in cache for room in layer._room} == {tiny.CONTEXT}
    assert len(seen) == 13 and all(each == seen[0] for each in seen)
    assert int(cache[0].position) == cache[0].length == 3 + 13
    assert all(layer.position is cache[0].position for layer in cache)


def test_a_fixed_cache_hides_what_is_not_yet_written():
    """Worked out by hand: two texts, the first with one padding, two tokens at a time in a room of five."""
    position = torch.zeros(1, dtype=torch.long)
    cache = FixedCache([1, 0], position, 5)
    first, second = tiny.normal(2, 1, 2, 3), tiny.normal(2, 1, 2, 3, seed=1)
    (room,) = cache.append(first)
    assert torch.equal(room, torch.cat([first, torch.zeros(2, 1, 3, 3)], dim=2))
    assert visible_entries(cache, first)[:, 0].int().tolist() == [
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]],
        [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]],
    ]
    position.add_(2)
    assert next_columns([cache], torch.zeros(2, 2, dtype=torch.long), 5).tolist() == [2, 3]
    (again,) = cache.append(second)
    assert again.data_ptr() == room.data_ptr()
    assert torch.equal(again, torch.cat([first, second, torch.zeros(2, 1, 1, 3)], dim=2))
    assert visible_entries(cache, second)[:, 0].int().tolist() == [
        [[0, 1, 1, 0, 0], [0, 1, 1, 1, 0]],
        [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]],
    ]


def test_watchers_of_the_model_see_every_token(uncompiled):
    model, seen = tiny.harsh_(build_model(tiny.kimi())), []
    model.register_forward_hook(lambda _, args, out: seen.append((tuple(args[0].shape), len(out.routing))))
    list(generate(model, [1, 2, 3], 4, compile="on"))
    assert seen == [((1, 3), 1)] + [((1, 1), 1)] * 3
    assert len(uncompiled) == 3


# ---------------------------------------------------------------- whether it is compiled


def test_auto_compiles_on_cuda_for_many_tokens(monkeypatch):
    model = build_model(tiny.gpt())
    monkeypatch.setattr("nanokimi.compiled.decode.choose_compile", lambda name, device: name != "off")
    assert choose_step(model, "auto", MANY - 1) is model and choose_step(model, "off", MANY) is model
    assert isinstance(choose_step(model, "auto", MANY), CompiledStep)
    assert isinstance(choose_step(model, "on", 1), CompiledStep)


def test_on_a_cpu_nothing_is_compiled_unasked():
    model = build_model(tiny.gpt())
    assert choose_step(model, "auto", 10**9) is model


@pytest.mark.parametrize(
    ("attention", "lack"),
    [
        ("block_latent", "block latent attention, whose cache has no fixed size"),
        ("kda", "Kimi Delta Attention, which keeps a state and no entries per token"),
        ("hybrid", "Kimi Delta Attention, which keeps a state and no entries per token"),
    ],
)
def test_another_cache_stays_with_the_plain_way(attention, lack, monkeypatch):
    monkeypatch.setattr("nanokimi.compiled.decode.choose_compile", lambda name, device: name != "off")
    model = build_model(tiny.kimi(attention))
    assert choose_step(model, "auto", MANY) is model
    with pytest.raises(ConfigError) as error:
        next(generate(model, [1], 5, compile="on"))
    assert str(error.value) == f"compile=on: not for {lack}; use compile=off or auto"


def test_code_that_may_not_know_the_cache_stays_with_the_plain_way(monkeypatch):
    """It would attend to room that nothing was written to."""

    class MyBlock(GPTBlock):
        pass

    monkeypatch.setattr("nanokimi.compiled.decode.choose_compile", lambda name, device: name != "off")
    model = build_model(tiny.gpt())
    model.layers[1] = MyBlock(model.cfg)
    assert choose_step(model, "auto", MANY) is model
    with pytest.raises(ConfigError) as error:
        next(generate(model, [1], 5, compile="on"))
    assert str(error.value) == (
        "compile=on: not for a model with code of your own (MyBlock); use compile=off or auto"
    )


@pytest.mark.parametrize("value", ["always", True, None, 1])
def test_another_word_is_refused(value):
    with pytest.raises(ConfigError) as error:
        next(inspect.unwrap(generate)(build_model(tiny.gpt()), [1], 5, compile=value))
    assert str(error.value) == f"compile={value!r} must be auto, on or off"


def hooked():
    model, seen = tiny.harsh_(build_model(tiny.gpt())), []
    model.norm.register_forward_hook(lambda _, __, out: seen.append(out.sum().item() > 0 and out.tolist()))
    return model


def test_what_no_compiler_follows_is_refused_with_the_reason():
    with pytest.raises(ConfigError) as error:
        list(generate(hooked(), [1], 3, compile="on"))
    line = str(error.value)
    assert line.startswith("decoding cannot be compiled (") and line.endswith("): use compile=off")
    assert "\n" not in line and len(line) < 300


def test_too_many_graphs_in_one_process_are_told_too(monkeypatch):
    """Torch compiles a function anew eight times, and then raises this."""

    def fail(*_):
        raise FailOnRecompileLimitHit("Hard failure due to fullgraph=True")

    monkeypatch.setattr("torch.compile", lambda *_, **__: fail)
    with pytest.raises(ConfigError) as error:
        list(generate(build_model(tiny.gpt()), [1], 3, compile="on"))
    assert (
        str(error.value)
        == "decoding cannot be compiled (Hard failure due to fullgraph=True): use compile=off"
    )


def test_where_compiling_was_nobody_s_wish_decoding_runs_as_it_is(monkeypatch):
    monkeypatch.setattr("nanokimi.compiled.decode.choose_compile", lambda name, device: name != "off")
    model = hooked()
    wanted = list(generate(model, [1], 20, compile="off"))
    monkeypatch.setattr("nanokimi.compiled.decode.MANY", 1)
    with pytest.warns(RuntimeWarning, match="decoding cannot be compiled .*, and runs as it is"):
        assert list(generate(model, [1], 20)) == wanted
