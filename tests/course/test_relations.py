"""What is said of a wrong answer that nobody foresaw: the sentence that fits, never one that does not.

The mutants of the core are such answers. What is said of them is computed here once more, in another way.
"""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.attempt import run_cases
from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.judgement import panel_text
from lab_utils.course.likeness import liken
from lab_utils.course.pairs import Pair
from lab_utils.course.standins import StandIns, leaves_of
from nanokimi.attention import attend, join_heads, split_heads
from nanokimi.generate import next_token_probs
from nanokimi.kimi import KimiBlock
from nanokimi.loss import next_token_loss
from nanokimi.mask import causal_mask
from nanokimi.moe import MoE
from nanokimi.norm import RMSNorm
from nanokimi.optim import newton_schulz
from nanokimi.rope import apply_rope, rope_frequencies
from nanokimi.router import expert_load, max_violation
from tests.course.mutants import mutants


def relations_of(name: str, answer) -> tuple[str, ...]:
    """What is said of an answer, with no known mistake to name it by."""
    bare = dataclasses.replace(find(name), mistakes=())
    key = AnswerKey(bare)
    key.stand_ins = StandIns(bare, key.cases, seconds=60.0)  # the search is the same on a busy machine
    return judge(bare, answer, key=key).relations


# ---------------------------------------------------------------- a sentence for each kind


class NormWithoutWeight(RMSNorm):
    def forward(self, x):
        return super().forward(x) / self.weight.to(x.dtype)


class NormTwice(RMSNorm):
    def forward(self, x):
        return 2 * super().forward(x)


class NormThatLosesGradients(RMSNorm):
    def forward(self, x):
        return super().forward(x.detach())


class BlockWithoutItsNorm(KimiBlock):
    def __init__(self, *args):
        super().__init__(*args)
        self.post_attention_layernorm.register_forward_hook(lambda module, args, out: args[0])


class MoEThatAddsItsInput(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y + x, stats


def probs(**settings):
    """`next_token_probs`, which uses these settings whatever the caller says."""

    def changed(logits, temperature=1.0, top_k=None, top_p=None):
        given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        next_token_probs(logits, **given)  # refuses what it should refuse
        return next_token_probs(logits, **given | settings)

    return changed


def refusing_nothing(logits, temperature=1.0, top_k=None, top_p=None):
    try:
        return next_token_probs(logits, temperature, top_k, top_p)
    except ValueError:
        return next_token_probs(logits)


SAID = [
    ("attend", lambda q, k, v, s, m=None: 2 * attend(q, k, v, s, m),
     "The result, on every input: every number is twice what it should be."),
    ("attend", lambda q, k, v, s, m=None: -attend(q, k, v, s, m),
     "The result is on every input what is right where `v` has the other sign."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v, s, m).mT.contiguous(),
     "The result, on every input: the numbers are right, and axis -2 and the last axis are exchanged."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v, s, m).flip(1),
     "the right numbers stand in the opposite order along axis -3."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v, 1.0, m),
     "The result is on every input what is right where `scale` is 1.0."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v, s),
     "The result is on every input what is right where `visible` is left out."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v.detach(), s, m),
     "The result is right on every input, but no gradient goes back to `v`: it is 0."),
    ("attend", lambda q, k, v, s, m=None: attend(q, k, v, s, m) + v.mean(),
     "apart from one number that is added, the numbers along the last axis are right."),
    ("next_token_loss", lambda logits, targets: next_token_loss(logits, targets) * targets.numel(),
     "every number is `logits.shape[:-1].numel()` times what it should be."),
    ("next_token_loss", lambda logits, targets: next_token_loss(logits, targets) / math.log(2),
     "every number is 1/log(2) times what it should be."),
    ("causal_mask", lambda n, m, device: ~causal_mask(n, m, device), "True and False are exchanged."),
    ("causal_mask", lambda n, m, device: torch.ones(n, m, dtype=torch.bool, device=device),
     "every entry is True."),
    ("split_heads", lambda x, n: split_heads(x, n).transpose(1, 2),
     "the numbers are right, and axis -3 and axis -2 are exchanged."),
    ("split_heads", lambda x, n: x, "The result, on every input: the right numbers stand at other places."),
    ("join_heads", lambda x: join_heads(x.flip(1)), "The result is on every input what is right where `x` stands in "
     "the opposite order along axis -3."),
    ("rope_frequencies", lambda d, cfg: rope_frequencies(d, dataclasses.replace(cfg, base=10_000.0)),
     "The result is on every input what is right where `cfg.base` is left out."),
    ("rope_frequencies", lambda d, cfg: rope_frequencies(d, cfg).flip(0),
     "the right numbers stand in the opposite order along the only axis."),
    ("rope_frequencies", lambda d, cfg: 1 / rope_frequencies(d, cfg),
     "every number is 1 divided by what it should be."),
    ("apply_rope", lambda x, r: apply_rope(x, r.conj()),
     "The result is on every input what is right where `rotation` has turned the other way."),
    ("RMSNorm", NormTwice, "every number is twice what it should be."),
    ("RMSNorm", NormThatLosesGradients, "no gradient goes back to argument 1: it is 0."),
    ("expert_load", lambda idx, n: expert_load(idx, n) + 1, "every number is 1 too large."),
    ("expert_load", lambda idx, n: expert_load(idx, n)[:-1],
     "only the beginning of the right result is there along the only axis."),
    ("max_violation", lambda load: max_violation(load) + 1, "every number is 1 too large."),
    ("next_token_probs", probs(top_p=None), "The result is on every input what is right where `top_p` is left out."),
    ("next_token_probs", probs(temperature=1.0), "`temperature` is left out."),
    ("next_token_probs", refusing_nothing, "It is right on all inputs but these: temperature -1; top_k=0; top_p=0; "
     "top_p=1.5."),
    ("newton_schulz", lambda g, steps=5, dtype=torch.bfloat16: newton_schulz(g, 5, dtype),
     "what is right where `steps` is left out."),
    ("KimiBlock", BlockWithoutItsNorm, "is on every input what is right where `post_attention_layernorm` gives back "
     "what it gets."),
    ("MoE", MoEThatAddsItsInput, "Its part “y”, wherever it is wrong: `x` is added to what is right."),
]  # fmt: skip
QUICK = {"expert_load", "max_violation", "rope_frequencies"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        pytest.param(*row, id=f"{row[0]}-{i}", marks=[] if row[0] in QUICK else [pytest.mark.slow])
        for i, row in enumerate(SAID)
    ],
)
def test_each_kind_is_said(name, answer, says):
    found = relations_of(name, answer)
    assert any(each.endswith(says) for each in found), found


