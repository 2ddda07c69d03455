"""The largest weight is that of every tensor, in every number format."""

import math

import pytest
import torch

from nanokimi.system.finite import all_finite, largest_weight
from tests.training import make_model


def by_hand(model: torch.nn.Module) -> float:
    return max(abs(number) for t in model.state_dict().values() for number in t.flatten().tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 7.5, -7.5])
def test_the_largest_weight(dtype, value):
    model = make_model("kimi-mla").to(dtype)
    with torch.no_grad():
        model.layers[1].mlp.experts.down_proj.view(-1)[-1] = value
    assert largest_weight(model).item() == by_hand(model)
    model.layers[1].mlp.expert_bias = torch.full((4,), -9.0)  # float32 beside weights of another format
    assert largest_weight(model).item() == 9.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_the_largest(value):
    model = make_model("gpt")
    with torch.no_grad():
        model.embed_tokens.weight[3, 0] = value
    assert str(largest_weight(model).item()) == str(abs(value))


def test_a_large_number_of_a_wide_format_is_finite():
    model = make_model("gpt").double()
    with torch.no_grad():
        model.embed_tokens.weight[3, 0] = -1e300
    assert largest_weight(model).item() == 1e300 and all_finite(model)
