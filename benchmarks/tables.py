"""The README's tables, made from the recorded results: `python -m benchmarks.tables` prints them.

A test compares the README with them, so every number there was measured.
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

WHAT = {
    "gpt": "GPT (nanoGPT's model), AdamW",
    "kimi-dense": "+ RoPE, RMSNorm, SwiGLU",
    "kimi-mla": "+ latent attention (MLA)",
    "kimi-moe": "+ experts",
    "kimi-bias": "+ bias balancing",
    "kimi": "+ MuonClip = **Kimi**",
    "gpt-muon": "GPT with Muon, for comparison",
}


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
    """One comparison of `benchmarks.perf`: median milliseconds, and the ratio to the first row with its range."""
    lines = [f"| {title} | ms | ratio (least..greatest) |", "|---|---|---|"]
    for name, row in perf["figures"][title].items():
        low, high = min(row["process_ratios"]), max(row["process_ratios"])
        lines.append(f"| {name} | {row['ms']:.1f} | {row['ratio']:.2f} ({low:.2f}..{high:.2f}) |")
    return "\n".join(lines)


def shakespeare_table(results: dict[str, Any]) -> str:
    """Tiny Shakespeare by characters: model, optimizer, learning rate and what it came to."""
    lines = ["| | learning rate | validation loss, nats per character | bits per byte |", "|---|---|---|---|"]
    for row in results["rows"]:
        lines.append(f"| {row['model']} | {row['lr']:g} | {row['loss']:.3f} | {row['bits_per_byte']:.3f} |")
    return "\n".join(lines)


def tables() -> list[str]:
    """Every table that the README shows, in its order."""
    found = [
        ladder_table(json.loads((RESULTS / f"ladder-{text}.json").read_text(encoding="utf-8")))
        for text in ("storyworld", "tinystories")
    ]
    found.append(shakespeare_table(json.loads((RESULTS / "shakespeare.json").read_text(encoding="utf-8"))))
    for path in sorted(RESULTS.glob("perf-*.json")):
        perf = json.loads(path.read_text(encoding="utf-8"))
        found += [perf_table(title, perf) for title in perf["figures"]]
    return found


if __name__ == "__main__":
    print("\n\n".join(tables()))
