"""The script for 15 minutes of a GPU, on a CPU: each part runs, what fails costs no other part, bars are judged."""

import json

import pytest
import torch

from benchmarks import one_gpu, perf
from benchmarks.one_gpu import GPU, TRY, judge, make_text_plan, run_parts

CPU = torch.device("cpu")


def figures(mfu: float, kimi: float, grouped: float) -> dict:
    return {
        GPU.steps: {"GPT, AdamW": {"share_of_ceiling": mfu}, "Kimi, AdamW": {"ratio": kimi}},
        GPU.comparisons[0]: {"in a loop": {"ratio": 1.0}, "grouped": {"ratio": 1 / grouped}},
    }


@pytest.mark.parametrize(
    ("numbers", "short"),
    [
        ((0.41, 1.39, 3.1), []),
        ((0.39, 1.39, 3.1), ["share of the product's speed, GPT"]),
        ((0.41, 1.41, 3.1), ["Kimi's step over GPT's, AdamW"]),
        ((0.41, 1.39, 2.9), [f"{GPU.comparisons[0]}: speed of grouped over loop"]),
    ],
)
def test_the_bars_of_speed(numbers, short):
    bars = judge({"perf": {"figures": figures(*numbers)}}, GPU)
    assert len(bars) == 3
    assert [bar["what"] for bar in bars if not bar["holds"]] == short


def test_the_contracts_are_judged_where_they_were_counted():
    counts = {"operations": 2201, "products": 220, "waits": 8, "peak_gb": None}
    found = {bar["what"]: bar["holds"] for bar in judge({"contracts": {"kimi": counts}}, GPU)}
    assert found == {
        "kimi: operations of a step": False,
        "kimi: products of a step": True,
        "kimi: waits of a step": True,
    }
    assert judge({"contracts": {"failed": "out of memory"}, "perf": {"failed": "?"}}, GPU) == []


def test_a_part_that_fails_costs_no_other_part(monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error\nof two lines")

    monkeypatch.setattr(one_gpu, "count_contracts", fail)
    monkeypatch.setattr(one_gpu, "measure_speed", lambda *_: {"figures": {}})
    contracts, speed = run_parts(GPU, CPU, ("contracts", "perf"), 1.0)
    assert contracts == {"contracts": {"failed": "RuntimeError: CUDA error of two lines"}}
    assert speed == {"perf": {"figures": {}}}


def test_a_comparison_that_fails_costs_no_other_one(monkeypatch):
    def measure_all(titles, *_):
        if titles == (GPU.steps,):
            raise RuntimeError("out of memory")
        one = {"figures": {title: {} for title in titles}, "ceilings": {}}
        return one | {"small_operation_us": {title: [1.0] for title in titles}}

    monkeypatch.setattr(perf, "measure_all", measure_all)
    found = one_gpu.measure_speed(GPU, CPU)
    assert found["failed"] == {GPU.steps: "RuntimeError: out of memory"}
    assert list(found["figures"]) == list(GPU.comparisons)


def test_the_text_is_small_enough_to_carry():
    plan = make_text_plan(GPU, CPU)
    assert [arm.name for arm in plan.arms] == ["gpt", "kimi", "kimi-dense", "gpt-muon"]
    assert plan.data.n_stories == 100_000 and plan.data.cache_dir.endswith("out/one_gpu")


def test_the_whole_script_at_the_smallest_sizes(monkeypatch, tmp_path, capsys):
    for module in (one_gpu, perf):
        monkeypatch.setattr(module, "in_new_process", lambda function, *args: function(*args))
        monkeypatch.setattr(module, "keep_memory_as_training", lambda _: None)
    monkeypatch.setattr("benchmarks.steps.keep_memory_as_training", lambda _: None)
    monkeypatch.setitem(perf.make_product.__globals__["WIDTH"], "cpu", 64)
    monkeypatch.chdir(tmp_path)
    words = ["one_gpu", "--try", "--device=cpu", "--machine=mine"]
    monkeypatch.setattr("sys.argv", [*words, "--parts", "contracts", "perf"])
    one_gpu.main()
    monkeypatch.setattr("sys.argv", [*words, "--parts", "training", "--minutes=0.05"])
    one_gpu.main()
    record = json.loads((tmp_path / "out/benchmarks/one-gpu-try-mine.json").read_text())
    assert [part for part in one_gpu.PARTS if record[part].get("failed")] == []
    assert record["contracts"]["kimi"]["products"] > record["contracts"]["gpt"]["products"] > 0
    assert set(record["perf"]["figures"]) == {TRY.steps, *TRY.comparisons}
    assert list(record["training"]["arms"]) == list(one_gpu.ARMS)
    for run in record["training"]["arms"].values():
        losses = [point["loss"] for point in run["points"]]
        assert len(losses) == 10 and losses[-1] < losses[0]
        assert (
            run["tokens"] == 10 * 8 * 64
        )  # three seconds are too few for more than the least number of steps
    assert [bar["what"] for bar in record["bars"]][:2] == [
        "gpt: operations of a step",
        "gpt: waits of a step",
    ]
