"""The tables of steps, of studies and of the cache: what a record has counted stands in them, by hand."""

from dataclasses import asdict

from benchmarks.tables import (
    decoding_table,
    equal_cache_table,
    perf_table,
    reach_table,
    scaling_axes,
    scaling_table,
)
from tests.bench.made_up_results import run

ROW = {"ms": 10.0, "ratio": 1.0, "process_ratios": [1.0, 1.0]}
POINT = {"ms": 200.0, "tokens_per_s": 20480.0, "share_of_ceiling": 0.123, "peak_memory": 456_000_000}


def test_steps_have_shares_and_memory():
    row = ROW | {"share_of_ceiling": 0.456, "peak_memory": 1_234_000_000}
    assert perf_table("step", {"figures": {"step": {"GPT": row}}}).splitlines() == [
        "| step | ms | ratio (least..greatest) | share of a large product's speed | peak memory |",
        "|---|---|---|---|---|",
        "| GPT | 10.0 | 1.00 (1.00..1.00) | 46% | 1234 MB |",
    ]
    unknown = {"figures": {"step": {"GPT": row | {"peak_memory": None}}}}
    assert perf_table("step", unknown).endswith("| 46% | unknown |")
    assert perf_table("layer", {"figures": {"layer": {"MoE": ROW}}}).splitlines()[1:] == [
        "|---|---|---|",
        "| MoE | 10.0 | 1.00 (1.00..1.00) |",
    ]


def test_an_axis_goes_from_its_least_to_its_largest_value():
    points = [
        POINT | {"axes": {"experts": 16, "width": 128}},
        POINT | {"axes": {"width": 64}},
        POINT | {"axes": {"experts": 8}, "ms": 160.0, "peak_memory": None},
    ]
    assert scaling_axes({"points": points}) == ["experts", "width"]
    assert scaling_table("experts", {"points": points}).splitlines()[2:] == [
        "| 8 | 160 | 1.00 | 20,480 | 12% | unknown |",
        "| 16 | 200 | 1.25 | 20,480 | 12% | 456 MB |",
    ]


def cached(model: str, n_bytes: int, *seconds: float) -> dict:
    """4 texts of 1,024 tokens that go on by 32 tokens per round."""
    return {
        "model": model, "batch": 4, "context": 1024, "tokens": 32, "cache_bytes": n_bytes, "formula_bytes": 0,
        "seconds": seconds,
    }  # fmt: skip


def trained(arm: str, lr: float, loss: float, seed: int = 0) -> dict:
    made = asdict(run(f"{arm}-lr{lr:g}", seed, {40: loss}))
    return {
        "arm": arm,
        "lr": lr,
        "cache_per_token": 320,
        "body_active": 793_984,
        "body_total": 793_984,
        "run": made,
    }


def test_the_tables_of_the_cache():
    """128 tokens per round: of ordinary heads 256 per second; MLA takes a half, a third and twice their time."""
    decoded = [
        cached("mha", 16_777_216, 0.5, 0.6, 0.1),
        cached("mla", 5_242_880, 0.25, 0.2, 0.2),
        cached("block-latent", 2_097_152, 0.125, 0.15, 0.025),
    ]
    batches = {"256": 3276, "8192": 102}
    reach = {"model": "mla", "numbers_per_token": 320.0, "longest_context": 838_860, "largest_batch": batches}
    runs = [trained("mla", 0.01, 2.0), trained("mla", 0.01, 2.5, 1), trained("mla", 0.02, 1.0)]
    record = {"decoded": decoded, "reach": [reach], "trained": runs, "lost": {}, "format": 1}
    assert decoding_table(record).splitlines()[2:] == [
        "| 4 x 1,024 | 256 | 2.00 | 4.00 | 16.8 MB | 5.2 MB | 2.1 MB |"
    ]
    assert reach_table(record).splitlines() == [
        "| | numbers per token | longest context of one text | texts of 256 tokens | texts of 8,192 tokens |",
        "|---|---|---|---|---|",
        "| MLA | 320 | 838,860 | 3,276 | 102 |",
    ]
    assert equal_cache_table(record).splitlines()[2:] == [
        "| MLA, 128 wide, 4 layers | 320 | 0.01 | 2.250 (2.000..2.500) | 1.125 | 2 |"
    ]
