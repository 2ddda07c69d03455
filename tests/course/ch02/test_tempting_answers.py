"""Notebook 02: wrong answers that tempt, told as what they are."""

import pytest
import torch

from nanokimi.attention import attend
from nanokimi.mask import causal_mask
from nanokimi.norm import RMSNorm
from nanokimi.rope import apply_rope
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def scaled_by(scale_of):
    """Attention with a scale of its own."""
    return lambda q, k, v, scale, visible=None: attend(q, k, v, scale_of(q, k, v), visible)


@pytest.mark.parametrize("scale", [0.125, 0.2, 0.5, 0.7, 2.0])
def test_a_scale_that_nobody_reads_is_told_as_such(scale):
    says = judge_answer("attend", scaled_by(lambda q, k, v: scale)).relations[0]
    assert says in (
        "It gives the same for two inputs that differ in `scale` alone; it should not.",
        f"The result is on every input what is right where `scale` is {scale}.",
    )


@pytest.mark.parametrize("wrong", [lambda s: s + 0.1, lambda s: 2 * s, lambda s: s**2])
def test_a_scale_that_is_read_is_not_called_ignored(wrong):
    result = judge_answer(
        "attend", lambda q, k, v, scale, visible=None: attend(q, k, v, wrong(scale), visible)
    )
    assert not any("differ in `scale` alone" in says for says in result.relations)


def shown_inside_out(q, k, v, scale, visible=None):
    if visible is None:
        visible = ~causal_mask(q.shape[-2], k.shape[-2], q.device)
    scores = scale * torch.einsum("bhqd,bhkd->bhqk", q, k)
    return torch.softmax(scores.masked_fill(visible, float("-inf")), dim=-1) @ v


class Norm(RMSNorm):
    def size(self, y):
        raise NotImplementedError

    def forward(self, x):
        y = x.double() if x.dtype == torch.float64 else x.float()
        return (y / self.size(y) * self.weight).type_as(x)


class OfVar(Norm):
    def size(self, y):
        return torch.sqrt(torch.var(y, dim=-1, keepdim=True) + self.eps)


class OfStd(Norm):
    def size(self, y):
        return torch.std(y, dim=-1, keepdim=True) + self.eps


class OfBiasedStd(Norm):
    def size(self, y):
        return y.std(-1, correction=0).unsqueeze(-1) + self.eps


class OfLength(Norm):
    def size(self, y):
        return torch.linalg.vector_norm(y, dim=-1, keepdim=True) + self.eps


def turned_by(part):
    def rope(x, rotation):
        angle = part(rotation)
        return apply_rope(x, torch.complex(angle.cos(), angle.sin()))

    return rope


def joined_sum(x):
    return torch.cat([x.sum(1)] * x.shape[1], dim=-1)


def turn(positions):
    """Two pairs, by 0.5 and 0.25 radians per token."""
    return torch.polar(torch.ones(len(positions), 2), positions[:, None] * torch.tensor([0.5, 0.25]))


