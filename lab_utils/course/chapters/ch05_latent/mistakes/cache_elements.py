"""The known wrong answers to cache_elements, of notebook 05."""

from lab_utils.course.exercise import mistake
from nanokimi.config import KimiConfig
from nanokimi.count import cache_elements as core_elements


def elements(per_token=None, blocks=None, ordinary=None):
    """A count with another number per token for MLA, another rule for blocks, or another for ordinary heads."""

    def count(cfg, n_tokens):
        attention = cfg.attention if isinstance(cfg, KimiConfig) else "mha"
        if attention == "mla" and per_token is not None:
            return cfg.n_layers * n_tokens * per_token(cfg, cfg.mla)
        if attention == "block_latent" and blocks is not None:
            closed, rest = divmod(n_tokens, cfg.block_latent.block_len)
            return cfg.n_layers * cfg.d_model * blocks(closed * cfg.block_latent.n_latents, rest, n_tokens)
        if attention == "mha" and ordinary is not None:
            return cfg.n_layers * n_tokens * ordinary(cfg)
        return core_elements(cfg, n_tokens)

    return count


@mistake(
    "For MLA the expanded keys and values of all heads are counted. They come from the latent and are not kept.",
    "What does the layer append to its cache?",
)
def elements_of_expanded_heads(cfg, n_tokens):
    def expanded(c, m):
        return c.n_heads * (m.qk_nope_head_dim + m.qk_rope_head_dim + m.v_head_dim)

    return elements(expanded)(cfg, n_tokens)


@mistake(
    "For MLA the rope key is counted once per head. There is one for all heads.",
    "How many heads does the rope key have?",
)
def elements_with_rope_keys_of_all_heads(cfg, n_tokens):
    return elements(lambda c, m: m.kv_lora_rank + c.n_heads * m.qk_rope_head_dim)(cfg, n_tokens)


@mistake(
    "For MLA the latent is counted twice, once for keys and once for values. Both are expanded from the same one.",
    "How many latents does a token have?",
)
def elements_with_two_latents(cfg, n_tokens):
    return elements(lambda c, m: 2 * m.kv_lora_rank + m.qk_rope_head_dim)(cfg, n_tokens)


@mistake(
    "For MLA the rope key is left out. It cannot be made from the latent.",
    "Which two tensors does the layer append to its cache?",
)
def elements_without_rope_key(cfg, n_tokens):
    return elements(lambda c, m: m.kv_lora_rank)(cfg, n_tokens)


@mistake(
    "One layer is counted. Every layer has a cache of its own.",
    "Does your count grow with n_layers?",
)
def elements_of_one_layer(cfg, n_tokens):
    return core_elements(cfg, n_tokens) // cfg.n_layers


@mistake(
    "For ordinary heads the keys are counted and not the values.",
    "What do ordinary heads keep of a token?",
)
def elements_of_keys_only(cfg, n_tokens):
    return elements(ordinary=lambda c: c.d_model)(cfg, n_tokens)


@mistake(
    "In the block form all tokens are counted beside the latents. Those of a full block are replaced by its latents.",
    "How many tokens are kept right after a block has become full?",
)
def elements_keeping_all_tokens(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * latents + 3 * n)(cfg, n_tokens)


@mistake(
    "In the block form the inputs of the open block are left out. Without them it could not be compressed later.",
    "What does compress() read when the block becomes full?",
)
def elements_without_open_inputs(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * (latents + rest))(cfg, n_tokens)


@mistake(
    "In the block form only latents are counted. The tokens of a block that is not full are kept one by one.",
    "What is kept of the very first token, before any block is full?",
)
def elements_of_latents_only(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * latents)(cfg, n_tokens)


CACHE_ELEMENTS = (
    elements_of_expanded_heads,
    elements_with_rope_keys_of_all_heads,
    elements_with_two_latents,
    elements_without_rope_key,
    elements_of_one_layer,
    elements_of_keys_only,
    elements_keeping_all_tokens,
    elements_without_open_inputs,
    elements_of_latents_only,
)
