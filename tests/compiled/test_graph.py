"""What cannot be compiled whole is refused in one line. What is compiled is tried in tests/contracts."""

import pytest
import torch

from nanokimi.compiled.graph import CompiledLosses
from nanokimi.config import ConfigError
from tests import tiny
from tests.training import make_model


def test_a_hook_that_no_compiler_follows_is_refused_with_the_reason():
    model, seen = make_model("gpt"), []
    model.norm.register_forward_hook(lambda _, __, out: seen.append(out.sum().item() > 0 and out.tolist()))
    graph = CompiledLosses(model, torch.float32)
    with pytest.raises(ConfigError) as error:
        graph.prepare(tiny.train_config())
    line = str(error.value)
    assert line.startswith("this step cannot be compiled (") and line.endswith("): use compile=off")
    assert "\n" not in line and len(line) < 300
    assert all(p.grad is None for p in model.parameters()) and graph.take_seconds() == 0
