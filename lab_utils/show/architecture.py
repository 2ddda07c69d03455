"""Kimi as a drawing, made from a configuration: the whole with its shapes, and small with "you are here"."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from lab_utils.show.drawable import require_drawable
from lab_utils.show.drawing import Box, Drawing
from nanokimi.config import KimiConfig
from nanokimi.router import scaling_factor

# What a part does, the names of its weights in the code, its colour. From the input to the output.
PARTS = {
    "tokens": ("tokens", "", "plain"),
    "embedding": ("embedding", "embed_tokens", "plain"),
    "input_norm": ("RMSNorm", "input_layernorm", "plain"),
    "query": ("query", "q_proj", "attention"),
    "low_query": ("query, through a low rank", "q_a_proj, q_a_layernorm, q_b_proj", "attention"),
    "latent": ("latent c, normed", "kv_a_proj, kv_a_layernorm", "attention"),
    "rope_key": ("rope key, one for all heads", "kv_a_proj", "attention"),
    "qkv": ("query, key and value", "q_proj, k_proj, v_proj", "attention"),
    "summary": (
        "latents summarise a block",
        "latents, latent_q_proj, latent_k_proj, latent_v_proj",
        "attention",
    ),
    "rotation": ("RoPE: turn by position", "rotations", "attention"),
    "cache": ("cache, per token", "SequenceCache", "attention"),
    "block_cache": ("cache, per block", "BlockLatentCache", "attention"),
    "expand": ("keys and values of all heads", "kv_b_proj", "attention"),
    "heads": ("softmax attention, by head", "attend", "attention"),
    "output": ("heads back to the stream", "o_proj", "attention"),
    "mlp_norm": ("RMSNorm", "post_attention_layernorm", "plain"),
    "dense": ("SwiGLU of a dense layer", "gate_up_proj, down_proj", "experts"),
    "router": ("router: scores + bias", "gate, expert_bias", "router"),
    "choice": ("choose the best, weight them", "topk_route", "router"),
    "experts": ("routed experts", "experts.gate_up_proj, .down_proj", "experts"),
    "shared": ("shared expert, every token", "shared_experts", "experts"),
    "norm": ("RMSNorm", "norm", "plain"),
    "head": ("head", "lm_head", "plain"),
    "logits": ("logits", "", "plain"),
}
ATTENTION = tuple(name for name, (_, _, colour) in PARTS.items() if colour == "attention")
FFN = ("dense", "router", "choice", "experts", "shared")


def describe(cfg: KimiConfig) -> dict[str, str]:
    """The parts that a model of this configuration has, in the order of `PARTS`, each with its numbers."""
    require_drawable(cfg)
    d, width = f"{cfg.d_model:,}", f"{cfg.d_model:,} wide"
    found = {
        "tokens": f"up to {cfg.max_seq_len:,}",
        "embedding": f"{cfg.vocab_size:,} × {d}",
        "input_norm": width,
        **_attention(cfg),
        "output": f"{d} → {d}" if cfg.mla is None else f"{cfg.n_heads} · {cfg.mla.v_head_dim} → {d}",
        "mlp_norm": width,
        **_ffn(cfg),
        "norm": width,
        "head": f"{d} → {cfg.vocab_size:,}",
        "logits": f"{cfg.vocab_size:,} per token",
    }
    yarn = cfg.rope.yarn
    found["rotation"] = f"base {cfg.rope.base:,.0f}" + (f", YaRN × {yarn.factor:g}" if yarn else "")
    return {name: found[name] for name in PARTS if name in found}


def _attention(cfg: KimiConfig) -> dict[str, str]:
    d, heads = f"{cfg.d_model:,}", cfg.n_heads
    if cfg.mla is None:
        found = {"qkv": f"{d} → 3 · {d}", "heads": f"{heads} heads, {cfg.d_model // heads} wide"}
        if cfg.block_latent is None:
            return found | {"cache": f"2 · {d}"}
        m, b = cfg.block_latent.n_latents, cfg.block_latent.block_len
        return found | {"summary": f"{m} for {b} tokens", "block_cache": f"{m} · 2 · {d}, open token 3 · {d}"}
    mla = cfg.mla
    nope, rope, v = mla.qk_nope_head_dim, mla.qk_rope_head_dim, mla.v_head_dim
    queries = f"{heads} · ({nope} + {rope})"
    low = mla.q_lora_rank
    return {
        **({"query": f"{d} → {queries}"} if low is None else {"low_query": f"{d} → {low:,} → {queries}"}),
        "latent": f"{d} → {mla.kv_lora_rank}",
        "rope_key": f"{d} → {rope}",
        "cache": f"{mla.kv_lora_rank} + {rope} = {mla.kv_lora_rank + rope}",
        "expand": f"{mla.kv_lora_rank} → {heads} · ({nope} + {v})",
        "heads": f"{heads} heads, {nope + rope} and {v} wide",
    }


def _ffn(cfg: KimiConfig) -> dict[str, str]:
    d, moe = f"{cfg.d_model:,}", cfg.moe
    found = {}
    if cfg.is_dense(0):
        found["dense"] = f"{d} → {cfg.intermediate_size:,} → {d}"
    if moe is not None and not cfg.is_dense(cfg.n_layers - 1):
        expert = f"{d} → {moe.moe_intermediate_size:,} → {d}"
        groups = f", from {moe.topk_group} of {moe.n_group} groups" if moe.n_group > 1 else ""
        found["router"] = f"{d} → {moe.n_routed_experts}, {moe.scoring}"
        found["choice"] = f"{moe.top_k} of {moe.n_routed_experts}, × {scaling_factor(moe):.3f}{groups}"
        found["experts"] = f"{moe.n_routed_experts} · ({expert})"
        if moe.n_shared_experts:
            found["shared"] = f"{moe.n_shared_experts} · ({expert})"
    return found


def count_layers(cfg: KimiConfig) -> str:
    """How many layers are dense and how many have experts."""
    dense = sum(cfg.is_dense(layer) for layer in range(cfg.n_layers))
    counts = ((dense, "dense"), (cfg.n_layers - dense, "with experts"))
    return ", ".join(f"{n} {what}" for n, what in counts if n)


# ---------------------------------------------------------------- the whole

BOX_X, BOX_WIDTH, BOX_HEIGHT, GAP = 104, 250, 38, 15
STREAM, QUERY, LATENT, FEED = 40, 68, 86, BOX_X + BOX_WIDTH + 14  # where the long lines run
COLUMNS = ((388, 180, "small"), (580, 206, "second"))  # of both models' numbers: x, room, look
WIDTH = 800


def draw_whole(models: Mapping[str, KimiConfig]) -> Drawing:
    """The architecture from tokens to logits, with the shapes of one or two models (their names are the keys)."""
    told = {name: describe(cfg) for name, cfg in models.items()}
    layers = {name: count_layers(cfg) for name, cfg in models.items()}
    parts = [part for part in PARTS if any(part in numbers for numbers in told.values())]
    tops, height = {}, 40
    for part in parts:
        height += {"input_norm": 34, "norm": 20}.get(part, 0)  # the heading of a layer, and its end
        tops[part] = height
        height += BOX_HEIGHT + GAP
    said = []
    for part in parts:
        numbers = (f"{told[name][part]} ({name})" for name in models if part in told[name])
        said.append(f"{PARTS[part][0]}: {', '.join(numbers)}")
    alt = f"Kimi from tokens to logits. {'; '.join(said)}"
    alt += f". Layers: {', '.join(f'{counts} ({name})' for name, counts in layers.items())}."
    sheet = Drawing(WIDTH, height, alt)
    first, last = tops["input_norm"] - 36, tops["norm"] - 18
    sheet.frame(14, first, WIDTH - 28, last - first)
    sheet.note(BOX_X, first + 20, "each layer", "title")
    boxes = {}
    for part in parts:
        title, code, fill = PARTS[part]
        lines = [("title", title)] + ([("quiet", code)] if code else [])
        boxes[part] = sheet.box(BOX_X, tops[part], BOX_WIDTH, BOX_HEIGHT, lines, fill=fill)
    for (x, room, look), name in zip(COLUMNS, models):
        sheet.note(x, 24, name, f"{look}-title", room=room)
        sheet.note(x, first + 20, layers[name], look, room=room)
        for part in parts:
            sheet.note(x, tops[part] + BOX_HEIGHT / 2 + 4, told[name].get(part, "–"), look, room=room)
    _wire(sheet, boxes)
    return sheet


def _wire(sheet: Drawing, boxes: dict[str, Box]) -> None:
    """The arrows. The stream runs down at the left; each half of a layer reads it, and adds to it."""
    start, end = boxes["embedding"].left, boxes["norm"].left
    sheet.arrow(start, (STREAM, start[1]), (STREAM, end[1]), end, ink="ink")
    for name in ("input_norm", "mlp_norm"):
        sheet.arrow((STREAM, boxes[name].left[1]), boxes[name].left, ink="ink")
    for above, below in (("tokens", "embedding"), ("norm", "head"), ("head", "logits")):
        sheet.arrow(boxes[above].bottom, boxes[below].top)

    inside = [part for part in ATTENTION if part in boxes]
    if "latent" in boxes:
        _feed(
            sheet,
            boxes,
            "input_norm",
            [p for p in inside if p in ("query", "low_query", "latent", "rope_key")],
        )
        _chain(sheet, boxes, inside[inside.index("rope_key") :])
        _around(sheet, boxes["latent"], boxes["cache"], LATENT, "line")
        for query in (p for p in inside if p in ("query", "low_query")):
            for reader in ("rotation", "heads"):
                _around(sheet, boxes[query], boxes[reader], QUERY, "second")
    else:
        _chain(sheet, boxes, ["input_norm", *inside])
    _add(sheet, boxes["output"].left)

    makers = [part for part in ("dense", "experts", "shared") if part in boxes]
    _feed(sheet, boxes, "mlp_norm", [part for part in FFN if part in boxes and part != "choice"])
    _chain(sheet, boxes, [part for part in ("router", "choice", "experts") if part in boxes])
    last = boxes[makers[-1]].left
    for maker in makers[:-1]:
        sheet.arrow(boxes[maker].left, (LATENT, boxes[maker].left[1]), (LATENT, last[1]), head=False)
    _add(sheet, last)


def _chain(sheet: Drawing, boxes: dict[str, Box], names: list[str]) -> None:
    for above, below in pairwise(names):
        sheet.arrow(boxes[above].bottom, boxes[below].top)


def _feed(sheet: Drawing, boxes: dict[str, Box], giver: str, readers: list[str]) -> None:
    """Lines at the right from one box into several below it."""
    start = boxes[giver].right
    for reader in readers:
        end = boxes[reader].right
        sheet.arrow(start, (FEED, start[1]), (FEED, end[1]), end)


def _around(sheet: Drawing, giver: Box, reader: Box, x: float, ink: str) -> None:
    """A line at the left from one box into another, past those between them."""
    sheet.arrow(giver.left, (x, giver.left[1]), (x, reader.left[1]), reader.left, ink=ink)


def _add(sheet: Drawing, start: tuple[float, float]) -> None:
    """What a half of the layer has made goes into the stream."""
    plus = sheet.plus(STREAM, start[1])
    sheet.arrow(start, plus.right)


# ---------------------------------------------------------------- small: you are here

SMALL_TOP, SMALL_HEIGHT, SMALL_GAP = 60, 54, 11
# What stands in the row, with the number of the notebook that builds it. "+" adds to the stream.
ROW = (
    ("tokens", 54, "01"), ("embedding", 80, "06"), ("norm 1", 46, "02"), ("latents", 72, "05"), ("attention", 76, "02"),
    ("+ 1", 16, ""), ("norm 2", 46, "02"), ("router", 68, "04"), ("experts", 72, "03"), ("+ 2", 16, ""),
    ("norm 3", 46, "02"), ("head", 46, "06"),
)  # fmt: skip
OPTIMIZER = "MuonClip: Muon changes the matrices, AdamW the rest, QK-clip holds the logits"
FILLS = {"latents": "attention", "attention": "attention", "router": "router", "experts": "experts"}


def architecture(cfg: KimiConfig, here: str = "") -> Drawing:
    """The model in one row, with the notebook that builds each part. `here` marks the part that this notebook is about.

    `here` is one of the parts that the model has, "model" or "optimizer". Raises ValueError for another.
    """
    told = _in_a_row(cfg)
    known = [name for name in (*told, "model", "optimizer") if not name.startswith("norm")]
    if here not in ("", *known):
        raise ValueError(f"architecture: here={here!r} is no part of this model; known: {', '.join(known)}")
    row = [part for part in ROW if part[0].startswith("+") or part[0] in told]
    widths = [width for _, width, _ in row]
    starts = [14 + sum(widths[:i]) + SMALL_GAP * i for i in range(len(row))]
    width, bottom, middle = (
        starts[-1] + widths[-1] + 14,
        SMALL_TOP + SMALL_HEIGHT,
        SMALL_TOP + SMALL_HEIGHT / 2,
    )
    alt = "The model in one row: " + ", ".join(
        f"{name.partition(' ')[0]} {numbers}".strip() for name, numbers in told.items()
    )
    alt += f"; {count_layers(cfg)}. {OPTIMIZER}."
    sheet = Drawing(width, bottom + 92, f"{alt} You are here: {here}." if here else alt)
    at = {name: x for (name, _, _), x in zip(row, starts)}
    left, right = at["norm 1"] - 8, at["norm 3"] - 6
    sheet.frame(left, SMALL_TOP - 24, right - left, SMALL_HEIGHT + 54)
    sheet.note(left + 8, bottom + 24, f"layers: {count_layers(cfg)}")
    boxes = {"model": Box(6, SMALL_TOP - 28, width - 12, SMALL_HEIGHT + 62)}
    for name, box_width, number in row:
        if name.startswith("+"):
            boxes[name] = sheet.plus(at[name] + 8, middle)
            continue
        title = "SwiGLU" if name == "experts" and "router" not in told else name.partition(" ")[0]
        lines = [("title", title), ("small", told[name]), ("quiet", number)]
        lines = [(look, text) for look, text in lines if text]
        boxes[name] = sheet.box(
            at[name], SMALL_TOP, box_width, SMALL_HEIGHT, lines, fill=FILLS.get(name, "plain")
        )
    for (before, _, _), (after, _, _) in pairwise(row):
        sheet.arrow(boxes[before].right, boxes[after].left)
    for norm, plus in (("norm 1", "+ 1"), ("norm 2", "+ 2")):
        x = boxes[norm].x - SMALL_GAP / 2
        around = [(x, middle), (x, bottom + 9), (boxes[plus].bottom[0], bottom + 9), boxes[plus].bottom]
        sheet.arrow(*around, ink="ink")
    sheet.note(width - 14, bottom + 47, "two digits: the notebook that builds it", "quiet", "end")
    boxes["optimizer"] = sheet.box(
        14, bottom + 54, width - 28, 26, [("title", f"{OPTIMIZER} · 07")], fill="plain"
    )
    if here:  # also at the left, which a narrow screen shows first; there the whole model's frame begins
        sheet.note(14, 16, f"you are here: {here}", "here")
        sheet.mark(boxes[here], "" if here == "model" else "here")
    return sheet


def _in_a_row(cfg: KimiConfig) -> dict[str, str]:
    """The parts of the small drawing that this model has, each with its most telling number."""
    parts = describe(cfg)
    found = {
        "tokens": "",
        "embedding": parts["embedding"],
        "norm 1": "",
        "latents": parts["latent"] if "latent" in parts else parts.get("summary", ""),
        "attention": f"{cfg.n_heads} heads",
        "norm 2": "",
        "router": parts["choice"].partition(",")[0] if "choice" in parts else "",
        "experts": parts["experts"].partition(" ")[0]
        if "experts" in parts
        else f"{cfg.intermediate_size:,} wide",
        "norm 3": "",
        "head": "",
    }
    absent = {"latents": "latent" not in parts and "summary" not in parts, "router": "router" not in parts}
    return {name: numbers for name, numbers in found.items() if not absent.get(name)}
