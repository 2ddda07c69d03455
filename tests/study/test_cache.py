"""The study of the cache as a whole: its best rates, its verdict, its tables' words, and a run that is begun again."""

import json
from dataclasses import asdict, replace

import pytest

from lab_utils.study import command
from lab_utils.study.cache import find_verdict
from lab_utils.study.cache_found import (
    Reach,
    decoding_table,
    find_reach,
    quality_table,
    reach_table,
    read_found,
)
from lab_utils.study.cache_plan import make_cache_plan
from lab_utils.study.decoding import Decoded
from lab_utils.study.trainings import Trained
from nanokimi.text.corpus import load_corpus
from tests.bench.made_up_results import run


def decoded(model: str, seconds: tuple[float, ...], more_bytes: int = 0) -> Decoded:
    return Decoded(
        model=model, batch=4, context=1024, tokens=32, cache_bytes=5_242_880 + more_bytes,
        formula_bytes=5_242_880, seconds=seconds,
    )  # fmt: skip


def trained(arm: str, lr: float, loss: float, seed: int = 0, cache: int = 48, done: int = 40) -> Trained:
    made = run(f"{arm}-lr{lr:g}", seed, {done: loss})
    return Trained(arm=arm, lr=lr, cache_per_token=cache, body_active=25_400, body_total=25_400, run=made)


def words(table) -> list[list[str]]:
    return [line.split() for line in str(table).splitlines()]


def test_the_table_of_decoding_has_speeds_of_all_texts_and_ratios_round_by_round():
    """4 texts x 32 tokens in half a second; the ratios 2, 3 and 0.5 have the median 2."""
    rows = words(decoding_table([decoded("mha", (0.5, 0.6, 0.1)), decoded("mla", (0.25, 0.2, 0.2))]))
    assert ["4", "1,024", "mha", "256", "1.00", "5", "MB"] in rows
    assert ["4", "1,024", "mla", "640", "2.00", "5", "MB"] in rows


def test_the_table_says_whether_the_formula_holds():
    same, other = decoded("mha", (1.0,)), decoded("mla", (1.0,), more_bytes=4)
    assert "are those of the formula in all 2 rows." in str(decoding_table([same, same]))
    assert "differ from the formula in 1 of 2 rows." in str(decoding_table([same, other]))


def test_the_table_of_reach():
    reach = Reach(model="mla", numbers_per_token=320.0, longest_context=838_860, largest_batch={256: 3276})
    assert ["mla", "320", "838,860", "3,276"] in words(reach_table([reach]))


def test_reach_in_a_gigabyte_by_hand():
    """250,000,000 numbers: of 1,024 per token, and of 320."""
    found = {each.model: each for each in find_reach(make_cache_plan().models, (256, 8192))}
    mha, mla = found["mha"], found["mla"]
    assert (mha.longest_context, mha.largest_batch) == (244_140, {256: 953, 8192: 29})
    assert (mla.longest_context, mla.largest_batch) == (781_250, {256: 3051, 8192: 95})
    # A closed block of 32 tokens leaves 4 x 128 x 8 numbers.
    assert found["block-latent"].numbers_per_token == 128


def test_the_table_of_quality_shows_each_arm_at_its_best_rate():
    rows = words(quality_table([trained("mha", 0.01, 2.0, cache=128), trained("mha", 0.02, 1.0, cache=128)]))
    assert ["mha", "128", "25.4k", "0.02", "1.000", "0.500", "1"] in rows


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke plan with three seeds, and its text."""
    plan = make_cache_plan("smoke", 3)
    return plan, load_corpus(replace(plan.preset.data, cache_dir=str(tmp_path_factory.mktemp("text"))))


@pytest.mark.parametrize(
    ("mla", "answer"),
    [((1.0, 1.1, 1.2), "challenger"), ((3.0, 3.1, 3.2), "baseline"), ((1.0, 1.1, 2.3), "undecided")],
)
def test_the_verdict_is_the_report_s(smoke, mla, answer):
    made = [trained("mha-24x1", 0.024, 2.0 + seed / 10, seed) for seed in range(3)]
    made += [trained("mla", 0.024, loss, seed) for seed, loss in enumerate(mla)]
    verdict = find_verdict(*smoke, made)
    assert (verdict.question, verdict.baseline, verdict.challenger) == ("Equal memory", "mha-24x1", "mla")
    assert verdict.answer == answer
    assert [pair.challenger for pair in verdict.pairs] == list(mla)


def test_one_seed_concludes_nothing_and_one_arm_has_nobody_to_meet(smoke):
    plan, corpus = smoke
    made = [trained("mha-24x1", 0.024, 2.0), trained("mla", 0.024, 1.0)]
    verdict = find_verdict(replace(plan, seeds=(0,)), corpus, made)
    assert (verdict.answer, verdict.reason) == ("no conclusion", "1 seed, 3 needed")
    assert find_verdict(plan, corpus, made[:1]) is None
    assert find_verdict(plan, corpus, made[1:]) is None
    assert find_verdict(plan, corpus, []) is None


def test_the_command_measures_trains_records_and_goes_on_after_a_kill(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    line = ["--name=cache", "--profile=smoke", f"--out={out}"]
    assert command.run(line) == 0
    first = capfd.readouterr().out
    record = json.loads((out / "results.json").read_text())
    assert [(each["model"], each["context"]) for each in record["decoded"]] == [
        (model, context) for context in (64, 256) for model in ("mha", "mla", "block-latent")
    ]
    assert [each["arm"] for each in record["trained"]] == ["mha-24x1", "mla"]
    assert (record["verdict"]["question"], record["verdict"]["answer"]) == ("Equal memory", "no conclusion")
    assert record["command"] == "make study NAME=cache PROFILE=smoke SEEDS=1"
    assert record["environment"]["machine"]["threads"] >= 1
    assert "Equal memory: no conclusion: 1 seed, 3 needed." in first
    assert json.loads(json.dumps(asdict(read_found(record)))) == {
        name: record[name] for name in ("decoded", "reach", "trained", "lost")
    }
    # As after a kill: one measurement and the record are missing, and nothing else is done again.
    (out / "results.json").unlink()
    (out / "decoding" / "2x256.json").unlink()
    kept = {
        file: file.stat().st_mtime_ns for file in [*out.rglob("run.json"), out / "decoding" / "2x64.json"]
    }
    assert command.run(line) == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    again = json.loads((out / "results.json").read_text())
    assert again["trained"] == record["trained"]
    assert again["decoded"][:3] == record["decoded"][:3]
    assert again["decoded"][3:] != record["decoded"][3:]
