"""What a model writes in the middle of its training."""

from __future__ import annotations

from nanokimi.generate import generate
from nanokimi.model import Model
from nanokimi.steering import use_inference_top_k
from nanokimi.text.corpus import Corpus

PROMPT_TOKENS, SAMPLE_TOKENS = 12, 40


def write_sample(model: Model, corpus: Corpus, inference_top_k: int | None = None) -> str:
    """`prompt | continuation`: the beginning of the validation text, continued with the same seed every time."""
    encoding = corpus.tokenizer
    prompt = corpus.val.tokens[:PROMPT_TOKENS].tolist()[: model.cfg.max_seq_len]
    with use_inference_top_k(model, inference_top_k):
        new = list(
            generate(model, prompt, SAMPLE_TOKENS, temperature=0.8, top_k=50, stop_id=encoding.eot_token)
        )
    known = [token for token in new if token < encoding.n_vocab]  # a model may have rows to spare
    return f"{encoding.decode(prompt)} | {encoding.decode(known)}"