def test_the_panel_says_it():
    text = panel_text(judge(dataclasses.replace(find("RMSNorm"), mistakes=()), NormTwice))
    assert "What is wrong: The result, wherever it is wrong: every number is twice what it should be." in text


def test_a_known_mistake_needs_no_relation():
    exercise = find("expert_load")
    result = judge(exercise, exercise.mistakes[0].wrong)
    assert result.diagnosis is not None and result.relations == ()


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises().values(), ids=lambda e: e.name)
def test_nothing_is_said_of_right_answers(exercise: Exercise):
    assert judge(exercise, exercise.core).relations == ()


def test_odd_results_cost_no_judgement():
    class Odd(list):
        def __eq__(self, other):
            raise ValueError("no")

        def __len__(self):
            raise ValueError("no")

    result = judge(find("expert_load"), lambda idx, n: Odd())
    assert result.status == "failed" and isinstance(result.relations, tuple)


# ---------------------------------------------------------------- a value beside the right one


def pairs(of, *shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [Pair(right, of(right)) for right in rights]


CLAUSES = [
    (lambda x: 3 * x, "every number is 3 times what it should be"),
    (lambda x: x + 0.5, "every number is 0.5 too large"),
    (lambda x: x**2, "every number is the square of what it should be"),
    (torch.exp, "every number is e to the power of what it should be"),
    (torch.abs, "the sign of every number is lost"),
    (torch.relu, "negative numbers are 0, and all others right"),
    (lambda x: x.softmax(-1), "it is the softmax of what it should be"),
    (lambda x: x.roll(1, 0), "the right numbers stand one place too late along the first axis, the last one first"),
    (lambda x: x * 0, "every number is 0"),
    (lambda x: x.sum(-1), "it is the sum of the right numbers along the last axis"),
    (lambda x: x.mean(0, keepdim=True), "it is the mean of the right numbers along the first axis"),
    (lambda x: x[:-1], "only the beginning of the right result is there along the first axis"),
    (lambda x: torch.cat([x, x]), "after the right numbers come others along the first axis"),
    (lambda x: F.normalize(x, dim=-1), "apart from one factor, the numbers along the last axis are right; "
     "they have the length 1, and should not"),
    (lambda x: torch.cat([x[:-1], x[-1:] + x[-1:].cos()]), "only the last place along the first axis is wrong"),
    (lambda x: torch.where(x < 0, x.cos(), x), "all numbers are wrong that should be negative, and no others"),
    (lambda x: x * torch.nan, "every number is nan"),
    (lambda x: x.float().bfloat16(), None),
    (lambda x: torch.sin(7 * x) + x[:1], None),
]  # fmt: skip


@pytest.mark.parametrize(("of", "says"), CLAUSES, ids=[str(i) for i in range(len(CLAUSES))])
def test_a_clause_for_each_relation(of, says):
    found = liken(pairs(of, (4, 5), (6, 3)))
    assert found == says if says else not found or "format" in found


@pytest.mark.parametrize(
    "shapes", [((2,), (1,)), ((1,), (1,), (1,)), ((3, 2), (2, 2)), ((2, 3, 4), (5, 2, 3))]
)
def test_no_relation_by_accident(shapes):
    """Numbers that have nothing to do with each other: no exact relation may be said to hold."""
    generator = torch.Generator().manual_seed(1)
    for seed in range(12):
        found = liken(pairs(lambda x: torch.randn(x.shape, generator=generator).double(), *shapes, seed=seed))
        assert not found or found.startswith("every wrong number is too"), found


def test_few_whole_numbers_prove_nothing():
    found = liken(
        [Pair(torch.tensor([1, 0]), torch.tensor([2, 0])), Pair(torch.tensor([0, 1]), torch.tensor([0, 2]))]
    )
    assert found == ""


# ---------------------------------------------------------------- what is said of mutants, computed once more


def number(text: str, sizes: dict) -> float:
    """The factor that a sentence names."""
    known = {"half of": 0.5, "twice": 2.0, "log(2) times": math.log(2), "1/log(2) times": 1 / math.log(2)}
    known |= {"2π times": 2 * math.pi, "π times": math.pi}
    if text in known:
        return known[text]
    text = text.removesuffix(" times").removesuffix(" of").replace("²", "**2").replace("sqrt", "math.sqrt")
    for name in sorted(sizes, key=len, reverse=True):
        text = text.replace(f"`{name}`", repr(float(sizes[name])))
    return eval(text, {"math": math})


def sizes_of(exercise, case) -> dict:
    found = {}
    for path, value in leaves_of(exercise, case).items():
        name = ".".join(path[1:] if path[0] in ("settings", "chosen") and len(path) > 1 else path)
        if isinstance(value, torch.Tensor):
            found |= {f"{name}.shape[{-1 - i}]": n for i, n in enumerate(reversed(value.shape))}
            found |= {
                f"{name}.numel()": value.numel(),
                f"{name}.shape[:-1].numel()": math.prod(value.shape[:-1]),
            }
            if value.is_floating_point() and value.numel():
                found |= {f"{name}.mean()": value.double().mean(), f"{name}.sum()": value.double().sum()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, list | tuple | str):
            found[f"len({name})"] = len(value)
    return found


def as_array(value) -> np.ndarray:
    return value.double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, dtype=float)


