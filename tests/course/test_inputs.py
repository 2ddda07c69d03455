"""The panel shows the input of the failing case, by the names of the arguments; nothing of a bug hunt's pieces."""

import inspect
import re

import pytest
import torch

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.exercise import Case
from lab_utils.course.inputs import by_size, describe_input, entries
from lab_utils.course.judge import judge
from lab_utils.course.judgement import CheckResult, Difference, panel_html, panel_text
from tests.sample import sample

EXERCISES = list(all_exercises().values())
QUICK = {"RMSNorm", "update_expert_bias_", "load_balance_loss", "test_sound_sampling"}
SLOW = [e for e in EXERCISES if e.name not in QUICK]


@pytest.mark.parametrize(
    "exercise",
    [pytest.param(e, id=e.name) for e in EXERCISES if e.name in QUICK]
    + [pytest.param(e, id=e.name, marks=pytest.mark.slow) for e in sample(SLOW, 3)],
)
def test_the_panel_of_a_wrong_answer_contains_the_input(exercise):
    result = judge(exercise, exercise.mistakes[0].wrong)
    assert result.status == "failed" and result.case is not None
    text, html = panel_text(result), panel_html(result)
    assert result.case.says in text
    if exercise.is_hunt:
        assert "  input" not in text and "input</div>" not in html
        return
    assert "  input\n" in text and "input</div>" in html
    target = exercise.core.__init__ if isinstance(exercise.core, type) else exercise.core
    for name, parameter in inspect.signature(target).parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind is parameter.VAR_POSITIONAL
        # `self` of a method of the core is shown; the constructor of a class has none to show.
        if not optional and not (isinstance(exercise.core, type) and name == "self"):
            assert re.search(rf"\b{name}\b", text), (name, text)
    shown = [describe_input(exercise, case).splitlines() for case in exercise.cases()[:4]]
    assert all(lines and len(lines) <= 40 and max(map(len, lines)) <= 110 for lines in shown), shown


def test_the_numbers_of_a_small_input_are_all_there():
    case = Case("two", (torch.tensor([[[0.25, -3.5]]]), 2))
    assert describe_input(find("split_heads"), case).splitlines() == [
        "x, shape (1, 1, 2): [[[0.25, -3.5]]]",
        "n_heads = 2",
    ]


def test_a_long_tensor_is_cut():
    case = Case("long", (torch.arange(1.0, 4001.0).reshape(1, 1000, 4), 2))
    first, second = describe_input(find("split_heads"), case).splitlines()
    assert first == "x, shape (1, 1000, 4): 1, 2, 3, 4, 5, 6, ..." and second == "n_heads = 2"


def test_a_class_is_shown_with_its_constructor_and_its_call_and_a_config_with_what_is_unusual():
    norm = describe_input(find("RMSNorm"), find("RMSNorm").cases()[0])
    assert norm.splitlines()[0] == "RMSNorm(width = 2, eps = 1e-06)"
    assert norm.splitlines()[1:] == [
        "forward(x, shape (1, 2): [[3. 4.]], self.weight, shape (2,): [0.5 1.5])"
    ]
    factor = next(case for case in find("topk_route").cases() if "2.5" in case.says)
    route = describe_input(find("topk_route"), factor)
    assert "cfg = MoEConfig(n_routed_experts=4, routed_scaling_factor=2.5)" in route


def test_the_weight_that_a_check_sets_is_shown():
    """Without it nobody could tell what RMSNorm should give."""
    text = describe_input(find("RMSNorm"), find("RMSNorm").cases()[0])
    assert "self.weight, shape (2,): [0.5 1.5]" in text


def test_an_input_is_shown_as_it_was_before_the_call():
    exercise = find("update_expert_bias_")
    case = Case("two experts", (torch.zeros(2), torch.tensor([3, 1]), 0.5, 1))
    assert describe_input(exercise, case).splitlines()[0] == "expert_bias, shape (2,): [0. 0.]"


