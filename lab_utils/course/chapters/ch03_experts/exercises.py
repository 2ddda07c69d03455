"""The exercises of notebook 03: SwiGLU and the bank of experts."""

from lab_utils.course.chapters.ch03_experts import cases, hunts, mistakes
from lab_utils.course.exercise import (
    Exercise,
    Property,
    call_with_gradients,
    run_test,
)
from nanokimi.experts import ExpertBank, swiglu

EXERCISES = (
    Exercise(
        name="swiglu",
        notebook="03",
        core=swiglu,
        cases=cases.swiglu_cases,
        observe=call_with_gradients,
        mistakes=mistakes.SWIGLU,
        properties=(Property("a gate far below zero lets nothing through", cases.closed_gate_is_closed),),
        tolerance=2e-5,
        hints=(
            "Three steps: one product for both halves, the gated product, and down.",
            "F.linear(x, gate_up).chunk(2, dim=-1) gives gate and up, gate first.",
            "Only the gate goes through F.silu; then multiply by up, then F.linear with down.",
        ),
        moral="Two thirds of an expert's weights are gate and up, stored as one matrix so that one product makes both.",
    ),
    Exercise(
        name="ExpertBank",
        notebook="03",
        core=ExpertBank,
        cases=cases.bank_cases,
        observe=cases.run_bank,
        mistakes=mistakes.EXPERT_BANK,
        hints=(
            "Cut the rows into runs, give each run to its expert, join the results in the same order.",
            "rows.split(list(counts)) makes the runs, the empty ones too; tensor.unbind() makes the experts' matrices.",
            "torch.cat([swiglu(run, gate_up, down) for run, gate_up, down in zip(runs, gate_ups, downs)])",
        ),
        moral="Two tensors hold all experts: one place to index, to save, and to hand to an optimizer.",
    ),
    Exercise(
        name="test_sound_swiglu",
        notebook="03",
        core=hunts.test_sound_swiglu,
        cases=hunts.swiglu_cases,
        observe=run_test,
        mistakes=mistakes.SWIGLU_TESTS,
        hints=(
            "One token and one channel are enough: choose a gate and an up that are different numbers.",
            "With x = 1, gate_up = [[g], [u]] and down = [[1]] the answer is silu(g) · u. Which number is it?",
            "For g = 1 and u = 3 it is 2.1932, and 2.8577 if the halves are exchanged.",
        ),
        moral="The exchanged version trains as well as the original. It shows only with weights from another program.",
    ),
    Exercise(
        name="test_sound_dispatch",
        notebook="03",
        core=hunts.test_sound_dispatch,
        cases=hunts.dispatch_cases,
        observe=run_test,
        mistakes=mistakes.DISPATCH_TESTS,
        hints=(
            "The numbers are right. What is wasted? How many rows should the bank get in all?",
            "To count: bank.register_forward_pre_hook(lambda bank, args: seen.append(len(args[0]))), then dispatch.",
            "In all there should be tokens · K rows. (Or put nan into the weights of an expert that nobody chose.)",
        ),
        moral="A mixture that runs every expert is right but slow: its time does not fall with K.",
    ),
)
