"""Models that come with the lab, already trained: `load_pretrained("kimi-storyworld")`.

A folder per model holds its weights in half precision, its tokens, what is recorded of it, and a model card.
"""

from nanokimi.pretrained.shelf import Pretrained, PretrainedError, load_pretrained, names

__all__ = ["Pretrained", "PretrainedError", "load_pretrained", "names"]