def test_what_stands_in_an_input_is_escaped():
    exercise = find("causal_mask")
    case = Case("<b>one</b>", (1, 1, torch.device("cpu")))
    result = CheckResult(exercise, "failed", 1, Difference(case.says, "<script>"), case)
    html = panel_html(result)
    assert "<b>one" not in html and "&lt;b&gt;one" in html and "<script>" not in html


def test_what_stands_between_backticks_is_code_in_a_notebook_but_not_in_the_learners_own_line():
    line = "Line 2 of your cell: return f'`{x}`'"
    found = Difference("one token", "It writes into `q`.", "gradient of `q`", 1.0, 2.0, line)
    html = panel_html(CheckResult(find("attend"), "failed", 1, found))
    assert "it writes into <code>q</code>." in html and "expected gradient of <code>q</code></div>" in html
    assert "return f&#x27;`{x}`&#x27;" in html
    assert "it writes into `q`." in panel_text(CheckResult(find("attend"), "failed", 1, found))


def test_the_smallest_input_that_fails_is_shown_whatever_its_place():
    def windows(split, n, seq_len):
        inputs, targets, index = find("windows").core(split, n, seq_len)
        # Wrong wherever there are windows of three or more: the first of these is not the smallest.
        return (inputs, targets + (seq_len >= 3), index)

    result = judge(find("windows"), windows)
    sizes = {c.says: entries(c.args) for c in find("windows").cases()}
    assert result.difference.case == "a large vocabulary"
    assert sizes["a large vocabulary"] < sizes["seven tokens, windows of three"]


def test_attention_that_returns_its_values_is_shown_on_two_tokens():
    result = judge(find("attend"), lambda q, k, v, scale, visible=None: v)
    assert result.difference.part == "result"
    assert result.difference.expected.numel() <= 2
    assert result.diagnosis is not None


def test_numbers_one_after_the_other_are_one_line():
    exercise = find("lr_at")
    case = next(c for c in exercise.cases() if "five steps" in c.says)
    lines = describe_input(exercise, case).splitlines()
    assert lines[0] == "step = 0" and lines[-1] == "step = 1, 2, 3, 4, one after the other"


@pytest.mark.parametrize("name", ["Kimi", "KimiBlock", "MoE", "generate", "balance_term"])
def test_no_line_ends_in_the_middle_of_a_setting(name):
    for case in find(name).cases():
        text = describe_input(find(name), case)
        assert "[...]" not in text and text.count("(") == text.count(")"), text


def test_a_configuration_shows_all_its_own_settings_and_the_names_of_those_inside():
    exercise = find("Kimi")
    text = " ".join(describe_input(exercise, exercise.cases()[0]).split())
    assert "norm_eps=0.001, rope=RopeConfig(...), mla=MLAConfig(...), moe=MoEConfig(...))" in text


def test_what_layers_report_is_shown_by_its_shapes():
    exercise = find("balance_term")
    case = next(c for c in exercise.cases() if c.says == "all three, two layers")
    lines = describe_input(exercise, case).splitlines()
    assert lines[0].startswith("routing[0] = RouterStats of logits (2, 6, 4), scores (2, 6, 4)")
    assert lines[-1] == "cfg = BalanceConfig(switch_coef=0.3, sequence_coef=0.2, z_coef=0.1)"
    assert len(lines) == 5


def test_an_input_without_a_number_comes_last():
    """Nothing is to be seen in it, however small it is."""
    full, empty = (torch.zeros(9, 2), 4), (torch.empty(0, 2), 4)
    assert by_size((torch.zeros(1, 2), 4)) < by_size(full) < by_size(empty) < by_size((torch.zeros(9, 2), []))


def test_an_argument_that_a_later_call_leaves_to_its_default_is_shown():
    exercise = find("Kimi")
    lines = describe_input(exercise, next(c for c in exercise.cases() if c.says == "a model of other sizes"))
    assert lines.splitlines()[-2:] == [
        "  cache = None, by default",
        "  with_max_qk_logit = False, by default",
    ]
