"""What a user adds to the models: an attention of one's own as a value of a configuration.

`table` knows which there are and what each must look like; `trial` tries one on small inputs when a model is built.
"""

from nanokimi.own.table import register_attention

__all__ = ["register_attention"]
