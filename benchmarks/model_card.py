"""The models that come with the lab, as text: the card of each, and the table of all.

A card says what a model is, what it learnt from, what it can do and what it cannot.
"""

import json
from typing import Any

from nanokimi.abilities.report import Abilities
from nanokimi.cli.abilities import lines_of
from nanokimi.config import DataConfig, KimiConfig
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.pretrained import names
from nanokimi.pretrained.shelf import ABOUT, SHELF

STORYWORLD = """The lab's [storyworld](../../../docs/text.md#the-storyworld): stories of its grammar about the 400
characters of its world {seed}. The first 20,000 of them are the default text (`DataConfig()`), from whose training
split the tokens were learnt; the training read about {stories:,}, each of them once. All numbers below are on the
stories that the default text holds out."""
TINYSTORIES = """About 36 MB of TinyStories (Eldan and Li 2023, arXiv:2305.07759; `roneneldan/TinyStories`, licence
CDLA-Sharing-1.0), stories that GPT-3.5 and GPT-4 wrote in the words of a small child, in a split of our own. The lab
does not contain this text. The tokens were learnt from it."""
LIMITS = {
    True: """It knows one world that does not exist, and nothing else. It is for looking into, not for use: whatever
it says of anything but these characters means nothing.""",
    False: """It writes short stories in simple English, which often lose their thread. It knows no facts, answers no
questions, and repeats the prejudices of its text. It is for looking into, not for use.""",
}


def write_card(
    name: str, model: Model, origin: dict[str, Any], data: DataConfig | None, abilities: Abilities
) -> str:
    """The card as Markdown. origin: as in about.json. data: of the storyworld, None for TinyStories."""
    cfg, is_story, kind = model.cfg, data is not None, "Kimi" if isinstance(model, Kimi) else "GPT"
    experts = f", {cfg.moe.n_routed_experts} experts" if isinstance(cfg, KimiConfig) and cfg.moe else ""
    n_weights = sum(p.numel() for p in model.parameters())
    text = STORYWORLD.format(seed=data.seed, stories=origin["stories"]) if data is not None else TINYSTORIES
    table = "\n".join(lines_of(abilities))
    call = f'found = nanokimi.load_pretrained("{name}")'
    return f"""# {name}

A {kind} of {cfg.n_layers} layers, {cfg.d_model} wide{experts}: {n_weights:,} parameters, kept as 16-bit floats.

```python
{call}
```

## The text

{text}

## The training

{origin["steps"]:,} steps, {origin["tokens"]:,} tokens, {origin["seconds"] / 60:,.0f} minutes on {origin["machine"]},
torch {origin["torch"]}:

```
{origin["command"]}
```

Its settings, the loss by role and the checksums of the files are in [about.json](about.json).

## What it can do

Measured by `nanokimi evaluate` before the weights were rounded. In half precision the loss differs by less than 0.002
nats per token; a test holds it there.

```
{table}
```

## Limits

{LIMITS[is_story]}

The code and these weights have the lab's licence, MIT.
"""


def models_table() -> str:
    """All models, by what their folders record."""
    lines = [
        "| | tokens | minutes | bits per byte | floor | on facts | on copies | size |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names():
        folder = SHELF / name
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        origin, found = about["origin"], about["evaluation"]
        roles = found["by_role"] or {}
        losses = [
            found["bits_per_byte"],
            found["floor_bits_per_byte"],
            *(roles.get(role, {}).get("bits_per_byte") for role in ("fact", "copy")),
        ]
        cells = [
            f"[{name}](../nanokimi/pretrained/{name}/README.md)",
            f"{origin['tokens'] / 1e6:.1f} M",
            f"{origin['seconds'] / 60:.0f}",
            *("–" if loss is None else f"{loss:.3f}" for loss in losses),
            f"{sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
