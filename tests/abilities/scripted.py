"""A model whose next token is said by a function of the text before it, instead of by weights."""

from collections.abc import Callable, Mapping

import torch

from nanokimi.config import GPTConfig
from nanokimi.gpt import GPT
from nanokimi.output import ModelOutput

# Of each token how likely it is, beside the others; those that are left out are a millionth of a millionth as likely.
Weights = Mapping[int, float]


class Scripted(GPT):
    """Asks `predict(the tokens since the last separator)` for every next token. It decodes with caches like others."""

    def __init__(
        self,
        n_vocab: int,
        predict: Callable[[tuple[int, ...]], Weights],
        context: int = 512,
        end: int | None = None,
    ):
        super().__init__(GPTConfig(vocab_size=n_vocab, max_seq_len=context, d_model=2, n_layers=1, n_heads=1))
        self.predict, self.end = predict, n_vocab - 1 if end is None else end

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        seen = tokens
        if cache is not None:
            (held,) = cache[0].append(tokens[:, None, :, None].double())
            seen = held[:, 0, :, 0].long()
        p = torch.full((*tokens.shape, self.cfg.vocab_size), 1e-12, dtype=torch.float64)
        for row, ids in enumerate(seen.tolist()):
            begun: tuple[int, ...] = ()
            for at, token in enumerate(ids, start=tokens.shape[1] - seen.shape[1]):
                begun = () if token == self.end else (*begun, token)
                if at >= 0:
                    weights = self.predict(begun)
                    p[row, at, list(weights)] += torch.tensor([*weights.values()], dtype=torch.float64)
        return ModelOutput(logits=(p / p.sum(-1, keepdim=True)).log(), routing=(), max_qk_logit=None)
