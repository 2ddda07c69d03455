"""The known wrong answers to cache_elements, of notebook 05, in which a term lacks a factor or has another's."""

from lab_utils.course.exercise import mistake
from nanokimi.config import GPTConfig, KimiConfig
from nanokimi.count import cache_elements as core_elements


def elements(mla=None, blocks=None):
    """A count with another formula for MLA, of (layers, tokens, rank, rope), or for blocks, of (L, D, m, b, tokens)."""

    def count(cfg, n_tokens):
        attention = cfg.attention if isinstance(cfg, KimiConfig) else "mha"
        if attention == "mla" and mla is not None:
            return mla(cfg.n_layers, n_tokens, cfg.mla.kv_lora_rank, cfg.mla.qk_rope_head_dim)
        if attention == "block_latent" and blocks is not None:
            block = cfg.block_latent
            return blocks(cfg.n_layers, cfg.d_model, block.n_latents, block.block_len, n_tokens)
        return core_elements(cfg, n_tokens)

    return count


def named(name, says, look_at, **formulas):
    """The mistake of a count with these formulas."""
    wrong = elements(**formulas)
    wrong.__name__ = name
    return mistake(says, look_at)(wrong)


BRACKETS = "Write brackets around the whole sum. Which factors stand before it?"
OPEN_D = "An open token keeps vectors. How many numbers has each?"

