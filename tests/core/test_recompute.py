"""Trainings that keep no activations: the same numbers bit for bit, and every choice of an expert counted once."""

from dataclasses import replace

import pytest
import torch

from nanokimi.device import autocast
from nanokimi.system.replaced import recompute
from tests import tiny
from tests.training import RECIPES, assert_same_tensors, drop_clock, make_model, run, take_batch


@pytest.mark.parametrize("recipe", RECIPES)
def test_records_and_weights_are_the_same(recipe):
    name, cfg = RECIPES[recipe]
    usual, again = make_model(name, harsh=True), make_model(name, harsh=True)
    assert drop_clock(run(again, replace(cfg, recompute=True))) == drop_clock(run(usual, cfg))
    assert_same_tensors(again.state_dict(), usual.state_dict())
    assert not any("forward" in vars(module) for module in again.modules())


def test_every_block_runs_twice_in_training_and_once_in_an_evaluation():
    model, runs = make_model("kimi-mla"), {True: 0, False: 0}

    def note(*_):
        runs[torch.is_grad_enabled()] += 1

    model.layers[1].post_attention_layernorm.register_forward_pre_hook(note)
    run(model, tiny.train_config(recompute=True))
    # 6 steps, and after two of them 5 windows, 4 at a time.
    assert runs == {True: 2 * 6, False: 2 * 2}


@pytest.mark.parametrize("name", tiny.MODELS)
def test_in_bfloat16_the_second_computation_is_the_first_one(name):
    model = make_model(name, harsh=True)
    inputs, _ = take_batch(tiny.train_config())
    grads = []
    for layers in ((), model.layers):
        with recompute(layers):
            with autocast(torch.device("cpu"), torch.bfloat16):
                loss = model(inputs).logits.float().square().mean()
            grads.append(torch.autograd.grad(loss, list(model.parameters())))
    assert all(map(torch.equal, *grads))
