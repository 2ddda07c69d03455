"""A checkpoint's claims are compared with its files before memory is taken, and every lie is one line."""

import contextlib
import json
import re
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from nanokimi import checkpoint
from nanokimi.config import OptimConfig
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
from nanokimi.runs.claims import claim_of, describe, read_header
from nanokimi.runs.optimizers import unpack_optimizers
from nanokimi.runs.reading import ABOUT, FILES, hash_about, hash_file
from tests import tiny
from tests.core.test_checkpoint import one_line, save


def settle(path):
    """Make the checksums fit what the files hold now, as a stranger can."""
    about = json.loads((path / ABOUT).read_text())
    about["sha256"] = {name: hash_file(path / name) for name in FILES}
    about["sha256"][ABOUT] = hash_about(about)
    (path / ABOUT).write_text(json.dumps(about))


def claim(path, **changes):
    """Change what checkpoint.json says: `model__n_layers=3`."""
    about = json.loads((path / ABOUT).read_text())
    for place, value in changes.items():
        *sections, last = place.split("__")
        node = about
        for section in sections:
            node = node[section]
        node[last] = value
    (path / ABOUT).write_text(json.dumps(about))
    settle(path)


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_claim_of_a_configuration_is_what_its_model_has(name, n_layers):
    """Built layer by layer, by torch itself, as the oracle."""
    cfg, n_layers = tiny.model_config(name), n_layers + (name == "kimi-hybrid")  # it has two kinds
    for dense in {0, 1, n_layers}:
        changes = {"n_layers": n_layers} | ({} if name == "gpt" else {"first_k_dense_replace": dense})
        built = type(cfg)(**{**vars(cfg), **changes})
        assert claim_of(built, most=1000) == describe(build_model(built).state_dict())


def test_a_header_says_what_the_file_holds(tmp_path):
    tensors = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros((), dtype=torch.int64),
        "c": torch.zeros(0, 4, dtype=torch.bfloat16),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert read_header(tmp_path / "x.safetensors") == describe(tensors)


@pytest.mark.parametrize("name", ["gpt", "kimi-mla"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model__n_layers": 1000}, "n_layers=1000, and the file holds"),
        ({"model__d_model": 16_000}, "is 'F32' of shape ["),
        ({"model__vocab_size": 1_000_000}, "'embed_tokens.weight' is 'F32' of shape [24, 16], not"),
        ({"model__n_layers": 1}, "does not belong there"),
        ({"model__n_layers": 3}, "n_layers=3, and the file holds"),
    ],
)
def test_a_model_that_is_not_in_the_file_is_refused_at_once(name, changes, reason, tmp_path):
    """Without the memory that it claims, and in well under a second: nothing of it is built."""
    path = save(tmp_path, name=name)
    checkpoint.load_checkpoint(path)
    claim(path, **changes)
    started = time.process_time()
    line = one_line(path)
    assert time.process_time() - started < 1.0
    assert line.startswith(f"checkpoint {path} is damaged: ") and reason in line


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"progress__step": "3"}, "step='3' must be a whole number"),
        ({"progress__step": True}, "step=True must be a whole number"),
        ({"progress__step": -1}, "step=-1 must be"),
        ({"progress__step": 10**30}, "must be a whole number from 0 to 1,000,000,000,000"),
        ({"progress__seconds": None}, "seconds=None must be a number"),
        (
            {"progress__seconds": float("nan")},
            "is damaged: checkpoint.json: it holds NaN, which is no finite number",
        ),
        ({"progress__corpus_fingerprint": "\x1b[2J" * 90}, "corpus_fingerprint='\\x1b[2J"),
        ({"progress__corpus_fingerprint": ["x"]}, "corpus_fingerprint=['x'] must be a text"),
        ({"progress__interventions": 3}, "progress.interventions must be a list, not 3"),
        (
            {"progress__interventions": [{"step": 4, "what": "lr_factor", "value": 1}]},
            "the intervention at step 4 is after step=3",
        ),
        ({"progress__interventions": [{"step": 1, "what": "x", "value": 1}]}, "cannot be steered"),
        ({"progress__more": 1}, "progress: 'more' does not belong there"),
        ({"progress": []}, "checkpoint.json: progress must be a section of named values, not []"),
        ({"model": [1]}, "checkpoint.json: model must be a section of named values, not [1]"),
        ({"train": ""}, "checkpoint.json: train must be a section of named values, not ''"),
        ({"train__optim__optimizer": "sgd"}, "optim.optimizer='sgd' must be"),
        ({"train__steps": -1}, "steps=-1 must be"),
        ({"train__optim__optimizer": "muon"}, "optimizer.safetensors does not fit the model"),
        ({"model__kind": "\x1b[2J"}, "kind='\\x1b[2J' must be gpt or kimi"),
        (
            {"model__vocab_size": 2},
            "'embed_tokens.weight' is 'F32' of shape [24, 16], not 'F32' of shape [2, 16]",
        ),
        ({"format": "x" * 100_000}, "xxx...xxx"),
    ],
)
def test_wrong_types_and_values_are_named_in_one_short_line(changes, reason, tmp_path):
    path = save(tmp_path)
    claim(path, **changes)
    line = one_line(path)
    assert line.startswith(f"checkpoint {path}") and reason in line and len(line) < len(str(path)) + 400
    assert "\x1b" not in line


