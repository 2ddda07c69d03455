"""One optimizer step: gradients over its micro-batches, the update, the experts' biases, and QK-clip.

The policy is here; the layers only report facts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nanokimi import ranks
from nanokimi.compiled.graph import CompiledLosses
from nanokimi.config import BalanceConfig, TrainConfig
from nanokimi.device import autocast, to_device
from nanokimi.gpt import GPTBlock
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.model import Model
from nanokimi.optim import lr_at
from nanokimi.output import ModelOutput
from nanokimi.quantile_balance import bias_from_counts, count_needed, has_quantiles, needed_bias
from nanokimi.router import expert_load, max_violation, score_shares, update_expert_bias_
from nanokimi.steering import Steering, freeze_experts
from nanokimi.system.finite import NotFiniteError, check_weights, largest_weight, name_first, name_layer
from nanokimi.text.corpus import Corpus, batch


class TrainingDiverged(RuntimeError):
    """Loss, gradient or weights are no longer finite numbers, from `step` (counted from 1) on.

    One line: what, at which step, the first layer or parameter, and what to change. Nothing of the step is saved.
    """

    def __init__(self, what: str, step: int, where: str, cfg: TrainConfig):
        first = f"; the first that is not finite: {where}" if where else ""
        cure = f"a lower optim.lr than {cfg.optim.lr:g}, or more warmup_steps than {cfg.warmup_steps}"
        if cfg.optim.weight_decay > max(1, 1 / cfg.optim.lr):
            cure = f"an optim.weight_decay below {1 / cfg.optim.lr:g}, which is 1 divided by optim.lr"
        super().__init__(
            f"the training diverged at step {step}: {what}{first}. What may help in a new run: {cure}"
        )
        self.step = step


@dataclass(frozen=True)
class StepFacts:
    """What one step found out; the fields have the meaning that they have in `StepRecord`."""

    lr: float
    loss: float
    balance_loss: float
    grad_norm: float
    expert_load: list[list[float]]
    max_vio: list[float]
    router_entropy: list[float]
    max_qk_logit: list[list[float]] | None


def take_step(
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    corpus: Corpus,
    cfg: TrainConfig,
    steering: Steering,
    step: int,
    dtype: torch.dtype,
    interrupt: Callable[[], object],
    graph: CompiledLosses | None = None,
) -> StepFacts:
    """Take optimizer step `step` (from 0), by the compiled `graph` where there is one, and return its facts.

    `interrupt` is called after every forward and every backward pass. An exception that it raises gives the step up:
    the gradients are left half made and the optimizers have the step's learning rate; nothing else has changed. Raises
    `TrainingDiverged` before the update where the loss or the gradient is not finite, and after it where a weight is
    not. Several ranks share the micro-batches; all of them take the same step and return the same facts.
    """
    cfg = steering.apply_to(cfg)
    lr = lr_at(step, cfg)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
    tally = _make_gradients(model, corpus, cfg, step, dtype, interrupt, graph)
    with freeze_experts(model, optimizers, steering.frozen_experts):
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        tally.read_losses(ranks.whole(norm))
        if what := tally.find_not_finite():
            where = _find_where(model, corpus, cfg, step, dtype, tally)
            model.zero_grad(set_to_none=True)  # whoever tries again with other settings begins without it
            raise TrainingDiverged(what, step + 1, where, cfg)
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), cfg.grad_clip, norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    if isinstance(model, Kimi):
        _move_biases_(model, tally, cfg.balance)
    if cfg.qk_clip_tau is not None and tally.max_qk_logit is not None:
        for layer, layer_max in zip(model.layers, tally.max_qk_logit, strict=True):
            assert isinstance(layer, GPTBlock | KimiBlock)
            layer.clip_qk_(layer_max, cfg.qk_clip_tau)
    facts, largest = tally.read_facts(lr, largest_weight(model))
    if not math.isfinite(largest):
        try:
            check_weights(model)
        except NotFiniteError as error:
            raise TrainingDiverged(str(error), step + 1, "", cfg) from None
    return facts


def _list_biases(model: Model, cfg: BalanceConfig) -> list[Tensor]:
    """The bias of every MoE layer, where quantiles balance it; else none."""
    if isinstance(model, Kimi) and has_quantiles(model.cfg, cfg):
        return [layer.expert_bias for layer in model.moe_layers()]
    return []


@torch.no_grad()
def _move_biases_(model: Kimi, tally: "_Tally", cfg: BalanceConfig) -> None:
    """Move the experts' biases by what the step has counted: those that the next step routes with."""
    for i, layer in enumerate(model.moe_layers()):
        if tally.needed:
            layer.expert_bias.copy_(bias_from_counts(tally.needed[i], layer.expert_bias, layer.cfg.top_k))
        elif cfg.bias_update_rate:
            update_expert_bias_(layer.expert_bias, tally.load[i], cfg.bias_update_rate)


