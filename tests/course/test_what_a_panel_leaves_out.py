"""What a panel must not say: names that the learner has not, properties that the answer has, the same thing twice."""

import linecache
import math
import re
import warnings

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.judge import NO_VERDICT, AnswerKey, judge
from lab_utils.course.judgement import panel_text
from lab_utils.course.kept import CHANGES
from lab_utils.course.relations.arguments import leaves_of, name_arguments, say_path
from lab_utils.course.written import as_text
from nanokimi.attention import attend, join_heads, split_heads
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.generate import generate
from nanokimi.mask import causal_mask
from nanokimi.moe import dispatch
from nanokimi.norm import RMSNorm
from nanokimi.router import expert_load, load_balance_loss, update_expert_bias_

COSTLY = {"Kimi", "KimiBlock", "MultiHeadLatentAttention", "Muon", "derived_scaling_factor"}
EXERCISES = [e for e in all_exercises().values() if not e.is_hunt and e.name not in COSTLY]


def panel(name: str, answer) -> str:
    return panel_text(judge(find(name), answer))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_no_gradient_is_named_by_a_number(exercise):
    key = AnswerKey(exercise)
    parts = {name_arguments(exercise, part) for i in range(len(key.cases)) for part in key.expected(i)}
    assert not [part for part in parts if re.search(r"argument \d", part)]


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("dispatch", ("expert_idx",), "`expert_idx`"),
        ("update_expert_bias_", ("expert_bias",), "`expert_bias`"),
        ("load_balance_loss", ("logits",), "`stats.logits`"),
        ("load_balance_loss", ("top_k",), ""),
        ("next_token_probs", ("settings", "top_p"), "`top_p`"),
        ("topk_route", ("cfg", "top_k"), "`cfg.top_k`"),
    ],
)
def test_an_argument_has_the_name_that_the_learner_gave_it_or_none(name, path, said):
    exercise = find(name)
    assert path in {path for case in exercise.cases() for path in leaves_of(exercise, case)}
    assert say_path(exercise, path) == said


def test_the_gradient_of_the_weights_is_not_that_of_the_choice():
    text = panel("dispatch", lambda x, idx, weights, bank: dispatch(x, idx, weights.detach(), bank))
    assert "gradient of `weights`" in text and "gradient of `idx`" not in text
    text = panel(
        "load_balance_loss", lambda stats: load_balance_loss(stats).detach() + 0 * stats.logits.sum()
    )
    assert "gradient of `stats.logits`" in text


# ---------------------------------------------------------------- properties


def swiglu_with(gate_of):
    def swiglu(x, gate_up, down):
        gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
        return F.linear(gate_of(gate) * up, down)

    return swiglu


CLOSED = "a gate far below zero lets nothing through"


@pytest.mark.parametrize(
    ("gate_of", "is_open"),
    [
        (F.relu, False),
        (F.gelu, False),
        (F.hardswish, False),
        (lambda gate: gate * torch.sigmoid(1.702 * gate), False),
        (lambda gate: F.silu(gate.clamp(-20, 20)), False),
        (torch.sigmoid, False),
        (F.leaky_relu, True),
        (lambda gate: gate, True),
        (torch.abs, True),
        (torch.tanh, True),
    ],
)
def test_a_property_is_asked_of_the_answer_itself(gate_of, is_open):
    exercise = find("swiglu")
    case = next(case for case in exercise.cases() if case.says.startswith("a gate of -40"))
    (closed,) = exercise.properties
    args = case.fresh_args()
    assert closed.holds(exercise.observe(swiglu_with(gate_of), *args), *args) is not is_open
    assert is_open or CLOSED not in panel("swiglu", swiglu_with(gate_of))


def test_no_property_is_asked_of_numbers_in_another_format():
    def added(n_queries, n_keys, device):
        seen = causal_mask(n_queries, n_keys, device)
        return torch.zeros(n_queries, n_keys, device=device).masked_fill(~seen, -torch.inf)

    result = judge(find("causal_mask"), added)
    assert result.status == "failed" and result.violated == ()


# ---------------------------------------------------------------- arguments that change, and what is kept


def test_a_list_that_an_answer_changes_is_found_and_named():
    class Taking(ExpertBank):
        def forward(self, rows, counts):
            out = super().forward(rows, list(counts))
            counts.pop()
            return out

    def longer(model, prompt, max_new_tokens, **settings):
        for token in generate(model, prompt, max_new_tokens, **settings):
            prompt.append(token)
            yield token

    assert "It changes the list `counts`, which belongs to the caller." in panel("ExpertBank", Taking)
    assert "It changes the list `prompt`, which belongs to the caller." in panel("generate", longer)


