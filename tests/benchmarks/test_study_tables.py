"""The tables of the studies of arms: what a record holds stands in them, by hand."""

from dataclasses import replace

from benchmarks.study_tables import balance_table, clip_table, muon_table, sparsity_table
from lab_utils.study.arms_found import Experts
from lab_utils.study.logged import Logged
from tests.study.arms import found, trained

LOG = Logged(
    steps=(10, 20, 30, 40), largest_logit=(5.0, 9000.0, 700.0, 60.0), max_vio=(2.0, 0.5), waiting={4: 0.25, 16: 0.75},
    dead=1.5,
)  # fmt: skip


def rows(table: str) -> list[str]:
    return table.splitlines()[2:]


def test_muon_needs_a_share_of_the_tokens():
    arms = (
        trained("adamw-4k", {20: 3.0, 40: 2.0}),
        trained("muon-4k", {20: 2.0, 40: 1.0}),
        trained("muon-4k", {40: 9.0}, 0.02),
    )
    times = {"adamw-4k": (1.0, 1.0), "muon-4k": (1.5, 1.5)}
    assert rows(muon_table(found("tokens", *arms, step_seconds=times))) == [
        "| 0.0 M | adamw | 0.01 of 0.01 | 2.000 | 100% | 100% | 360 |",
        "| 0.0 M | muon | 0.01 of 0.01, 0.02 | 1.000 | 50% | 75% | 360 |",
    ]


def test_clip_shows_the_largest_logits_and_what_diverged():
    gone = trained("without", {20: 2.0}, 0.02)
    gone = replace(gone, run=replace(gone.run, diverged_at=21))
    made = found("logits", gone, trained("without", {40: 2.0}), logged={"without": LOG})
    assert rows(clip_table(made)) == [
        "| 0.01 | without | 0 | 9,000 | 5 | 60 | 2.000 |",
        "| 0.02 | without | 0 | 9,000 | 5 | 60 | diverged at step 21 |",
    ]


def test_balance_shows_waiting_and_losses():
    seeds = [trained("none", {40: loss}, seed=seed) for seed, loss in enumerate((2.0, 2.5))]
    assert rows(balance_table(found("balance", *seeds, logged={"none": LOG}))) == [
        "| none | 2.250 (2.000..2.500) | 0.50 | 1.5 | 25% | 75% | 2 |"
    ]


def test_sparsity_shows_experts_and_parameters():
    arms = trained("dense", {40: 2.0}), trained("2-of-16", {40: 1.5}, total=87_000)
    made = found("sparsity", *arms, experts={"2-of-16": Experts(n=16, top_k=2)})
    assert rows(sparsity_table(made)) == [
        "| dense | – | 25,000 | 25,000 | 2.000 | – | 1 |",
        "| 16 | 2 | 25,000 | 87,000 | 1.500 | – | 1 |",
    ]
