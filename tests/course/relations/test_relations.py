"""What is said of a wrong answer that nobody foresaw: the sentence that fits, never one that does not."""

import dataclasses
import math

import pytest
import torch

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.judgement import panel_text
from lab_utils.course.relations.standins import StandIns
from nanokimi.attention import attend, join_heads, split_heads
from nanokimi.generate import next_token_probs
from nanokimi.kimi import KimiBlock
from nanokimi.loss import next_token_loss
from nanokimi.mask import causal_mask
from nanokimi.moe import MoE
from nanokimi.norm import RMSNorm
from nanokimi.optim import Muon, lr_at, newton_schulz
from nanokimi.rope import apply_rope, rope_frequencies
from nanokimi.router import expert_load, max_violation


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
     "the right numbers stand in the opposite order."),
    ("rope_frequencies", lambda d, cfg: 1 / rope_frequencies(d, cfg),
     "every number is 1 divided by what it should be."),
    ("apply_rope", lambda x, r: apply_rope(x, r.conj()),
     "The result is on every input what is right where `rotation` has turned the other way."),
    ("rope_frequencies", lambda d, cfg: rope_frequencies(d, cfg) / (2 * math.pi),
     "every number is 1/(2π) times what it should be."),
    ("RMSNorm", NormTwice, "every number is twice what it should be."),
    ("RMSNorm", NormThatLosesGradients, "no gradient goes back to `x`: it is 0."),
    ("expert_load", lambda idx, n: expert_load(idx, n) + 1, "every number is 1 too large."),
    ("expert_load", lambda idx, n: expert_load(idx, n)[:-1],
     "only the beginning of the right result is there."),
    ("max_violation", lambda load: max_violation(load) + 1, "every number is 1 too large."),
    ("next_token_probs", probs(top_p=None),
     "It gives the same for two inputs that differ in `top_p` alone; it should not."),
    ("next_token_probs", probs(temperature=1.0),
     "It gives the same for two inputs that differ in `temperature` alone; it should not."),
    ("next_token_probs", refusing_nothing, "'let through' comes where 'refused with a ValueError' should."),
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


def test_of_a_blind_test_only_wrong_pieces_are_listed():
    (says,) = relations_of("test_sound_attend", lambda attend: None)
    assert says.startswith(
        "Your test passes for all pieces by which it is judged, the broken ones as well as the sound ones. It "
        "passes for others too, "
    )
    assert "a piece that gives zeros" in says and "sound piece," not in says


def test_a_test_that_is_wrong_about_every_piece_is_said_to_be_upside_down():
    def upside_down(attend):
        try:
            find("test_sound_attend").core(attend)
        except AssertionError:
            return
        raise AssertionError

    (says,) = relations_of("test_sound_attend", upside_down)
    assert says.startswith("Your test is upside down. It refuses every sound piece")


def test_a_list_of_pieces_is_not_called_what_is_wrong():
    def keeps_the_order(split_documents):
        documents = [f"story {i}" for i in range(20)]
        training, validation = split_documents(documents, 0.1)
        assert training + validation == documents

    bare = dataclasses.replace(find("test_sound_split"), mistakes=())
    text = repr(judge(bare, keeps_the_order))
    assert (
        "What is wrong" not in text and "Of the sound pieces by which it is judged it refuses 3: " in text
    ), text


# ---------------------------------------------------------------- sentences that would lead elsewhere


class MuonOfItsOwnSettings(Muon):
    """Muon that does not look at what a group or a schedule says."""

    def step(self, closure=None):
        kept = [dict(group) for group in self.param_groups]
        for group in self.param_groups:
            group.update({name: self.defaults[name] for name in ("lr", "momentum")})
        super().step(closure)
        for group, its in zip(self.param_groups, kept, strict=True):
            group.update(its)


class TwoSlips(LatentLayer):
    """The rope key is normed, and a query of low rank is not."""

    def turn_key(self, k_rope, rotation):
        return super().turn_key(k_rope / k_rope.square().mean(-1, keepdim=True).sqrt(), rotation)

    def project_query(self, x):
        return self.q_proj(x) if self.cfg.q_lora_rank is None else self.q_b_proj(self.q_a_proj(x))


def test_an_argument_that_is_rounded_is_not_called_unused():
    def rounding_down(step, cfg):
        n = int(cfg.decay_fraction * cfg.steps)
        return lr_at(step, dataclasses.replace(cfg, decay_fraction=n / cfg.steps))

    def always_three(step, cfg):
        return lr_at(step, dataclasses.replace(cfg, decay_fraction=3 / cfg.steps))

    for wrong in (rounding_down, always_three):
        found = " ".join(relations_of("lr_at", wrong))
        assert ("`cfg.decay_fraction` alone" in found) is (wrong is always_three), found


def test_a_part_that_not_every_failing_input_has_is_not_called_right():
    found = " ".join(relations_of("Muon", MuonOfItsOwnSettings))
    assert "parameter 1 after step 1" not in found.partition("Right on every input")[2], found
    assert "parameter 2" not in found, found


def test_a_sentence_about_other_inputs_than_the_shown_one_names_them():
    found = " ".join(relations_of("MultiHeadLatentAttention", TwoSlips))
    assert (
        "q_a_layernorm.weight, where it is wrong (a batch, a query of low rank): every number is 0." in found
    ), found
