"""What the questions of studies make of trainings: tables and verdicts against numbers worked out by hand."""

from dataclasses import replace

import pytest

from lab_utils.study.arms_found import Experts, loss_verdicts
from lab_utils.study.arms_study import ANSWERS
from lab_utils.study.evenness import evenness_table
from lab_utils.study.logged import Logged
from lab_utils.study.logits import logits_table
from lab_utils.study.sparsity import sparsity_table
from lab_utils.study.tokens import find_reached, share_to_loss, tokens_table
from tests.study.arms import found, trained

ADAMW = trained("adamw", {10: 4.0, 20: 3.0, 40: 2.0})
MUON = trained("muon", {10: 3.0, 20: 1.0, 40: 0.5})
EVEN = Logged(steps=(20, 40), largest_logit=None, max_vio=(2.0, 0.5), waiting={4: 0.25, 16: 0.75}, dead=1.5)
WILD = Logged(steps=(20, 40), largest_logit=(5000.0, 120.0), max_vio=(), waiting={}, dead=0.0)


def words(table) -> list[list[str]]:
    return [line.split() for line in str(table).splitlines()]


def test_the_share_of_tokens_to_the_first_s_loss():
    """Muon has 2.0 half way between step 10 and step 20, at 15 of 40."""
    assert share_to_loss([ADAMW], [MUON]) == pytest.approx(0.375)
    assert share_to_loss([ADAMW], [ADAMW]) == 1.0
    assert share_to_loss([MUON], [ADAMW]) is None
    # The first with a second seed ends at 3.0, which Muon has at step 10.
    seeds = [ADAMW, trained("adamw", {40: 3.0}, seed=1)], [MUON, trained("muon", {10: 3.0, 40: 1.0}, seed=1)]
    assert share_to_loss(*seeds) == pytest.approx((0.375 + 0.25) / 2)
    assert share_to_loss(seeds[0][:1], seeds[1]) is None


def test_arms_meet_those_that_are_trained_as_long():
    """The long runs have half of the steps of no other arm: each length has a first arm of its own."""
    slow, quick = trained("adamw-short", {20: 5.0}), trained("muon-short", {5: 5.5, 10: 4.5, 20: 4.0})
    short = [_change_run(each, n_steps=20) for each in (slow, quick)]
    times = {"adamw": (1.0, 2.0), "muon": (1.5, 3.0), "adamw-short": (), "muon-short": (1.0,)}
    made = found("tokens", ADAMW, MUON, *short, step_seconds=times)
    assert [each.arm for each in find_reached(made)] == ["adamw-short", "muon-short", "adamw", "muon"]
    rows = words(tokens_table(made))
    assert ["muon", "4.00k", "1", "0.01", "0.500", "38%", "56%", "360"] in rows
    assert ["muon-short", "2.00k", "1", "0.01", "4.000", "38%", "–", "360"] in rows
    pairs = [(each.baseline, each.challenger) for each in loss_verdicts(made)]
    assert pairs == [("adamw-short", "muon-short"), ("adamw", "muon")]


def _change_run(each, **changes):
    return replace(each, run=replace(each.run, **changes))


def test_verdicts_on_losses_follow_the_rules():
    first = [trained("none", {40: 2.0 + seed / 10}, seed=seed) for seed in range(3)]
    other = [trained("bias", {40: 1.0 + seed / 10}, seed=seed) for seed in range(3)]
    (verdict,) = loss_verdicts(found("balance", *first, *other))
    assert (verdict.baseline, verdict.winner) == ("none", "bias")
    assert verdict.mean == pytest.approx(-1.0) and verdict.spread == pytest.approx(0.2)
    (verdict,) = loss_verdicts(found("balance", first[0], other[0]))
    assert (verdict.answer, verdict.reason) == ("no conclusion", "1 seed, 3 needed")
    (verdict,) = loss_verdicts(found("balance", *first, *other[:2]))
    assert verdict.reason == "bias with seed 2 did not finish"
    mixed = [*other[:2], _change_run(other[2], batch_digest="of other batches")]
    (verdict,) = loss_verdicts(found("balance", *first, *mixed))
    assert verdict.reason == "the arms saw different batches with seed 2"
    by_hand = ({"step": 3, "what": "lr_factor", "value": 0.5},)
    (verdict,) = loss_verdicts(
        found("balance", *first, *other[:2], _change_run(other[2], interventions=by_hand))
    )
    assert verdict.reason == "a training with seed 2 was steered by hand"


def test_the_table_of_logits_has_every_rate_and_those_that_diverged():
    gone = _change_run(trained("without", {20: 3.0}, 0.14), diverged_at=21)
    made = found(
        "logits", trained("without", {40: 2.0}), gone, trained("tau", {40: 1.0}), logged={"without": WILD}
    )
    rows = words(logits_table(made))
    assert ["without", "0.01", "0", "5,000", "120", "2.000"] in rows
    assert ["without", "0.14", "0", "5,000", "120", "diverged"] in rows
    assert ["tau", "0.01", "0", "–", "–", "1.000"] in rows


def test_the_table_of_evenness():
    made = found(
        "balance", trained("none", {40: 2.0}), trained("none", {40: 3.0}, seed=1), logged={"none": EVEN}
    )
    rows = words(evenness_table(made))
    assert ["none", "2", "0.01", "2.500", "0.50", "1.5", "25%", "75%"] in rows


def test_the_table_of_sparsity():
    arms = trained("dense", {40: 2.0}), trained("2-of-16", {40: 1.5}, total=87_000)
    times = {"dense": (1.0, 1.0, 4.0), "2-of-16": (1.5, 2.0, 4.0)}
    made = found("sparsity", *arms, experts={"2-of-16": Experts(n=16, top_k=2)}, step_seconds=times)
    rows = words(sparsity_table(made))
    assert ["dense", "–", "–", "25.0k", "25.0k", "1", "0.01", "2.000", "1.00"] in rows
    assert ["2-of-16", "16", "2", "25.0k", "87.0k", "1", "0.01", "1.500", "1.50"] in rows


@pytest.mark.parametrize("question", ANSWERS)
def test_every_question_has_a_picture_that_says_its_numbers(question):
    arms = trained("adamw", {20: 3.0, 40: 2.0}), trained("2-of-16", {20: 2.0, 40: 1.0})
    log = EVEN if question == "balance" else WILD
    experts = {"2-of-16": Experts(n=16, top_k=2)}
    made = found(question, *arms, logged={"adamw": log, "2-of-16": log}, experts=experts)
    picture = ANSWERS[question].picture(made)
    assert picture.png.startswith(b"\x89PNG")
    says = {
        "tokens": "2-of-16 50%",
        "logits": "2-of-16, 0.01 up to 5,000",
        "balance": "2-of-16 1.25, loss 1.000",
    }
    says["sparsity"] = "2-of-16 1.000"
    assert says[question] in picture.alt
