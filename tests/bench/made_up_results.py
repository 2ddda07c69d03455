"""Results with numbers that can be computed by hand, for the tests of compare, verdicts, plots and report."""

from lab_utils.bench.results import ArmFacts, Point, Results, Run

STEP_SECONDS = {"gpt": 1.0, "kimi": 2.0}


def point(step: int, loss: float, by_role: dict | None = None) -> Point:
    """100 tokens per step; bits per byte are half the loss, the floor is 0.25."""
    return Point(
        step=step,
        tokens=100 * step,
        seconds=9.0 * step,  # wrong on purpose: nothing may be computed from the clock
        loss=loss,
        perplexity=10 * loss,
        bits_per_byte=loss / 2,
        floor_bits_per_byte=0.25,
        by_role=by_role,
    )


def run(arm: str, seed: int, losses: dict[int, float], n_steps: int = 40, **changes) -> Run:
    """`losses`: step -> validation loss."""
    facts = dict(
        arm=arm,
        seed=seed,
        n_steps=n_steps,
        points=tuple(point(step, loss) for step, loss in losses.items()),
        train_seconds=9.0 * n_steps,
        wall_seconds=10.0 * n_steps,
        peak_memory=600 * 10**6,
        start_memory=400 * 10**6,
        batch_digest=f"digest of seed {seed}",
    )
    return Run(**facts | changes)


def arm(name: str, step_seconds: tuple[float, ...] | None = None, **changes) -> ArmFacts:
    facts = dict(
        name=name,
        model={"kind": "gpt" if name.startswith("gpt") else "kimi", "first_k_dense_replace": 1},
        train={
            "steps": 40,
            "batch_size": 5,
            "seq_len": 10,
            "grad_accum": 2,
            "qk_clip_tau": 100.0 if name == "kimi" else None,
            "optim": {"optimizer": "adamw", "lr": 0.003},
        },
        total=2000,
        active=1500,
        body_total=1800,
        body_active=1000,
        flops_per_token=6000.0,
        cache_per_token=64.0,
        step_seconds=(STEP_SECONDS.get(name, 1.5),) * 4 if step_seconds is None else step_seconds,
    )
    return ArmFacts(**facts | changes)


def results(runs: list[Run], arms: list[ArmFacts] | None = None, seeds: int = 3) -> Results:
    arms = arms if arms is not None else [arm("gpt"), arm("kimi")]
    return Results(
        profile="smoke",
        seeds=tuple(range(seeds)),
        arms={each.name: each for each in arms},
        runs=tuple(runs),
        corpus={"source": "made-up", "train_tokens": 100_000, "n_vocab": 512},
        environment={
            "created": "2026-01-01T00:00:00+00:00",
            "machine": {
                "device": "CPU",
                "cpu": "abacus",
                "cores": 2,
                "threads": 2,
                "memory_bytes": None,
                "system": "none",
            },
        },
        wall_seconds=1.0,
    )


def three_seeds(
    kimi: tuple[float, ...] = (3.0, 3.1, 3.2), gpt: tuple[float, ...] = (4.0, 4.1, 4.2)
) -> Results:
    """Both arms with three seeds; losses 6.0 at step 20 and the given ones at step 40."""
    return results(
        [run("gpt", seed, {20: 6.0, 40: loss}) for seed, loss in enumerate(gpt)]
        + [run("kimi", seed, {20: 6.0, 40: loss}) for seed, loss in enumerate(kimi)]
    )
