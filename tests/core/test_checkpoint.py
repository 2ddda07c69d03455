"""Checkpoints appear whole or not at all, come back exactly, and never run what a stranger wrote."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from nanokimi import checkpoint
from nanokimi.checkpoint import CheckpointError, TrainingState
from nanokimi.config import OptimConfig
from nanokimi.loss import next_token_loss
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
from nanokimi.runs.optimizers import pack_optimizers, unpack_optimizers
from nanokimi.runs.state import BEGIN_ANEW
from tests import tiny

FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json", "checkpoint.json")
STATE = TrainingState(step=3, seconds=1.25, corpus_fingerprint="tiny-0")


def trained(name: str = "kimi-mla", optimizer: str = "muon", seed: int = 0):
    """A model after two steps, and its optimizers."""
    model = tiny.harsh_(build_model(tiny.model_config(name)), seed)
    optimizers = build_optimizers(model, OptimConfig(optimizer=optimizer, lr=1e-2))
    tokens = torch.randint(tiny.VOCAB, (2, 12), generator=torch.Generator().manual_seed(seed))
    for _ in range(2):
        next_token_loss(model(tokens).logits, tokens.roll(-1, 1)).backward()
        for o in optimizers:
            o.step()
            o.zero_grad()
    return model, optimizers


def save(folder: Path, step: int = 3, seed: int = 0, name: str = "gpt", optimizer: str = "adamw") -> Path:
    model, optimizers = trained(name, optimizer, seed)
    state = TrainingState(step=step, seconds=1.25, corpus_fingerprint="tiny-0")
    cfg = tiny.train_config(optim=OptimConfig(optimizer=optimizer, lr=1e-2))
    return checkpoint.save_checkpoint(folder, model, optimizers, tiny.corpus().tokenizer, cfg, state)


def one_line(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        checkpoint.load_checkpoint(path)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_everything_comes_back_bit_for_bit(name, optimizer, tmp_path):
    """Weights and bias buffers, optimizer state that steps on alike, tokenizer, configurations, state."""
    model, optimizers = trained(name, optimizer)
    cfg = tiny.muon_clip() if optimizer == "muon" else tiny.train_config()
    encoding = tiny.corpus().tokenizer
    path = checkpoint.save_checkpoint(tmp_path, model, optimizers, encoding, cfg, STATE)
    found = checkpoint.load_checkpoint(tmp_path)
    assert (found.path, found.train, found.state, found.model.cfg) == (path, cfg, STATE, model.cfg)
    text = "a cat sat né 雨."
    assert found.tokenizer.n_vocab == encoding.n_vocab
    assert found.tokenizer.encode_ordinary(text) == encoding.encode_ordinary(text)
    assert type(found.model) is type(model)
    for key, value in model.state_dict().items():
        assert (
            torch.equal(found.model.state_dict()[key], value)
            and found.model.state_dict()[key].dtype == value.dtype
        )

    fresh = build_optimizers(found.model, OptimConfig(optimizer=optimizer, lr=1e-2))
    unpack_optimizers(found.model, fresh, found.optimizer_state)
    for ours, theirs in ((model, optimizers), (found.model, fresh)):
        for i, p in enumerate(ours.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
        for o in theirs:
            o.step()
    again = pack_optimizers(found.model, fresh)
    for key, value in pack_optimizers(model, optimizers).items():
        assert torch.equal(again[key], value), key
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), found.model.parameters(), strict=True))


def test_every_parameter_has_its_state_by_name():
    """AdamW: step and two moments; Muon: one. docs/mistakes.md, number 5: none is without."""
    model, optimizers = trained()
    packed = pack_optimizers(model, optimizers)
    entries: dict[str, set[str]] = {}
    for key in packed:
        name, entry = key.split("|")
        entries.setdefault(name, set()).add(entry)
    assert set(entries) == set(dict(model.named_parameters()))
    assert {frozenset(e) for e in entries.values()} == {
        frozenset({"step", "exp_avg", "exp_avg_sq"}),
        frozenset({"momentum_buffer"}),
    }
    assert entries["layers.1.mlp.experts.gate_up_proj"] == {"momentum_buffer"}


def test_a_loaded_checkpoint_does_not_share_memory_with_the_optimizers(tmp_path):
    save(tmp_path)
    found = checkpoint.load_checkpoint(tmp_path)
    before = {key: value.clone() for key, value in found.optimizer_state.items()}
    optimizers = build_optimizers(found.model, OptimConfig())
    unpack_optimizers(found.model, optimizers, found.optimizer_state)
    for p in found.model.parameters():
        p.grad = torch.ones_like(p)
    optimizers[0].step()
    assert all(torch.equal(found.optimizer_state[key], value) for key, value in before.items())


def test_a_run_folder_or_one_checkpoint_in_it(tmp_path):
    path = save(tmp_path)
    assert (
        checkpoint.load_checkpoint(path).path
        == checkpoint.load_checkpoint(tmp_path).path
        == checkpoint.load_checkpoint(str(tmp_path)).path
        == path
    )
    assert path.name == "step-000003"


def test_nothing_is_pickled(tmp_path):
    """Safetensors and JSON only: no zip archive of torch.save, no pickle opcode stream, JSON that parses."""
    path = save(tmp_path, name="kimi-mla", optimizer="muon")
    assert sorted(p.name for p in path.iterdir()) == sorted(FILES)
    for file in path.iterdir():
        assert not zipfile.is_zipfile(file)
        content = file.read_bytes()
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError)):
            pickle.loads(content)
        header = content[8 : 8 + int.from_bytes(content[:8], "little")] if file.suffix != ".json" else content
        assert isinstance(json.loads(header), dict)


def test_loading_never_unpickles(tmp_path, monkeypatch):
    save(tmp_path)
    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("a checkpoint was unpickled"))
    assert checkpoint.load_checkpoint(tmp_path).state == STATE


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_one_damaged_byte_is_noticed(name, place, tmp_path):
    """A changed digit of checkpoint.json too: a learning rate that was never used, a step never made."""
    path = save(tmp_path)
    content = bytearray((path / name).read_bytes())
    spot = int(place * (len(content) - 1))
    while content[spot : spot + 1].isspace():  # between the words of JSON a byte means nothing
        spot -= 1
    content[spot] ^= 1
    (path / name).write_bytes(content)
    line = one_line(tmp_path)
    assert line.startswith(f"checkpoint {path}") and "damaged" in line


@pytest.mark.parametrize(
    ("old", "new"), [('"step": 3', '"step": 4'), ('"seed": 3', '"seed": 5'), ('"lr": 0.01', '"lr": 0.02')]
)
def test_a_changed_setting_is_noticed(old, new, tmp_path):
    path = save(tmp_path)
    text = (path / "checkpoint.json").read_text()
    assert text.count(old) == 1
    (path / "checkpoint.json").write_text(text.replace(old, new))
    assert one_line(path) == f"checkpoint {path}: checkpoint.json is damaged (its checksum differs)"


@pytest.mark.parametrize("name", FILES[:3])
def test_a_truncated_or_missing_file_is_named(name, tmp_path):
    path = save(tmp_path)
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    assert one_line(path) == f"checkpoint {path}: {name} is damaged (its checksum differs)"
    (path / name).unlink()
    assert one_line(path) == f"checkpoint {path}: {name} is missing"
    assert one_line(tmp_path) == f"{one_line(path)}; {BEGIN_ANEW}"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"sha256": {}}', '{"sha256": []}', "\x00"])
def test_a_checkpoint_json_that_is_none_is_told_in_one_line(text, tmp_path):
    path = save(tmp_path)
    (path / "checkpoint.json").write_text(text)
    assert one_line(tmp_path).startswith(f"checkpoint {path} is damaged: ")


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    path = save(tmp_path)
    monkeypatch.undo()
    assert one_line(path) == f"checkpoint {path}: format 2 is not 1, this version's"


def test_a_folder_without_a_checkpoint(tmp_path):
    (tmp_path / "step-000003").mkdir()
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "none", tmp_path / "file", tmp_path / "step-000003"):
        assert one_line(path) == f"no checkpoint in {path}: name a folder that `nanokimi train --out` wrote"
        assert not checkpoint.has_checkpoint(path)


# ---------------------------------------------------------------- killed in between


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path):
    kept = []
    for step in (3, 6, 12):
        kept = [*kept[-1:], save(tmp_path, step).name]
        assert sorted(p.name for p in tmp_path.iterdir()) == kept
    assert checkpoint.load_checkpoint(tmp_path).state.step == 12
    assert checkpoint.has_checkpoint(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_where_the_newest_is_damaged_the_one_before_it_is_loaded_and_that_is_said(name, tmp_path):
    """Each file altered, and a folder of which half is deleted; a checkpoint that is named is not replaced."""
    save(tmp_path, 3)
    newest = save(tmp_path, 6)
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 4
    (newest / name).write_bytes(content)
    found = checkpoint.load_checkpoint(tmp_path)
    assert found.state.step == 3 and len(found.skipped) == 1
    assert found.skipped[0].startswith(f"checkpoint {newest}") and "damaged" in found.skipped[0]
    assert one_line(newest) == found.skipped[0]
    if name != "checkpoint.json":
        (newest / name).unlink()
        assert checkpoint.load_checkpoint(tmp_path).skipped == (f"checkpoint {newest}: {name} is missing",)
    (tmp_path / "step-000003" / "model.safetensors").write_bytes(b"")
    line = one_line(tmp_path)
    assert "; nor does the one before it load, checkpoint " in line and line.endswith(BEGIN_ANEW)


def test_a_checkpoint_that_is_deleted_while_it_is_read_is_not_missed(tmp_path, monkeypatch):
    """The training goes on beside its reader: twice it deletes what is being read, and has a newer one."""
    save(tmp_path, 3)
    real, left = checkpoint.read_checkpoint, [6, 9]

    def read(path):
        if left:
            shutil.rmtree(path)
            save(tmp_path, left.pop(0))
        return real(path)

    monkeypatch.setattr(checkpoint, "read_checkpoint", read)
    found = checkpoint.load_checkpoint(tmp_path)
    assert (found.state.step, found.skipped) == (9, ())


def test_a_half_written_folder_is_not_seen(tmp_path):
    """What a process killed while writing leaves behind: a part of the files under the temporary name."""
    path = save(tmp_path, 3)
    left = tmp_path / ".writing-killed"
    left.mkdir()
    (left / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:100])
    half = tmp_path / "step-000009"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert checkpoint.load_checkpoint(tmp_path).state.step == 3
    save(tmp_path, 6)
    assert checkpoint.load_checkpoint(tmp_path).state.step == 6
