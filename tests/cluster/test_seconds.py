"""The time of a step on paper: by hand, and on one rank against the steps that `benchmarks.scaling` has recorded."""

import json
from pathlib import Path

import pytest

from nanokimi.cluster.plan import Asked, ask
from nanokimi.cluster.seconds import Cards, estimate_time
from nanokimi.config import TrainConfig
from nanokimi.presets.yaml_config import build_model_config

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "scaling-amd-epyc-with-avx2-2-threads.json"


def test_a_second_of_each():
    asked = Asked(0, 0, 0, sent_rows=450e9, operations=0.4 * 989e12)
    assert estimate_time(asked, 8) == (1.0, 1.0) and estimate_time(asked, 8).total == 2.0
    assert estimate_time(asked, 9) == (1.0, 9.0)
    slow = Cards(operations_per_s=1e12, used=1.0, seconds_per_exchange=0.5)
    assert estimate_time(asked._replace(exchanges=4.0), 8, slow) == (395.6, 3.0)


def has_another_share(point: dict) -> bool:
    """Other widths, many small experts and few rows use the processor better or worse than kimi-tiny's step does."""
    moved = point["axes"]
    return len(moved) == 1 and (moved.get("experts", 0) > 64 or moved.get("batch", 8) < 8 or "width" in moved)


def test_steps_of_one_rank_take_as_long_as_recorded():
    """With the speed and the part of it that one recorded step gives, the time of the others like it."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    base = next(point for point in record["points"] if len(point["axes"]) > 1)
    cards = Cards(operations_per_s=record["ceiling"], used=base["share_of_ceiling"])
    points = [point for point in record["points"] if not has_another_share(point)]
    assert len(points) == 13
    for point in points:
        training = TrainConfig(batch_size=point["batch_size"], seq_len=point["seq_len"])  # AdamW, as recorded
        time = estimate_time(ask(build_model_config(point["model"]), training, 1, "replicated"), 1, cards)
        assert time.sending == 0
        assert 1000 * time.total == pytest.approx(point["ms"], rel=0.15), point["axes"]
