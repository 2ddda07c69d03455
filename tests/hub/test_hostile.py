"""Folders that lie: claims of config.json and paths of an index are checked before anything large is read or built."""

import json
import math
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nanokimi import hub
from nanokimi.hub.hub_config import HubError
from tests.hub.hub_models import assert_close, make_encoding, make_kimi, make_tokens


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "kimi"
    hub.save_pretrained(make_kimi(), make_encoding(), path)
    return path


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "kimi")


def refusal(folder: Path) -> str:
    """The one line with which the folder is refused."""
    with pytest.raises(HubError) as error:
        hub.from_pretrained(folder)
    assert str(folder) in str(error.value) and str(error.value).isprintable()
    return str(error.value)


def split(folder: Path, n_files: int = 2) -> dict[str, str]:
    """The weights in several files, and the map from names to files that is their index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"part-{i % n_files}.safetensors" for i, name in enumerate(sorted(weights))}
    for file in set(where.values()):
        save_file({name: weights[name] for name in where if where[name] == file}, folder / file)
    return where


def write_index(folder: Path, where: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ({"num_hidden_layers": 1000}, "model.layers.3.input_layernorm.weight is missing"),
        ({"num_hidden_layers": 1_000_000}, "num_hidden_layers=1000000 must be"),
        ({"num_hidden_layers": 1000, "first_k_dense_replace": 1000}, "model.layers.1.mlp.gate_proj.weight is missing"),
        ({"vocab_size": 1_000_000, "hidden_size": 1_000_000}, "embed_tokens.weight has shape (300, 32)"),
        ({"vocab_size": 10**12}, "vocab_size=1000000000000 must be"),
        ({"n_routed_experts": 1_000_000}, "config.json asks for (1000000, 32)"),
        ({"n_shared_experts": 1_000_000, "moe_intermediate_size": 1_000_000}, "has shape (14, 32)"),
        ({"kv_lora_rank": 1_000_000, "num_attention_heads": 1_000_000, "num_key_value_heads": 1_000_000}, "has shape"),
        ({"hidden_size": 10**4000}, "hidden_size="),
    ],
)  # fmt: skip
def test_a_claim_is_compared_with_the_file_first(folder, claim, says):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | claim))
    started = time.monotonic()
    assert says in refusal(folder)
    assert time.monotonic() - started < 2  # 20 ms here; building the first of them took a minute


def test_a_file_with_holes_larger_than_memory_is_not_read(folder):
    """A terabyte that takes no place on the disk: the header is right, and the file as long as it says."""
    path, config = folder / "model.safetensors", folder / "config.json"
    vocab_size, width = 1_000_000, 32
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"vocab_size": vocab_size, "hidden_size": 1_000_000})
    )
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            shape = [{300: vocab_size, width: 1_000_000}.get(n, n) for n in entry["shape"]]
            entry["shape"] = shape
            entry["data_offsets"] = [end, end + 4 * math.prod(shape)]
            end += 4 * math.prod(shape)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    try:
        os.truncate(path, 8 + len(text) + end)
    except OSError:
        pytest.skip("this file system has no files of that size")
    assert any(word in refusal(folder) for word in ("GB in float32, and there are", "Cannot allocate memory"))


def test_a_model_larger_than_memory_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr("nanokimi.hub.folder.memory_limit", lambda: 200_000)
    assert "the weights take 0.0 GB in float32, and there are 0.0 GB of memory" in refusal(folder)


def test_a_bank_of_a_million_experts_is_not_listed(folder):
    """With a router of that size in the file, the names of two million matrices are asked for one by one."""
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.startswith("model.layers.1.mlp.gate.")]:
        weights[name] = torch.zeros(100_000, *weights[name].shape[1:])
    save_file(weights, folder / "model.safetensors")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_routed_experts": 100_000}))
    assert "experts.8.gate_proj.weight is missing" in refusal(folder)


def test_parts_are_read_as_one(folder, whole):
    write_index(folder, split(folder))
    model = hub.from_pretrained(folder)
    with torch.no_grad():
        assert_close(model(make_tokens(model)).logits, hub.from_pretrained(whole)(make_tokens(model)).logits)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_part_outside_the_folder_is_not_read(folder, absolute):
    """The file is a whole and right part: only its place is refused."""
    where = split(folder)
    shutil.move(folder / "part-1.safetensors", folder.parent / "part-1.safetensors")
    outside = str(folder.parent / "part-1.safetensors") if absolute else "../part-1.safetensors"
    write_index(folder, {n: outside if f == "part-1.safetensors" else f for n, f in where.items()})
    assert "must be the plain name of a .safetensors file" in refusal(folder)


def test_links_of_the_hubs_own_cache_are_followed(folder):
    """A snapshot in that cache is a folder of links to blobs elsewhere."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for path in list(folder.iterdir()):
        shutil.move(path, blobs / path.name)
        path.symlink_to(f"../blobs/{path.name}")
    assert hub.from_pretrained(folder).cfg.n_layers == 3


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ([], "weight_map must name a file for every weight"),
        ({"x": 1}, "weight_map must name a file for every weight"),
        ({}, "model.embed_tokens.weight is missing"),
        ({"x": "none.safetensors"}, "'none.safetensors' is missing"),
        ({"x": "\x1b[2J.safetensors"}, r"'\x1b[2J.safetensors' is missing"),
        ({"x": "\0.safetensors"}, r"'\x00.safetensors' is missing"),
        ({"x": "config.json"}, "'config.json' must be the plain name"),
    ],
)
def test_an_index_without_sense_is_one_line(folder, where, says):
    (folder / "model.safetensors").unlink()
    write_index(folder, where)
    assert says in refusal(folder)


def test_a_weight_in_two_parts_is_refused(folder):
    where = split(folder)
    shutil.copy(folder / "part-1.safetensors", folder / "part-2.safetensors")
    write_index(folder, where | {"x": "part-2.safetensors"})
    assert "is in two files" in refusal(folder)


def test_an_index_beside_a_whole_file_is_not_read(folder):
    """As in transformers: a stale index changes nothing."""
    write_index(folder, {"x": "none.safetensors"})
    assert hub.from_pretrained(folder).cfg.n_layers == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_file_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert name in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_weights_of_other_types_are_refused(folder, dtype):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].to(dtype)
    save_file(weights, folder / "model.safetensors")
    assert "'model.norm.weight' has numbers of type" in refusal(folder)


def test_weights_that_are_not_finite_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.2.mlp.experts.5.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors")
    assert "'model.layers.2.mlp.experts.5.up_proj.weight' is not finite" in refusal(folder)


def test_a_layer_that_the_configuration_hides_is_refused(folder):
    """Only a prediction layer may lie past the last one."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 2}))
    assert "model.layers.2." in refusal(folder) and "has no place" in refusal(folder)


def test_a_model_that_was_read_owns_its_memory(folder):
    """A file that is cut afterwards changes nothing, and the weights can be trained."""
    model = hub.from_pretrained(folder)
    with torch.no_grad():
        before = model(make_tokens(model)).logits
    os.truncate(folder / "model.safetensors", 10)
    assert all(p.requires_grad and p.is_leaf and p.is_contiguous() for p in model.parameters())
    logits = model(make_tokens(model)).logits
    assert torch.equal(logits, before)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.layers[1].self_attn.parameters())
