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


@mistake(
    "For ordinary heads the count grows with n_heads. The heads divide d_model among them: together they keep d_model "
    "numbers for keys and d_model for values.",
    "How wide is one head?",
)
def elements_of_heads_of_full_width(cfg, n_tokens):
    return elements(ordinary=lambda c: 2 * c.d_model * c.n_heads)(cfg, n_tokens)


@mistake(
    "For ordinary heads one head is counted, not all of them.",
    "How wide are the keys of all heads together?",
)
def elements_of_one_head(cfg, n_tokens):
    return elements(ordinary=lambda c: 2 * c.d_model // c.n_heads)(cfg, n_tokens)


@mistake(
    "For MLA everything is counted twice, as if keys and values were kept. Both are made from the same latent.",
    "Which two tensors does the layer append to its cache?",
)
def elements_of_two_entries(cfg, n_tokens):
    return elements(lambda c, m: 2 * (m.kv_lora_rank + m.qk_rope_head_dim))(cfg, n_tokens)


@mistake(
    "MLA is counted as ordinary heads are: `attention` makes no difference between them.",
    "What does the layer append to its cache?",
)
def elements_of_ordinary_heads_for_mla(cfg, n_tokens):
    return elements(lambda c, m: 2 * c.d_model)(cfg, n_tokens)


@mistake(
    "In the block form a latent keeps one vector of d_model numbers. It keeps two, its key and its value.",
    "What does attention need of an entry?",
)
def elements_of_latents_once(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: latents + 3 * rest)(cfg, n_tokens)


@mistake(
    "In the block form a latent keeps three vectors, as an open token does. Its input is not needed any more.",
    "What does attention need of an entry?",
)
def elements_of_latents_three_times(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 3 * (latents + rest))(cfg, n_tokens)


@mistake(
    "In the block form the tokens of the open block keep one vector each. They keep three: key, value and input.",
    "What does attention need of a token, and what does compress() need?",
)
def elements_of_open_tokens_once(cfg, n_tokens):
    return elements(blocks=lambda latents, rest, n: 2 * latents + rest)(cfg, n_tokens)


@mistake(
    "The number of blocks is not rounded down: the open block has a part of its latents already.",
    "With 4 tokens and blocks of 5, how many blocks are complete, and how many does your line count?",
)
def elements_of_parts_of_blocks(cfg, n_tokens):
    def blocks(latents, rest, n):
        block = cfg.block_latent
        return 2 * block.n_latents * n / block.block_len + 3 * rest

    return int(elements(blocks=blocks)(cfg, n_tokens))


@mistake(
    "The open block is counted among the full ones: the number of blocks is rounded up.",
    "How many complete blocks of five do four tokens make?",
)
def elements_rounding_blocks_up(cfg, n_tokens):
    def blocks(latents, rest, n):
        return 2 * cfg.block_latent.n_latents * -(-n // cfg.block_latent.block_len) + 3 * rest

    return elements(blocks=blocks)(cfg, n_tokens)


@mistake(
    "In the block form every full block counts once, however many latents it has.",
    "How many vectors does compress() make of a block?",
)
def elements_of_one_latent_a_block(cfg, n_tokens):
    def blocks(latents, rest, n):
        return 2 * (latents // cfg.block_latent.n_latents) + 3 * rest

    return elements(blocks=blocks)(cfg, n_tokens)


@mistake(
    "In the block form every latent is counted once per token, not once per block.",
    "After 100 tokens in blocks of 32: how many blocks are full?",
)
def elements_of_latents_per_token(cfg, n_tokens):
    def blocks(latents, rest, n):
        return 2 * cfg.block_latent.n_latents * n + 3 * rest

    return elements(blocks=blocks)(cfg, n_tokens)


@mistake(
    "A GPTConfig has no field `attention`, and your function reads it.",
    "What does getattr do with a third argument?",
)
def elements_without_getattr(cfg, n_tokens):
    return cfg.attention and core_elements(cfg, n_tokens)


@mistake(
    "Bytes are counted: the numbers, four bytes each. The docstring asks for the numbers themselves.",
    "Does your function multiply by the size of a number?",
)
def elements_in_bytes(cfg, n_tokens):
    return 4 * core_elements(cfg, n_tokens)


@mistake(
    "Bytes are counted: the numbers, two bytes each. The docstring asks for the numbers themselves.",
    "Does your function multiply by the size of a number?",
)
def elements_in_bfloat16_bytes(cfg, n_tokens):
    return 2 * core_elements(cfg, n_tokens)


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
    elements_of_heads_of_full_width,
    elements_of_one_head,
    elements_of_two_entries,
    elements_of_ordinary_heads_for_mla,
    elements_of_latents_once,
    elements_of_latents_three_times,
    elements_of_open_tokens_once,
    elements_of_parts_of_blocks,
    elements_rounding_blocks_up,
    elements_of_one_latent_a_block,
    elements_of_latents_per_token,
    elements_without_getattr,
    elements_in_bytes,
    elements_in_bfloat16_bytes,
)
