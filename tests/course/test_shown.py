"""The panel shows an input on which the named mistake is seen, and not another one that the answer holds as well."""

import pytest

from lab_utils.course.chapters import find
from tests.course.keys import judge_answer


def mean_of_probabilities(logits, targets):
    return -logits.float().softmax(dim=-1).gather(-1, targets[..., None]).mean().log()


def log_of_a_softmax(logits, targets):
    return -logits.float().softmax(dim=-1).gather(-1, targets[..., None]).log().mean()


@pytest.mark.parametrize(
    ("answer", "mistake", "case"),
    [
        # One token, of which the softmax is 0: the mean of one number is that number.
        (mean_of_probabilities, "loss_of_the_mean_probability", "large logits beside small ones"),
        (log_of_a_softmax, "loss_of_log_after_softmax", "very sure, and wrong"),
    ],
)
def test_another_mistake_of_the_same_answer_does_not_hide_the_named_one(answer, mistake, case):
    result = judge_answer("next_token_loss", answer)
    assert result.diagnosis is not None and result.diagnosis.name == mistake
    assert result.case is not None and result.case.says == case


def test_an_answer_without_a_name_is_shown_on_the_smallest_input():
    exercise = find("next_token_loss")
    result = judge_answer("next_token_loss", lambda logits, targets: 3 * exercise.core(logits, targets) ** 2)
    assert result.diagnosis is None and result.case is not None
    assert result.case.says == "one token, two to choose from, equal logits"
