"""Compile every arm of the ladder as a whole: `python -m tests.contracts.one_graph` prints the arms that agree.

In a process of its own, because the tests check all shapes at run time, and that cannot be compiled.
"""

from dataclasses import replace

import torch

from lab_utils.bench.plan import Arm, make_plan
from nanokimi import moe
from nanokimi.config import KimiConfig
from nanokimi.device import autocast
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.model import build_model


def compile_whole(arm: Arm) -> None:
    """Forward pass, loss and backward pass as one graph, against the same without; a break raises an error."""
    cfg = arm.model
    if (
        isinstance(cfg, KimiConfig) and cfg.moe is not None
    ):  # grouped products take widths that are multiples of 8
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
    loss = torch.compile(loss_of, backend="aot_eager", fullgraph=True)(tokens)
    loss.backward()
    torch.testing.assert_close(loss, plain)
    for p, grad in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-2, atol=1e-4)


if __name__ == "__main__":
    moe.can_group = lambda *_: True  # as on a GPU: the loop over the experts reads their counts
    for arm in make_plan("smoke", "ladder").arms:
        compile_whole(arm)
        print(arm.name, flush=True)
