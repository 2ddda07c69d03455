"""Which models the drawing of Kimi knows all parts of: Kimi K2's architecture, and block latents."""

from nanokimi.attention_config import tell
from nanokimi.config import KimiConfig
from nanokimi.own.table import is_own
from nanokimi.system.refusals import require


def require_drawable(cfg: KimiConfig) -> None:
    """`ConfigError` in one line for an attention that the drawing does not know."""
    require(
        cfg.kda is None and not is_own(cfg.attention), f"the drawing knows no parts of {tell(cfg.attention)}"
    )
    new = cfg.mla is not None and (cfg.mla.use_nope or cfg.mla.output_gate != "none")
    require(not new, "the drawing knows latent attention without use_nope and output_gate only")
