"""Sums over the routers' decisions: who does what, paths, pairs, and how two states of a model differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lab_utils.observatory.look import LayerRouting, Routing


@dataclass(frozen=True, eq=False)
class Lift:
    """How often expert e handles class c, against chance: P(e | c) / P(e), 1.0 = chance.

    `counts` are choices (a token makes K of them), `expected` what chance would give. The lift of a class without
    tokens or an expert without choices is nan.
    """

    classes: tuple[str, ...]
    counts: Int[np.ndarray, "n_experts classes"]

    @property
    def expected(self) -> Float[np.ndarray, "n_experts classes"]:
        by_expert, by_class = self.counts.sum(axis=1, keepdims=True), self.counts.sum(axis=0, keepdims=True)
        return by_expert * by_class / max(1, self.counts.sum())

    @property
    def lift(self) -> Float[np.ndarray, "n_experts classes"]:
        expected = self.expected
        return np.divide(self.counts, expected, out=np.full(expected.shape, np.nan), where=expected > 0)

    @property
    def bits(self) -> float:
        """Mutual information of expert and class in bits: 0 if the class says nothing about the expert."""
        return float(self._told.sum() / max(1, self.counts.sum()))

    @property
    def _told(self) -> Float[np.ndarray, "n_experts classes"]:
        """count · log2(lift), 0 where there is no count."""
        return self.counts * np.log2(np.where(self.counts > 0, self.lift, 1.0))

    def specialists(self, n: int) -> list[int]:
        """The `n` experts that tell most about the class (their share of `bits`), by number."""
        return sorted(np.argsort(-self._told.sum(axis=1), kind="stable")[:n].tolist())

    def order(self, by: str | None = None) -> list[int]:
        """The experts, those with the highest lift in class `by` first; without `by`, by number."""
        n_experts = len(self.counts)
        if by is None:
            return list(range(n_experts))
        if by not in self.classes:
            raise ValueError(f"class {by!r} does not exist; choose one of: {', '.join(self.classes)}")
        column = np.nan_to_num(self.lift[:, self.classes.index(by)], nan=-1.0)
        return sorted(range(n_experts), key=lambda e: -column[e])


def measure_lift(layer: LayerRouting, class_of: Int[np.ndarray, " tokens"], classes: Sequence[str]) -> Lift:
    """The lift of every expert and class. Tokens of class -1 do not count; classes without tokens are left out."""
    counts = np.zeros((layer.n_experts, len(classes)), dtype=np.int64)
    top_k = layer.experts.shape[1]
    kept = class_of >= 0
    np.add.at(counts, (layer.experts[kept].ravel(), np.repeat(class_of[kept], top_k)), 1)
    present = [i for i in range(len(classes)) if counts[:, i].any()]
    return Lift(classes=tuple(classes[i] for i in present), counts=counts[:, present])


def count_paths(routing: Routing) -> list[Int[np.ndarray, "n_experts n_experts"]]:
    """For each two successive MoE layers, how many tokens go from first expert i to first expert j."""
    if len(routing.layers) < 2:
        raise ValueError("a path needs two layers with experts; this model has one")
    found = []
    for here, there in zip(routing.layers, routing.layers[1:]):
        counts = np.zeros((here.n_experts, there.n_experts), dtype=np.int64)
        np.add.at(counts, (here.first, there.first), 1)
        found.append(counts)
    return found


def find_busiest_paths(routing: Routing, n: int) -> list[tuple[tuple[int, ...], int]]:
    """The `n` most frequent paths through all MoE layers, by first experts, with their numbers of tokens."""
    paths = Counter(zip(*(layer.first.tolist() for layer in routing.layers)))
    return sorted(paths.items(), key=lambda item: (-item[1], item[0]))[:n]


def count_pairs(layer: LayerRouting) -> Int[np.ndarray, "n_experts n_experts"]:
    """How many tokens chose experts i and j together; the diagonal counts the tokens of i."""
    chose = np.zeros((len(layer.experts), layer.n_experts), dtype=np.int64)
    np.put_along_axis(chose, layer.experts, 1, axis=1)
    return chose.T @ chose


def measure_pair_lift(
    counts: Int[np.ndarray, "n_experts n_experts"],
) -> Float[np.ndarray, "n_experts n_experts"]:
    """Pairs against chance, 1.0 = as often as their loads alone would bring them together.

    Chance distributes all pairs over the pairs of different experts in proportion to n_i · n_j. The
    diagonal, and pairs with an expert that has no tokens, are nan.
    """
    load = np.diag(counts).astype(float)
    chance = np.outer(load, load)
    np.fill_diagonal(chance, 0.0)
    pairs = counts.sum() - np.trace(counts)
    expected = chance * pairs / max(1.0, chance.sum())
    return np.divide(counts, expected, out=np.full(chance.shape, np.nan), where=expected > 0)


@dataclass(frozen=True, eq=False)
class LayerChange:
    """One layer before and after, on the same tokens."""

    layer: int
    moved: float  # share of tokens whose first expert is another one
    kept: float  # mean share of a token's K experts that are the same
    kept_by_chance: float  # the same if both states chose at random, by their loads
    first_to_first: Int[np.ndarray, "n_experts n_experts"]  # tokens by first expert before (row) and after


def compare_routing(before: Routing, after: Routing) -> list[LayerChange]:
    """How the decisions of every layer changed. Both must have seen the same tokens, with the same layers."""
    if not np.array_equal(before.tokens, after.tokens):
        raise ValueError("the two routings are of different tokens: look at the same text with both models")
    shapes = [[(x.layer, x.n_experts, x.experts.shape[1]) for x in r.layers] for r in (before, after)]
    if shapes[0] != shapes[1]:
        raise ValueError("the two models differ in their layers or experts: compare two states of one model")
    return [_layer_change(old, new) for old, new in zip(before.layers, after.layers)]


def _layer_change(old: LayerRouting, new: LayerRouting) -> LayerChange:
    n_tokens, top_k = old.experts.shape
    same = (old.experts[:, :, None] == new.experts[:, None, :]).any(axis=2).sum(axis=1)
    counts = np.zeros((old.n_experts, old.n_experts), dtype=np.int64)
    np.add.at(counts, (old.first, new.first), 1)
    p, q = (np.bincount(x.experts.ravel(), minlength=x.n_experts) / n_tokens for x in (old, new))
    return LayerChange(
        layer=old.layer,
        moved=float((old.first != new.first).mean()),
        kept=float(same.mean() / top_k),
        kept_by_chance=float((p * q).sum() / top_k),
        first_to_first=counts,
    )
