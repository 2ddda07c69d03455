"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 06."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake
from nanokimi.config import MoEConfig

# ---------------------------------------------------------------- test_sound_block

NUMBERS = torch.linspace(-1, 1, 8)[None]


@mistake(*LOOKS_AT_NOTHING)
def block_test_that_never_fails(make_block):
    make_block(8)(NUMBERS)


@mistake("The test fails for every block, the sound ones too.", "Run it on a block that you trust first.")
def block_test_that_always_fails(make_block):
    raise AssertionError


@mistake("The test looks at the shape only.", "Which numbers would be different, and from what?")
def block_test_of_the_shape(make_block):
    assert make_block(8)(NUMBERS).shape == NUMBERS.shape


@mistake(
    "The test asks whether there are parameters. The broken block has some, but one is missing.",
    "Is every matrix that forward uses in block.parameters()?",
)
def block_test_of_some_parameters(make_block):
    assert len(list(make_block(8).parameters())) > 0


@mistake(
    "The test asks whether the output is other than 0. It is, in the broken block too.",
    "What differs between two calls of the same block?",
)
def block_test_that_something_happens(make_block):
    out = make_block(8)(NUMBERS)
    assert out.abs().sum() > 0


@mistake(*LOOKS_AT_NO_NUMBER)
def block_test_of_the_kind(make_block):
    assert make_block(8)(NUMBERS) is not None


BLOCK_TESTS = (
    block_test_that_never_fails,
    block_test_of_the_kind,
    block_test_that_always_fails,
    block_test_of_the_shape,
    block_test_of_some_parameters,
    block_test_that_something_happens,
)

# ---------------------------------------------------------------- test_sound_moe


def small_moe(moe_class):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=3, routed_scaling_factor=2.5)
    moe = moe_class(4, cfg)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in moe.parameters():
            p.normal_(0.0, 0.5, generator=generator)
    return moe, torch.linspace(-1, 1, 8).view(1, 2, 4)


@mistake(*LOOKS_AT_NOTHING)
def moe_test_that_never_fails(moe_class):
    moe, x = small_moe(moe_class)
    moe(x)


@mistake("The test fails for every layer, the sound ones too.", "Run it on the core's MoE first.")
def moe_test_that_always_fails(moe_class):
    raise AssertionError


@mistake("The test looks at the shape only.", "Which sum is too large? Make the other one vanish.")
def moe_test_of_the_shape(moe_class):
    moe, x = small_moe(moe_class)
    assert moe(x)[0].shape == x.shape


@mistake(
    "The test makes the shared expert give 0. The bug is in what the piece does to the shared expert.",
    "Make the other sum 0.",
)
def moe_test_without_shared(moe_class):
    moe, x = small_moe(moe_class)
    with torch.no_grad():
        moe.shared_experts.down_proj.zero_()
    assert moe(x)[0].abs().sum() > 0


@mistake(
    "The test asks whether the output depends on the input at all. It does.",
    "Compare with a number that you know: what must the layer give when its routed experts give 0?",
)
def moe_test_that_something_happens(moe_class):
    moe, x = small_moe(moe_class)
    out = moe(x)[0]
    assert (out - moe(2 * x)[0]).abs().max() > 0


@mistake(*LOOKS_AT_NO_NUMBER)
def moe_test_of_the_kind(moe_class):
    assert small_moe(moe_class)[0](torch.ones(1, 2, 4))[0] is not None


MOE_TESTS = (
    moe_test_that_never_fails,
    moe_test_of_the_kind,
    moe_test_that_always_fails,
    moe_test_of_the_shape,
    moe_test_without_shared,
    moe_test_that_something_happens,
)
