"""The known wrong answers to clip_qk_, of notebook 07, about which heads are clipped and where their rows are."""

import torch
from torch import nn

from lab_utils.course.chapters.ch07_muon.mistakes.clip_qk import factor, scale_rows
from lab_utils.course.exercise import mistake


@mistake(
    "Heads below tau are scaled up to it: g is above 1 for them.",
    "Which g does a head need if its largest logit is below tau?",
)
def clip_qk_that_blows_up(self, max_qk_logit, tau):
    g = (tau / max_qk_logit)[:, None, None]
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
@torch.no_grad()
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
@torch.no_grad()
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
    "tau is used as a bound on the unscaled logits: it is divided by the layer's scale.",
    "Is `max_qk_logit` the logit before or after the multiplication by scale?",
)
def clip_qk_of_unscaled_logits(self, max_qk_logit, tau):
    g = factor(max_qk_logit / self.scale, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The factor is upside down: the logits grow.",
    "Is g above or below 1 for a head above tau?",
)
def clip_qk_upside_down(self, max_qk_logit, tau):
    g = 1 / factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The factor divides by the smaller of the logit and tau: heads above tau stay, and those below are scaled up.",
    "`max` or `min`: which gives g = 1 to a head below tau?",
)
def clip_qk_with_min_for_max(self, max_qk_logit, tau):
    g = (tau / max_qk_logit.clamp(max=tau))[:, None, None]
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "Nothing changes: the weights are multiplied in a copy, or not at all.",
    "Does your line change the rows of the weight itself, or a copy that it has taken of them?",
)
def clip_qk_of_a_copy(self, max_qk_logit, tau):
    return None


@mistake(
    "q_proj is read where there is none. The rows of a low-rank query are in q_b_proj, head by head.",
    "Which projection makes the heads' queries if q_lora_rank is set?",
)
def clip_qk_with_q_proj_only(self, max_qk_logit, tau):
    self.q_proj.weight.unflatten(0, (self.n_heads, -1))
    g = factor(max_qk_logit, tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "A low-rank query is not clipped: only q_proj is looked for.",
    "Which projection makes the heads' queries if q_lora_rank is set?",
)
def clip_qk_of_full_queries_only(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    if self.cfg.q_lora_rank is None:
        scale_rows(self, g.sqrt(), g, g.sqrt())
    else:
        scale_rows(self, k_nope=g.sqrt())


@mistake(
    "The rows are cut with the heads inside: row 0 to head 0, row 1 to head 1. The rows of a head lie together.",
    "Two heads of two nope and one rope rows: to which head does the second row belong?",
)
def clip_qk_with_heads_inside(self, max_qk_logit, tau):
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    g, n = factor(max_qk_logit, tau), self.cfg.qk_nope_head_dim
    with torch.no_grad():
        q = q_proj.weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1)
        q[:, :n].mul_(g.sqrt())
        q[:, n:].mul_(g)
        self.kv_b_proj.weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1)[:, :n].mul_(g.sqrt())


@mistake(
    "A head with a large negative logit is clipped too. A very negative logit gets no weight and does no harm.",
    "A head's largest logit is -500. Is it above tau?",
)
def clip_qk_of_absolute_values(self, max_qk_logit, tau):
    g = factor(max_qk_logit.abs(), tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "A head whose largest logit is below zero gets a factor that is no number, or a negative one.",
    "Which g does a head with the largest logit -3 need?",
)
def clip_qk_without_a_lower_bound(self, max_qk_logit, tau):
    g = (tau / max_qk_logit).clamp(max=1.0)[:, None, None]
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "All heads are clipped as soon as one is above tau, each by its own factor to tau.",
    "What should become of a head below tau?",
)
def clip_qk_of_all_when_one_is_above(self, max_qk_logit, tau):
    if bool((max_qk_logit > tau).any()):
        g = (tau / max_qk_logit)[:, None, None]
        scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The factor falls in a straight line, 1 - (S - tau)/S_max with the largest S of all heads. A head's factor is "
    "tau/S with its own S.",
    "By which factor must a logit of 12 be multiplied to become 3? What is yours?",
)
def clip_qk_in_a_straight_line(self, max_qk_logit, tau):
    g = (1 - (max_qk_logit - tau).clamp(min=0) / max_qk_logit.max())[:, None, None]
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "The query's rows are cut with the heads inside, unlike those of kv_b_proj. In both the rows of a head lie "
    "together.",
    "Which axis of q_proj.weight.unflatten(0, (-1, n_heads)) counts the heads, and which rows has head 0?",
)
def clip_qk_with_the_querys_heads_inside(self, max_qk_logit, tau):
    g, n = factor(max_qk_logit, tau), self.cfg.qk_nope_head_dim
    q_proj = self.q_proj if self.cfg.q_lora_rank is None else self.q_b_proj
    rows = q_proj.weight.unflatten(0, (-1, self.n_heads)).transpose(0, 1)
    with torch.no_grad():
        rows[:, :n].mul_(g.sqrt())
        rows[:, n:].mul_(g)
    scale_rows(self, k_nope=g.sqrt())


