"""What the profiler counts of a step on the CPU is what follows from the model by hand."""

import pytest
import torch

from benchmarks.comparisons import training_steps
from benchmarks.profiled import count_step
from nanokimi.presets.yaml_config import load_model_config


@pytest.fixture(scope="module")
def counts():
    cases = training_steps("smoke", torch.device("cpu"))
    return {name: count_step(cases[name]) for name in ("GPT, AdamW", "GPT, Muon", "Kimi, Muon, QK-clip")}


def test_the_products_of_forward_and_backward(counts):
    """Four a layer and the head; each has two more in the backward pass. The optimizer's are not counted."""
    products = 3 * (4 * load_model_config("gpt-smoke").n_layers + 1)
    assert counts["GPT, AdamW"]["products"] == counts["GPT, Muon"]["products"] == products
    assert counts["GPT, Muon"]["operations"] > counts["GPT, AdamW"]["operations"]


def test_where_the_time_goes(counts):
    for found in counts.values():
        assert 0 < found["busy"] <= 1
        assert sum(found["longest_ms"].values()) <= found["step_ms"]
        assert list(found["longest_ms"].values()) == sorted(found["longest_ms"].values(), reverse=True)
        assert found["waits"] == 0 and found["peak_gb"] is None  # there is no device to wait for
    assert counts["Kimi, Muon, QK-clip"]["operations"] > counts["GPT, AdamW"]["operations"]