LAYERS_ON_LATENTS = named(
    "elements_with_layers_on_latents",
    "In the block form only the latents are counted for every layer; the open tokens are counted once.",
    BRACKETS,
    blocks=lambda layers, d, m, b, n: layers * 2 * d * m * (n // b) + 3 * d * (n % b),
)
LAYERS_ON_TOKENS = named(
    "elements_with_layers_on_tokens",
    "In the block form only the open tokens are counted for every layer; the latents are counted once.",
    BRACKETS,
    blocks=lambda layers, d, m, b, n: 2 * d * m * (n // b) + layers * 3 * d * (n % b),
)
NO_D_ON_TOKENS = named(
    "elements_with_no_d_on_tokens",
    "In the block form d_model is missing in the term of the open tokens.",
    OPEN_D,
    blocks=lambda layers, d, m, b, n: layers * (2 * d * m * (n // b) + 3 * (n % b)),
)
NO_D_ON_LATENTS = named(
    "elements_with_no_d_on_latents",
    "In the block form d_model is missing in the term of the latents.",
    "A latent keeps a key and a value. How many numbers has each?",
    blocks=lambda layers, d, m, b, n: layers * (2 * m * (n // b) + 3 * d * (n % b)),
)
NO_D_AT_ALL = named(
    "elements_with_no_d_at_all",
    "In the block form d_model is missing: vectors are counted, not numbers.",
    OPEN_D,
    blocks=lambda layers, d, m, b, n: layers * (2 * m * (n // b) + 3 * (n % b)),
)
FRACTIONS = named(
    "elements_with_fractions",
    "The number of blocks is not rounded down: the open block has a part of its latents already.",
    "With 4 tokens and blocks of 5, how many blocks are complete, and how many does your line count?",
    blocks=lambda layers, d, m, b, n: layers * (int(2 * d * m * n / b) + 3 * d * (n % b)),
)
WHOLE_PRODUCT = named(
    "elements_with_whole_product",
    "The product of latents and tokens is divided, and rounded down afterwards. It is the number of blocks that is "
    "rounded down, n_tokens // block_len.",
    "Two latents, blocks of three, four tokens: how many latents are there, and how many do you count?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * (m * n // b) + 3 * (n % b)),
)
SIZES_EXCHANGED = named(
    "elements_with_sizes_exchanged",
    "n_latents and block_len have changed places.",
    "How many complete blocks of five do four tokens make?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * b * (n // m) + 3 * (n % m)),
)
WAYS_EXCHANGED = named(
    "elements_with_ways_exchanged",
    "// and % have changed places: the open tokens are counted as blocks, and the blocks as open tokens.",
    "Seven tokens in blocks of three: what is 7 // 3, what 7 % 3, and which of them counts blocks?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * m * (n % b) + 3 * (n // b)),
)
TOKENS_IN_A_BLOCK = named(
    "elements_with_tokens_in_a_block",
    "In the block form every complete block keeps all its tokens, and a latent for each is not asked for.",
    "What does a complete block leave in the cache?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * b * (n // b) + 3 * (n % b)),
)
FULL_AS_OPEN = named(
    "elements_with_a_full_block_as_open",
    "A block that has just become full counts as open. It is replaced by its latents at once, not when the next token "
    "comes.",
    "Five tokens in blocks of five: what does the cache hold?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * m * ((n - 1) // b) + 3 * (n - (n - 1) // b * b)),
)
FULL_AND_LOST = named(
    "elements_with_a_full_block_lost",
    "A block that has just become full is counted neither as open nor by its latents: its number of blocks is "
    "(n - 1) // b, and its open tokens are n % b.",
    "Five tokens in blocks of five: what does the cache hold?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * m * ((n - 1) // b) + 3 * (n % b)),
)
RANK_ONCE = named(
    "elements_with_rank_once",
    "For MLA the latent is counted once, and only the rope keys for every token and layer.",
    BRACKETS,
    mla=lambda layers, n, rank, rope: rank + rope * n * layers,
)
ROPE_ONCE = named(
    "elements_with_rope_once",
    "For MLA the rope key is counted once, and only the latents for every token and layer.",
    BRACKETS,
    mla=lambda layers, n, rank, rope: layers * n * rank + rope,
)
ROPE_OF_ONE_LAYER = named(
    "elements_with_rope_of_one_layer",
    "For MLA the rope keys are counted for one layer only. Every layer has its own.",
    BRACKETS,
    mla=lambda layers, n, rank, rope: layers * n * rank + n * rope,
)
LAYERS_ON_RANK = named(
    "elements_with_layers_on_rank",
    "For MLA only the latent is multiplied by the number of layers, and only the rope key by the number of tokens.",
    BRACKETS,
    mla=lambda layers, n, rank, rope: layers * rank + rope * n,
)
TOKENS_ON_RANK = named(
    "elements_with_tokens_on_rank",
    "For MLA only the latent is multiplied by the number of tokens, and only the rope key by the number of layers.",
    BRACKETS,
    mla=lambda layers, n, rank, rope: n * rank + rope * layers,
)
UP_WITHOUT_OPEN = named(
    "elements_rounding_up_without_open_tokens",
    "The open block is counted as if it had its latents already, and its tokens are left out. They keep their inputs, "
    "keys and values until the block is full.",
    "Four tokens in blocks of five: how many blocks are full, and what does the cache hold?",
    blocks=lambda layers, d, m, b, n: layers * 2 * d * m * -(-n // b),
)
FULL_TWICE = named(
    "elements_with_a_full_block_twice",
    "A block that has just become full is counted twice: by its latents, and by its tokens as if they were open.",
    "Five tokens in blocks of five: what does the cache hold?",
    blocks=lambda layers, d, m, b, n: layers * d * (2 * m * (n // b) + 3 * (n and (n % b or b))),
)
ROPE_TWICE = named(
    "elements_with_rope_twice",
    "For MLA the rope key is counted twice. There is one per token, and no rope value.",
    "Which two tensors does the layer append to its cache?",
    mla=lambda layers, n, rank, rope: layers * n * (rank + 2 * rope),
)
PRODUCT = named(
    "elements_with_product",
    "For MLA the widths of latent and rope key are multiplied. They stand side by side.",
    "How wide is one cached entry?",
    mla=lambda layers, n, rank, rope: layers * n * rank * rope,
)


@mistake(
    "For MLA the first layers are left out. A dense layer has experts of another kind, and the same attention.",
    "Which part of a layer does first_k_dense_replace change, and which part has a cache?",
)
def elements_without_dense_layers(cfg, n_tokens):
    counted = core_elements(cfg, n_tokens)
    if isinstance(cfg, KimiConfig) and cfg.attention == "mla":
        return counted // cfg.n_layers * (cfg.n_layers - cfg.first_k_dense_replace)
    return counted


@mistake(
    "The newest token is left out. Its key and value are kept as well: the next token reads them.",
    "After one token: how many entries has the cache?",
)
def elements_without_the_newest(cfg, n_tokens):
    return core_elements(cfg, n_tokens - 1)


@mistake(
    'A KimiConfig with ordinary heads is read as one with blocks. `attention` may be "mha" there too.',
    "Which three words may `attention` of a KimiConfig be?",
)
def elements_without_mha_of_kimi(cfg, n_tokens):
    if isinstance(cfg, GPTConfig) or cfg.attention == "mla":
        return core_elements(cfg, n_tokens)
    return cfg.block_latent.n_latents and core_elements(cfg, n_tokens)


@mistake(
    "A float comes back. A number of numbers is an int.",
    "Which of your divisions should be `//`?",
)
def elements_as_a_float(cfg, n_tokens):
    return float(core_elements(cfg, n_tokens))


CACHE_TERMS = (
    LAYERS_ON_LATENTS,
    LAYERS_ON_TOKENS,
    NO_D_ON_TOKENS,
    NO_D_ON_LATENTS,
    NO_D_AT_ALL,
    FRACTIONS,
    WHOLE_PRODUCT,
    SIZES_EXCHANGED,
    WAYS_EXCHANGED,
    TOKENS_IN_A_BLOCK,
    FULL_AS_OPEN,
    FULL_AND_LOST,
    RANK_ONCE,
    ROPE_ONCE,
    ROPE_OF_ONE_LAYER,
    LAYERS_ON_RANK,
    TOKENS_ON_RANK,
    UP_WITHOUT_OPEN,
    FULL_TWICE,
    ROPE_TWICE,
    PRODUCT,
    elements_without_dense_layers,
    elements_without_the_newest,
    elements_without_mha_of_kimi,
    elements_as_a_float,
)
