"""What is broken along the sequence fails the probe for it, and no other; two values by hand."""

import math

import pytest
import torch

from lab_utils.inspector import causality
from lab_utils.inspector.inspect_model import inspect_model
from lab_utils.inspector.subject import as_subject
from nanokimi.model import build_model
from tests import tiny
from tests.inspector.invariants import (
    ABSORBED,
    CACHE_SIZE,
    CACHED,
    CAUSALITY,
    PREFIX,
    inspect_harsh,
)
from tests.inspector.reader_modules import Attention, D, Latent, Plain, SeesTheNext
from tests.tiny import harsh_


def test_reach_by_hand():
    """out_t = 2 x_t + 3 x_{t-1} on two channels: blocks 2·I and 3·I, of Frobenius norm 2·√2 and 3·√2."""

    def smooth(x):
        return 2 * x + 3 * torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)

    seen, _ = causality.reach(as_subject(smooth, d_model=2, seq_len=4))
    expected = 2 * torch.eye(4) + 3 * torch.diag(torch.ones(3), -1)
    torch.testing.assert_close(seen, expected.double() * math.sqrt(2), atol=1e-12, rtol=0)


def test_cache_size_by_hand():
    """MLA of the tiny Kimi keeps 8 + 4 numbers per token and layer, in two layers."""
    finding = inspect_model(harsh_(build_model(tiny.kimi("mla"))))[CACHE_SIZE]
    assert finding.data["kept"] == {n: 24 * n for n in (1, 3, 6, 9, 12)}


class LeakyLatents(Plain):
    """docs/mistakes.md, number 2: learned latents read the whole input, and every token reads them."""

    def forward(self, x):
        latent = (self.q(self.positions[:3]) @ self.k(x).mT).softmax(-1) @ self.v(x)
        return super().forward(x) + (self.q(x) @ self.k(latent).mT).softmax(-1) @ self.v(latent)


class NeverItself(Plain):
    """docs/mistakes.md, number 16: the mask is one too strict; the first token alone has to look at something."""

    def visible(self, queries, keys):
        mask = torch.ones(queries, keys).tril(-1).bool()
        mask[0, 0] = True
        return mask


class NormedOverTime(Plain):
    """A statistic of the whole sequence, detached: no gradient tells of it."""

    def forward(self, x):
        return (
            super().forward(x / x.detach().std(dim=1, keepdim=True)) if x.shape[1] > 1 else super().forward(x)
        )


class CountsFromTheEnd(Plain):
    def place(self, x, start):
        return x + self.positions[-x.shape[1] :]


class LosesTheOldest(Attention):
    """The cache forgets a position with every piece but the first."""

    def keep(self, cache, k, v, x):
        if cache.kept and cache.length > 1:
            cache.kept = [torch.cat([t[:, :1] * 0, t[:, 1:]], 1) for t in cache.kept]
        return super().keep(cache, k, v, x)


class StartsAtZero(Attention):
    """docs/mistakes.md, number 19: with a cache every piece starts at position 0."""

    def start(self, cache):
        return 0


class DoublesWithACache(Attention):
    """Wrong in the same way in all pieces: only the answer without a cache tells."""

    def keep(self, cache, k, v, x):
        k, v = super().keep(cache, k, v, x)
        return 2 * k, v


class ScaledByTheLatent(Latent):
    """docs/mistakes.md, number 18: the absorbed query is as wide as the latent, its scale is not."""

    def absorbed_scale(self):
        return self.kv_lora_rank**-0.5


class OneHeadsValues(Latent):
    def unfold(self, read):
        return read @ self.up_v[:1].mT


class CachesExpanded(Latent):
    """docs/mistakes.md, number 21: keys and values of all heads are kept, and the layer is called latent."""

    def absorbed(self, q, c, cache):
        k, v = (torch.einsum("hwr,btr->bthw", up, c).flatten(2) for up in (self.up_k, self.up_v))
        k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in cache.add(k, v))
        return self.attend(q, k, v, self.width**-0.5)


class CachesTheInputToo(Attention):
    def keep(self, cache, k, v, x):
        k, v, _ = cache.add(k, v, x)
        return k, v


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (LeakyLatents, (CAUSALITY, PREFIX)),
        (SeesTheNext, (CAUSALITY, PREFIX)),
        (NeverItself, (CAUSALITY,)),
        (NormedOverTime, (PREFIX,)),
        (CountsFromTheEnd, (PREFIX,)),
        (LosesTheOldest, (CACHED,)),
        (StartsAtZero, (CACHED,)),
        (DoublesWithACache, (CACHED,)),
        (ScaledByTheLatent, (ABSORBED,)),
        (OneHeadsValues, (ABSORBED,)),
        (CachesExpanded, (CACHE_SIZE,)),
        (CachesTheInputToo, (CACHE_SIZE,)),
    ],
)
def test_broken_along_the_sequence(broken, fails):
    formula = (lambda n: 3 * n) if issubclass(broken, Latent) else (lambda n: 2 * D * n)
    assert inspect_harsh(broken(), cache_elements=formula).failed == fails


def test_evidence_of_a_leak_names_the_pairs():
    finding = inspect_harsh(SeesTheNext(), seq_len=5)[CAUSALITY]
    assert finding.evidence.startswith("4 of 10 pairs above the diagonal are not 0")
    assert causality.future_pairs(finding.data["reach"]) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_cache_that_keeps_too_much_is_measured():
    evidence = inspect_harsh(CachesExpanded(), cache_elements=lambda n: 3 * n)[CACHE_SIZE].evidence
    assert "keeps 192 numbers per sequence, and the formula says 36 (5.33 times as many)" in evidence
