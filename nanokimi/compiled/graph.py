"""Forward pass, losses and backward pass of a training step as one compiled graph.

The model stays as it is: evaluating, decoding, saving and watching know nothing of the graph. A graph is compiled for
the balancing losses that are on. Their coefficients are no part of it, so that steering them compiles at most once per
choice of losses.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.compiled.whole import hold_constants, quiet, refuse
from nanokimi.config import BalanceConfig, TrainConfig
from nanokimi.device import autocast
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.model import Model
from nanokimi.output import ModelOutput
from nanokimi.router import RouterStats
from nanokimi.system.replaced import replace_forward

# Each balancing loss by itself, with a coefficient of 1.
_ALONE = {
    "switch_coef": BalanceConfig(switch_coef=1.0),
    "sequence_coef": BalanceConfig(sequence_coef=1.0),
    "z_coef": BalanceConfig(z_coef=1.0),
}


class CompiledLosses:
    """Loss, balancing term and facts of a batch, for one model in one training, by a compiled graph.

    Watchers of `model` itself see what goes in and comes out; hooks inside it become part of the graph, or cannot be
    compiled. The output's tensors have no gradient, only the losses have.
    """

    def __init__(self, model: Model, dtype: torch.dtype):
        self._model, self._dtype, self._device = model, dtype, next(model.parameters()).device
        self._known, self._seconds = set[tuple[str, ...]](), 0.0
        forward = model.forward

        def compute(inputs: Tensor, targets: Tensor, names: tuple[str, ...], with_max_qk_logit: bool):
            """The loss, the balancing losses of these names, each with a coefficient of 1, and the facts."""
            out = forward(inputs, with_max_qk_logit=with_max_qk_logit)
            terms = [balance_term(out.routing, _ALONE[name]) for name in names]
            # A gradient of logits or scores, which nobody asks for, would be made of zeros.
            routing = tuple(RouterStats(*(tensor.detach() for tensor in stats)) for stats in out.routing)
            facts = ModelOutput(out.logits.detach(), routing, out.max_qk_logit)
            return next_token_loss(out.logits, targets), terms, facts

        hold_constants()
        # Of this training alone: another one in this process, with other sizes, neither counts here nor is reused.
        self._graph: Callable[..., Any] = torch.compile(  # pyright: ignore[reportCallIssue]  its stubs lack the last
            compute, fullgraph=True, dynamic=False, isolate_recompiles=True
        )

    def prepare(self, cfg: TrainConfig) -> bool:
        """Compile the graph for these settings, where that is still to be done. Returns whether there is one now.

        It is compiled by running it forwards and backwards once, on tokens that mean nothing: gradients are dropped.
        Where the model cannot be compiled whole, `compile=on` raises `ConfigError`, and `auto` warns and does without.
        """
        if _name_losses(cfg) in self._known:
            return True
        from torch._dynamo.exc import TorchDynamoException  # seconds, which no other training should pay

        started = time.perf_counter()
        # Two tensors, as in a step: a graph of one for both would be another graph.
        inputs, targets = torch.zeros(2, cfg.batch_size, cfg.seq_len, dtype=torch.long, device=self._device)
        try:
            with quiet():
                with autocast(self._device, self._dtype):
                    loss, terms, _ = self._graph(*_arguments(inputs, targets, cfg))
                functools.reduce(torch.add, terms, loss).backward()
        except TorchDynamoException as error:
            refuse(error, "this step", cfg.compile)
            return False
        finally:
            self._model.zero_grad(set_to_none=True)
        self._known.add(_name_losses(cfg))
        self._seconds += time.perf_counter() - started
        return True

    def take_seconds(self) -> float:
        """How many seconds were spent on compiling since this was last asked."""
        taken, self._seconds = self._seconds, 0.0
        return taken

    def __call__(
        self, inputs: Int[Tensor, "batch seq"], targets: Int[Tensor, "batch seq"], cfg: TrainConfig
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""], ModelOutput]:
        """The loss of the next token, the balancing term, and what the model returned beside them."""
        losses: list[Any] = []

        def forward(tokens: Tensor, **_: Any) -> ModelOutput:
            *losses[:], out = self._graph(*_arguments(tokens, targets, cfg))
            return out

        # By calling the model, so that those who watch it see this as they see every other call.
        with replace_forward(self._model, forward):
            out = self._model(inputs, with_max_qk_logit=cfg.qk_clip_tau is not None)
        loss, terms = losses
        weighted = (
            getattr(cfg.balance, name) * term for name, term in zip(_name_losses(cfg), terms, strict=True)
        )
        return loss, functools.reduce(torch.add, weighted, loss.new_zeros(())), out


def _arguments(
    inputs: Tensor, targets: Tensor, cfg: TrainConfig
) -> tuple[Tensor, Tensor, tuple[str, ...], bool]:
    """What the graph is called with."""
    return inputs, targets, _name_losses(cfg), cfg.qk_clip_tau is not None


def _name_losses(cfg: TrainConfig) -> tuple[str, ...]:
    """The balancing losses that are on."""
    return tuple(name for name in _ALONE if getattr(cfg.balance, name))
