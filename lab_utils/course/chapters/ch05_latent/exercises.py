"""The exercises of notebook 05: expansion, absorption, the whole of MLA, then blocks of latents and their cache."""

from lab_utils.course.chapters.ch05_latent import cases, hunts, mistakes
from lab_utils.course.exercise import Exercise, Property, call_on_its_device, call_with_gradients, run_test
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.count import cache_elements
from nanokimi.mask import block_visibility
from nanokimi.mla import MultiHeadLatentAttention, absorb_query, expand_latent

compress = BlockLatentAttention.compress


EXERCISES = (
    Exercise(
        name="expand_latent",
        notebook="05",
        core=expand_latent,
        cases=cases.expand_cases,
        observe=cases.observe_expand,
        mistakes=mistakes.EXPAND_LATENT,
        properties=(
            Property("the last channels of every head's key are the one rope key", cases.shares_rope_key),
        ),
        hints=(
            "For one head h and one token: k = [expand_k[h] @ c ; k_rope], v = expand_v[h] @ c. Which axes are added?",
            "torch.einsum says which letters remain: latent is 'btr', expand_k 'hnr', and the keys are 'bhtn'.",
            "k_rope[:, None].expand(-1, n_heads, -1, -1) is the same key for every head; torch.cat appends it.",
        ),
        moral="One latent per token gives the keys and values of all heads; one rope key adds the position.",
    ),
    Exercise(
        name="absorb_query",
        notebook="05",
        core=absorb_query,
        cases=cases.absorb_cases,
        observe=call_with_gradients,
        mistakes=mistakes.ABSORB_QUERY,
        properties=(
            Property("its dot product with [c ; k_rope] is the naive form's logit", cases.logits_stay),
        ),
        hints=(
            "Only the first nope channels of q change; the rope channels stay as they are, after them.",
            "expand_k.shape[1] is the number of nope channels. Multiply q_nope and expand_k over them, head by head.",
            "(batch, heads, seq, nope) @ (heads, nope, rank) multiplies head by head; torch.cat appends the rope part.",
        ),
        moral="The brackets move: q·(W c) = (Wᵀ q)·c. One product for the query replaces one for every cached token.",
    ),
    Exercise(
        name="test_sound_latents",
        notebook="05",
        core=hunts.test_sound_latents,
        cases=hunts.latents_cases,
        observe=run_test,
        mistakes=mistakes.LATENTS_TESTS,
        hints=(
            "Both forms compute the same logit. What is the naive form's scale, and what is the piece's?",
            "Build the naive answer in the test: expand_latent, then attend. Choose widths that are all different.",
            "expected = attend(q, k, v, (nope + rope) ** -0.5), with two tokens or more and a rank that is not nope.",
        ),
        moral="The scale follows from the variance of the logit, not from the width of the vectors that compute it.",
    ),
    Exercise(
        name="MultiHeadLatentAttention",
        notebook="05",
        core=MultiHeadLatentAttention,
        cases=cases.mla_cases,
        observe=cases.observe_mla,
        mistakes=mistakes.LATENT_ATTENTION + mistakes.LATENT_CACHE + mistakes.MLA_HEADS,
        tolerance=1e-4,
        properties=(
            Property("the cache gains kv_lora_rank + qk_rope_head_dim numbers per token", cases.cache_stays_small),
        ),
        hints=(
            "First without a cache: q with its rope part turned; latent and k_rope; expand_latent; attend; o_proj.",
            "self.kv_a_proj(x).split([kv_lora_rank, qk_rope_head_dim], -1); norm the first, turn the second. "
            "self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split([nope, v], dim=1) gives both expansions.",
            "With a cache: (entries,) = cache.append(torch.cat([latent, k_rope], -1)); the keys are these for every "
            "head, the values their first kv_lora_rank channels; attend with absorb_query's query, then @ expand_v.mT.",
        ),
        moral="Naive in training, absorbed in decoding: one function, two orders of the same products.",
    ),
    Exercise(
        name="test_sound_layer",
        notebook="05",
        core=hunts.test_sound_layer,
        cases=hunts.layer_cases,
        observe=run_test,
        mistakes=mistakes.LAYER_TESTS,
        hints=(
            "The outputs are right. Read what the piece gives to cache.append.",
            "A SequenceCache has .nbytes. How many should three tokens take?",
            "assert cache.nbytes == n_tokens * (kv_lora_rank + qk_rope_head_dim) * 4, with several heads.",
        ),
        moral="A layer may be called latent and store something else. Count the bytes.",
    ),
    Exercise(
        name="test_sound_summary",
        notebook="05",
        core=hunts.test_sound_summary,
        cases=hunts.summary_cases,
        observe=run_test,
        mistakes=mistakes.SUMMARY_TESTS + mistakes.SUMMARY_TESTS_OF_THE_PAST,
        hints=(
            "Change something late in the text. Which outputs must not change?",
            "Two inputs that agree up to token 4 must give outputs that agree up to token 4.",
            "torch.allclose(layer(x)[:, :5], layer(other)[:, :5], atol=1e-4), where other differs from token 5 on.",
        ),
        moral="One test of three lines finds what no loss curve shows: a leak makes the loss look better.",
    ),
    Exercise(
        name="compress",
        notebook="05",
        core=compress,
        cases=cases.compress_cases,
        observe=cases.observe_compress,
        mistakes=mistakes.COMPRESS + mistakes.COMPRESS_WEIGHTS,
        tolerance=1e-4,
        hints=(
            "It is attention with one head: what are the queries, the keys and the values?",
            "q = self.latent_q_proj(self.latents) is (n_latents, d_model); matmul broadcasts it over the blocks.",
            "weights = (q @ k.transpose(-1, -2) * d_model ** -0.5).softmax(dim=-1); then weights @ v.",
        ),
        moral="The summary of a block uses only its own tokens: without that there is no causality.",
    ),
    Exercise(
        name="block_visibility",
        notebook="05",
        core=block_visibility,
        cases=cases.visibility_cases,
        observe=call_on_its_device,
        mistakes=mistakes.BLOCK_VISIBILITY + mistakes.BLOCK_BORDERS,
        hints=(
            "Two masks side by side: one for the latents' columns, one for the tokens'. Draw them for b = 2, T = 4.",
            "block = position // block_len. The latents' blocks are 0, 0, 1, 1, ... for two latents a block.",
            "Latent: its block < the token's block. Token: same block and position <= own. torch.cat along dim 1.",
        ),
        moral="A token reads summaries only of blocks that ended before its own block began.",
    ),
    Exercise(
        name="cache_elements",
        notebook="05",
        core=cache_elements,
        cases=cases.element_cases,
        observe=cases.observe_elements,
        mistakes=mistakes.CACHE_ELEMENTS + mistakes.CACHE_TERMS,
        hints=(
            "Three kinds of attention, three formulas; all of them times n_layers. A GPTConfig has ordinary heads.",
            "Blocks: divmod(n_tokens, block_len) gives full blocks and open tokens.",
            "Latents and open tokens keep 2 · d_model each; open tokens also their input, d_model more.",
        ),
        moral="K2 keeps 35,136 numbers per token. Its 64 expanded heads would need 1,249,280.",
    ),
)  # fmt: skip
