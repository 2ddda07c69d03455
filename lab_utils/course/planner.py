"""Plan a model: from the sizes of a Kimi to what it stores, uses, computes and caches. For notebook 06."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from lab_utils.machine.front_end import is_live
from lab_utils.show.table import Table, count, memory
from nanokimi.config import KimiConfig
from nanokimi.count import cache_elements, count_parameters, flops_per_token

# Slider: what it says, its values, and how the configuration takes the value up.
SLIDERS: tuple[tuple[str, tuple[int, ...], Callable[[KimiConfig, int], KimiConfig]], ...] = (
    ("channels (d_model)", (64, 128, 256, 512, 1024, 2048, 4096, 7168), lambda c, v: replace(c, d_model=v)),
    ("layers", (2, 4, 8, 16, 32, 61), lambda c, v: replace(c, n_layers=v)),
    ("experts a layer", (4, 8, 16, 32, 64, 128, 256, 384), lambda c, v: _moe(c, n_routed_experts=v)),
    ("chosen for a token", (1, 2, 4, 6, 8), lambda c, v: _moe(c, top_k=v)),
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
    """What follows from a configuration. Bytes are those of 16-bit numbers."""

    total: int
    active: int
    flops_per_token: float
    cache_per_token: int  # numbers
    weight_bytes: int
    cache_bytes: int  # of one full context


def sizes(cfg: KimiConfig) -> Sizes:
    """The numbers for one configuration, counted on the meta device."""
    parameters = count_parameters(cfg)
    return Sizes(
        total=parameters.total,
        active=parameters.active,
        flops_per_token=flops_per_token(cfg, cfg.max_seq_len),
        cache_per_token=cache_elements(cfg, 1),
        weight_bytes=2 * parameters.total,
        cache_bytes=2 * cache_elements(cfg, cfg.max_seq_len),
    )


def size_table(models: dict[str, KimiConfig]) -> Table:
    """A row a model."""
    heads = [
        "",
        "parameters",
        "active",
        "operations\na token",
        "cache\nnumbers a token",
        "weights\n16 bit",
        "cache of one\nfull context",
    ]
    rows = []
    for name, cfg in models.items():
        s = sizes(cfg)
        counted = map(count, (s.total, s.active, s.flops_per_token))
        rows.append([name, *counted, f"{s.cache_per_token:,}", memory(s.weight_bytes), memory(s.cache_bytes)])
    return Table.of(heads, rows)


def planned(cfg: KimiConfig, values: dict[str, int]) -> KimiConfig:
    """The configuration with the sliders' values; `ValueError` with a sentence where they do not go together."""
    for label, _, change in SLIDERS:
        cfg = change(cfg, values[label])
    return cfg


def planner(cfg: KimiConfig, name: str = "your model") -> Any:
    """Sliders with the table under them; without a front end the table of `cfg` alone."""
    if not is_live():
        return size_table({name: cfg})
    import ipywidgets

    # Only a live notebook has a use for widgets, and importing them takes its time.
    layout, style = {"width": "34em"}, {"description_width": "12em"}
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
            options=values,
            value=min(values, key=lambda v, at=at: abs(v - at)),
            description=label,
            layout=layout,
            style=style,
            continuous_update=False,
        )
        for (label, values, _), at in zip(SLIDERS, start, strict=True)
    }
    shown = ipywidgets.HTML()

    def update(_: Any = None) -> None:
        try:
            chosen = planned(cfg, {label: slider.value for label, slider in sliders.items()})
            shown.value = size_table({name: chosen})._repr_html_()
        except ValueError as error:
            shown.value = f"<p>These sizes do not go together: {escape(_sentence(error))}</p>"

    for slider in sliders.values():
        slider.observe(update, names="value")
    update()
    return ipywidgets.VBox([*sliders.values(), shown])


def _sentence(error: ValueError) -> str:
    """pydantic says it in several lines; the one that names the value is enough."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((line for line in lines if line.startswith("Value error, ")), lines[0])
    return said.removeprefix("Value error, ").partition(" [type=")[0]
