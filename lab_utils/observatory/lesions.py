"""Switch experts off, from outside, and measure what the model loses.

A lesion takes an expert **out of the choice**: in that layer no token can go to it. The next best expert takes its
place, with the weight that the router's own rule gives it. The other way would be to leave the choice as it is and set
the expert's output to zero. Then the layer would also add less in all, and the loss would say less about what the
expert knew. The model's weights are never changed, and afterwards its routers are what they were, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import nn

from lab_utils.observatory.look import OFF, check_model
from lab_utils.show.words import plural
from nanokimi.config import MoEConfig, TrainConfig
from nanokimi.evaluate import Evaluation, evaluate
from nanokimi.kimi import Kimi
from nanokimi.moe import MoE
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.text.corpus import Corpus

ALL = "all tokens"


@contextmanager
def without_experts(model: nn.Module, off: Mapping[int, Sequence[int]]) -> Iterator[None]:
    """Inside the block no token goes to the experts `off` (layer -> expert numbers).

    The bias of a switched-off expert lies below every score. The core adds it to the scores for the choice only, so the
    remaining experts' scores and weights are their own. `ValueError` for a layer without experts, a number out of
    range, or fewer experts left than a token needs.
    """
    kimi = check_model(model)
    check_lesion(kimi, off)
    before = {layer: kimi.layers[layer].mlp.expert_bias.clone() for layer in off}
    try:
        for layer, experts in off.items():
            kimi.layers[layer].mlp.expert_bias[list(experts)] = OFF
        yield
    finally:
        for layer, bias in before.items():
            kimi.layers[layer].mlp.expert_bias.copy_(bias)


def check_lesion(model: Kimi, off: Mapping[int, Sequence[int]]) -> None:
    """`ValueError` with one sentence where `off` cannot be switched off."""
    layers = [i for i, layer in enumerate(model.layers) if isinstance(layer.mlp, MoE)]
    cfg: MoEConfig = model.cfg.moe
    for layer, experts in off.items():
        if layer not in layers:
            raise ValueError(f"layer {layer} has no experts; layers that have: {', '.join(map(str, layers))}")
        for expert in experts:
            if not 0 <= expert < cfg.n_routed_experts:
                raise ValueError(
                    f"expert {expert} does not exist in layer {layer}: numbers go from 0 to {cfg.n_routed_experts - 1}"
                )
        left = _fewest_left(cfg, set(experts))
        if left < cfg.top_k:
            raise ValueError(
                f"layer {layer}: {plural(left, 'expert')} would be left to choose from, and a token needs {cfg.top_k}"
            )


def _fewest_left(cfg: MoEConfig, off: set[int]) -> int:
    """The least number of experts that one token can choose from: with groups, those of the groups that lost most."""
    size = cfg.n_routed_experts // cfg.n_group
    left = [sum(e not in off for e in range(g * size, (g + 1) * size)) for g in range(cfg.n_group)]
    return sum(sorted(left)[: cfg.topk_group])


@checked
def parse_lesion(text: str) -> dict[int, list[int]]:
    """Experts to switch off, written `layer:expert` with commas between them: "1:3, 2:0"."""
    off: dict[int, list[int]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        layer, colon, expert = (side.strip() for side in part.partition(":"))
        if not (colon and layer.isdecimal() and expert.isdecimal() and len(part) < 20):
            raise ValueError(f"{quote(part)} is not layer:expert, such as 1:3; commas stand between several")
        off.setdefault(int(layer), []).append(int(expert))
    if not off:
        raise ValueError("no expert is named: write layer:expert, such as 1:3; commas stand between several")
    return off


@dataclass(frozen=True)
class Loss:
    """Nats per token over all tokens and, where the text's roles are known, over the tokens of each."""

    by_role: dict[str, float]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Loss:
        roles = evaluation.by_role or {}
        return cls({ALL: evaluation.loss} | {role: found.nats_per_token for role, found in roles.items()})

    def minus(self, other: Loss) -> dict[str, float]:
        return {role: value - other.by_role[role] for role, value in self.by_role.items()}


def measure_loss_without(
    model: nn.Module, corpus: Corpus, train: TrainConfig, n_windows: int, off: Mapping[int, Sequence[int]]
) -> Loss:
    """The loss on the first `n_windows` validation windows with the experts `off` switched off."""
    with without_experts(model, off):
        return Loss.of(evaluate(model, corpus, replace(train, eval_windows=n_windows)))


@dataclass(frozen=True)
class LesionRow:
    """The cost of losing one expert, in nats per token and by role."""

    layer: int
    expert: int
    cost: dict[str, float]


def lesion_every_expert(
    model: nn.Module, corpus: Corpus, train: TrainConfig, n_windows: int
) -> Iterator[LesionRow]:
    """Switch off every expert, one after the other; a row per expert, so that a bar can show the progress."""
    kimi = check_model(model)
    whole = measure_loss_without(model, corpus, train, n_windows, {})
    for layer, expert in list_experts(kimi):
        loss = measure_loss_without(model, corpus, train, n_windows, {layer: [expert]})
        yield LesionRow(layer=layer, expert=expert, cost=loss.minus(whole))


def list_experts(model: Kimi) -> list[tuple[int, int]]:
    """(layer, expert) of every routed expert, in order."""
    return [
        (i, expert)
        for i, layer in enumerate(model.layers)
        if isinstance(layer.mlp, MoE)
        for expert in range(layer.mlp.cfg.n_routed_experts)
    ]
