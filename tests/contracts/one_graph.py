"""Compile every kind of model as a whole: `python -m tests.contracts.one_graph` prints the arms that agree.

In a process of its own, because the tests check all shapes at run time, and that cannot be compiled.
"""

from dataclasses import replace

import torch

from lab_utils.bench.plan import Arm, make_plan
from nanokimi import experts
from nanokimi.compiled.whole import hold_constants
from nanokimi.config import KimiConfig
from nanokimi.device import autocast
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.model import build_model
from nanokimi.system import by_run
from nanokimi.system.replaced import recompute


def list_arms() -> list[Arm]:
    """The arms of the ladder, and a Kimi with block latents."""
    arms = make_plan("smoke", "ladder").arms
    kimi = next(arm for arm in arms if arm.name == "kimi")
    return [
        *arms,
        replace(kimi, name="blocks", model=replace(kimi.model, attention="block_latent", mla=None)),
    ]


def compile_whole(arm: Arm, again: bool) -> None:
    """Forward pass, loss and backward pass as one graph, against the same without; a break raises an error.

    again: the graph keeps no activations of a block, but computes them again.
    """
    cfg = arm.model
    if isinstance(cfg, KimiConfig) and cfg.moe is not None:
        # Grouped products take widths that are multiples of 8.
        cfg = replace(cfg, moe=replace(cfg.moe, moe_intermediate_size=64))
    model = build_model(cfg)
    tokens = torch.randint(arm.model.vocab_size, (2, 17), generator=torch.Generator().manual_seed(0))

    def loss_of(tokens: torch.Tensor) -> torch.Tensor:
        with autocast(torch.device("cpu"), torch.bfloat16):
            out = model(tokens[:, :-1], with_max_qk_logit=arm.train.qk_clip_tau is not None)
            return next_token_loss(out.logits, tokens[:, 1:]) + balance_term(out.routing, arm.train.balance)

    plain = loss_of(tokens)
    plain.backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    torch._dynamo.reset()
    with recompute(model.layers if again else ()):
        loss = torch.compile(loss_of, backend="aot_eager", fullgraph=True)(tokens)
        loss.backward()
    torch.testing.assert_close(loss, plain)
    for p, grad in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-2, atol=1e-4)


if __name__ == "__main__":
    hold_constants()
    experts.has_kernel = by_run.has_kernel = lambda *_: True  # as on a GPU
    for arm in list_arms():
        compile_whole(arm, again=False)
        if arm.name in ("gpt", "kimi"):
            compile_whole(arm, again=True)
        print(arm.name, flush=True)