def _make_gradients(
    model: Model,
    corpus: Corpus,
    cfg: TrainConfig,
    step: int,
    dtype: torch.dtype,
    interrupt: Callable[[], object],
    graph: CompiledLosses | None,
) -> "_Tally":
    """Leave the gradient of the mean loss over the step's micro-batches in the parameters; return what was seen."""
    device = next(model.parameters()).device
    tally = _Tally(cfg.grad_accum, _list_biases(model, cfg.balance))
    for micro in range(ranks.rank(), cfg.grad_accum, ranks.n_ranks()):
        inputs, targets = (to_device(tokens, device) for tokens in _get_batch(corpus, cfg, step, micro))
        with autocast(device, dtype):
            if graph is not None:
                loss, balance, out = graph(inputs, targets, cfg)
            else:
                out = model(inputs, with_max_qk_logit=cfg.qk_clip_tau is not None)
                loss = next_token_loss(out.logits, targets)
                balance = balance_term(out.routing, cfg.balance)
        interrupt()
        ((loss + balance) / cfg.grad_accum).backward()
        tally.add(loss, balance, out)
        del out, loss, balance  # else the logits are held while the next ones are made
        interrupt()
    ranks.sums([p.grad for p in model.parameters() if p.grad is not None])
    tally.add_other_ranks()
    return tally


