"""Tests that cannot tell: the known wrong answers to test_sound_block, of notebook 06."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake

NUMBERS = torch.linspace(-1, 1, 8)[None]


@mistake(*LOOKS_AT_NOTHING)
def block_test_that_never_fails(make_block):
    make_block(8)(NUMBERS)


@mistake(
    "It refuses sound blocks whose weights are drawn at random, as if two blocks should give the same.",
    "Of which two calls is the output the same in a sound block: of one block, or of two?",
)
def block_test_of_two_blocks(make_block):
    assert torch.equal(make_block(8)(NUMBERS), make_block(8)(NUMBERS))


@mistake(
    "It passes for no block that was tried, the sound ones included: what it expects is not what a sound one gives.",
    "What does it expect that a block which you trust does not give? A sound block may have any number of weights, "
    "of any shape.",
)
def block_test_that_always_fails(make_block):
    raise AssertionError


@mistake(
    "It passes for all blocks that were tried but one of another shape, and one that gives nothing.",
    "Which numbers would be different, and from what?",
)
def block_test_of_the_shape(make_block):
    assert make_block(8)(NUMBERS).shape == NUMBERS.shape


@mistake(
    "It passes for all blocks that were tried but one that has no weights. The broken block has some, but one is "
    "missing.",
    "Is every matrix that forward uses in block.parameters()?",
)
def block_test_of_some_parameters(make_block):
    assert len(list(make_block(8).parameters())) > 0


@mistake(
    "It passes for all blocks that were tried but one that gives zeros, and one that gives nothing.",
    "What differs between two calls of the same block?",
)
def block_test_that_something_happens(make_block):
    out = make_block(8)(NUMBERS)
    assert out.abs().sum() > 0


@mistake(LOOKS_AT_NO_NUMBER[0], "What differs between two calls of one block, made once and called twice?")
def block_test_of_the_kind(make_block):
    assert make_block(8)(NUMBERS) is not None


@mistake(
    "It passes for a block that draws its bias anew in each call, and refuses one that adds the number of its "
    "calls: what is drawn comes out the same in both of its calls, as where the seed is set before each.",
    "What would differ between the two calls, if you left the seed alone?",
)
def block_test_with_a_seed_for_each_call(make_block):
    block, outs = make_block(8), []
    for _ in range(2):
        torch.manual_seed(0)
        outs.append(block(NUMBERS))
    assert torch.allclose(*outs)


@mistake(
    "It compares two calls, and with its numbers those of the broken block are the same within its tolerance: be it "
    "that the input is 0, that the numbers are small, or that the tolerance is wide.",
    "By how much do two calls of the broken block differ with your input, and how much does your test let through?",
)
def block_test_of_zeros(make_block):
    block, zeros = make_block(8), torch.zeros(1, 4, 8)
    assert torch.allclose(block(zeros), block(zeros))


@mistake(
    "It does not pass for blocks without a gradient for a weight, or without weights, and passes for those that give "
    "other numbers in each call: it asks whether the weights learn. One weight of the broken block is not among them.",
    "Is every matrix that forward uses in block.parameters()?",
)
def block_test_of_the_gradients(make_block):
    block = make_block(8)
    block(NUMBERS).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@mistake(
    "It passes for the piece above with its second matrix made once, and refuses every other sound block that was "
    "tried: so does a test that counts weights, or asks for their names or shapes.",
    "A sound block may have any number of weights, of any shape. What differs between two calls of the broken one?",
)
def block_test_of_the_number_of_weights(make_block):
    assert sum(p.numel() for p in make_block(8).parameters()) == 264


BLOCK_TESTS = (
    block_test_of_the_number_of_weights,
    block_test_that_never_fails,
    block_test_of_two_blocks,
    block_test_of_the_kind,
    block_test_that_always_fails,
    block_test_of_the_shape,
    block_test_of_some_parameters,
    block_test_that_something_happens,
    block_test_with_a_seed_for_each_call,
    block_test_of_zeros,
    block_test_of_the_gradients,
)
