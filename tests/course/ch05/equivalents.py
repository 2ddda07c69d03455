"""For the exercises of notebook 05."""

import torch

from nanokimi.block_latent import BlockLatentAttention
from nanokimi.mask import block_visibility
from nanokimi.mla import absorb_query, expand_latent
from tests.course.equivalents import name_mutants


def expand(change):
    """The core's keys and values, changed."""

    def changed(latent, k_rope, expand_k, expand_v):
        return change(*expand_latent(latent, k_rope, expand_k, expand_v), expand_k.shape[1])

    return changed


def absorb(change):
    """The core's query, cut into its absorbed and its rope part, put together otherwise."""

    def changed(q, expand_k):
        made = absorb_query(q, expand_k)
        return change(made[..., : expand_k.shape[2]], made[..., expand_k.shape[2] :])

    return changed


def joined(a, r):
    return torch.cat([a, r], dim=-1)


def after(core, change):
    """The core's result, changed."""

    def changed(*args):
        return change(core(*args))

    return changed


EXTRA = {
    "expand_latent": (
        expand(lambda k, v, nope: (v, k)),
        expand(lambda k, v, nope: (k, -v)),
        expand(lambda k, v, nope: (k.flip(1), v.flip(1))),
        expand(lambda k, v, nope: (k.mT, v)),
        expand(lambda k, v, nope: (k, v.detach())),
        expand(lambda k, v, nope: (torch.cat([k[..., :nope], k[..., nope:].detach()], -1), v)),
        expand(lambda k, v, nope: (torch.cat([k[..., :nope], 2 * k[..., nope:]], -1), v)),
        expand(lambda k, v, nope: (k, v / v.shape[1])),
    ),
    "absorb_query": (
        absorb(lambda a, r: joined(a, -r)),
        absorb(lambda a, r: joined(-a, r)),
        absorb(lambda a, r: joined(a, r.flip(-1))),
        absorb(lambda a, r: joined(a.flip(1), r.flip(1))),
        absorb(lambda a, r: joined(a, r.detach())),
        absorb(lambda a, r: joined(a.detach(), r)),
        absorb(lambda a, r: joined(a, 0 * r)),
        absorb(lambda a, r: joined(a, r).transpose(1, 2)),
        absorb(lambda a, r: joined(a.mean(1, keepdim=True).expand_as(a), r)),
        absorb(lambda a, r: joined(2 * a, r)),
        absorb(lambda a, r: joined(a.softmax(-1), r)),
    ),
    "compress": (
        after(BlockLatentAttention.compress, lambda z: -z),
        after(BlockLatentAttention.compress, lambda z: z.detach()),
        after(BlockLatentAttention.compress, lambda z: z.cumsum(dim=1)),
        after(BlockLatentAttention.compress, lambda z: z.flip(1)),
    ),
    "block_visibility": (
        after(block_visibility, lambda mask: mask.flip(0)),
        after(block_visibility, lambda mask: mask.float()),
        after(block_visibility, lambda mask: mask.T),
        after(block_visibility, lambda mask: mask.roll(1, 0)),
        after(block_visibility, lambda mask: mask.flip(1)),
        after(block_visibility, lambda mask: mask.cumsum(1) > 1),
        after(block_visibility, lambda mask: mask[:, :-1]),
    ),
}

NO_ORDER = "two dimensions change places, whichever is named first"
EQUIVALENT = {
    "cache_elements": name_mutants(
        "_require_known(cfg, 'numbers in the cache')",
        (
            "cfg, 'numbers in the cache'",
            "'numbers in the cache', cfg",
            "no case has an attention of one's own",
        ),
    ),
    "MultiHeadLatentAttention": name_mutants(
        "k = entries[:, None].expand(-1, self.n_heads, -1, -1)",
        (
            "entries[:, None].expand(-1, self.n_heads, -1, -1)",
            "_unchanged(entries[:, None])",
            "one head of keys is spread over all heads anyway",
        ),
    )
    | name_mutants(
        "heads = mixed[..., :self.cfg.kv_lora_rank] @ expand_v.transpose(1, 2)",
        ("transpose(1, 2)", "transpose(2, 1)", NO_ORDER),
    )
    | name_mutants(
        "mixed = attend_shared(q, entries, entries, self.scale, visible_entries(cache, q))",
        ("(cache, q)", "(q, cache)", "only a batch of different lengths has padding"),
    ),
    "compress": name_mutants(
        "weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** (-0.5)).softmax(dim=-1)",
        ("k.transpose(-1, -2)", "k.transpose(-2, -1)", NO_ORDER),
    ),
}
