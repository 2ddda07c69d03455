"""To and from the formats of `transformers`: DeepseekV3, in which Kimi K2 is published, and KimiLinear.

`transformers` itself is not needed: the format is JSON and safetensors.
"""

from nanokimi.hub.folder import from_pretrained, save_pretrained
from nanokimi.hub.hub_config import HubError, from_hub_config, to_hub_config
from nanokimi.hub.weights import from_hub_weights, hub_names, to_hub_weights

__all__ = [
    "HubError",
    "from_hub_config",
    "from_hub_weights",
    "from_pretrained",
    "hub_names",
    "save_pretrained",
    "to_hub_config",
    "to_hub_weights",
]
