"""Settings under the names that a format of `transformers` has for them, and what such a format leaves no choice in."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nanokimi.config import ConfigError, KimiConfig
from nanokimi.presets.yaml_config import build
from nanokimi.system.printable import OneLineError, quote

# Our word -> that of every format; a setting that no table has keeps its name.
WORDS = {
    "max_seq_len": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "norm_eps": "rms_norm_eps",
    "top_k": "num_experts_per_tok",
    "original_max_seq_len": "original_max_position_embeddings",
}
# Sections, which no format has, and choices in which they have one option only.
_OURS_ALONE = {"kind", "rope", "attention", "mla", "block_latent", "kda", "own_attention", "moe", "scoring"}
_OURS_ALONE |= {"use_nope", "output_gate", "decay"}


class HubError(OneLineError):
    """What the format or this model cannot express, or a folder that does not hold it: one line."""


class Words:
    """The names of one format: `others` are those that are not in `WORDS`, `without` what it says in another way."""

    def __init__(self, others: Mapping[str, str] | None = None, without: set[str] | None = None):
        self._words = WORDS | dict(others or {})
        self._without = _OURS_ALONE | (without or set())

    def write(self, section: Any) -> dict[str, Any]:
        """The settings of a section that the format has, under its names."""
        return {theirs: getattr(section, ours) for ours, theirs in self._of(type(section)).items()}

    def read(self, data: Mapping[str, Any], section: type) -> dict[str, Any]:
        """The same settings under our names; `HubError` for one that is missing."""
        for theirs in self._of(section).values():
            if theirs not in data:
                raise HubError(f"config.json: {theirs} is missing")
        return {ours: data[theirs] for ours, theirs in self._of(section).items()}

    def build(self, model: dict[str, Any]) -> KimiConfig:
        """The model of these settings, which are under our names; a mistake is told in the words of the format."""
        try:
            cfg = build(KimiConfig, model, where="config.json")
        except ConfigError as error:
            # rope.base is its rope_theta.
            words = self._words | {"base": "rope_theta"}
            ours = re.compile(r"(?:(?:moe|mla|kda|rope|yarn)(?:\.|: ))*(\w+)=")
            told = ours.sub(lambda found: words.get(found[1], found[1]) + "=", str(error))
            raise HubError(told) from None
        if cfg.moe is not None and cfg.moe.n_routed_experts < 2:
            name = self._words.get("n_routed_experts", "n_routed_experts")
            raise HubError(f"config.json: {name}=1 must be 2 or more: the format needs two experts per group")
        return cfg

    def _of(self, section: type) -> dict[str, str]:
        """Our name -> the format's name, for the settings of a section that the format has."""
        names = (field.name for field in fields(section))
        return {name: self._words.get(name, name) for name in names if name not in self._without}


def check_fixed(data: Mapping[str, Any], fixed: Mapping[str, Any], null_is_no: set[str]) -> None:
    """`HubError` for a field that asks for what Kimi does not have; `fixed` are the fields and their only values."""
    for name, value in fixed.items():
        # JSON's null is a field that is left open, but where transformers takes it for a no.
        open_here = name not in data or (data[name] is None and name not in null_is_no)
        if not open_here and data[name] != value:
            raise HubError(
                f"config.json: {name}={quote(data[name])} must be {quote(value)}: Kimi has nothing else"
            )


def check_experts(cfg: KimiConfig, format: str) -> None:
    """`HubError` for experts that no format can express."""
    if cfg.moe is None:
        return
    if cfg.moe.scoring != "sigmoid":
        raise HubError(f"scoring={cfg.moe.scoring} cannot be exported: the {format} format has sigmoid only")
    if cfg.moe.n_routed_experts < 2:
        raise HubError(
            f"n_routed_experts=1 cannot be exported: the {format} format needs two experts or more per group"
        )
