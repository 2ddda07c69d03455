"""What a folder of the hub's format can hold instead of a model: a function for every kind of damage."""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 10**6, 10**9, 10**12, 2**63, 10**30, 0.5, -1.5, 1e-320, 1e308),
    *(
        float("nan"),
        float("inf"),
        "",
        "3",
        "silu",
        "yarn",
        "x" * 100_000,
        "\x1b]0;owned\x07",
        "\u202e/etc",
        "\ud800",
    ),
    *(
        [],
        {},
        [1] * 1000,
        {"a": {"b": [None]}},
        {"rope_type": "yarn", "factor": 4.0},
        "../../etc/passwd",
        [[]],
    ),
]
_MORE_FIELDS = (
    "rope_scaling",
    "rope_theta",
    "quantization_config",
    "head_dim",
    "is_causal",
    "n_group",
    "__class__",
)
_KINDS = ("BOOL", "U8", "I64", "F16", "BF16", "F64", "F8_E4M3", "C64", "F4", "X", "", None, 7)


def _change_a_field(draw: random.Random, folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    for _ in range(draw.choice((1, 1, 2))):
        section = (
            data
            if draw.random() < 0.7 or not isinstance(data.get("rope_parameters"), dict)
            else data["rope_parameters"]
        )
        name = draw.choice([*section, *_MORE_FIELDS])
        if draw.random() < 0.15:
            section.pop(name, None)
        else:
            section[name] = draw.choice(_VALUES)
    (folder / "config.json").write_text(json.dumps(data))


def _claim_a_giant(draw: random.Random, folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    sizes = [name for name, value in data.items() if type(value) is int]
    for name in draw.sample(sizes, draw.choice((1, 1, 2, 4))):
        data[name] = draw.choice((10**4, 10**5, 10**6, 2**31, 10**9, 10**12, 10**18))
    (folder / "config.json").write_text(json.dumps(data))


def _write_other_text(draw: random.Random, folder: Path) -> None:
    path = draw.choice(sorted(folder.glob("*.json")))
    if path.name.startswith("tokenizer"):
        path = folder / "config.json"
    text = path.read_text()
    broken = [
        text[: draw.randrange(len(text))].encode(),
        text.replace("3", "9" * 5000, 1).encode(),
        ("[" * 100_000).encode(),
        ('{"a":' * 50_000).encode(),
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        b"",
        b"\0" * 1000,
        b"null",
        b'"text"',
        b"[" + b"1," * 1000 + b"1]",
        b"{}",
        text.replace('"', "'").encode(),
        text.encode() + b" " * 3_000_000,
        text.replace(":", ": NaN, ", 1).encode(),
        (text[:-2] + ', "hidden_size": 1e999}').encode(),
        b'{"weight_map": "../.."}',
        b'{"weight_map": {"x": 1}}',
    ]
    path.write_bytes(draw.choice(broken))


def _flip_bytes(draw: random.Random, folder: Path) -> None:
    path = draw.choice([path for path in sorted(folder.iterdir()) if not path.name.startswith("tokenizer")])
    content = bytearray(path.read_bytes())
    most = min(len(content), 200) if draw.random() < 0.5 else len(content)
    for _ in range(draw.choice((1, 3, 30))):
        content[draw.randrange(most)] = draw.randrange(256)
    path.write_bytes(content)


def _change_a_header(draw: random.Random, folder: Path) -> None:
    path = draw.choice(sorted(folder.glob("*.safetensors")))
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    name = draw.choice([each for each in header if each != "__metadata__"])
    entry = header[name]
    what = draw.randrange(6)
    if what == 0:
        entry["shape"] = draw.choice(
            ([], [0], [10**9, 10**9], [2**63], [-1], [1] * 500, "x", None, entry["shape"][::-1])
        )
    elif what == 1:
        entry["dtype"] = draw.choice(_KINDS)
    elif what == 2:
        entry["data_offsets"] = draw.choice(([0, 0], [0, 2**62], [-4, 0], [8, 4], [0], None, [1.5, 2.5]))
    elif what == 3:
        header[draw.choice(("\x1b[2J", "../x", "", "model.layers.9.mlp.gate.weight", "x" * 10_000))] = (
            header.pop(name)
        )
    elif what == 4:
        header[f"model.layers.{10 ** draw.randrange(1, 25)}.eh_proj.weight"] = header.pop(name)
    else:
        header["__metadata__"] = draw.choice(
            ({}, {"format": "tf"}, {"format": 1}, None, [], {"a": "\x1b[2J"})
        )
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def _change_a_length(draw: random.Random, folder: Path) -> None:
    path = draw.choice(sorted(folder.glob("*.safetensors")))
    content = path.read_bytes()
    if draw.random() < 0.5:
        path.write_bytes(
            struct.pack("<Q", draw.choice((0, 1, 2**31, 2**63, 2**64 - 1, 99_999_999))) + content[8:]
        )
    else:
        path.write_bytes(
            content[: draw.randrange(len(content))] if draw.random() < 0.8 else content + b"\0" * 100
        )


def _change_a_weight(draw: random.Random, folder: Path) -> None:
    path = draw.choice(sorted(folder.glob("*.safetensors")))
    weights = load_file(path)
    name = draw.choice(sorted(weights))
    tensor = weights[name]
    others = [
        torch.full_like(tensor, float("nan")),
        torch.full_like(tensor, float("inf")),
        tensor * 1e30,
        *(
            tensor.to(kind)
            for kind in (torch.int64, torch.bool, torch.float16, torch.float64, torch.complex64)
        ),
        tensor.to(torch.float8_e4m3fn),
        tensor[..., :0].contiguous(),
        tensor[None].contiguous(),
        tensor.flatten(),
        torch.zeros(()),
    ]
    if draw.random() < 0.2:
        del weights[name]
    else:
        weights[name if draw.random() < 0.8 else name + draw.choice("x.\x1b\n")] = draw.choice(others)
    save_file({name: tensor.clone() for name, tensor in weights.items()}, path)


def _point_elsewhere(draw: random.Random, folder: Path) -> None:
    """An index that names files beside the folder's own."""
    files = [path.name for path in sorted(folder.glob("*.safetensors"))]
    for path in folder.glob("model.safetensors"):
        path.rename(folder / "model-00001-of-00001.safetensors")
        files = ["model-00001-of-00001.safetensors"]
    wrong = draw.choice(
        ("../one/model.safetensors", "/etc/passwd", "../../etc/x.safetensors", "..", ".", "", "/",
         "\x1b[2J.safetensors", "a\\b.safetensors", "x" * 5000 + ".safetensors", "\0.safetensors",
         "config.json", None, 7, ["x"])
    )  # fmt: skip
    content = {"weight_map": {f"w{i}": file for i, file in enumerate([*files, wrong])}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def _hold_a_weight_twice(draw: random.Random, folder: Path) -> None:
    path = draw.choice(sorted(folder.glob("*.safetensors")))
    shutil.copy(path, folder / "again.safetensors")
    files = [each.name for each in sorted(folder.glob("*.safetensors"))]
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("abcdefg", files))})
    )


def _put_something_else(draw: random.Random, folder: Path) -> None:
    """A folder, a pipe, a device or a link where a file should be."""
    path = draw.choice([path for path in sorted(folder.iterdir()) if not path.name.startswith("tokenizer")])
    path.unlink()
    what = draw.randrange(7)
    if what == 0:
        path.mkdir()
    elif what == 1:
        os.mkfifo(path)
    elif what in (2, 3, 4):
        path.symlink_to(("/dev/zero", path.name, "/nowhere/at/all")[what - 2])
    elif what == 5:
        path.write_bytes(b"")


DAMAGES: tuple[Callable[[random.Random, Path], None], ...] = (
    _change_a_field, _change_a_field, _change_a_field, _claim_a_giant, _write_other_text, _flip_bytes, _flip_bytes,
    _change_a_header, _change_a_header, _change_a_length, _change_a_weight, _point_elsewhere, _hold_a_weight_twice,
    _put_something_else,
)  # fmt: skip
