"""The pictures of a benchmark, with alternative text, for notebook 08 and the report.

A picture is None where the run has no data for it: only the storyworld has roles, and only models with experts
have a router.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab_utils.bench import curves, plots
from lab_utils.bench.results import Results
from lab_utils.show.note import Sentence
from lab_utils.show.snapshot import Snapshot

SMOOTH_STEPS = 10


def loss_picture(results: Results) -> Snapshot | None:
    found = curves.bits_curves(results)
    if not found:
        return None
    floor = curves.floor(results)
    ends = ", ".join(f"{curve.arm} {curve.mean[-1]:.3f}" for curve in found)
    alt = (
        "Two line charts of validation loss in bits per byte, over tokens and over seconds of training. "
        f"At the end: {ends}."
    )
    if floor is not None:
        alt += f" The floor of the text is {floor:.3f}."
    return Snapshot(plots.draw_loss(found, floor), alt)


def role_picture(results: Results) -> Snapshot | None:
    roles = curves.role_curves(results)
    if not roles:
        return None
    parts = []
    for role in roles:
        ends = ", ".join(f"{curve.arm} {curve.mean[-1]:.2f}" for curve in role.curves)
        parts.append(f"{role.role}: {ends}, floor {role.floor:.2f}")
    alt = (
        f"Line charts of bits per byte over tokens, one per role of a token. At the end: {'; '.join(parts)}."
    )
    return Snapshot(plots.draw_roles(roles), alt)


def router_picture(results: Results, out_dir: Path) -> Snapshot | None:
    steps = curves.first_seed_steps(results, out_dir)
    loads = {arm: curves.load_at_end(records) for arm, records in steps.items() if records[-1]["expert_load"]}
    if not loads:
        return None
    parts = []
    for arm, load in loads.items():
        flat = [value for layer in load for value in layer]
        parts.append(f"{arm} from {min(flat):.2f} to {max(flat):.2f}")
    alt = (
        "Heat maps of layers by experts: every expert's share of tokens at the end of training; 1.0 is even. "
        f"Range: {'; '.join(parts)}."
    )
    first_layer = min(results.arms[arm].model.get("first_k_dense_replace", 0) for arm in loads)
    return Snapshot(plots.draw_router(loads, first_layer), alt)


def balance_picture(results: Results, out_dir: Path) -> Snapshot | None:
    steps = curves.first_seed_steps(results, out_dir)
    series = {arm: curves.max_vio(records) for arm, records in steps.items()}
    series = {arm: curves.smooth(values, SMOOTH_STEPS) for arm, values in series.items() if values}
    if not series:
        return None
    alt = (
        f"Line chart of MaxVio, the router's imbalance, over the steps (mean of {SMOOTH_STEPS} steps). "
        + _from_to(series)
    )
    return Snapshot(plots.draw_max_vio(series), alt)


def logit_picture(results: Results, out_dir: Path) -> Snapshot | None:
    steps = curves.first_seed_steps(results, out_dir)
    series = {arm: curves.largest_logit(records) for arm, records in steps.items()}
    series = {arm: values for arm, values in series.items() if values}
    if not series:
        return None
    tau = min(results.arms[arm].train.get("qk_clip_tau") or math.inf for arm in series)
    # A threshold far above the curve would flatten it, so its line is drawn only when it matters.
    near = max(max(values) for values in series.values()) > tau / 4
    acts = f" QK-clip acts above {tau:g}." if math.isfinite(tau) else ""
    alt = f"Line chart of the largest attention logit over the steps. {_from_to(series)}{acts}"
    return Snapshot(plots.draw_logits(series, tau if near else None), alt)


def _from_to(series: Mapping[str, Sequence[float]]) -> str:
    parts = [f"{arm} starts at {values[0]:.2f}, ends at {values[-1]:.2f}" for arm, values in series.items()]
    return "; ".join(parts) + "."


def all_pictures(results: Results, out_dir: Path) -> dict[str, Snapshot]:
    """Every picture that the run has data for, by name, in the report's order."""
    found = {
        "loss": loss_picture(results),
        "roles": role_picture(results),
        "router": router_picture(results, out_dir),
        "balance": balance_picture(results, out_dir),
        "logits": logit_picture(results, out_dir),
    }
    return {name: picture for name, picture in found.items() if picture is not None}


def explain_absence(results: Results, of: str = "") -> Sentence:
    """Why a picture or a table of these results is not there. of: roles, router; empty: what every training has."""
    taken = any(run.points or run.train_seconds for run in results.runs)
    if of == "router":
        has_router = any(facts.model.get("moe") for facts in results.arms.values())
        why = (
            "no step of a model with experts was taken"
            if has_router
            else "no model with experts is among the arms"
        )
    elif not any(run.complete for run in results.runs):
        why = "no training came to its end" if taken else "no step was taken"
    else:
        why = f"nobody knows the {of} of this text's tokens; those of the storyworld are known"
    return Sentence(f"Nothing to show here: {why}.")