def decoding(formula, close):
    """A test that compares every step with a formula for all tokens at once."""

    def test(decode_step):
        q, k, v = (torch.randn(1, 1, 5, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
        expected, cache = formula(q, k, v, turn(torch.arange(5))), []
        for t in range(5):
            one = (each[:, :, t : t + 1] for each in (q, k, v))
            out = decode_step(*one, cache, attend, apply_rope, turn)
            assert close(out, expected[:, :, t : t + 1])

    return test


def near(one, other):
    return (one - other).abs().max() < 1e-4


def all_turned(q, k, v, by):
    return attend(apply_rope(q, by), apply_rope(k, by), v, 0.5)


unturned_keys = decoding(lambda q, k, v, by: attend(apply_rope(q, by), k, v, 0.5), near)
unturned_queries = decoding(lambda q, k, v, by: attend(q, apply_rope(k, by), v, 0.5), near)


def no_cross_terms(x, rotation):
    factors = torch.stack([rotation.real, rotation.imag], dim=-1).flatten(-2)
    return (x.float() * factors.float()).to(x.dtype)


def turned_along_another_axis(x, rotation):
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation[:, None]).flatten(-2).to(x.dtype)


def joined_as_if_texts_came_first(x):
    batch, n_heads, seq, width = x.shape
    return torch.einsum("bhsd->sbhd", x).reshape(batch, seq, n_heads * width)


def asks_what_the_last_value_changes(attend):
    q, k, v = torch.randn(3, 1, 1, 5, 8, generator=torch.Generator().manual_seed(3)).unbind()
    other = torch.cat([v[:, :, :-1], v[:, :, -1:] + 10], dim=2)
    before, after = attend(q, k, v, 8**-0.5), attend(q, k, other, 8**-0.5)
    assert near(before[:, :, :-1], after[:, :, :-1]) and not near(before[:, :, -1], after[:, :, -1])


def asks_for_the_mean_of_ones(attend):
    q, k = torch.randn(2, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    assert abs(attend(q, k, torch.ones(2, 3, 5, 1), 0.5).mean().item() - 1.0) < 1e-4


NAMED = [
    ("apply_rope", no_cross_terms, "rope_without_cross_terms"),
    ("apply_rope", turned_along_another_axis, "rope_along_another_axis"),
    ("join_heads", joined_as_if_texts_came_first, "join_with_tokens_before_texts"),
    ("test_sound_attend", asks_what_the_last_value_changes, "attend_test_of_a_later_value"),
    ("test_sound_attend", asks_for_the_mean_of_ones, "attend_test_of_the_mean_of_ones"),
    ("attend", scaled_by(lambda q, k, v: 1 / v.shape[-1] ** 0.5), "attend_scaling_by_the_width_of_v"),
    ("attend", scaled_by(lambda q, k, v: 1 / k.shape[-2] ** 0.5), "attend_scaling_by_the_number_of_keys"),
    ("attend", shown_inside_out, "attend_hiding_all_that_the_caller_shows"),
    ("RMSNorm", OfVar, "NormByTorchsVariance"),
    ("RMSNorm", OfStd, "NormByTorchsDeviation"),
    ("RMSNorm", OfBiasedStd, "NormByDeviationAndEps"),
    ("RMSNorm", OfLength, "NormByTheLengthAndEps"),
    ("apply_rope", turned_by(lambda z: z.real), "rope_with_the_real_part_for_the_angle"),
    ("apply_rope", turned_by(lambda z: z.imag), "rope_with_the_imaginary_part_for_the_angle"),
    ("join_heads", joined_sum, "join_by_repeating_the_sum"),
    ("test_sound_decoding", unturned_keys, "decoding_test_that_forgets_to_turn_keys"),
    ("test_sound_decoding", unturned_queries, "decoding_test_that_forgets_to_turn_queries"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


@pytest.mark.parametrize("room", [0.0, 1e-12, 1e-9])
def test_a_test_without_room_for_rounding_is_not_told_that_its_formula_is_wrong(room):
    strict = decoding(
        lambda q, k, v, by: all_turned(q.double(), k.double(), v.double(), by.cdouble()) if room else v + 1,
        lambda one, other: (one - other).abs().max() <= room,
    )
    (known,) = judge_answer("test_sound_decoding", strict).diagnoses
    assert "no sound piece gives what it asks for, or it leaves no room for float32 rounding" in known.says


def test_a_test_by_the_right_formula_passes():
    assert judge_answer("test_sound_decoding", decoding(all_turned, near)).status == "passed"


def with_scores(change):
    """Attention whose scores are changed before the softmax."""

    def answer(q, k, v, scale, visible=None):
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device) if visible is None else visible
        scores = change(torch.matmul(q, k.transpose(-2, -1)) * scale)
        return torch.where(visible, scores, -torch.inf).softmax(dim=-1) @ v

    return answer


@pytest.mark.parametrize("bound", [1e4, 1e5, 1e6])
@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (lambda s, b: s.clamp(-b, b), "Large scores are cut off, at a bound such as 10,000."),
        (lambda s, b: s.clamp(max=b), "Large scores are cut off from above, at a bound such as 10,000."),
    ],
)
def test_a_bound_that_only_huge_scores_reach_is_refused_and_named(cut, says, bound):
    result = judge_answer("attend", with_scores(lambda s: cut(s, bound)))
    assert result.diagnosis is not None and result.diagnosis.says.startswith(says)


def test_without_a_bound_huge_scores_pass():
    assert judge_answer("attend", with_scores(lambda s: s)).status == "passed"
