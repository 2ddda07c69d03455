"""A model of which the drawing does not know all parts is refused, not drawn without them."""

import pytest

from lab_utils.show.architecture import architecture, draw_whole
from nanokimi.config import ConfigError, KimiConfig, MLAConfig


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"attention": "kda"}, "the drawing knows no parts of attention=kda"),
        ({"attention": ["kda", "mla"]}, r"the drawing knows no parts of attention=\[kda, mla\]"),
        ({"mla": MLAConfig(use_nope=True)}, "without use_nope and output_gate only"),
        ({"mla": MLAConfig(output_gate="full_rank")}, "without use_nope and output_gate only"),
    ],
    ids=str,
)
def test_it_is_refused_in_one_line(settings, says):
    cfg = KimiConfig(**settings)
    for draw in (architecture, lambda cfg: draw_whole({"mine": cfg})):
        with pytest.raises(ConfigError, match=f"^[^\n]*{says}$"):
            draw(cfg)