@mistake(
    "The loop over the heads ends at the first one below tau: those behind it are not clipped.",
    "`break` or `continue`: which of them goes on with the next head?",
)
def clip_qk_up_to_the_first_below(self, max_qk_logit, tau):
    above = (max_qk_logit > tau).cumprod(dim=0).bool()
    g = factor(max_qk_logit.where(above, tau), tau)
    scale_rows(self, g.sqrt(), g, g.sqrt())


@mistake(
    "A low-rank query is not clipped, and the key's nope rows take all of g there. The heads' queries are in q_b_proj.",
    "Which projection makes the heads' queries if q_lora_rank is set?",
)
def clip_qk_of_the_key_alone_for_low_ranks(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    if self.cfg.q_lora_rank is None:
        scale_rows(self, g.sqrt(), g, g.sqrt())
    else:
        scale_rows(self, k_nope=g)


@mistake(
    "In kv_b_proj the keys of all heads are looked for in the first rows. The rows are ordered by head: a head's nope "
    "key rows, then its value rows.",
    "Two heads of two nope and one value rows: to which head, and which part, does the third row belong?",
)
def clip_qk_with_all_keys_first(self, max_qk_logit, tau):
    g = factor(max_qk_logit, tau)
    root = g.sqrt().flatten().repeat_interleave(self.cfg.qk_nope_head_dim)[:, None]
    scale_rows(self, g.sqrt(), g)
    with torch.no_grad():
        self.kv_b_proj.weight[: len(root)].mul_(root)


GRADIENTS_ON = (
    "The change is recorded for a backward pass, and torch lets nobody change a weight in place there.",
    "Which line stands above `def clip_qk_` in the stub?",
)


@mistake(*GRADIENTS_ON)
def clip_qk_with_gradients_on(self, max_qk_logit, tau):
    with torch.enable_grad():
        self.kv_b_proj.weight[:1].mul_(1.0)


@mistake(*GRADIENTS_ON)
def clip_qk_of_leaves(self, max_qk_logit, tau):
    with torch.enable_grad():
        self.kv_b_proj.weight.mul_(1.0)


@mistake(
    "`max_qk_logit` is changed in place. It belongs to the caller, who may report it.",
    "Which of your calls end in _, and which tensor does each of them change?",
)
def clip_qk_changing_the_logits(self, max_qk_logit, tau):
    g = (tau / max_qk_logit.clamp_(min=tau))[:, None, None]
    scale_rows(self, g.sqrt(), g, g.sqrt())


CLIP_QK_HEADS = (
    clip_qk_with_all_keys_first,
    clip_qk_up_to_the_first_below,
    clip_qk_of_the_key_alone_for_low_ranks,
    clip_qk_with_gradients_on,
    clip_qk_of_leaves,
    clip_qk_changing_the_logits,
    clip_qk_that_blows_up,
    clip_qk_of_every_head,
    clip_qk_with_rope_first,
    clip_qk_ordered_by_part,
    clip_qk_with_new_parameters,
    clip_qk_of_unscaled_logits,
    clip_qk_upside_down,
    clip_qk_with_min_for_max,
    clip_qk_of_a_copy,
    clip_qk_with_q_proj_only,
    clip_qk_of_full_queries_only,
    clip_qk_with_heads_inside,
    clip_qk_of_absolute_values,
    clip_qk_without_a_lower_bound,
    clip_qk_of_all_when_one_is_above,
    clip_qk_in_a_straight_line,
    clip_qk_with_the_querys_heads_inside,
)
