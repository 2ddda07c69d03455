"""The folder of a model that comes with the lab: what is written is what is read, and damage is told in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from nanokimi.config import ConfigError, DataConfig
from nanokimi.evaluate import Evaluation, RoleLoss
from nanokimi.model import build_model
from nanokimi.pretrained import PretrainedError, load_pretrained, names, shelf
from tests import tiny

LOSS = RoleLoss(nats_per_token=1.5, bits_per_byte=0.5, floor_bits_per_byte=0.25, n_tokens=7)
FOUND = Evaluation(
    loss=2.0, perplexity=7.4, bits_per_byte=0.7, floor_bits_per_byte=0.25, n_tokens=9, by_role={"fact": LOSS}
)


def write(folder: Path, model, data: DataConfig | None = None) -> None:
    corpus = tiny.corpus()
    shelf.write_model(
        folder,
        model,
        corpus.tokenizer,
        data,
        tiny.train_config(),
        FOUND,
        {"steps": 3, "stories": 70},
        "# A card\n",
    )


@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_model_comes_back_rounded_to_half_precision(tmp_path, name):
    model = build_model(tiny.model_config(name))
    tiny.harsh_(model)
    write(tmp_path / "one", model, DataConfig(n_characters=50))
    found = shelf.read_model(tmp_path / "one")
    assert (found.name, found.model.cfg, found.train) == ("one", model.cfg, tiny.train_config())
    assert (found.data, found.n_stories, found.steps) == (DataConfig(n_characters=50), 70, 3)
    assert found.evaluation == FOUND
    assert found.tokenizer._mergeable_ranks == tiny.corpus().tokenizer._mergeable_ranks
    assert not found.model.training
    for key, value in model.state_dict().items():
        back = found.model.state_dict()[key]
        assert back.dtype == value.dtype
        # A 16-bit float has 11 binary digits.
        torch.testing.assert_close(back, value, rtol=2**-11, atol=2**-24)
        assert not value.is_floating_point() or torch.equal(back, back.half().float())


def test_a_weight_beyond_half_precision_is_refused(tmp_path):
    model = build_model(tiny.gpt())
    with torch.no_grad():
        next(model.parameters())[0, 0] = 1e6
    with pytest.raises(ConfigError, match="is not finite in half precision"):
        write(tmp_path / "one", model)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_one_line_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no model 'kimi-storyworlds' .* did you mean kimi-storyworld\?$"):
        load_pretrained("kimi-storyworlds")
    for name in ("../presets", "", ".", "/etc"):
        with pytest.raises(ConfigError, match=r"comes with the lab; known: .*"):
            load_pretrained(name)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def change_a_letter(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("file", [shelf.WEIGHTS, shelf.TOKENS])
@pytest.mark.parametrize("damage", [cut, change_a_letter, Path.unlink])
def test_a_damaged_file_is_one_line(tmp_path, monkeypatch, file, damage):
    write(tmp_path / "one", build_model(tiny.gpt()))
    monkeypatch.setattr(shelf, "SHELF", tmp_path)
    assert names() == ["one"] and load_pretrained("one").data is None
    damage(tmp_path / "one" / file)
    with pytest.raises(
        PretrainedError, match=r"^model one is damaged: .*; install nanokimi again$"
    ) as caught:
        load_pretrained("one")
    assert "\n" not in str(caught.value) and file in str(caught.value)


def without(name: str):
    return lambda about: {key: value for key, value in about.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [
        *(lambda about, value=value: value for value in (None, [], {}, {"sha256": {}}, {"sha256": 3})),
        *(lambda about, key=key, value=value: {**about, key: value}
          for key in ("model", "train", "data", "evaluation", "origin", "sha256") for value in (None, {}, "x", [1])),
        *map(without, ("model", "train", "data", "evaluation", "origin", "sha256")),
    ],
)  # fmt: skip
def test_a_changed_about_is_one_line(tmp_path, monkeypatch, change):
    write(tmp_path / "one", build_model(tiny.gpt()), DataConfig())
    monkeypatch.setattr(shelf, "SHELF", tmp_path)
    file = tmp_path / "one" / shelf.ABOUT
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(
        PretrainedError, match=r"^model one is damaged: .*; install nanokimi again$"
    ) as caught:
        load_pretrained("one")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("about", [b"", b"{", b"\xff\xfe{}", None])
def test_an_about_that_is_no_json_or_is_not_there_is_one_line(tmp_path, monkeypatch, about):
    write(tmp_path / "one", build_model(tiny.gpt()))
    monkeypatch.setattr(shelf, "SHELF", tmp_path)
    (tmp_path / "one" / shelf.ABOUT).unlink()
    if about is not None:
        (tmp_path / "one" / shelf.ABOUT).write_bytes(about)
    with pytest.raises(PretrainedError, match=r"^model one is damaged: ") as caught:
        load_pretrained("one")
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_one_line(tmp_path, monkeypatch):
    write(tmp_path / "one", build_model(tiny.gpt()))
    write(tmp_path / "two", build_model(tiny.gpt(d_model=32)))
    monkeypatch.setattr(shelf, "SHELF", tmp_path)
    shutil.copy(tmp_path / "two" / shelf.WEIGHTS, tmp_path / "one")
    about = json.loads((tmp_path / "one" / shelf.ABOUT).read_text())
    about["sha256"][shelf.WEIGHTS] = shelf.hash_file(tmp_path / "one" / shelf.WEIGHTS)
    about["sha256"][shelf.ABOUT] = shelf.hash_about(about, shelf.ABOUT)
    (tmp_path / "one" / shelf.ABOUT).write_text(json.dumps(about))
    with pytest.raises(PretrainedError, match=r"^model one is damaged: ") as caught:
        load_pretrained("one")
    assert "\n" not in str(caught.value)
