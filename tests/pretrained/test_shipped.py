"""The models that come with the lab are what their cards say: their losses, their tokens, their size."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from nanokimi import hub
from nanokimi.config import DataConfig
from nanokimi.evaluate import evaluate
from nanokimi.generate import generate
from nanokimi.kimi import Kimi
from nanokimi.pretrained import load_pretrained, names, shelf
from nanokimi.text.corpus import load_corpus

STORYWORLD, TINYSTORIES = ("gpt-storyworld", "kimi-storyworld"), "kimi-tinystories"
ROUNDING = 0.002  # nats per token that half precision may change


def test_these_models_come_with_the_lab():
    assert names() == sorted([*STORYWORLD, TINYSTORIES])


@pytest.mark.parametrize("name", names())
def test_a_folder_is_small_and_its_card_says_what_is_recorded(name):
    folder = shelf.SHELF / name
    assert {file.name for file in folder.iterdir()} == {
        shelf.WEIGHTS,
        shelf.TOKENS,
        shelf.ABOUT,
        "README.md",
    }
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10 * 10**6
    about, card = json.loads((folder / shelf.ABOUT).read_text()), (folder / "README.md").read_text()
    origin, found = about["origin"], about["evaluation"]
    assert all(word in card for word in (name, origin["command"], origin["machine"], f"{origin['tokens']:,}"))
    rows = [line.split("  ") for line in card.splitlines()]
    loss = next(row for row in rows if row[0] == "loss, bits per byte")
    assert f"{found['bits_per_byte']:.3f}" in [cell.strip() for cell in loss]
    for role, one in (found["by_role"] or {}).items():
        row = next(row for row in rows if role in "".join(row) and "of the tokens" in "".join(row))
        assert f"{one['bits_per_byte']:.3f}" in [cell.strip() for cell in row]
    assert f"{sum(p.numel() for p in load_pretrained(name).model.parameters()):,} parameters" in card


def test_what_models_md_compares_stands_on_the_cards():
    """A row of its table is a line of each card, below which a number is that of the model."""
    text = (shelf.SHELF.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    table = text.split("| | gpt-storyworld | kimi-storyworld |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]
    lines = {
        "facts known, of 7,200": "facts known, of 7,200",
        "of the heroes in fewest stories (67.8 each)": "heroes 268 to 400 by fame, of 67.8 stories each",
        "copied words right, of 1,263": "copied words right, of 1,263",
        "1 to 16 tokens back": "1 to 16 tokens back",
        "33 to 64 tokens back": "33 to 64 tokens back",
        "65 to 128 tokens back": "65 to 128 tokens back",
        "above 128 tokens back": "above 128 tokens back",
        "stories with true facts, of 64": "stories with true facts",
    }
    assert [row[0] for row in rows] == list(lines)
    for what, *numbers in rows:
        for name, number in zip(STORYWORLD, numbers, strict=True):
            card = (shelf.SHELF / name / "README.md").read_text(encoding="utf-8")
            line = next(line for line in card.splitlines() if line.strip().startswith(lines[what]))
            assert number in line.split(), (name, what)


@pytest.mark.parametrize("name", STORYWORLD)
def test_in_half_precision_the_loss_is_the_recorded_one(name):
    found = load_pretrained(name)
    corpus = load_corpus(found.data)
    assert found.data == DataConfig()
    assert corpus.tokenizer._mergeable_ranks == found.tokenizer._mergeable_ranks
    here = evaluate(found.model, corpus, found.train)
    assert here.n_tokens == found.evaluation.n_tokens
    assert abs(here.loss - found.evaluation.loss) <= ROUNDING
    for role, loss in here.by_role.items():
        assert abs(loss.nats_per_token - found.evaluation.by_role[role].nats_per_token) <= 5 * ROUNDING


def test_on_real_stories_too(real_text):
    found = load_pretrained(TINYSTORIES)
    corpus = load_corpus(DataConfig(source=str(real_text / "tinystories")))
    assert found.data is None
    assert corpus.tokenizer._mergeable_ranks == found.tokenizer._mergeable_ranks
    assert abs(evaluate(found.model, corpus, found.train).loss - found.evaluation.loss) <= ROUNDING


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("kimi")])
def test_transformers_goes_on_with_the_same_tokens(name, tmp_path):
    found = load_pretrained(name)
    assert isinstance(found.model, Kimi)
    hub.save_pretrained(found.model, found.tokenizer, tmp_path / "hub")
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path / "hub", attn_implementation="eager", experts_implementation="eager"
    ).eval()
    prompt = found.tokenizer.encode_ordinary("Once upon a time, there was a")
    ours = list(generate(found.model, prompt, 40, temperature=0.0))
    given = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=40, min_new_tokens=40, do_sample=False,
        pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    assert given[0, len(prompt) :].tolist() == ours