def _get_batch(corpus: Corpus, cfg: TrainConfig, step: int, micro: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a micro-batch, on the CPU."""
    return batch(
        corpus.train,
        step * cfg.grad_accum + micro,
        batch_size=cfg.batch_size,
        seq_len=cfg.seq_len,
        seed=cfg.seed,
    )


def _find_where(
    model: Model, corpus: Corpus, cfg: TrainConfig, step: int, dtype: torch.dtype, tally: "_Tally"
) -> str:
    """The layer whose output, or else the parameter whose gradient, is not finite in this step. Empty where none is."""
    device = next(model.parameters()).device
    for micro, losses in enumerate(tally.losses):
        if not all(map(math.isfinite, losses)):
            inputs, _ = _get_batch(corpus, cfg, step, micro)
            with autocast(device, dtype):
                layer = name_layer(model, inputs.to(device))
            return layer and f"the output of {layer}"
    name = name_first((n, p.grad) for n, p in model.named_parameters() if p.grad is not None)
    return name and f"the gradient of {name}"


class _Tally:
    """What the micro-batches of one step add up to: means of losses, sums of counts, the largest logits.

    All of it stays on the model's device. It is read twice in a step, as one tensor each: every read waits until the
    device has done all that was asked of it.
    """

    def __init__(self, n_micro_batches: int, biases: list[Tensor]):
        self.n_micro_batches = n_micro_batches
        # Per MoE layer, where quantiles balance it: what all micro-batches are routed with.
        self._biases = biases
        self._losses: list[Tensor] = []  # per micro-batch: its loss and its balancing term
        self.losses: list[list[float]] = []  # the same, read
        self.grad_norm = 0.0
        self.load: list[Tensor] = []  # per MoE layer: how often each expert was chosen
        self.needed: list[Tensor] = []  # per bias: the counts of `quantile_balance`
        self.probability: list[Tensor] = []  # per MoE layer: each expert's share of the scores, summed
        self.max_qk_logit: Float[Tensor, "n_layers n_heads"] | None = None

    @torch.no_grad()
    def add(self, loss: Tensor, balance: Tensor, out: ModelOutput) -> None:
        # The balancing term of a dense model is a 0 on the CPU.
        self._losses.append(torch.stack([loss, loss.new_zeros(()) + balance]))
        shares = [score_shares(stats) for stats in out.routing]
        loads = [expert_load(stats.expert_idx, stats.scores.shape[-1]) for stats in out.routing]
        self.load = _add_each(self.load, loads)
        self.probability = _add_each(self.probability, [share.flatten(0, -2).mean(dim=0) for share in shares])
        if self._biases:
            pairs = list(zip(out.routing, self._biases, strict=True))
            self.needed = _add_each(
                self.needed, [count_needed(needed_bias(*pair), pair[1]) for pair in pairs]
            )
        if out.max_qk_logit is not None:
            largest = out.max_qk_logit if self.max_qk_logit is None else self.max_qk_logit
            self.max_qk_logit = torch.maximum(largest, out.max_qk_logit)

    def add_other_ranks(self) -> None:
        """Take in what the other ranks have seen of their micro-batches."""
        self._losses = ranks.in_turn(self._losses)
        ranks.sums([*self.load, *self.needed, *self.probability])
        if self.max_qk_logit is not None:
            self.max_qk_logit = ranks.maxima(self.max_qk_logit)

    def read_losses(self, grad_norm: Tensor) -> None:
        """Read the losses and the norm of the gradient."""
        self.losses, (self.grad_norm,) = _read(torch.stack(self._losses), grad_norm[None])

    def find_not_finite(self) -> str:
        """Which loss, or the gradient's norm, is no finite number; empty where all are."""
        for name, value in (
            ("the loss", self._mean(0)),
            ("the balancing term", self._mean(1)),
            ("the norm of the gradient", self.grad_norm),
        ):
            if not math.isfinite(value):
                return f"{name} is {value}"
        return ""

    def _mean(self, which: int) -> float:
        return sum(pair[which] / self.n_micro_batches for pair in self.losses)

    def read_facts(self, lr: float, largest: Tensor) -> tuple[StepFacts, float]:
        """The facts of the step, and the largest weight after it."""
        no_rows = largest.new_zeros(0, 1)
        load = torch.stack(self.load).float() if self.load else no_rows
        probability = torch.stack([p / p.sum() for p in self.probability]) if self.load else no_rows
        even, entropy, logits, (largest_number,) = _read(
            load / load.mean(dim=-1, keepdim=True),
            -(probability * probability.clamp(min=1e-30).log()).sum(dim=-1),
            no_rows if self.max_qk_logit is None else self.max_qk_logit,
            largest[None],
        )
        facts = StepFacts(
            lr=lr,
            loss=self._mean(0),
            balance_loss=self._mean(1),
            grad_norm=self.grad_norm,
            expert_load=even,
            max_vio=[max_violation(torch.tensor(row)) for row in even],
            router_entropy=entropy,
            max_qk_logit=None if self.max_qk_logit is None else logits,
        )
        return facts, largest_number


def _read(*tensors: Tensor) -> list[list]:
    """The numbers of vectors and matrices, as lists and lists of lists, by one read."""
    numbers = iter(torch.cat([tensor.flatten() for tensor in tensors]).tolist())

    def take(shape: Sequence[int]) -> list:
        return [take(shape[1:]) if len(shape) > 1 else next(numbers) for _ in range(shape[0])]

    return [take(tensor.shape) for tensor in tensors]


def _add_each(sums: list[Tensor], values: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(sums, values, strict=True)] if sums else values
