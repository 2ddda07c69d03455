"""From a configuration to the model that it describes."""

from nanokimi.config import GPTConfig, ModelConfig
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi

Model = GPT | Kimi


def build_model(cfg: ModelConfig, seed: int = 0) -> Model:
    """The model that `cfg` describes, a GPT or a Kimi, on the CPU, with weights drawn from `seed`.

    Under `torch.device("meta")` it has shapes only and takes no memory, whatever its size.

    >>> from nanokimi import build_model, load_model_config
    >>> model = build_model(load_model_config("kimi-smoke"), seed=1)
    >>> sum(p.numel() for p in model.parameters())
    75328
    """
    return GPT(cfg, seed) if isinstance(cfg, GPTConfig) else Kimi(cfg, seed)