def nodes(value, path=()):
    """Every place in plain data, sections and values alike, from the outside to the inside."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield from nodes(each, (*path, name))


@pytest.mark.parametrize(
    "odd",
    [
        *(None, -1),
        *(
            pytest.param(odd, marks=pytest.mark.slow)
            for odd in ("x", [{}], "missing", True, 1.5, 10**30, [], [1], {"a": 1})
        ),
    ],
    ids=repr,
)
def test_no_value_of_a_checkpoint_is_refused_in_the_words_of_python(odd, tmp_path):
    """One value after the other is another one: what is told names it, and never what our code did with it."""
    path = save(tmp_path)
    claim(path, progress__interventions=[{"step": 1, "what": "lr_factor", "value": 2.0}])
    right = json.loads((path / ABOUT).read_text())
    lines = {}
    for place in nodes(right):
        about = json.loads(json.dumps({"root": right}))
        *outer, last = ("root", *place)
        node = about
        for name in outer:
            node = node[name]
        if odd == "missing" and place:
            del node[last]
        else:
            node[last] = odd
        (path / ABOUT).write_text(json.dumps(about["root"]))
        if "sha256" not in place:
            with contextlib.suppress(AttributeError, KeyError, TypeError):
                settle(path)
        try:
            checkpoint.load_checkpoint(path)
        except checkpoint.CheckpointError as error:
            lines[place] = str(error).removeprefix(f"checkpoint {path}")
    foreign = re.compile(
        "object|attribute|iterable|subscript|argument|indices|sequence element|'[A-Za-z]+Type'"
    )
    assert {place: line for place, line in lines.items() if foreign.search(line)} == {}
    assert len(lines) > 20
    # Every line names its value; a file by its checksum or a tensor, an intervention by its setting.
    named = re.compile("checksum|does not fit|lr_factor")
    assert {
        p: line for p, line in lines.items() if p and str(p[-1]) not in line and not named.search(line)
    } == {}


def change_state(path, change):
    state = load_file(path / FILES[1])
    change(state)
    save_file(state, path / FILES[1])
    settle(path)


STATES = {
    "a moment of another shape": lambda s: s.update({"norm.weight|exp_avg": torch.zeros(1)}),
    "a moment of another type": lambda s: s.update(
        {"norm.weight|exp_avg": torch.zeros(16, dtype=torch.float64)}
    ),
    "a moment of whole numbers": lambda s: s.update(
        {"norm.weight|exp_avg_sq": torch.zeros(16, dtype=torch.int32)}
    ),
    "a moment is missing": lambda s: s.pop("norm.weight|exp_avg_sq"),
    "an unknown parameter": lambda s: s.update({"x|exp_avg": torch.zeros(1)}),
    "an unknown entry": lambda s: s.update({"norm.weight|x": torch.zeros(16)}),
    "the other optimizer's": lambda s: s.update({"norm.weight|momentum_buffer": torch.zeros(16)}),
    "no name": lambda s: s.update({"norm.weight": torch.zeros(16)}),
    "steps in a row": lambda s: s.update({"norm.weight|step": torch.zeros(1)}),
    "steps that are none": lambda s: s.update({"norm.weight|step": torch.tensor(float("nan"))}),
    "negative steps": lambda s: s.update({"norm.weight|step": torch.tensor(-1.0)}),
}


@pytest.mark.parametrize("what", STATES)
def test_a_state_that_torch_would_take_as_it_is_is_refused(what, tmp_path):
    """A fused AdamW reads and writes by these tensors without a look at them: the process would die."""
    path = save(tmp_path)
    change_state(path, STATES[what])
    assert f"checkpoint {path} is damaged: optimizer.safetensors does not fit the model: " in one_line(path)


def test_unpacking_checks_too(tmp_path):
    path = save(tmp_path)
    found = checkpoint.load_checkpoint(path)
    state = {**found.optimizer_state, "norm.weight|exp_avg": torch.zeros(3)}
    optimizers = build_optimizers(found.model, OptimConfig())
    with pytest.raises(
        ValueError, match=r"'norm.weight\|exp_avg' is 'F32' of shape \[3\], not 'F32' of shape \[16\]"
    ):
        unpack_optimizers(found.model, optimizers, state)
    assert not optimizers[0].state


def test_a_parameter_may_have_had_no_gradient_yet(tmp_path):
    path = save(tmp_path)

    def forget(state):
        for entry in ("step", "exp_avg", "exp_avg_sq"):
            del state[f"norm.weight|{entry}"]

    change_state(path, forget)
    assert "norm.weight|step" not in checkpoint.load_checkpoint(path).optimizer_state


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_absurd_length_is_refused(length, tmp_path):
    path = save(tmp_path)
    content = (path / FILES[0]).read_bytes()
    (path / FILES[0]).write_bytes(length.to_bytes(8, "little") + content[8:])
    settle(path)
    assert "its header would have" in one_line(path)


def test_a_sample_of_altered_checkpoints_is_refused_or_trains_on(tmp_path):
    """`make faults` makes thousands."""
    from benchmarks.faults import mutated_checkpoints

    outcome = mutated_checkpoints.run(150, 0, tmp_path, lambda done: None)
    assert outcome.lost == [] and outcome.survived == 150
