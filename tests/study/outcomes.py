"""Outcomes of trainings that nobody ran."""

from dataclasses import replace

from lab_utils.bench.results import Point, Run
from lab_utils.study.trial import Outcome
from nanokimi.abilities.knowledge import Knowledge


def made_up(
    arm: str, lr: float, loss: float, known: float = 0.5, facts: tuple[float, ...] = (1.0,), **more
) -> Outcome:
    """An outcome whose loss on facts is `facts`, evaluated after 90 tokens each."""
    roles = [
        {"fact": {"nats_per_token": nats, "bits_per_byte": 1.0, "floor_bits_per_byte": 0.0}} for nats in facts
    ]
    points = tuple(
        Point(
            step=9 * i, tokens=90 * i, seconds=1.0, loss=loss, perplexity=2.0, bits_per_byte=1.0,
            floor_bits_per_byte=None, by_role=by_role,
        )
        for i, by_role in enumerate(roles, start=1)
    )  # fmt: skip
    plain = {"n_characters": 800, "n_exposures": 30, "seed": 0, "body_active": 200, "body_total": 1200} | more
    name = f"{arm}-{plain['n_characters']}x{plain['n_exposures']}-lr{lr:g}"
    run = Run(
        arm=name, seed=0, n_steps=9, points=points, train_seconds=1.0, wall_seconds=1.0, peak_memory=None,
        start_memory=None, batch_digest="", tries=("a <fast> one, 2 cores",),
    )  # fmt: skip
    found = Knowledge(n_facts=100, known=known, probability=known / 2, bits=300.0, all_bits=500.0)
    return Outcome(arm=arm, lr=lr, run=run, **{"seen": found, "held_out": replace(found, known=0.25)} | plain)
