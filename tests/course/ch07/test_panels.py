"""What the panels of notebook 07 say: of a hunt that is right but for one habit, of a model in a case."""

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import judge
from lab_utils.course.written import as_text
from tests.course.keys import judge_answer

HUNT = find("test_sound_newton_schulz")


def bank_test(draw):
    def test(newton_schulz):
        s = torch.linalg.svdvals(newton_schulz(draw(), 5, torch.float32))
        assert s.min() > 0.6 and s.max() < 1.3

    return test


def seeded_for_all():
    torch.manual_seed(1)
    return torch.randn(2, 3, 4)


def seeded_alone():
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))


def test_numbers_drawn_without_a_seed_are_named():
    result = judge(HUNT, bank_test(lambda: torch.randn(2, 3, 40)))
    assert result.status == "failed" and "without a seed" in repr(result)


@pytest.mark.parametrize("draw", [seeded_for_all, seeded_alone])
def test_numbers_drawn_with_a_seed_pass(draw):
    result = judge(HUNT, bank_test(draw))
    assert result.status == "passed", result


def test_a_model_is_called_by_the_name_that_the_learner_reads():
    core = find("build_optimizers").core

    def without_experts(model, cfg):
        built = core(model, cfg)
        if any("experts" in name for name, _ in model.named_parameters()):
            built[-1].param_groups[0]["lr"] *= 2
        return built

    found = judge_answer("build_optimizers", without_experts).relations
    assert (
        found[0] == "It is wrong on the inputs where `model` is 'Kimi with experts', and right on all others."
    )


def test_both_sides_of_a_group_say_its_settings():
    def with_another_momentum(model, cfg):
        optimizers = find("build_optimizers").core(model, cfg)
        for group in optimizers[0].param_groups:
            group["momentum"] = 0.95
        return optimizers

    difference = judge_answer("build_optimizers", with_another_momentum).difference
    assert (
        difference.got
        == "Muon in float32, lr 0.003, momentum 0.95, ns_steps 3, fused_rows 1, weight_decay 0.1"
    )
    assert difference.expected == difference.got.replace("0.95", "0.7")


def test_a_plain_slip_in_newton_schulz_is_shown_on_a_plain_matrix():
    def squaring_entries(g, steps=5, dtype=torch.bfloat16):
        x = g.to(dtype) / g.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7).to(dtype)
        for _ in range(steps):
            gram = x @ x.mT
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram**2) @ x
        return x

    case = judge_answer("newton_schulz", squaring_entries).case
    assert case.args[0].shape == (2, 2) and case.args[1]["steps"] == 1


@pytest.mark.parametrize("size", [1e-9, -3e-6, 1e-30])
def test_tiny_numbers_are_not_written_as_zero(size):
    small, large = torch.tensor([[size, 2 * size], [0.0, size]]), torch.full((9, 9), size)
    assert "e-" in as_text(small) and "e-" in as_text(large)
    assert "e-" not in as_text(torch.tensor([size, 1.0])) and "e-" not in as_text(torch.zeros(2))
    assert "e-" not in as_text(torch.tensor([float("nan"), float("inf"), 0.5]))


def test_a_zero_has_no_sign():
    result = judge_answer("max_logit", lambda q, k, scale, visible=None: -torch.zeros(q.shape[1]))
    assert "[-0" not in repr(result) and ": -0 instead" not in repr(result) and "0 instead" in repr(result)
