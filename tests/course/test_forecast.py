"""Forecasts of time and memory: right where the costs are known, and within a quarter of what was measured."""

import json
from dataclasses import replace

import pytest

from benchmarks.records import RESULTS
from benchmarks.tables import SCALINGS, read_record
from lab_utils.course.forecast import MEASURED, StepSize, fit_machine, read_measurement
from nanokimi.config import ConfigError, to_dict
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.presets.yaml_config import build_model_config, load_model_config

TINY = load_model_config("kimi-tiny")
SECONDS, BYTES = (2e-11, 3e-9, 1e-9, 2e-3), (5e7, 20.0, 6.0)


def made_up(seconds=SECONDS, memory=BYTES) -> dict:
    """A record of a machine on which the parts of a step cost just this."""
    cases = [
        (replace(TINY, n_layers=n_layers, moe=replace(TINY.moe, n_routed_experts=experts)), batch, seq)
        for n_layers in (2, 8) for experts in (8, 64) for batch, seq in ((2, 256), (16, 64))
    ]  # fmt: skip
    points = []
    for cfg, batch, seq in cases:
        size = StepSize.of(cfg, batch, seq)
        parts = (size.operations, size.parameters, size.activations, size.calls)
        points.append(
            {
                "calibrates": True,
                "model": to_dict(cfg),
                "batch_size": batch,
                "seq_len": seq,
                "ms": 1000 * sum(a * b for a, b in zip(parts, seconds, strict=True)),
                "peak_memory": memory and memory[0] + memory[1] * parts[1] + memory[2] * parts[2],
            }
        )
    return {"machine": "Made up", "points": points}


def test_known_costs_are_found():
    machine = fit_machine(made_up())
    assert machine.seconds == pytest.approx(SECONDS, rel=1e-6)
    assert machine.bytes == pytest.approx(BYTES, rel=1e-6)


def test_no_part_costs_less_than_nothing():
    record = made_up(seconds=(2e-11, 0.0, 1e-9, 0.0))
    for point, error in zip(record["points"], (0.9, 1.1, 1.05, 0.95) * 2, strict=True):
        point["ms"] *= error
    assert min(fit_machine(record).seconds) >= 0


def test_only_points_that_calibrate_are_read():
    record = made_up()
    record["points"].append(record["points"][0] | {"calibrates": False, "ms": 1e9, "peak_memory": 1e15})
    assert fit_machine(record) == fit_machine(made_up())


def test_a_machine_that_does_not_tell_its_memory():
    machine = fit_machine(made_up(memory=None))
    assert machine.bytes is None and machine.forecast(TINY, 16, 256)[1] is None


def test_what_a_step_asks_for():
    size = StepSize.of(TINY, 16, 256)
    assert size.operations == 4096 * flops_per_token(TINY, 256)
    assert size.parameters == count_parameters(TINY).total
    twice = StepSize.of(TINY, 32, 256)
    assert (twice.activations, twice.parameters) == (2 * size.activations, size.parameters)
    wider = replace(TINY, vocab_size=2 * TINY.vocab_size)
    assert StepSize.of(wider, 16, 256).activations - size.activations == 3 * 4096 * TINY.vocab_size


@pytest.mark.parametrize("name", SCALINGS)
def test_a_forecast_is_within_a_quarter_of_what_was_measured(name):
    """On every point that the forecast was not made from."""
    record = read_record(name)
    machine = fit_machine(record)
    others = [point for point in record["points"] if not point["calibrates"]]
    assert len(others) >= 8
    off = {}
    for point in others:
        cfg = build_model_config(point["model"])
        seconds, memory = machine.forecast(cfg, point["batch_size"], point["seq_len"])
        off[json.dumps(point["axes"])] = (1000 * seconds / point["ms"] - 1, memory / point["peak_memory"] - 1)
    assert max(abs(share) for pair in off.values() for share in pair) <= 0.25, off


def test_the_planner_reads_the_record_of_the_docs():
    assert MEASURED.parent == RESULTS
    assert MEASURED.exists() == (MEASURED.stem in SCALINGS)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"points": []}', '{"machine": "m", "points": [{"ms": 1}]}', None]
)
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "scaling.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        ConfigError, match=r"planner: file .*scaling\.json.* is no record of benchmarks\.scaling"
    ):
        read_measurement(path)
