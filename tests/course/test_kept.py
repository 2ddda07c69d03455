"""What an answer keeps from one input to the next is said, and no sentence about single inputs beside it."""

import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import judge
from lab_utils.course.judgement import panel_text


class SequenceCache:
    parts: list = []  # noqa: RUF012 the mistake

    @property
    def length(self):
        return sum(part[0].shape[-2] for part in self.parts)

    def append(self, *new):
        self.parts.append(new)
        return self.entries()

    def entries(self):
        return tuple(torch.cat(each, dim=-2) for each in zip(*self.parts))

    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self.entries())


def test_a_list_in_the_class_is_named_and_no_input_is_said_to_be_right_or_wrong():
    text = panel_text(judge(find("SequenceCache"), SequenceCache))
    assert "`parts` of the class, which all its objects share, outlives the call" in text
    assert "all inputs but" not in text and "Every right answer" not in text


def test_a_default_argument_is_named():
    def expert_load(expert_idx, n_experts, seen=[]):  # noqa: B006 the mistake
        seen.append(expert_idx.flatten())
        return torch.bincount(torch.cat(seen), minlength=n_experts)[:n_experts].long()

    text = panel_text(judge(find("expert_load"), expert_load))
    assert "the default of `seen`, made once for all calls, outlives the call" in text


KEPT = []


def expert_load(expert_idx, n_experts):
    KEPT.append(expert_idx.flatten())
    return torch.bincount(torch.cat(KEPT), minlength=n_experts)[:n_experts].long()


def test_a_global_list_is_named():
    text = panel_text(judge(find("expert_load"), expert_load))
    assert "the global `KEPT` outlives the call" in text


def test_a_wrong_answer_that_keeps_nothing_is_told_as_before():
    text = panel_text(judge(find("expert_load"), lambda expert_idx, n_experts: torch.ones(n_experts).long()))
    assert "outlives" not in text
