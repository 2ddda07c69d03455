"""The tables of README.md and of docs: results, reliability and performance, made from the recorded results.

`python -m benchmarks.tables` prints them. A test compares those files with them, so every number there was measured.
"""

import json
from statistics import fmean
from typing import Any

from benchmarks.facts_tables import facts_table
from benchmarks.model_card import models_table
from benchmarks.records import RESULTS
from benchmarks.study_tables import balance_table, clip_table, muon_table, sparsity_table
from lab_utils.study.arms_found import read_arms
from lab_utils.study.cache_found import read_found, speed_ratio, tokens_per_second
from lab_utils.study.decoding import Decoded
from lab_utils.study.record import read_study
from lab_utils.study.trainings import at_best_rate

# The machines whose tables docs/performance.md shows. Records of others change no table.
PERFS = ("perf-amd-epyc-2-threads", "perf-amd-epyc-with-avx2-2-threads", "perf-amd-epyc-third-2-threads")
CACHE = "study-cache-amd-epyc-one-thread"
SCALINGS = ("scaling-amd-epyc-with-avx2-2-threads", "scaling-amd-epyc-third-2-threads")

# The studies of arms, in their order in docs/results.md, and what writes their tables.
ARMS = {
    "muon": muon_table,
    "clip": clip_table,
    "balance": balance_table,
    "sparsity": sparsity_table,
    "sparsity-tinystories": sparsity_table,
}

WHAT = {
    "gpt": "GPT (nanoGPT's model), AdamW",
    "kimi-dense": "+ RoPE, RMSNorm, SwiGLU",
    "kimi-mla": "+ latent attention (MLA)",
    "kimi-moe": "+ experts",
    "kimi-bias": "+ bias balancing",
    "kimi": "+ MuonClip = **Kimi**",
    "gpt-muon": "GPT with Muon, for comparison",
}

SUMMARY = {
    "gpt": "GPT, as nanoGPT writes and trains it",
    "kimi-dense": "a modern dense model (RoPE, RMSNorm, SwiGLU)",
    "kimi": "**Kimi**",
    "gpt-muon": "GPT with Muon",
}


def summary_table(storyworld: dict[str, Any], tinystories: dict[str, Any]) -> str:
    """Four arms on both texts. The last three columns are of the storyworld."""
    lines = [
        "| | storyworld, bits per byte | TinyStories, bits per byte | tokens to GPT's final loss | step time "
        "| peak memory |",
        "|---|---|---|---|---|---|",
    ]
    rows = [{row["arm"]: row for row in results["table"]} for results in (storyworld, tinystories)]
    tokens = max(point["tokens"] for run in storyworld["runs"] for point in run["points"])
    for arm, name in SUMMARY.items():
        first, second = (by_arm[arm] for by_arm in rows)
        lines.append(
            f"| {name} | {first['bits_per_byte']['mean']:.3f} | {second['bits_per_byte']['mean']:.3f} "
            f"| {first['tokens_to_target']['mean'] / tokens:.0%} | {first['step_ratio']['mean']:.2f} "
            f"| {first['peak_memory']['mean'] / 10**6:.0f} MB |"
        )
    return "\n".join(lines)


