"""An answer that leaves out an argument, a field of a configuration, a gradient or a promise of cost fails its check.

`ignorance.py` makes such answers from the core; what is listed here may be left out, each with its reason.
"""

from fnmatch import fnmatch

import pytest
import torch

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import judge
from nanokimi.attention import AttentionOutput, attend, join_heads, split_heads
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.generate import generate, next_token_probs
from nanokimi.mla import MultiHeadLatentAttention, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope
from tests.course.acceptance import Acceptance
from tests.course.ignorance import ways_to_ignore
from tests.sample import sample

# Where the answer is a test it gets what it tests, and nothing else.
EXERCISES = [e for e in all_exercises().values() if not e.name.startswith("test_")]
QUICK = {
    "windows",
    "split_heads",
    "causal_mask",
    "apply_rope",
    "swiglu",
    "max_violation",
    "compress",
    "max_logit",
}

GRADIENTS = ("torch.no_grad()", "no gradient for *", "*: detached")
NO_GRADIENT = {
    "merge_most_frequent": "whole numbers",
    "token_bytes": "whole numbers",
    "windows": "whole numbers",
    "causal_mask": "true and false",
    "rope_frequencies": "constants",
    "derived_scaling_factor": "a Python number",
    "expert_load": "whole numbers",
    "max_violation": "a Python number",
    "update_expert_bias_": "a change in place without gradient, as the stub says",
    "block_visibility": "true and false",
    "cache_elements": "a Python number",
    "newton_schulz": "it makes the step of an optimizer, which has no gradient",
    "Muon": "an optimizer changes in place without gradient",
    "build_optimizers": "a list of optimizers",
    "lr_at": "a Python number",
    "max_logit": "a report that QK-clip reads, which has no gradient",
    "clip_qk_": "a change in place without gradient, as the stub says",
    "next_token_probs": "a distribution to draw from",
    "SequenceCache": "decoding has no gradient",
    "generate": "whole numbers",
    "micro_batches_of": "whole numbers",
    "whole_gradient": "it is a gradient itself",
    "bytes_held": "a Python number",
    "send_counts": "whole numbers",
    "regroup": "whole numbers",
    "waiting_seconds": "seconds that were measured",
    "nodes_visited": "whole numbers",
    "traffic_per_token": "a Python number",
}
WHICH_ATTENTION = "which of cfg.mla and cfg.block_latent is set says it as well"
MAY_BE_LEFT_OUT = {
    "token_bytes": {"torch.int16 for whole numbers": "no token has so many bytes"},
    "next_token_loss": {"float32 whatever comes": "the stub asks for float32"},
    "rope_frequencies": {
        "cfg.yarn: *": "the stub says that it is None here",
        "float32 whatever comes": "the stub asks for float32",
        "bfloat16 for bfloat16": "no number comes in that has a format",
    },
    "max_logit": {"float32 whatever comes": "the stub asks for float32"},
    "next_token_probs": {"float32 whatever comes": "the stub asks for float32"},
    "topk_route": {"expert_bias: detached": "no gradient moves the bias, as it only steers the choice"},
    "load_balance_loss": {"stats.scores: *": "the stub says that the router's own scores do not count"},
    "sequence_balance_loss": {
        "stats.expert_idx: the first one": "the stub says that only its last axis counts"
    },
    "compress": {
        "no gradient for [qkvo]_proj.weight": "these weights of the layer belong to the tokens' attention",
    },
    "cache_elements": {"cfg.attention: *": WHICH_ATTENTION},
    "KimiBlock": {"cfg.attention: *": WHICH_ATTENTION},
    "Muon": {
        "closure: *": "the stub says that it is not used",
        "float32 whatever comes": "step returns nothing",
    },
    "build_optimizers": {"float32 whatever comes": "it returns no tensor"},
    "nodes_visited": {"torch.*int* for whole numbers": "no cluster has so many nodes"},
}


def _reason(exercise: Exercise, left_out: str) -> str:
    """Why this may be left out; empty where it may not."""
    if exercise.name in NO_GRADIENT and any(fnmatch(left_out, kind) for kind in GRADIENTS):
        return NO_GRADIENT[exercise.name]
    listed = MAY_BE_LEFT_OUT.get(exercise.name, {})
    return next((why for pattern, why in listed.items() if fnmatch(left_out, pattern)), "")


@pytest.mark.filterwarnings("ignore")  # an answer may do what torch warns of
@pytest.mark.parametrize(
    "exercise",
    [pytest.param(e, id=e.name, marks=[] if e.name in QUICK else [pytest.mark.slow]) for e in EXERCISES],
)
def test_nothing_can_be_left_out(exercise: Exercise):
    check, survivors = Acceptance(exercise), []
    listed, ways = MAY_BE_LEFT_OUT.get(exercise.name, {}), list(ways_to_ignore(exercise))
    used = {pattern for pattern in listed for left_out, _ in ways if fnmatch(left_out, pattern)}
    for left_out, make in sample((way for way in ways if not _reason(exercise, way[0])), 6):
        if check.accepts(make()):
            survivors.append(left_out)
    assert survivors == [], (
        "these pass the check without it: add a case in which it matters, or say here why not"
    )
    assert used == set(listed), "listed, and nobody leaves it out (any more)"