def test_what_is_kept_from_call_to_call_is_said():
    def remembering(q, k, v, scale, visible=None, calls=[]):  # noqa: B006
        calls.append(1)
        return attend(q, k, v, scale * len(calls), visible)

    def drawing(q, k, v, scale, visible=None):
        return attend(q, k, v, scale, visible) + torch.rand(())

    assert "the default of `calls`, made once for all calls, outlives the call" in panel(
        "attend", remembering
    )
    assert CHANGES in panel("attend", drawing)
    assert CHANGES not in panel(
        "attend", lambda q, k, v, scale, visible=None: attend(q, k, v, 3 * scale, visible)
    )


@pytest.mark.parametrize("core", [attend, join_heads, split_heads, swiglu], ids=lambda core: core.__name__)
def test_nothing_is_called_right_where_the_gradients_are_lost_and_the_format_is_wrong(core):
    def answer(*args):
        with torch.no_grad():
            return core(*(arg.float() if isinstance(arg, torch.Tensor) else arg for arg in args)).float()

    says = panel(core.__name__, answer)
    assert "gradient" in says and "is right" not in says and "are right" not in says


def test_an_error_for_one_format_alone_hides_no_diagnosis():
    class Centred(RMSNorm):
        def forward(self, x):
            return F.layer_norm(x.float(), x.shape[-1:], self.weight, eps=self.eps).to(x.dtype)

    text = panel("RMSNorm", Centred)
    assert "Diagnosis: The mean is subtracted first" in text
    assert "And in another case (float64): it raises RuntimeError" in text


# ---------------------------------------------------------------- how much is said


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("attend", lambda q, k, v, scale, visible=None: attend(q, k, v, 1.37 * scale, visible)),
        ("causal_mask", lambda n, m, device: causal_mask(n, m, device).tolist()),
        ("update_expert_bias_", lambda bias, load, rate: update_expert_bias_(bias, load, 1.5 * rate)),
    ],
    ids=["attend", "causal_mask", "update_expert_bias_"],
)
def test_a_panel_is_short(name, answer):
    assert len(panel(name, answer).splitlines()) <= 16


def test_of_large_values_the_place_that_differs_is_shown():
    right = torch.zeros(4, 100)
    got = right.clone()
    got[2, 70] = 5.0
    assert "5." in as_text(got, right) and as_text(got, right).startswith("[2]")
    assert "5." not in as_text(right, got)
    for shape in ((9, 9, 9, 9), (2, 2, 2, 3), (1, 2, 12, 1), (24, 1), (3, 8)):
        assert 0 < len(as_text(torch.full(shape, 0.123456)).splitlines()) <= 8
    entries = [1] * 200
    assert "7" in as_text([*entries[:150], 7, *entries[151:]], entries)


@pytest.mark.parametrize("shape", [(8, 3), (12, 2), (24, 1), (2, 3, 4), (3, 2, 4), (1, 12, 2), (2, 2, 2, 3)])
@pytest.mark.parametrize("of", [lambda x: x, lambda x: -x / 7])
def test_a_line_ends_where_a_row_ends(shape, of):
    lines = as_text(of(torch.arange(math.prod(shape)).view(shape))).splitlines()
    assert 1 < len(lines) <= 8 and all(line.rstrip(",").endswith("]") for line in lines)
    assert "..." not in lines


def test_a_tuple_in_an_assert_and_a_comparison_alone_are_seen():
    def by_nothing(attend):
        torch.allclose(attend(*torch.ones(3, 1, 1, 2, 2), 0.5), torch.ones(1, 1, 2, 2))

    def by_an_error(attend):
        assert torch.allclose(attend(*torch.ones(3, 1, 1, 2, 2), 0.5) @ torch.ones(3, 3), torch.ones(1))

    def by_a_right_assert(attend):
        out = attend(*torch.ones(3, 1, 1, 2, 2), 0.5)
        assert torch.allclose(out, torch.ones(1, 1, 2, 2)), "wrong"

    source = 'def by_a_pair(attend):\n    assert (attend(*torch.ones(3, 1, 1, 2, 2), 0.5) is None, "wrong")\n'
    linecache.cache["a cell"] = (len(source), None, source.splitlines(keepends=True), "a cell")
    made = {"torch": torch}
    with warnings.catch_warnings(action="ignore"):  # Python warns of it as well
        exec(compile(source, "a cell", "exec"), made)
    assert "a pair is never false" in panel("test_sound_attend", made["by_a_pair"])
    assert "nothing looks at what comes out: `torch.allclose(" in panel("test_sound_attend", by_nothing)
    assert NO_VERDICT in panel("test_sound_attend", by_an_error)
    assert "compares, and" not in panel("test_sound_attend", by_a_right_assert)


def unseen(x):
    """0 with a gradient of 1."""
    return (x - x.detach()).sum()


def test_a_sentence_goes_on_after_a_colon_and_a_table_says_what_it_is_of():
    text = panel("expert_load", lambda expert_idx, n_experts: expert_load(expert_idx, n_experts)[None])
    assert "): its shape is (1, 4); it should be (4,)." in text and "  expected, shape (4,)" in text
    text = panel("load_balance_loss", lambda stats: load_balance_loss(stats) + unseen(stats.logits))
    assert "  expected gradient of `stats.logits`, shape" in text
