"""What cannot be compiled whole is refused in one line, or runs as it is. tests/contracts tries what is compiled."""

import pytest
import torch

from nanokimi.compiled.graph import CompiledLosses
from nanokimi.config import ConfigError
from tests import tiny
from tests.training import make_model


def graph_of_a_model_with_a_hook_that_no_compiler_follows():
    model, seen = make_model("gpt"), []
    model.norm.register_forward_hook(lambda _, __, out: seen.append(out.sum().item() > 0 and out.tolist()))
    return model, CompiledLosses(model, torch.float32)


def test_it_is_refused_with_the_reason():
    model, graph = graph_of_a_model_with_a_hook_that_no_compiler_follows()
    with pytest.raises(ConfigError) as error:
        graph.prepare(tiny.train_config(compile="on"))
    line = str(error.value)
    assert line.startswith("this step cannot be compiled (") and line.endswith("): use compile=off")
    assert "\n" not in line and len(line) < 300
    assert all(p.grad is None for p in model.parameters()) and graph.take_seconds() == 0


# What torch says beside it depends on what was compiled before in the same process.
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace")
def test_where_compiling_was_nobody_s_wish_the_step_runs_as_it_is():
    model, graph = graph_of_a_model_with_a_hook_that_no_compiler_follows()
    with pytest.warns(RuntimeWarning, match="this step cannot be compiled .*, and runs as it is"):
        assert not graph.prepare(tiny.train_config(compile="auto"))
    assert all(p.grad is None for p in model.parameters()) and graph.take_seconds() == 0
