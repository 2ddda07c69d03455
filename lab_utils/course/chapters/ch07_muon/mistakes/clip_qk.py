"""The known wrong answers to clip_qk_, of notebook 07: a factor on the wrong part, or a wrong one."""

import torch

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
    "Only the query is shrunk, by all of g. So query and key drift apart in size: each should take its part.",
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
    "The query's nope rows take all of g, and the key's nope rows sqrt(g) on top: their product shrinks too far.",
    "By how much must the product of query and key shrink, and which part of that does each take?",
)
def clip_qk_of_the_query_too_far(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g, g.sqrt())


@mistake(
    "The key's nope rows take all of g, and the query's sqrt(g) on top: their product shrinks too far.",
    "By how much must the product of query and key shrink, and which part of that does each take?",
)
def clip_qk_of_the_key_too_far(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g)


@mistake(
    "The nope part of the query is left as it is, and the key takes all of g. So query and key drift apart in size: "
    "each should take its part.",
    "Which rows of the query's projection should change?",
)
def clip_qk_of_the_key_alone(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, None, g, g)


@mistake(
    "Nope and rope are exchanged on the query: the nope rows take g, the rope rows sqrt(g).",
    "Which of the two query parts meets a key that cannot shrink?",
)
def clip_qk_with_factors_exchanged(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g, g.sqrt(), g.sqrt())


@mistake(
    "The nope rows of kv_b_proj, the key's, are left as they are.",
    "Both sides of the nope part take sqrt(g). Which side is missing?",
)
def clip_qk_without_the_key(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g)


@mistake(
    "The query's rows are left as they are.",
    "Which three blocks of rows change?",
)
def clip_qk_without_the_query(self, max_qk_logit, tau):
    scale_rows(self, k_nope=factor(max_qk_logit, tau).sqrt())


@mistake(
    "The rows of the shared rope key shrink too. They serve every head, those below tau as well.",
    "Which heads see a change of kv_a_proj?",
)
def clip_qk_of_the_shared_key(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g.sqrt(), g.sqrt())
    with torch.no_grad():
        self.kv_a_proj.weight[self.cfg.kv_lora_rank :].mul_(g.min().sqrt())


@mistake(
    "All factors have one root too many: g to the power 1/4 on the nope sides, sqrt(g) on the rope query.",
    "How often is the root taken in your code?",
)
def clip_qk_with_a_root_too_many(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau).sqrt()
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The nope sides take the fourth root of g.",
    "By how much does a product shrink if each side shrinks by the fourth root?",
)
def clip_qk_with_fourth_roots(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g**0.25, g, g**0.25)


@mistake(
    "The rope rows of the query take g². Their key does not change, so g is enough.",
    "By how much must the rope part of a logit shrink?",
)
def clip_qk_squaring_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g**2, g.sqrt())


@mistake(
    "The query's nope rows stay as they are: their product with the factor is a new tensor, and the weight keeps the "
    "old numbers, or nothing is multiplied at all.",
    "Which of your lines change a weight, and which only give a new tensor a name?",
)
def clip_qk_without_the_querys_nope_rows(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, None, g, g.sqrt())


@mistake(
    "The factor is S/tau, and 1 for heads above tau: it shrinks those below, and a head above stays as it is.",
    "A head with S = 10 and tau = 5: which g brings its logit down to tau?",
)
def clip_qk_by_the_inverse(self, max_qk_logit, tau):
    g = (max_qk_logit / tau).clamp(max=1)[:, None, None]
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "In the query the nope rows are cut off where the rope's width ends. A head's rows are nope, then rope.",
    "Which of qk_nope_head_dim and qk_rope_head_dim says how many rows come first?",
)
def clip_qk_cut_at_the_ropes_width(self, max_qk_logit, tau):
    g, r = factor(max_qk_logit, tau), self.cfg.qk_rope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    with torch.no_grad():
        q = q_proj.weight.unflatten(0, (self.n_heads, -1))
        q[:, :r].mul_(g.sqrt())
        q[:, r:].mul_(g)
    scale_rows(self, k_nope=g.sqrt())


@mistake(
    "In query and key the nope rows are cut off where the rope's width ends.",
    "Which of qk_nope_head_dim and qk_rope_head_dim says how many rows come first?",
)
def clip_qk_cut_at_the_ropes_width_twice(self, max_qk_logit, tau):
    g, r = factor(max_qk_logit, tau), self.cfg.qk_rope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    with torch.no_grad():
        q = q_proj.weight.unflatten(0, (self.n_heads, -1))
        q[:, :r].mul_(g.sqrt())
        q[:, r:].mul_(g)
        self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))[:, :r].mul_(g.sqrt())


@mistake(
    "The rows of a head in kv_b_proj are counted with the query's width, nope + rope. There a head has nope + v rows.",
    "Which rows of kv_b_proj belong to head 1?",
)
def clip_qk_counting_rows_of_the_query(self, max_qk_logit, tau):
    g, n = factor(max_qk_logit, tau), self.cfg.qk_nope_head_dim
    scale_rows(self, g.sqrt(), g)
    with torch.no_grad():
        for h, each in enumerate(g.sqrt()):
            start = h * (n + self.cfg.qk_rope_head_dim)
            self.kv_b_proj.weight[start : start + n].mul_(each[0])


@mistake(
    "In kv_b_proj the last rows of a head are taken for the key's. The nope rows come first, the values after them.",
    "In which order does the comment beside kv_b_proj name a head's rows?",
)
def clip_qk_with_values_first(self, max_qk_logit, tau):
    g, n = factor(max_qk_logit, tau), self.cfg.qk_nope_head_dim
    scale_rows(self, g.sqrt(), g)
    with torch.no_grad():
        self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1))[:, -n:].mul_(g.sqrt())


@mistake(
    "The query's rope rows take sqrt(g), and g on top of it. g is all that they should take.",
    "By how much do the rope rows shrink in all, and by how much should they?",
)
def clip_qk_with_root_and_all_on_rope(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g**1.5, g.sqrt())


CLIP_QK_PARTS = (
    clip_qk_without_the_querys_nope_rows,
    clip_qk_by_the_inverse,
    clip_qk_cut_at_the_ropes_width,
    clip_qk_cut_at_the_ropes_width_twice,
    clip_qk_counting_rows_of_the_query,
    clip_qk_with_values_first,
    clip_qk_with_root_on_rope,
    clip_qk_squared,
    clip_qk_of_values_too,
    clip_qk_of_the_query_alone,
    clip_qk_without_rope,
    clip_qk_of_the_query_too_far,
    clip_qk_of_the_key_too_far,
    clip_qk_of_the_key_alone,
    clip_qk_with_factors_exchanged,
    clip_qk_without_the_key,
    clip_qk_without_the_query,
    clip_qk_of_the_shared_key,
    clip_qk_with_a_root_too_many,
    clip_qk_with_fourth_roots,
    clip_qk_squaring_rope,
    clip_qk_with_root_and_all_on_rope,
)
