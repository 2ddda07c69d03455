"""Decoding: bytes against numbers worked out by hand, reach against caches that really grow, and turns."""

from dataclasses import replace

import pytest
import torch

from lab_utils.study import decoding
from lab_utils.study.cache_plan import make_cache_plan
from lab_utils.study.decoding import (
    Decoding,
    bytes_of,
    largest_batch,
    longest_context,
    peak_bytes,
    read_prompt,
    time_in_turns,
)
from nanokimi.kimi import Kimi
from nanokimi.presets.yaml_config import load_model_config

# Two layers, 32 wide; latents of 16 and rope keys of 8 numbers; 2 latents for every 8 tokens.
MODELS = make_cache_plan("smoke").models
# Numbers per layer for one text of 20 tokens: keys and values; latent and rope key; two closed blocks with keys and
# values of two latents each, and keys, values and inputs of the four tokens of the open one.
NUMBERS_AT_20 = {"mha": 20 * 2 * 32, "mla": 20 * (16 + 8), "block-latent": 2 * 2 * 2 * 32 + 4 * 3 * 32}


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_a_cache_after_its_prompt_has_the_bytes_of_a_hand_count(name, monkeypatch):
    monkeypatch.setattr(decoding, "PIECE", 7)
    model = Kimi(MODELS[name])
    cache = read_prompt(model, torch.arange(20)[None], batch=3)
    assert bytes_of(cache) == 3 * 2 * 4 * NUMBERS_AT_20[name]
    assert model.lm_head.weight.element_size() == decoding.NUMBER_BYTES


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_every_text_goes_on_as_a_model_without_a_cache_would(name, monkeypatch):
    monkeypatch.setattr(decoding, "PIECE", 7)
    model, tokens = (
        Kimi(MODELS[name]),
        torch.randint(512, (1, 21), generator=torch.Generator().manual_seed(1)),
    )
    cache = read_prompt(model, tokens[:, :-1], batch=3)
    got = model(tokens[:, -1:].expand(3, 1), cache).logits[:, -1]
    torch.testing.assert_close(got, model(tokens).logits[:, -1].expand(3, -1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_bytes", [3000, 7000, 7168])
@torch.inference_mode()
def test_the_longest_context_is_where_a_growing_cache_leaves_its_bytes(name, n_bytes):
    model = Kimi(MODELS[name])
    cache, n_tokens = model.new_cache(), 0
    while True:
        model(torch.zeros(1, 1, dtype=torch.long), cache)
        if bytes_of(cache) > n_bytes:
            break
        n_tokens += 1
    assert longest_context(MODELS[name], n_bytes) == n_tokens


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_the_largest_batch_stays_within_its_bytes_and_one_more_does_not(name):
    n_bytes, context = 50_000, 21
    model = Kimi(MODELS[name])

    def most_bytes(batch: int) -> int:
        cache, token = model.new_cache(), torch.zeros(batch, 1, dtype=torch.long)
        held = []
        for _ in range(context):
            model(token, cache)
            held.append(bytes_of(cache))
        return max(held)

    batch = largest_batch(MODELS[name], context, n_bytes)
    assert most_bytes(batch) <= n_bytes < most_bytes(batch + 1)


def test_k2_in_a_gigabyte():
    """K2 keeps 35,136 numbers per token; 10^9 bytes are 250,000,000 numbers of four bytes."""
    cfg = load_model_config("kimi-k2")
    assert longest_context(cfg, 10**9) == 250_000_000 // 35_136 == 7115
    assert largest_batch(cfg, 1000, 10**9) == 7
    assert longest_context(cfg, 140_543) == 0


def test_the_peak_of_block_latents_is_before_a_block_is_closed():
    """After 8 tokens a block is closed: 7 tokens had 7·3·32 numbers per layer, and 2 latents have 2·2·32."""
    cfg = MODELS["block-latent"]
    assert peak_bytes(cfg, 7) == peak_bytes(cfg, 8) == 2 * 4 * 7 * 3 * 32
    assert peak_bytes(cfg, 15) == 2 * 4 * (2 * 2 * 32 + 7 * 3 * 32)


def test_turns_are_taken_by_all_in_every_round_and_the_first_is_not_counted():
    calls: list[str] = []
    turns = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = time_in_turns(turns, rounds=6)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 7
    assert {tuple(sorted(each)) for each in rounds} == {("a", "b", "c")}
    assert len({tuple(each) for each in rounds}) > 1
    assert [len(each) for each in seconds.values()] == [6, 6, 6]
    assert all(second >= 0 for each in seconds.values() for second in each)


@pytest.fixture
def job(tmp_path) -> Decoding:
    return Decoding(
        models=MODELS, batch=2, context=12, rounds=2, tokens=3, device="cpu", file=tmp_path / "2x12.json"
    )


def test_a_measurement_is_kept_and_not_made_twice(job, monkeypatch):
    assert job.kept() is None
    found = job()
    assert job.kept() == found
    assert [(each.model, each.batch, each.context, each.tokens) for each in found.found] == [
        (name, 2, 12, 3) for name in MODELS
    ]
    assert all(each.cache_bytes == each.formula_bytes for each in found.found)
    assert all(len(each.seconds) == 2 and min(each.seconds) > 0 for each in found.found)
    monkeypatch.setattr(decoding, "Kimi", None)
    assert job() == found


def test_a_measurement_whose_file_is_damaged_is_made_again(job):
    job()
    job.file.write_text(job.file.read_text()[:40])
    assert len(job().found) == 3
    again = replace(job, file=job.file)()
    assert again == job()
