"""For the exercises of notebook 06."""

import torch

from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.loss import balance_term
from nanokimi.moe import MoE, dispatch
from tests.course.equivalents import name_mutants


def moe(change) -> type:
    """The core's layer with another sum at its end."""

    def forward(self, x):
        stats = self.route(x)
        routed = dispatch(
            x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), self.experts
        ).view_as(x)
        shared = torch.zeros_like(x) if self.shared_experts is None else self.shared_experts(x)
        return change(self, x, stats, routed, shared), stats

    return type("MoEChanged", (MoE,), {"forward": forward})


def block(change) -> type:
    """The core's block, its parts put together otherwise. A part norms what it reads."""

    def forward(self, x, rotation, cache, with_max):
        maxima = []

        def attention(x):
            out = self.self_attn(self.input_layernorm(x), rotation, cache, with_max)
            maxima.append(out.max_qk_logit)
            return out.out

        stats = [None]

        def mlp(x):
            y = self.mlp(self.post_attention_layernorm(x))
            if isinstance(y, tuple):
                y, stats[0] = y
            return y

        return change(self, x, attention, mlp), stats[0], maxima[0]

    return type("BlockChanged", (KimiBlock,), {"forward": forward})


def kimi(change) -> type:
    """The core's model with another output."""

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        out = Kimi.forward(self, tokens, cache, with_max_qk_logit)
        return change(self, tokens, out)

    return type("KimiChanged", (Kimi,), {"forward": forward})


def kimi_made(change) -> type:
    """The core's model, changed after it is made."""

    def init(self, cfg, seed=0):
        Kimi.__init__(self, cfg, seed)
        change(self)

    return type("KimiMadeOtherwise", (Kimi,), {"__init__": init})


@torch.no_grad()
def _bigger_head(model):
    model.lm_head.weight.mul_(2)


def term(change):
    """The core's balance term, changed afterwards."""

    def changed(routing, cfg):
        return change(balance_term(routing, cfg), routing, cfg)

    return changed


EXTRA = {
    "MoE": (
        moe(lambda self, x, stats, routed, shared: routed - shared),
        moe(lambda self, x, stats, routed, shared: (routed + shared) / 2),
        moe(lambda self, x, stats, routed, shared: shared),
        moe(lambda self, x, stats, routed, shared: routed + shared.detach()),
        moe(lambda self, x, stats, routed, shared: routed.detach() + shared),
        moe(lambda self, x, stats, routed, shared: routed * shared),
        moe(lambda self, x, stats, routed, shared: routed + shared / self.cfg.top_k),
        moe(lambda self, x, stats, routed, shared: routed + 2 * shared),
        moe(lambda self, x, stats, routed, shared: routed / self.cfg.top_k + shared),
    ),
    "KimiBlock": (
        block(lambda self, x, attention, mlp: (h := x + mlp(x)) + attention(h)),
        block(lambda self, x, attention, mlp: (h := x - attention(x)) + mlp(h)),
        block(lambda self, x, attention, mlp: (h := x + attention(x)) - mlp(h)),
        block(lambda self, x, attention, mlp: (h := x + attention(x)) + h + mlp(h)),
        block(lambda self, x, attention, mlp: x + mlp(x + attention(x))),
        block(lambda self, x, attention, mlp: x + (h := attention(x)) + mlp(h)),
        block(lambda self, x, attention, mlp: (h := x + attention(x)) + mlp(h).detach()),
        block(lambda self, x, attention, mlp: (h := x + attention(x).detach()) + mlp(h)),
        block(lambda self, x, attention, mlp: ((h := x + attention(x)) + mlp(h)) / 2),
        block(lambda self, x, attention, mlp: (h := x + 0.5 * attention(x)) + mlp(h)),
    ),
    "Kimi": (
        kimi(lambda self, tokens, out: out._replace(logits=out.logits.log_softmax(-1))),
        kimi(lambda self, tokens, out: out._replace(logits=-out.logits)),
        kimi(lambda self, tokens, out: out._replace(logits=out.logits / self.cfg.d_model**0.5)),
        kimi(
            lambda self, tokens, out: out._replace(
                logits=out.logits + self.lm_head(self.embed_tokens(tokens))
            )
        ),
        kimi(lambda self, tokens, out: out._replace(logits=out.logits.tanh())),
        kimi(lambda self, tokens, out: out._replace(routing=out.routing * 2)),
        kimi_made(lambda self: setattr(self, "layers", self.layers[::-1])),
        kimi_made(_bigger_head),
    ),
    "balance_term": (
        term(lambda t, routing, cfg: -t),
        term(lambda t, routing, cfg: t + 1),
        term(lambda t, routing, cfg: 2 * t),
        term(lambda t, routing, cfg: t.square()),
        term(lambda t, routing, cfg: t / 2),
        term(lambda t, routing, cfg: t[None]),
        term(lambda t, routing, cfg: t.double()),
        term(lambda t, routing, cfg: t + cfg.bias_update_rate),
        term(lambda t, routing, cfg: 0 * t),
    ),
}

IN_FLOAT32 = "the check's numbers are float32 already"
EQUIVALENT = {
    "Kimi": name_mutants(
        "if with_max_qk_logit:",
        ("if with", "if not with", "only an attention of one's own can lack what is asked for there"),
    )
    | name_mutants(
        "names = (self.cfg.attention_of(layer) for layer in range(self.cfg.n_layers))",
        ("self.cfg.attention_of(layer)", "_unchanged(self.cfg)", "all layers of these models cache alike"),
    )
    | name_mutants(
        "_try_own_attention(cfg, self.layers[0].get_submodule('self_attn'), self.rope_dim)",
        (
            "self.layers[0].get_submodule('self_attn')",
            "_unchanged(self.layers[0])",
            "only an attention of one's own is tried",
        ),
    ),
    "MoE": name_mutants(
        "return topk_route(F.linear(x.float(), self.gate.float()), self.expert_bias, self.cfg)",
        ("x.float()", "_unchanged(x)", IN_FLOAT32),
        ("self.gate.float()", "_unchanged(self.gate)", IN_FLOAT32),
    ),
}
