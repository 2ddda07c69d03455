"""From a configuration to the model that it describes."""

from nanokimi.config import GPTConfig, ModelConfig
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi

Model = GPT | Kimi


def build_model(cfg: ModelConfig, seed: int = 0) -> Model:
    """A GPT or a Kimi with weights drawn from `seed`. Under `torch.device("meta")` it takes no memory."""
    return GPT(cfg, seed) if isinstance(cfg, GPTConfig) else Kimi(cfg, seed)