def test_unknown_names_do_not_hide_in_the_lists():
    assert {*NO_GRADIENT, *MAY_BE_LEFT_OUT} <= {e.name for e in EXERCISES}


def test_the_ways_are_found():
    """A sample of each kind, worked out by hand."""
    found = {left_out for left_out, _ in ways_to_ignore(find("attend"))}
    assert {"scale: the first one", "visible: its default", "q: detached", "torch.no_grad()"} <= found
    found = {left_out for left_out, _ in ways_to_ignore(find("RMSNorm"))}
    assert {"eps: the first one", "x: detached", "no gradient for weight", "float32 whatever comes"} <= found
    found = {left_out for left_out, _ in ways_to_ignore(find("topk_route"))}
    assert {"cfg.top_k: the first one", "cfg.scoring: its default", "logits: detached"} <= found


# ---------------------------------------------------------------- promises that no argument makes


def generate_without_a_cache(
    model, prompt, max_new_tokens, *, temperature=1.0, top_k=None, top_p=None, seed=0, stop_id=None
):
    if not 1 <= len(prompt) <= model.cfg.max_seq_len or max_new_tokens < 1:
        raise ValueError
    tokens, seen = list(prompt), list(prompt)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(max_new_tokens):
        if len(seen) > model.cfg.max_seq_len:
            seen = tokens[-max(1, model.cfg.max_seq_len // 2) :]
        with torch.no_grad():
            logits = model(torch.tensor([seen])).logits[0, -1]
        probs = next_token_probs(logits, temperature, top_k, top_p)
        token = int(torch.multinomial(probs, 1, generator=generator))
        if token == stop_id:
            return
        tokens.append(token)
        seen = [*seen, token]
        yield token


def ignoring(name):
    """`generate`, which refuses a wrong value of the setting `name` and uses none."""

    def changed(model, prompt, max_new_tokens, **settings):
        next_token_probs(torch.zeros(3), **{name: settings.pop(name, None)})
        yield from generate(model, prompt, max_new_tokens, **settings)

    return changed


def probs_ignoring(name):
    """`next_token_probs`, which refuses a wrong value of the setting `name` and uses none."""

    def changed(logits, temperature=1.0, top_k=None, top_p=None):
        settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        next_token_probs(logits, **settings)
        return next_token_probs(logits, **settings | {name: None})

    return changed


class ExpandingAgain(MultiHeadLatentAttention):
    """Small in memory, and in each step all keys and values are expanded once more; `parts` are what is expanded."""

    parts = "keys and values"

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        cfg, q = self.cfg, self._queries(x, rotation)
        latent, k_rope = self.kv_a_proj(x).split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], -1)
        latent, k_rope = self.kv_a_layernorm(latent), apply_rope(k_rope, rotation)
        if cache is not None:
            (entries,) = cache.append(torch.cat([latent, k_rope], dim=-1))
            latent, k_rope = entries.split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], -1)
        expand_k, expand_v = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(
            [cfg.qk_nope_head_dim, cfg.v_head_dim], dim=1
        )
        if self.parts == "keys" and cache is not None:
            k, _ = expand_latent(latent, k_rope, expand_k, expand_v[:, :0])
            heads = attend(q, k, latent[:, None].expand(-1, self.n_heads, -1, -1), self.scale) @ expand_v.mT
        else:
            k, v = expand_latent(latent, k_rope, expand_k, expand_v)
            heads = attend(q, k, v, self.scale)
        largest = max_logit(q, k, self.scale) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(join_heads(heads)), largest)


class ExpandingKeysAgain(ExpandingAgain):
    parts = "keys"


class NeedingRows(ExpertBank):
    """torch.cat of an empty list raises."""

    def forward(self, rows, counts):
        experts = zip(rows.split(list(counts)), self.gate_up_proj, self.down_proj)
        return torch.cat([swiglu(run, gate_up, down) for run, gate_up, down in experts if len(run)])


def violation_either_way(load):
    return ((load - load.mean()).abs().max() / load.mean()).item()


@torch.no_grad()
def bias_by_a_whole_mean(expert_bias, load, rate):
    step = rate * (load.sum() // len(load) - load).sign()
    expert_bias += step - step.mean()


def heads_without_gradient(x, n_heads):
    return split_heads(x.detach(), n_heads)


WRONG: list[tuple[str, object]] = [
    ("generate", generate_without_a_cache),
    ("generate", ignoring("top_k")),
    ("generate", ignoring("top_p")),
    ("next_token_probs", probs_ignoring("top_k")),
    ("next_token_probs", probs_ignoring("top_p")),
    ("MultiHeadLatentAttention", ExpandingAgain),
    ("MultiHeadLatentAttention", ExpandingKeysAgain),
    ("ExpertBank", NeedingRows),
    ("max_violation", violation_either_way),
    ("update_expert_bias_", bias_by_a_whole_mean),
    ("attend", torch.no_grad()(attend)),
    ("split_heads", heads_without_gradient),
]


@pytest.mark.parametrize(("name", "answer"), WRONG, ids=[f"{name}-{i}" for i, (name, _) in enumerate(WRONG)])
def test_a_broken_promise_fails(name, answer):
    result = judge(find(name), answer)
    assert result.status == "failed", result
