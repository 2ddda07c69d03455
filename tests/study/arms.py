"""Trainings of arms that nobody ran."""

from lab_utils.study.arms_found import ArmsFound, name_of
from lab_utils.study.logged import Logged
from lab_utils.study.trainings import Trained
from tests.bench.made_up_results import run

QUIET = Logged(steps=(20, 40), largest_logit=None, max_vio=(), waiting={}, dead=0.0)


def trained(
    arm: str, losses: dict[int, float], lr: float = 0.01, seed: int = 0, total: int = 25_000
) -> Trained:
    """A training with these losses by step, complete at step 40."""
    made = run(f"{arm}-lr{lr:g}", seed, losses)
    return Trained(arm=arm, lr=lr, cache_per_token=48, body_active=25_000, body_total=total, run=made)


def found(question: str, *all_of: Trained, logged: dict | None = None, **more) -> ArmsFound:
    """What a study of these trainings found. logged: by arm; other logs are quiet."""
    logs = {name_of(each): (logged or {}).get(each.arm, QUIET) for each in all_of}
    plain = {"experts": {}, "step_seconds": {}, "lost": {}, "environment": {}}
    return ArmsFound(question=question, trained=all_of, logged=logs, **plain | more)