def ladder_table(results: dict[str, Any]) -> str:
    """A row per rung: what it adds, validation loss with its range over seeds, bits per byte, the way to GPT's loss."""
    lines = [
        "| | validation loss, nats per token (least..greatest) | bits per byte | tokens to GPT's final loss "
        "| step, vs GPT's | seconds to GPT's final loss | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    tokens = max(point["tokens"] for run in results["runs"] for point in run["points"])
    for row in results["table"]:
        loss, share, seconds = row["loss"], "not reached", "–"
        if row["tokens_to_target"]:
            share = f"{row['tokens_to_target']['mean'] / tokens:.0%}"
            seconds = f"{row['seconds_to_target']['mean']:.0f}"
        lines.append(
            f"| {WHAT[row['arm']]} | {loss['mean']:.3f} ({loss['low']:.3f}..{loss['high']:.3f}) "
            f"| {row['bits_per_byte']['mean']:.3f} "
            f"| {share} | {row['step_ratio']['mean']:.2f} | {seconds} "
            f"| {row['peak_memory']['mean'] / 10**6:.0f} MB |"
        )
    return "\n".join(lines)


def perf_table(title: str, perf: dict[str, Any]) -> str:
    """One comparison of `benchmarks.perf`: median milliseconds, and the ratio to the first row with its range.

    Training steps also have their share of the speed of a large product, and their peak memory.
    """
    rows = perf["figures"][title]
    lines = [f"| {title} | ms | ratio (least..greatest) |", "|---|---|---|"]
    counted = all("share_of_ceiling" in row for row in rows.values())  # earlier records counted nothing
    if counted:
        lines = [f"{lines[0]} share of a large product's speed | peak memory |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        low, high = min(row["process_ratios"]), max(row["process_ratios"])
        line = f"| {name} | {row['ms']:.1f} | {row['ratio']:.2f} ({low:.2f}..{high:.2f}) |"
        if counted:
            line += f" {row['share_of_ceiling']:.0%} | {_write_memory(row['peak_memory'])} |"
        lines.append(line)
    return "\n".join(lines)


def scaling_table(axis: str, scaling: dict[str, Any]) -> str:
    """One axis of `benchmarks.scaling`, from its least to its largest value; ratios are to the first row."""
    lines = [
        f"| {axis} | a step, ms | ratio | tokens per second | share of a large product's speed | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    rows = sorted((p for p in scaling["points"] if axis in p["axes"]), key=lambda point: point["axes"][axis])
    for row in rows:
        lines.append(
            f"| {row['axes'][axis]} | {row['ms']:.0f} | {row['ms'] / rows[0]['ms']:.2f} "
            f"| {row['tokens_per_s']:,.0f} | {row['share_of_ceiling']:.0%} | {_write_memory(row['peak_memory'])} |"
        )
    return "\n".join(lines)


def scaling_axes(scaling: dict[str, Any]) -> list[str]:
    """The axes that were moved, in their order."""
    return list(dict.fromkeys(axis for point in scaling["points"] for axis in point["axes"]))


def _write_memory(n_bytes: float | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / 10**6:.0f} MB"


def shakespeare_table(results: dict[str, Any]) -> str:
    """Tiny Shakespeare by characters: model, optimizer, learning rate and what it came to."""
    lines = ["| | learning rate | validation loss, nats per character | bits per byte |", "|---|---|---|---|"]
    for row in results["rows"]:
        lines.append(f"| {row['model']} | {row['lr']:g} | {row['loss']:.3f} | {row['bits_per_byte']:.3f} |")
    return "\n".join(lines)


def faults_table(record: dict[str, Any]) -> str:
    """A row per kind of fault: how often it was made, what was survived, what was lost, and the minutes it took."""
    lines = ["| fault | tries | survived | lost | minutes |", "|---|---|---|---|---|"]
    for row in record["kinds"].values():
        numbers = f"{row['tries']:,} | {row['survived']:,} | {len(row['lost']):,} | {row['seconds'] / 60:.1f}"
        lines.append(f"| {row['fault']} | {numbers} |")
    return "\n".join(lines)


ATTENTION = {"mha": "ordinary heads", "mla": "MLA", "block-latent": "block latents"}
CACHED_ARMS = {
    "mla": "MLA, 128 wide, 4 layers",
    "mha-40x4": "ordinary heads, 40 wide, 4 layers",
    "mha-80x2": "ordinary heads, 80 wide, 2 layers",
    "mha-160x1": "ordinary heads, 160 wide, 1 layer",
    "mha": "ordinary heads, 128 wide, 4 layers",
}


def decoding_table(record: dict[str, Any]) -> str:
    """A row per place: how many times as fast as ordinary heads each attention decodes, and the bytes of its cache."""
    names, (first, *others) = list(ATTENTION), ATTENTION.values()
    heads = ["texts x tokens in the cache", f"{first}, tokens per second"]
    heads += [f"{each}, times that" for each in others] + [f"cache of {each}" for each in ATTENTION.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    places: dict[tuple[int, int], dict[str, Decoded]] = {}
    for each in read_found(record).decoded:
        places.setdefault((each.batch, each.context), {})[each.model] = each
    for (batch, context), found in places.items():
        ratios = [f"{speed_ratio(found[name], found[names[0]]):.2f}" for name in names[1:]]
        sizes = [f"{found[name].cache_bytes / 10**6:.1f} MB" for name in names]
        cells = [f"{batch} x {context:,}", f"{tokens_per_second(found[names[0]]):,.0f}", *ratios, *sizes]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def reach_table(record: dict[str, Any]) -> str:
    """What 1 GB of cache holds: a row per attention."""
    reach = read_found(record).reach
    contexts = list(reach[0].largest_batch)
    lines = [
        "| | numbers per token | longest context of one text | "
        + " | ".join(f"texts of {n:,} tokens" for n in contexts)
        + " |",
        "|---" * (3 + len(contexts)) + "|",
    ]
    for each in reach:
        texts = " | ".join(f"{each.largest_batch[n]:,}" for n in contexts)
        lines.append(
            f"| {ATTENTION[each.model]} | {each.numbers_per_token:,.0f} | {each.longest_context:,} | {texts} |"
        )
    return "\n".join(lines)


def equal_cache_table(record: dict[str, Any]) -> str:
    """A row per arm at its best rate: its cache, what it reaches, and with how many seeds."""
    lines = [
        "| | cache, numbers per token | learning rate | validation loss, nats per token (least..greatest) "
        "| bits per byte | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for arm, found in at_best_rate(read_found(record).trained).items():
        losses = [each.run.final.loss for each in found]
        loss = f"{fmean(losses):.3f} ({min(losses):.3f}..{max(losses):.3f})"
        bits = fmean(each.run.final.bits_per_byte for each in found)
        cells = [CACHED_ARMS[arm], f"{found[0].cache_per_token:,}", f"{found[0].lr:g}", loss, f"{bits:.3f}"]
        lines.append(f"| {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines)


def read_record(name: str) -> dict[str, Any]:
    """A recorded result, by its file's name without ".json"."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def tables() -> dict[str, list[str]]:
    """Every table, by the file that shows it, in its order there."""
    ladders = [read_record(f"ladder-{text}") for text in ("storyworld", "tinystories")]
    cache = read_record(CACHE)
    perfs, scalings = ([read_record(name) for name in names] for names in (PERFS, SCALINGS))
    return {
        "README.md": [summary_table(*ladders)],
        "docs/results.md": [
            *map(ladder_table, ladders),
            *(facts_table(read_study(RESULTS / f"study-facts{more}.json")) for more in ("", "-many")),
            *(write(cache) for write in (decoding_table, reach_table, equal_cache_table)),
            *(write(read_arms(read_record(f"study-{name}"))) for name, write in ARMS.items()),
            shakespeare_table(read_record("shakespeare")),
        ],
        "docs/models.md": [models_table()],
        "docs/reliability.md": [faults_table(read_record("faults"))],
        "docs/performance.md": [
            *(perf_table(title, perf) for perf in perfs for title in perf["figures"]),
            *(scaling_table(axis, scaling) for scaling in scalings for axis in scaling_axes(scaling)),
        ],
    }


if __name__ == "__main__":
    for file, found in tables().items():
        print(f"{file}\n")
        print("\n\n".join(found) + "\n")
