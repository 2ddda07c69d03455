"""`make perf`: every comparison runs, the steps are those that the presets train, and the figures are right by hand."""

import json

import pytest
import torch

from benchmarks import comparisons, perf
from benchmarks.comparisons import COMPARISONS, ONLY_ON_CUDA, STEPS, comparison_titles
from benchmarks.steps import StepCase
from benchmarks.turns import time_in_turns
from lab_utils.bench.plan import make_plan
from tests import tiny

CPU = torch.device("cpu")


def test_the_steps_are_those_of_the_ladder():
    """But for the learning rate, and for bias update rates that cost the same."""
    rows = STEPS["training step, tiny"](CPU)
    same = {
        "GPT, AdamW": "gpt",
        "Kimi dense, AdamW": "kimi-dense",
        "Kimi MLA dense, AdamW": "kimi-mla",
        "Kimi, AdamW": "kimi-bias",
        "Kimi, Muon, QK-clip": "kimi",
        "GPT, Muon": "gpt-muon",
    }
    for name, arm_name in same.items():
        arm, case = make_plan("cpu", "ladder").arm(arm_name), rows[name]
        assert case.model == arm.model
        assert case.train.optim.optimizer == arm.train.optim.optimizer
        assert case.train.qk_clip_tau == arm.train.qk_clip_tau
        assert (case.train.balance.bias_update_rate > 0) == (arm.train.balance.bias_update_rate > 0)
        assert (case.train.batch_size, case.train.seq_len) == (arm.train.batch_size, arm.train.seq_len)
    assert {case.train.device for case in rows.values()} == {"cpu"}


def test_a_gpu_measures_larger_models_too():
    cpu, cuda = comparison_titles(CPU), comparison_titles(torch.device("cuda"))
    assert set(cuda) - set(cpu) == ONLY_ON_CUDA
    assert not [title for title in cuda if "smoke" in title]


@pytest.mark.parametrize("title", [title for title in COMPARISONS if title not in ONLY_ON_CUDA])
def test_every_comparison_runs(title, monkeypatch):
    # The tests check all shapes at run time, and that cannot be compiled.
    monkeypatch.setattr(comparisons, "can_compile", lambda _: False)
    for candidate in COMPARISONS[title](CPU).values():
        candidate()


def test_decoding_is_measured_compiled_where_that_can_be(monkeypatch):
    asked = []
    monkeypatch.setattr(comparisons, "can_compile", lambda _: True)
    monkeypatch.setattr(
        comparisons, "generate", lambda *_, **settings: asked.append(settings["compile"]) or []
    )
    candidates = COMPARISONS["decoding, 200 tokens"](CPU)
    del candidates["transformers, same Kimi"]
    for candidate in candidates.values():
        candidate()
    assert dict(zip(candidates, asked, strict=True)) == {
        "Kimi": "off", "GPT": "off", "Kimi, compiled": "on", "GPT, compiled": "on",
    }  # fmt: skip


def test_grouped_experts_are_compared_with_the_loop_where_they_run(monkeypatch):
    """As on a GPU: bfloat16, and widths that a grouped product takes."""
    monkeypatch.setattr(comparisons, "load_model_config", lambda _: tiny.kimi())
    monkeypatch.setattr(comparisons, "choose_dtype", lambda *_: torch.bfloat16)
    seen = []
    monkeypatch.setattr(
        comparisons, "can_group", lambda rows, down: not seen.append(torch.is_autocast_enabled("cpu"))
    )
    found = comparisons.experts("kimi-smoke", 16, CPU)
    assert seen == [True] and list(found) == ["in a loop", "grouped"]
    for run in found.values():
        run()


class Clock:
    """`time.perf_counter`, on which each candidate takes the seconds that it is given."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def take(self, seconds):
        def run():
            self.now += seconds

        return run


def test_candidates_take_turns(monkeypatch):
    clock = Clock(monkeypatch)
    times = time_in_turns({"a": clock.take(1.0), "b": clock.take(3.0)}, 4, CPU)
    assert times == {"a": [1.0] * 4, "b": [3.0] * 4}


def test_a_share_is_taken_round_by_round():
    case = StepCase(model=tiny.gpt(), train=tiny.train_config())
    times = {"GPT": [2.0, 4.0, 6.0], perf.PRODUCT: [1.0, 1.0, 3.0]}
    figures = perf.make_figures([times])
    speed = perf.add_step_figures(figures, [times], {"GPT": case}, {"GPT": 12}, operations=100.0)
    assert speed == 100.0  # the median product took a second
    # The rounds: half, a quarter and half of the product's speed, for as many operations.
    assert figures["GPT"]["share_of_ceiling"] == pytest.approx(case.operations / 100 / 2)
    assert figures["GPT"]["tokens_per_s"] == pytest.approx(32 / 4)
    assert figures["GPT"]["peak_memory"] == 12
    assert list(figures) == ["GPT"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Quick: no new processes, no change to this one's memory, a small product."""
    monkeypatch.setattr(perf, "in_new_process", lambda function, *args: function(*args))
    monkeypatch.setattr("benchmarks.perf.keep_memory_as_training", lambda _: None)
    monkeypatch.setattr("benchmarks.steps.keep_memory_as_training", lambda _: None)
    monkeypatch.setitem(perf.make_product.__globals__["WIDTH"], "cpu", 64)


def test_a_run_on_ones_own_machine_is_kept_in_out(in_this_process, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(perf, "comparison_titles", lambda _: list(comparisons.ONLY_TO_TRY))
    monkeypatch.setattr(
        "sys.argv", ["perf", "--processes=1", "--rounds=1", "--machine=Mine, 2 threads", "--device=cpu"]
    )
    monkeypatch.chdir(tmp_path)
    perf.main()
    record = json.loads((tmp_path / "out/benchmarks/perf-mine-2-threads.json").read_text())
    steps = record["figures"]["training step, smoke"]
    assert list(steps) == list(STEPS["training step, smoke"](CPU))
    for row in steps.values():
        assert row["ms"] > 0 and row["share_of_ceiling"] > 0 and row["tokens_per_s"] > 0
        assert row["peak_memory"] is None or row["peak_memory"] >= 0
    assert record["ceilings"]["training step, smoke"] > 0
    assert "GFLOP/s" in capsys.readouterr().out
