"""The observatory's pictures: routing facts in, snapshots with alternative text out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab_utils.machine.front_end import is_live
from lab_utils.observatory import clinic_plots
from lab_utils.observatory import plots as routing_plots
from lab_utils.observatory.cache_meter import CacheCurve
from lab_utils.observatory.clinic import ClinicTrace
from lab_utils.observatory.counts import (
    LayerChange,
    Lift,
    count_pairs,
    count_paths,
    find_busiest_paths,
    measure_pair_lift,
)
from lab_utils.observatory.lesions import ALL, LesionRow
from lab_utils.observatory.look import LayerRouting, Routing
from lab_utils.observatory.plotly import clinic_plotly, paths_plotly, strip_plotly
from lab_utils.observatory.token_strip import TokenFacts, make_visible
from lab_utils.show.snapshot import Snapshot


def strip_picture(facts: Sequence[TokenFacts], layer: int) -> Snapshot:
    shown = ", ".join(f"{make_visible(f.text)} {f.experts[0]}" for f in facts[:40])
    alt = f"The prompt's tokens with the number of each one's first expert in layer {layer}: {shown}"
    alt += "." if len(facts) <= 40 else f", and {len(facts) - 40} more."
    return Snapshot(routing_plots.draw_strip(facts, layer), alt, strip_plotly(facts, layer), is_live())


def lift_picture(
    lift: Lift, what: str, layer: int, sort_by: str | None = None, most: int | None = None
) -> Snapshot:
    """All experts, or only the `most` most specialised ones."""
    n_experts = len(lift.counts)
    kept = lift.specialists(most or n_experts)
    order = [expert for expert in lift.order(sort_by) if expert in kept]
    values = np.where(lift.expected >= routing_plots.FEW, np.nan_to_num(lift.lift), 0.0)
    expert, best = np.unravel_index(values.argmax(), values.shape)
    who = (
        f"the {len(kept)} most specialised of {n_experts} experts" if len(kept) < n_experts else "all experts"
    )
    title = f"Layer {layer}, {who}, by {what}\n1.00 = chance; the class tells {lift.bits:.2f} bits about the expert"
    alt = (
        f"Heat map of {who} by {what} in layer {layer}, lift over chance with counts. The highest lift is "
        f"{values[expert, best]:.2f}: expert {expert} on {lift.classes[best]}."
    )
    return Snapshot(routing_plots.draw_lift(lift, title, order), alt)


def paths_picture(routing: Routing) -> Snapshot:
    counts = count_paths(routing)
    layers = [layer.layer for layer in routing.layers]
    busiest = "; ".join(
        f"{' to '.join(map(str, path))} with {n / len(routing.tokens):.1%}"
        for path, n in find_busiest_paths(routing, 3)
    )
    alt = f"Bands between the experts of layers {', '.join(map(str, layers))}. Busiest paths: {busiest}."
    return Snapshot(routing_plots.draw_paths(counts, layers), alt, paths_plotly(counts, layers), is_live())


def pairs_picture(layer: LayerRouting) -> Snapshot:
    if layer.experts.shape[1] < 2:
        raise ValueError("there are no pairs: this model sends every token to one expert (top_k=1)")
    lift = measure_pair_lift(count_pairs(layer))
    i, j = np.unravel_index(np.nanargmax(lift), lift.shape)
    alt = (
        f"Heat map of pairs of experts in layer {layer.layer}, chosen together against chance (1.0). "
        f"The strongest pair is {min(i, j)} and {max(i, j)}, {lift[i, j]:.1f} times chance."
    )
    return Snapshot(routing_plots.draw_pairs(lift, layer.layer), alt)


def change_picture(changes: Sequence[LayerChange], layer: int) -> Snapshot:
    if layer not in [change.layer for change in changes]:
        raise ValueError(f"layer {layer} has no router; known: {', '.join(str(c.layer) for c in changes)}")
    parts = [
        f"layer {c.layer}: {c.moved:.0%} of tokens have another first expert, {c.kept:.0%} of their experts stayed "
        f"({c.kept_by_chance:.0%} by chance)"
        for c in changes
    ]
    return Snapshot(routing_plots.draw_change(changes, layer), f"Change of routing. {'; '.join(parts)}.")


def lesion_picture(rows: Sequence[LesionRow]) -> Snapshot:
    worst = max(rows, key=lambda row: row.cost[ALL])
    alt = (
        "Heat maps of layers by experts, one for each role: loss added by switching the expert off. The highest "
        f"cost is that of expert {worst.expert} of layer {worst.layer}: {worst.cost[ALL]:+.3f} nats per token over all "
        "tokens."
    )
    return Snapshot(routing_plots.draw_lesions(rows), alt)


def clinic_picture(trace: ClinicTrace) -> Snapshot:
    """The whole run as a picture; in JupyterLab, one step at a time, chosen by a slider."""
    ends = "; ".join(f"{course.name} {course.frames[-1].max_vio:.2f}" for course in trace.courses)
    alt = f"Eight heat maps of expert load over the steps. MaxVio at the end: {ends}."
    return Snapshot(clinic_plots.draw_clinic(trace), alt, clinic_plotly(trace), is_live())


def moment_picture(trace: ClinicTrace, at: int) -> Snapshot:
    """All eight routers after one step."""
    step = trace.courses[0].frames[at].step
    alt = f"Heat map of eight routers by experts at step {step}: share of the choices. {write_alarms(trace, at)}"
    return Snapshot(clinic_plots.draw_clinic_step(trace, at), alt)


def write_alarms(trace: ClinicTrace, at: int) -> str:
    """The alarms of all eight routers at one moment: a sentence per router that has any."""
    found = [f"{c.name}: {'; '.join(c.frames[at].alarms())}." for c in trace.courses if c.frames[at].alarms()]
    return "Alarms: " + " ".join(found) if found else "No alarm."


def vital_signs_picture(trace: ClinicTrace) -> Snapshot:
    ends = "; ".join(
        f"{course.name}: {course.frames[-1].effective:.1f} experts in use" for course in trace.courses
    )
    alt = f"MaxVio over the steps, a panel for softmax and one for sigmoid, a line per method. At the end, {ends}."
    return Snapshot(clinic_plots.draw_vital_signs(trace), alt)


def cache_picture(curves: Sequence[CacheCurve]) -> Snapshot:
    ends = ", ".join(f"{c.name} {c.measured[-1]:,} bytes (formula {c.formula[-1]:,})" for c in curves)
    return Snapshot(
        clinic_plots.draw_cache(curves),
        f"Bytes of the cache over tokens. After {curves[0].n_tokens[-1]}: {ends}.",
    )
