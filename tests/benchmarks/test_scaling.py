"""The scaling measurement moves one axis at a time, and its figures are medians."""

import json

import pytest
import torch

from benchmarks import scaling
from benchmarks.scaling import base_case, make_figures, make_points, move
from nanokimi.count import count_parameters
from tests import tiny
from tests.benchmarks.test_steps import CASE

POINTS = make_points(base_case("tiny", "cpu"), scaling.VALUES["tiny"])
along = lambda axis: {axes[axis]: case for case, axes in POINTS.items() if axis in axes}


@pytest.mark.parametrize("size", scaling.VALUES)
def test_every_case_is_measured_once_and_the_preset_lies_on_every_axis(size):
    base = base_case(size, "cpu")
    points = make_points(base, scaling.VALUES[size])
    assert list(points[base]) == list(scaling.VALUES[size])
    n_values = sum(map(len, scaling.VALUES[size].values()))
    assert len(points) == n_values - len(scaling.VALUES[size]) + 1


def test_experts_grow_at_fixed_k():
    cases = along("experts")
    assert {case.model.moe.top_k for case in cases.values()} == {2}
    active = [count_parameters(case.model).body_active for case in cases.values()]
    assert max(active) / min(active) < 1.15  # the router grows, nothing else
    # Above 32 tokens per expert over the whole range that shall stay flat.
    assert all(case.tokens * 2 / n > 32 for n, case in cases.items() if n <= 64)


def test_context_grows_at_a_fixed_number_of_tokens():
    cases = along("context")
    assert {case.tokens for case in cases.values()} == {4096}
    assert all(case.model.max_seq_len == case.train.seq_len == n for n, case in cases.items())


def test_a_wider_model_has_more_heads_of_the_same_size():
    cases = along("width")
    assert {n // case.model.n_heads for n, case in cases.items()} == {32}
    inner = [case.model.moe.moe_intermediate_size / n for n, case in cases.items()]
    assert max(inner) / min(inner) < 1.1


@pytest.mark.parametrize(("axis", "value"), [("layers", 8), ("batch", 2)])
def test_the_other_axes(axis, value):
    case, base = move(base_case("tiny", "cpu"), axis, value), base_case("tiny", "cpu")
    assert (case.model.n_layers, case.train.batch_size) == ((8, 16) if axis == "layers" else (4, 2))
    assert case.train.optim == base.train.optim


def test_figures_are_medians_over_processes():
    runs = [
        {"seconds": 1.0, "ceiling": 100.0, "peak_memory": 7},
        {"seconds": 4.0, "ceiling": 25.0, "peak_memory": 9},
        {"seconds": 2.0, "ceiling": 200.0, "peak_memory": 8},
    ]
    found = make_figures(CASE, {"experts": 4}, True, runs)
    assert found["ms"] == 2000 and found["process_ms"] == [1000, 4000, 2000]
    assert found["tokens_per_s"] == 32  # 64 tokens in 2 s
    assert found["share_of_ceiling"] == pytest.approx(CASE.operations / 100)  # shares: /100, /100, /400
    assert found["peak_memory"] == 8
    unknown = [run | {"peak_memory": None} for run in runs]
    assert make_figures(CASE, {}, True, unknown)["peak_memory"] is None


def test_a_run_writes_what_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(scaling, "VALUES", {"tiny": {"experts": (2, 4, 8), "batch": (2, 4)}})
    monkeypatch.setattr(
        scaling, "base_case", lambda *_: scaling.StepCase(model=tiny.kimi(), train=tiny.train_config())
    )
    monkeypatch.setattr(scaling, "in_new_process", lambda function, *args: function(*args))
    monkeypatch.setattr(scaling, "keep_memory_as_training", lambda _: None)
    monkeypatch.setitem(scaling.make_product.__globals__["WIDTH"], "cpu", 64)
    monkeypatch.setattr(
        "sys.argv", ["scaling", "--processes=2", "--rounds=1", "--machine=Mine", "--device=cpu"]
    )
    monkeypatch.chdir(tmp_path)
    scaling.main()
    record = json.loads((tmp_path / "out/benchmarks/scaling-mine.json").read_text())
    assert record["machine"] == "Mine" and record["dtype"] == "float32" and record["ceiling"] > 0
    assert {json.dumps(p["axes"]): p["calibrates"] for p in record["points"]} == {
        '{"experts": 2}': True,
        '{"experts": 4, "batch": 4}': True,  # the largest batch
        '{"experts": 8}': True,
        '{"batch": 2}': True,
    }
    for point in record["points"]:
        assert point["ms"] > 0 and len(point["process_ms"]) == 2
    assert torch.__version__ == record["torch"]
