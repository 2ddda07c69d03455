"""Steps timed in turn."""

from dataclasses import replace
from types import SimpleNamespace

import torch

from lab_utils.bench import timing
from nanokimi.model import build_model
from nanokimi.train import train


def test_steps_are_timed_in_turn(smoke):
    plan, text = smoke
    order = []

    def note(module, args):
        if hasattr(module, "cfg") and hasattr(module.cfg, "kind") and torch.is_grad_enabled():
            order.append(module.cfg.kind)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        seconds = timing.time_in_turns(plan.arms, text, rounds=4)
    finally:
        hook.remove()
    warm_up = ["gpt"] * timing.WARM_UP + ["kimi"] * timing.WARM_UP
    assert order == [*warm_up, *["gpt", "kimi"] * 4]
    assert {name: len(values) for name, values in seconds.items()} == {"gpt": 4, "kimi": 4}
    assert all(0 < value < 10 for values in seconds.values() for value in values)


def test_timing_ends_when_its_time_is_used_up_but_not_before_three_rounds(smoke):
    plan, text = smoke
    seconds = timing.time_in_turns(plan.arms, text, rounds=20, seconds_per_arm=0.0)
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_the_seconds_of_compiling_are_no_part_of_a_step(smoke):
    """Whenever they fall into one: a training that diverges begins anew, and is compiled anew."""
    plan, text = smoke

    def compiling(*args):
        return (replace(record, compile_seconds=1000.0) for record in train(*args))

    maker = SimpleNamespace(build_model=build_model, train=compiling)
    seconds = timing.time_in_turns([replace(plan.arm("gpt"), maker=maker)], text, rounds=3)
    assert all(-1000 < value < -990 for value in seconds["gpt"])
