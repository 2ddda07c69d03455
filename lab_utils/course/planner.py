"""The planner of notebook 06: what a Kimi of given sizes stores, computes and caches, and what a step of it costs.

The cost comes from `forecast`, for a machine that `benchmarks.scaling` has measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from lab_utils.course.forecast import MEASURED, Machine, read_measurement
from lab_utils.machine.front_end import is_live
from lab_utils.show.table import Table, count, memory
from nanokimi.config import ConfigError, KimiConfig
from nanokimi.count import cache_elements, count_parameters, flops_per_token
from nanokimi.system.checked import checked
from nanokimi.system.paths import AnyPath

TOKENS = 4096  # of the step whose cost is told, as in the profile cpu

# Per slider: its label, its values, and the change of the configuration.
SLIDERS: tuple[tuple[str, tuple[int, ...], Callable[[KimiConfig, int], KimiConfig]], ...] = (
    ("channels (d_model)", (64, 128, 256, 512, 1024, 2048, 4096, 7168), lambda c, v: replace(c, d_model=v)),
    ("layers", (2, 4, 8, 16, 32, 61), lambda c, v: replace(c, n_layers=v)),
    ("experts per layer", (4, 8, 16, 32, 64, 128, 256, 384), lambda c, v: _moe(c, n_routed_experts=v)),
    ("experts per token", (1, 2, 4, 6, 8), lambda c, v: _moe(c, top_k=v)),
    (
        "width of an expert",
        (32, 64, 128, 256, 512, 1024, 2048),
        lambda c, v: _moe(c, moe_intermediate_size=v),
    ),
    (
        "width of the latent",
        (16, 32, 64, 128, 256, 512),
        lambda c, v: replace(c, mla=replace(c.mla, kv_lora_rank=v)),
    ),
)


def _moe(cfg: KimiConfig, **changes: int) -> KimiConfig:
    return replace(cfg, moe=replace(cfg.moe, **changes))


@dataclass(frozen=True)
class Sizes:
    """What follows from a configuration. Bytes are for numbers of 16 bits."""

    total: int
    active: int
    flops_per_token: float
    cache_per_token: int  # numbers
    weight_bytes: int
    cache_bytes: int  # of one full context


def sizes(cfg: KimiConfig) -> Sizes:
    """What follows from one configuration, counted without memory for the weights."""
    parameters = count_parameters(cfg)
    return Sizes(
        total=parameters.total,
        active=parameters.active,
        flops_per_token=flops_per_token(cfg, cfg.max_seq_len),
        cache_per_token=cache_elements(cfg, 1),
        weight_bytes=2 * parameters.total,
        cache_bytes=2 * cache_elements(cfg, cfg.max_seq_len),
    )


@checked
def size_table(models: dict[str, KimiConfig], machine: Machine | None = None) -> Table:
    """A table of `sizes`, one row per model; with a machine, also the cost of a training step there."""
    heads = [
        "",
        "parameters",
        "active",
        "operations\nper token",
        "cache\nnumbers per token",
        "weights\n16 bit",
        "cache of one\nfull context",
    ]
    rows = []
    for name, cfg in models.items():
        s = sizes(cfg)
        counted = map(count, (s.total, s.active, s.flops_per_token))
        rows.append([name, *counted, f"{s.cache_per_token:,}", memory(s.weight_bytes), memory(s.cache_bytes)])
    if machine is None:
        return Table.of(heads, rows)
    heads += ["seconds\nper step", "memory\nof a step"]
    for row, cfg in zip(rows, models.values(), strict=True):
        row += _tell_cost(machine, cfg)
    caption = (
        f"A step trains {TOKENS:,} tokens, or one context where that is longer, with AdamW: a forecast from steps that "
        f"were measured on {machine.name}. Far beyond what such a machine trains in seconds it is a guess."
    )
    return Table.of(heads, rows, caption)


def _tell_cost(machine: Machine, cfg: KimiConfig) -> list[str]:
    seconds, n_bytes = machine.forecast(cfg, max(1, TOKENS // cfg.max_seq_len), cfg.max_seq_len)
    time = f"{seconds:.2f}" if seconds < 99.995 else f"{seconds:,.0f}"
    return [time, "unknown" if n_bytes is None else memory(n_bytes)]


def _find_machine(measured: AnyPath | None) -> Machine | None:
    """The machine of this record, or of the one that comes with the course, where it is there."""
    if measured is not None:
        return read_measurement(Path(measured))
    return read_measurement(MEASURED) if MEASURED.exists() else None


def apply_sliders(cfg: KimiConfig, values: dict[str, int]) -> KimiConfig:
    """The configuration with the sliders' values. Raises a `ValueError` where they do not go together."""
    for label, _, change in SLIDERS:
        cfg = change(cfg, values[label])
    return cfg


@checked
def planner(cfg: KimiConfig, name: str = "your model", measured: AnyPath | None = None) -> Any:
    """Sliders with the table of `sizes` below them; without a front end only the table of `cfg`.

    The table also forecasts a training step on a measured machine. measured: a record of that machine, which
    `python -m benchmarks.scaling` writes; None is the one whose tables docs/performance.md shows.

    Raises `ConfigError` for a model without experts or without a latent, whose sizes the sliders could not change, and
    for a file that is no such record.
    """
    if cfg.moe is None or cfg.mla is None or cfg.attention != "mla":
        raise ConfigError(
            "planner: cfg needs experts and latent attention in all layers: give it moe=MoEConfig() and mla=MLAConfig()"
        )
    machine = _find_machine(measured)
    if not is_live():
        return size_table({name: cfg}, machine)
    import ipywidgets

    from lab_utils.machine.spoken import speak
    from lab_utils.machine.widgets import as_lines, take_place

    # Only a live notebook needs widgets, and their import takes time.
    layout, style = {"width": "34em", "max_width": "100%"}, {"description_width": "12em"}
    start = (
        cfg.d_model,
        cfg.n_layers,
        cfg.moe.n_routed_experts,
        cfg.moe.top_k,
        cfg.moe.moe_intermediate_size,
        cfg.mla.kv_lora_rank,
    )
    sliders = {
        label: ipywidgets.SelectionSlider(
            options=sorted({*values, at}),
            value=at,
            description=label,
            layout=layout,
            style=style,
            continuous_update=False,
        )
        for (label, values, _), at in zip(SLIDERS, start, strict=True)
    }
    table = ipywidgets.HTML()
    # JupyterLab's own style for tables, which HTML inside a widget does not get by itself.
    table.add_class("jp-RenderedHTMLCommon")

    def update(_: Any = None) -> None:
        try:
            chosen = apply_sliders(cfg, {label: slider.value for label, slider in sliders.items()})
            table.value = as_lines(size_table({name: chosen}, machine)._repr_html_())
        except ValueError as error:
            table.value = f"<p>These sizes do not go together: {escape(str(error))}</p>"

    for slider in sliders.values():
        slider.observe(update, names="value")
    update()
    box = ipywidgets.VBox([*sliders.values(), table])
    speak(box)
    take_place(box)
    return box
