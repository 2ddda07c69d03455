"""Every function of the lab that draws a figure, with numbers to draw: their names, and a figure of each."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lab_utils.bench import curves
from lab_utils.bench import plots as bench
from lab_utils.bench.recorded import record_path
from lab_utils.course.chapters.ch00_start import figures as ch00
from lab_utils.course.chapters.ch01_text import figures as ch01
from lab_utils.course.chapters.ch02_attention import figures as ch02
from lab_utils.course.chapters.ch03_experts import figures as ch03
from lab_utils.course.chapters.ch04_routing import figures as ch04
from lab_utils.course.chapters.ch05_latent import figures as ch05
from lab_utils.course.chapters.ch06_model import figures as ch06
from lab_utils.course.chapters.ch07_muon import figures as ch07
from lab_utils.course.chapters.ch10_sampling import figures as ch10
from lab_utils.course.chapters.ch11_machines import figures as ch11
from lab_utils.inspector.causality import draw_reach
from lab_utils.live.data import collect_panel_data
from lab_utils.live.picture import draw_panel
from lab_utils.observatory import clinic_plots
from lab_utils.observatory import plots as observatory
from lab_utils.observatory.cache_meter import CacheCurve
from lab_utils.observatory.clinic import read_trace
from lab_utils.observatory.counts import LayerChange, Lift
from lab_utils.observatory.lesions import ALL, LesionRow
from lab_utils.observatory.token_strip import TokenFacts
from lab_utils.study.pictures import facts_picture
from lab_utils.study.record import read_study
from tests.bench.made_up_results import three_seeds
from tests.live.made_up_runs import both

LAB = Path(__file__).parents[2] / "lab_utils"
ROLES = ("grammar", "choice", "fact", "copy")
WORDS = ("the", "cat", "sat", "down")
FALLING = [2.0, 1.0, 0.5, 0.25, 0.125]
STEPS = [1, 2, 4, 8, 16]
_rng = np.random.default_rng(0)
_shares = [torch.from_numpy(_rng.dirichlet(np.ones(8)) * 8) for _ in range(20)]
_lower = torch.tril(torch.rand(4, 4, generator=torch.Generator().manual_seed(0))) + torch.eye(4)


def _facts() -> list[TokenFacts]:
    return [TokenFacts(f"word{e}", (e, 0), (0.7, 0.3), 1, 0.1) for e in range(16)]


def _lesions() -> list[LesionRow]:
    cost = _rng.normal(0.0, 0.02, (3, 16, 5))
    return [LesionRow(i + 1, e, dict(zip((ALL, *ROLES), cost[i, e]))) for i, e in np.ndindex(3, 16)]


def _change() -> LayerChange:
    return LayerChange(1, 0.9, 0.2, 0.1, _rng.integers(0, 50, (16, 16)))


def _paths() -> list[np.ndarray]:
    return [np.diag(_rng.integers(20, 60, 16)) for _ in range(2)]


# By the module and the function, as `names_of_figures` gives them.
FIGURES: dict[str, Callable[[], Figure]] = {
    "ch00_start.draw_first_minute": lambda: ch00.draw_first_minute(STEPS, FALLING, 16, 0.1),
    "ch01_text.draw_roles": lambda: ch01.draw_roles({"all": dict.fromkeys(ROLES, 0.25)}),
    "ch01_text.draw_merges": lambda: ch01.draw_merges(STEPS, FALLING),
    "ch02_attention.draw_weights": lambda: ch02.draw_weights({"a head": _lower / 2}, WORDS, "weights"),
    "ch02_attention.draw_stripe": lambda: ch02.draw_stripe({"a head": _lower / 2}, [5, 6, 5, 6], "a stripe"),
    "ch02_attention.draw_measurements": lambda: ch02.draw_measurements(
        STEPS, {"first": FALLING, "second": FALLING[::-1]}, title="t", x_label="x", y_label="y"
    ),
    "ch02_attention.draw_rotation": lambda: ch02.draw_rotation(torch.tensor([1.0, 0.1]), (0, 1, 2)),
    "ch03_experts.draw_activations": ch03.draw_activations,
    "ch03_experts.draw_gating": ch03.draw_gating,
    "ch03_experts.draw_runs": lambda: ch03.draw_runs([0, 3, 1, 2, 0, 1], 4),
    "ch03_experts.draw_fits": lambda: ch03.draw_fits(("a", "b"), [torch.rand(5), torch.rand(5)]),
    "ch04_routing.draw_choice": lambda: ch04.draw_choice(torch.rand(8), torch.full((8,), 0.1), 2),
    "ch04_routing.draw_loads": lambda: ch04.draw_loads({"none": _shares, "bias": _shares[::-1]}, 5),
    "ch04_routing.draw_violations": lambda: ch04.draw_violations({"none": FALLING, "bias": FALLING[::-1]}),
    "ch04_routing.draw_lesson": lambda: ch04.draw_lesson(STEPS, {"dense": FALLING, "experts": FALLING[::-1]}),
    "ch04_routing.draw_dispatch_times": lambda: ch04.draw_dispatch_times(STEPS, FALLING, FALLING),
    "ch05_latent.draw_cache_sizes": lambda: ch05.draw_cache_sizes({"MHA": 1024, "MLA": 320}),
    "ch05_latent.draw_rank_errors": lambda: ch05.draw_rank_errors({"a": FALLING, "b": FALLING[::-1]}),
    "ch05_latent.draw_logits_over_distance": lambda: ch05.draw_logits_over_distance(
        torch.sin(torch.arange(30.0)), torch.ones(30)
    ),
    "ch05_latent.draw_noise_losses": lambda: ch05.draw_noise_losses({"a": FALLING, "b": FALLING[::-1]}, 0.2),
    "ch05_latent.draw_visibility": lambda: ch05.draw_visibility(torch.ones(8, 12).tril(4).bool(), 4, 2),
    "ch06_model.draw_stream": lambda: ch06.draw_stream({"a": FALLING, "b": FALLING[::-1]}),
    "ch07_muon.draw_circles": lambda: ch07.draw_circles(
        {"G": torch.tensor([[2.0, 1.0], [0.0, 0.5]]), "U·Vᵀ": torch.eye(2)}
    ),
    "ch07_muon.draw_quintic": lambda: ch07.draw_quintic(lambda x: 2 * x - x**3, lambda x: 1.5 * x, 4),
    "ch07_muon.draw_spectra": lambda: ch07.draw_spectra({"a": FALLING, "b": [1.0] * 5}, "spectra"),
    "ch07_muon.draw_memory": lambda: ch07.draw_memory({"a": FALLING, "b": FALLING[::-1]}),
    "ch07_muon.draw_schedules": lambda: ch07.draw_schedules({"a": FALLING, "b": FALLING[::-1]}),
    "ch07_muon.draw_growth": lambda: ch07.draw_growth({"a": STEPS}, {"a": FALLING}, 8.0),
    "ch10_sampling.draw_distributions": lambda: ch10.draw_distributions(
        WORDS, torch.tensor([0.4, 0.3, 0.2, 0.1]), {"top 2": torch.tensor([0.6, 0.4, 0.0, 0.0])}, "title"
    ),
    "ch10_sampling.draw_work": lambda: ch10.draw_work(STEPS, FALLING),
    "ch11_machines.draw_travel": lambda: ch11.draw_travel([[5, 3], [2, 6]]),
    "ch11_machines.draw_waiting": lambda: ch11.draw_waiting({"even": [0.02, 0.02], "not": [0.01, 0.04]}),
    "bench.draw_loss": lambda: bench.draw_loss(curves.bits_curves(three_seeds()), 0.25),
    "bench.draw_roles": lambda: bench.draw_roles(
        [
            curves.RoleCurves(role=role, floor=0.1, curves=tuple(curves.bits_curves(three_seeds())))
            for role in ROLES[:3]
        ]
    ),
    "bench.draw_router": lambda: bench.draw_router({"kimi": _rng.uniform(0, 2.5, (3, 16)).tolist()}, 1),
    "bench.draw_max_vio": lambda: bench.draw_max_vio({"kimi": FALLING, "kimi-moe": FALLING[::-1]}),
    "bench.draw_logits": lambda: bench.draw_logits({"kimi": STEPS}, 12.0),
    "live.draw_panel": lambda: draw_panel(collect_panel_data(both(), 0.5)),
    "inspector.draw_reach": lambda: draw_reach(torch.tril(_lower)),
    "observatory.draw_strip": lambda: observatory.draw_strip(_facts(), 1),
    "observatory.draw_lift": lambda: observatory.draw_lift(
        Lift(classes=WORDS, counts=_rng.integers(0, 90, (8, 4))), "title", range(8)
    ),
    "observatory.draw_paths": lambda: observatory.draw_paths(_paths(), [1, 2, 3]),
    "observatory.draw_pairs": lambda: observatory.draw_pairs(_rng.uniform(0, 4, (16, 16)), 1),
    "observatory.draw_change": lambda: observatory.draw_change([_change()], 1),
    "observatory.draw_lesions": lambda: observatory.draw_lesions(_lesions()),
    "observatory.draw_clinic": lambda: clinic_plots.draw_clinic(read_trace()),
    "observatory.draw_vital_signs": lambda: clinic_plots.draw_vital_signs(read_trace()),
    "observatory.draw_clinic_step": lambda: clinic_plots.draw_clinic_step(read_trace(), -1),
    "observatory.draw_cache": lambda: clinic_plots.draw_cache(
        [CacheCurve(name, np.array(STEPS), k * np.array(STEPS), k * np.array(STEPS))
         for name, k in (("MHA", 4), ("MLA", 2), ("BlockLatent", 1))]
    ),
    "study.facts_picture": lambda: facts_picture(read_study(record_path("study-facts")).outcomes).figure,
}  # fmt: skip


def names_of_figures() -> Iterator[str]:
    """The functions below lab_utils whose names begin with `draw_` and that return a figure."""
    for path in sorted(LAB.rglob("*.py")):
        part = path.relative_to(LAB).parts
        room = part[2] if part[:2] == ("course", "chapters") else part[0]
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            draws = isinstance(node, ast.FunctionDef) and node.name.startswith("draw_")
            if draws and node.returns is not None and ast.unparse(node.returns) == "Figure":
                yield f"{room}.{node.name}"