def close(one, other, room) -> bool:
    one, other = as_array(one), as_array(other)
    least = room * np.nanmax(np.abs(other), initial=0.0)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=room, atol=least, equal_nan=True))


FACTOR = r"every number is (half of|twice|[-0-9.e+]+ times|\S*log\(2\) times|2?π times|.*`.+`.*?) what it should be"
CHECKS = {
    FACTOR: lambda m, r, g, s, room: close(g, number(m, s) * as_array(r), room),
    r"every number is the (square) of what": lambda m, r, g, s, room: close(g, as_array(r) ** 2, room),
    r"every number is the (square root) of what": lambda m, r, g, s, room: close(g, as_array(r) ** 0.5, room),
    r"every number is (1) divided by what": lambda m, r, g, s, room: close(g, 1 / as_array(r), room),
    r"every number is ([-0-9.e+]+) too large": lambda m, r, g, s, room: close(g, as_array(r) + float(m), 1e-3),
    r"every number is ([-0-9.e+]+) too small": lambda m, r, g, s, room: close(g, as_array(r) - float(m), 1e-3),
    r"every number is (-?[0-9.e+-]+|nan)$": lambda m, r, g, s, room: np.allclose(as_array(g), float(m), equal_nan=True,
                                                                              rtol=1e-3),
    r"every wrong number is too (large|small)": lambda m, r, g, s, room: bool(
        np.all((as_array(g) - as_array(r)) * (1 if m == "large" else -1) >= -1e-3)),
    r"every number has the (wrong) sign": lambda m, r, g, s, room: close(-as_array(g), r, room),
    r"(True and False are exchanged)": lambda m, r, g, s, room: bool(np.all(as_array(g) != as_array(r))),
    r"right numbers stand in the (opposite) order along the last axis": lambda m, r, g, s, room: close(
        as_array(g)[..., ::-1], r, room),
    r"the right numbers stand at (other) places": lambda m, r, g, s, room: close(
        np.sort(as_array(g), None), np.sort(as_array(r), None), room),
    r"apart from one (factor), the numbers along the last axis": lambda m, r, g, s, room: np.linalg.matrix_rank(
        np.nan_to_num(np.stack([as_array(r), as_array(g)], -2).astype(float)), tol=2e-3 * np.abs(as_array(r)).max()
    ).max() <= 1,
    r"no number is off by more than ([0-9.]+) %": lambda m, r, g, s, room: bool(
        np.all(np.abs(as_array(g) - as_array(r)) <= (float(m) / 100 + 1e-2) * np.abs(as_array(r)) + 1e-5)),
}  # fmt: skip


