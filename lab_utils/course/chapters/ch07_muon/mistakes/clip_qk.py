"""The known wrong answers to clip_qk_, of notebook 07."""

import torch
from torch import nn

from lab_utils.course.exercise import mistake


def factor(max_qk_logit, tau):
    return (tau / max_qk_logit.clamp(min=tau))[:, None, None]


@torch.no_grad()
def scale_rows(layer, q_nope=None, q_rope=None, k_nope=None, v=None):
    """Multiply the named rows of the two projections, where there is a factor for them."""
    q_proj = layer.q_proj if layer.cfg.q_lora_rank is None else layer.q_b_proj
    n = layer.cfg.qk_nope_head_dim
    q = q_proj.weight.unflatten(0, (layer.n_heads, -1))
    kv = layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1))
    for rows, by in ((q[:, :n], q_nope), (q[:, n:], q_rope), (kv[:, :n], k_nope), (kv[:, n:], v)):
        if by is not None:
            rows.mul_(by)


@mistake(
    "The query's rope rows take sqrt(g) only. Their key is shared and cannot take the other half.",
    "The rope part of a logit is a product of two. Which of the two did you shrink, and by how much?",
)
def clip_qk_with_root_on_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g.sqrt(), g.sqrt())


@mistake(
    "The nope rows of query and key each take all of g: their product shrinks by g².",
    "Two factors shrink by g each. By how much does their product shrink?",
)
def clip_qk_squared(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g, g)


@mistake(
    "The values are scaled too. They are no part of a logit.",
    "kv_b_proj makes keys and values. Which of its rows may change?",
)
def clip_qk_of_values_too(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt(), g.sqrt())


@mistake(
    "Heads below tau are scaled up to it: g is above 1 for them.",
    "Which g does a head need if its largest logit is below tau?",
)
def clip_qk_that_blows_up(self, max_qk_logit, tau):
    g = (tau / max_qk_logit)[:, None, None].clamp(min=1e-6)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "Every head is shrunk by the factor of the worst one.",
    "QK-clip has one g per head. How many does yours have?",
)
def clip_qk_of_every_head(self, max_qk_logit, tau):
    g = factor(max_qk_logit.max().expand(self.n_heads), tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The rope rows are treated as the first ones. In a head's rows the nope part comes first.",
    "In which order does the layer split a head's query?",
)
def clip_qk_with_rope_first(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    r = self.cfg.qk_rope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    rows = q_proj.weight.unflatten(0, (self.n_heads, -1))
    rows[:, :r].mul_(g)
    rows[:, r:].mul_(g.sqrt())
    scale_rows(self, k_nope=g.sqrt())


@mistake(
    "The clip expects all nope rows first, and all rope rows (or values) after them. The rows are ordered by head.",
    "Two heads of two nope and one rope rows: to which head does the third row belong?",
)
def clip_qk_ordered_by_part(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    n, r = self.cfg.qk_nope_head_dim, self.cfg.qk_rope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    root = g.sqrt().flatten().repeat_interleave(n)[:, None]
    q_proj.weight[: len(root)].mul_(root)
    q_proj.weight[len(root) :].mul_(g.flatten().repeat_interleave(r)[:, None])
    self.kv_b_proj.weight[: len(root)].mul_(root)


@mistake(
    "The weights are replaced by new parameters. The optimizer holds the old ones, and the layer never learns again.",
    "Is `layer.kv_b_proj.weight` the same object before and after?",
)
def clip_qk_with_new_parameters(self, max_qk_logit, tau):
    for name in ("q_proj" if self.cfg.q_lora_rank is None else "q_b_proj", "kv_b_proj"):
        projection = getattr(self, name)
        projection.weight = nn.Parameter(projection.weight.clone())
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "Only the query is shrunk, by all of g. The logits come out right, but query and key drift apart in size: "
    "each should take its part.",
    "Which rows of kv_b_proj should change?",
)
def clip_qk_of_the_query_alone(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g)


@mistake(
    "The rope rows are left as they are, so the rope part of the logits does not shrink.",
    "A logit has two parts. Which factor does each get?",
)
def clip_qk_without_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), None, g.sqrt())


@mistake(
    "tau is used as a bound on the unscaled logits: it is divided by the layer's scale.",
    "Is `max_qk_logit` the logit before or after the multiplication by scale?",
)
def clip_qk_of_unscaled_logits(self, max_qk_logit, tau):
    g = factor(max_qk_logit / self.scale, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


CLIP_QK = (
    clip_qk_with_root_on_rope,
    clip_qk_squared,
    clip_qk_of_values_too,
    clip_qk_that_blows_up,
    clip_qk_of_every_head,
    clip_qk_with_rope_first,
    clip_qk_ordered_by_part,
    clip_qk_with_new_parameters,
    clip_qk_of_the_query_alone,
    clip_qk_without_rope,
    clip_qk_of_unscaled_logits,
)