def differs(right, got, tolerance) -> bool:
    """As the judge says, in numpy."""
    if isinstance(right, torch.Tensor | float | int) and isinstance(got, torch.Tensor | float | int):
        if getattr(got, "dtype", None) != getattr(right, "dtype", None):
            return True
        one, other = as_array(got), as_array(right)
        room = 1.01 * tolerance
        return one.shape != other.shape or not np.allclose(one, other, rtol=room, atol=room, equal_nan=True)
    return type(got) is not type(right) or (
        len(got) != len(right) if isinstance(right, list) else got != right
    )


def verify(exercise: Exercise, key: AnswerKey, outcomes, sentence: str) -> bool | None:
    """Whether a sentence is true; None where this test does not know how to tell."""
    judged = [i for i, case in enumerate(key.cases) if case.judged]
    room = max(2e-3, exercise.tolerance)

    def fails(i):
        right, got = key.expected(i), outcomes[i].parts
        if got is None or list(right) != list(got):
            return True
        return any(differs(right[n], got[n], exercise.tolerance) for n in right)

    if match := re.match(r"It is (right|wrong) on all inputs but (?:this one|these): (.+)\.$", sentence):
        listed, wrong = match[2].split("; "), match[1] == "wrong"
        return all(fails(i) is (wrong is (key.cases[i].says not in listed)) for i in judged)
    if match := re.match(
        r"(The result|Its part “(.+)”), (on every input|wherever it is wrong): (.+)\.$", sentence
    ):
        part, clause = match[2] or "result", match[4]
        for pattern, holds in CHECKS.items():
            if (found := re.search(pattern, clause)) is None:
                continue
            for i in judged:
                right, got = key.expected(i).get(part), outcomes[i].parts
                if right is None:
                    continue
                if match[3] == "wherever it is wrong" and got is not None and close(got[part], right, 1e-5):
                    continue
                if not holds(found[1], right, got[part], sizes_of(exercise, key.cases[i]), room):
                    return False
            return True
    return None


COSTLY = {
    "Kimi",
    "KimiBlock",
    "MultiHeadLatentAttention",
    "generate",
    "build_optimizers",
    "Muon",
}  # minutes each


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "exercise",
    [e for e in all_exercises().values() if not e.is_hunt and e.name not in COSTLY],
    ids=lambda e: e.name,
)
def test_what_is_said_of_mutants_is_true(exercise: Exercise):
    bare = dataclasses.replace(exercise, mistakes=())
    key, untrue = AnswerKey(bare), []
    key.stand_ins = StandIns(bare, key.cases, seconds=0.0)  # not searched here: so all other kinds are asked
    for change, mutant in mutants(exercise.core):
        attempt = run_cases(bare, key.cases, mutant, 3.0)
        if attempt.why:
            continue
        for sentence in judge(bare, mutant, 3.0, key).relations:
            if verify(bare, key, attempt.outcomes, sentence) is False:
                untrue.append(f"{change}: {sentence}")
    assert untrue == []


def test_an_untrue_sentence_is_found():
    bare = dataclasses.replace(find("expert_load"), mistakes=())
    key = AnswerKey(bare)
    outcomes = run_cases(bare, key.cases, lambda idx, n: 3 * expert_load(idx, n)).outcomes
    true, untrue = (
        f"The result, on every input: every number is {n} times what it should be." for n in (3, 4)
    )
    assert verify(bare, key, outcomes, true) is True
    assert verify(bare, key, outcomes, untrue) is False
    only = f"It is right on all inputs but this one: {key.cases[0].says}."
    assert verify(bare, key, outcomes, only) is False
