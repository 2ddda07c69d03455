"""Evaluation against a slow loop, and against models whose loss is known beforehand."""

import math
from dataclasses import replace

import pytest
import torch

from nanokimi.config import ConfigError
from nanokimi.evaluate import evaluate
from nanokimi.gpt import GPT
from nanokimi.model import build_model
from nanokimi.output import ModelOutput
from nanokimi.system.finite import NotFiniteError
from nanokimi.text.corpus import ROLES, windows
from tests import tiny

CFG = tiny.train_config()


class Scripted(GPT):
    """A model that returns `logits_of(tokens)` instead of running a network."""

    def __init__(self, logits_of):
        super().__init__(tiny.gpt())
        self.logits_of = logits_of

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return ModelOutput(self.logits_of(tokens), (), None)


def certain_of(tokens: torch.Tensor) -> torch.Tensor:
    """Logits that leave no doubt about these tokens."""
    return 100.0 * torch.nn.functional.one_hot(tokens, tiny.VOCAB)


def slow_losses(model, inputs, targets) -> list[list[float]]:
    """Nats per token: window by window, token by token, in Python's double precision."""
    losses = []
    for x, y in zip(inputs, targets, strict=True):
        rows = model(x[None]).logits[0].tolist()
        losses.append(
            [
                math.log(math.fsum(math.exp(v - max(row)) for v in row)) + max(row) - row[target]
                for row, target in zip(rows, y.tolist(), strict=True)
            ]
        )
    return losses


@pytest.mark.parametrize("name", tiny.MODELS)
@torch.no_grad()
def test_evaluation_is_the_slow_loop(name):
    """Loss, perplexity, bits per byte (from the decoded text's own bytes), roles and floors."""
    model, corpus = tiny.harsh_(build_model(tiny.model_config(name))), tiny.corpus(annotated=True)
    found = evaluate(model, corpus, CFG)

    n, seq = CFG.eval_windows, CFG.seq_len
    inputs = torch.tensor([corpus.val.tokens[i * seq : (i + 1) * seq].tolist() for i in range(n)])
    targets = torch.tensor([corpus.val.tokens[i * seq + 1 : (i + 1) * seq + 1].tolist() for i in range(n)])
    nats = [nat for window in slow_losses(model, inputs, targets) for nat in window]
    end = corpus.tokenizer.n_vocab - 1
    sizes = [0 if t == end else len(corpus.tokenizer.decode_bytes([t])) for t in targets.flatten().tolist()]
    assert set(sizes) == {0, 1, 2, 3}
    roles = corpus.val.roles[1 : n * seq + 1].tolist()
    bits = corpus.val.bits[1 : n * seq + 1].tolist()

    assert found.n_tokens == n * seq == len(nats)
    assert found.loss == pytest.approx(math.fsum(nats) / len(nats), rel=2e-6)
    assert found.perplexity == pytest.approx(math.exp(math.fsum(nats) / len(nats)), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(math.fsum(nats) / math.log(2) / sum(sizes), rel=2e-6)
    assert found.floor_bits_per_byte == pytest.approx(math.fsum(bits) / sum(sizes), rel=1e-9)
    for number, role in enumerate(ROLES):
        mine = [i for i, r in enumerate(roles) if r == number]
        size = sum(sizes[i] for i in mine)
        part = found.by_role[role]
        assert part.n_tokens == len(mine) > 0
        assert part.nats_per_token == pytest.approx(sum(nats[i] for i in mine) / len(mine), rel=2e-6)
        assert part.bits_per_byte == pytest.approx(sum(nats[i] for i in mine) / math.log(2) / size, rel=2e-6)
        assert part.floor_bits_per_byte == pytest.approx(sum(bits[i] for i in mine) / size, rel=1e-9)


def test_roles_add_up_to_the_total():
    model, corpus = tiny.harsh_(build_model(tiny.gpt())), tiny.corpus(annotated=True)
    found = evaluate(model, corpus, CFG)
    parts = found.by_role.values()
    assert sum(p.n_tokens for p in parts) == found.n_tokens
    total = sum(p.nats_per_token * p.n_tokens for p in parts)
    assert total == pytest.approx(found.loss * found.n_tokens, rel=1e-12)
    # nats / bits per byte = bytes, the same bytes in the parts as in the whole.
    size = [p.nats_per_token * p.n_tokens / math.log(2) / p.bits_per_byte for p in parts]
    assert sum(size) == pytest.approx(total / math.log(2) / found.bits_per_byte, rel=1e-9)
    floors = sum(p.floor_bits_per_byte * s for p, s in zip(parts, size, strict=True))
    assert floors == pytest.approx(found.floor_bits_per_byte * sum(size), rel=1e-9)


def test_a_text_without_roles_has_no_split_and_no_floor():
    found = evaluate(build_model(tiny.gpt()), tiny.corpus(), CFG)
    assert found.by_role is None and found.floor_bits_per_byte is None


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    found = evaluate(Scripted(lambda t: torch.zeros(*t.shape, tiny.VOCAB)), tiny.corpus(), CFG)
    assert found.loss == pytest.approx(math.log(tiny.VOCAB), rel=1e-6)
    assert found.perplexity == pytest.approx(tiny.VOCAB, rel=1e-5)


def test_a_model_that_knows_the_exact_probabilities_stands_on_the_floor():
    """It gives every target 2^-bits, so its bits per byte are the floor, in the whole and for each role."""
    corpus = tiny.corpus(annotated=True)
    _, targets, index = windows(corpus.val, CFG.eval_windows, CFG.seq_len)
    bits = torch.from_numpy(corpus.val.bits[index.numpy()])
    asked = iter(zip(targets.split(CFG.batch_size), bits.split(CFG.batch_size), strict=True))

    def logits_of(tokens):
        y, b = next(asked)
        rest = ((1 - 2**-b) / (tiny.VOCAB - 1)).clamp(min=1e-30).log()[..., None].repeat(1, 1, tiny.VOCAB)
        return rest.scatter(-1, y[..., None], (-b * math.log(2))[..., None])

    found = evaluate(Scripted(logits_of), corpus, CFG)
    assert found.bits_per_byte == pytest.approx(found.floor_bits_per_byte, rel=1e-5)
    for part in found.by_role.values():
        assert part.bits_per_byte == pytest.approx(part.floor_bits_per_byte, rel=1e-5)


def counting_text() -> tiny.Corpus:
    """0 1 2 ... 14 0 1 2 ...: the next token is always one more."""
    corpus = tiny.corpus()
    n = corpus.tokenizer.n_vocab
    split = lambda old: replace(old, tokens=(torch.arange(len(old)) % n).numpy().astype("uint16"))
    return replace(corpus, train=split(corpus.train), val=split(corpus.val))


@pytest.mark.parametrize(("ahead", "right"), [(0, False), (1, True), (2, False)])
def test_mistake_26_the_targets_are_shifted_once(ahead, right):
    """In a text that counts, the model that says one more is right; the copying one and two more are not."""
    corpus = counting_text()
    n = corpus.tokenizer.n_vocab
    found = evaluate(Scripted(lambda t: certain_of((t + ahead) % n)), corpus, CFG)
    assert found.loss == pytest.approx(0.0 if right else 100.0, abs=1e-5)


def test_mistake_27_the_windows_are_always_the_same():
    """Whatever the seed and however often; the batch size changes how they are computed, not which they are."""
    model, corpus = tiny.harsh_(build_model(tiny.kimi())), tiny.corpus(annotated=True)
    first = evaluate(model, corpus, CFG)
    torch.manual_seed(5)
    assert evaluate(model, corpus, replace(CFG, seed=99)) == first
    other = evaluate(model, corpus, replace(CFG, batch_size=2))
    assert other.loss == pytest.approx(first.loss, rel=1e-6)
    assert other.n_tokens == first.n_tokens
    seen = []
    record = lambda t: (seen.append(t), torch.zeros(*t.shape, tiny.VOCAB))[1]
    evaluate(Scripted(record), corpus, CFG)
    expected = torch.tensor(corpus.val.tokens[: CFG.eval_windows * CFG.seq_len].tolist()).view(
        -1, CFG.seq_len
    )
    assert torch.equal(torch.cat(seen), expected)


def test_more_windows_than_there_are_means_all_of_them():
    corpus = tiny.corpus()
    found = evaluate(build_model(tiny.gpt()), corpus, replace(CFG, eval_windows=10_000))
    assert found.n_tokens == (len(corpus.val) - 1) // CFG.seq_len * CFG.seq_len


def test_evaluation_leaves_the_model_and_the_generators_alone():
    model = build_model(tiny.kimi())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    evaluate(model, tiny.corpus(), CFG)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_loss_that_gives_no_finite_number_is_refused_in_one_line():
    """exp of 709 nats is near the largest double. NaN comes from the weights, and the first of them is named."""
    found = evaluate(Scripted(lambda t: 700.0 * certain_of(t) / 100), counting_text(), CFG)
    assert found.perplexity == pytest.approx(math.exp(700), rel=1e-3)
    with pytest.raises(
        NotFiniteError, match=r"^the validation loss is 800 nats per token, too large for a perpl"
    ):
        evaluate(Scripted(lambda t: 800.0 * certain_of(t) / 100), counting_text(), CFG)
    with pytest.raises(NotFiniteError, match=r"^the validation loss is nan nats per token$"):
        evaluate(Scripted(lambda t: math.nan * certain_of(t)), counting_text(), CFG)
    model = build_model(tiny.kimi())
    with torch.no_grad():
        model.layers[1].mlp.gate[2, 3] = -math.inf
    with pytest.raises(NotFiniteError, match=r"^the weight layers\.1\.mlp\.gate is not finite$"):
        evaluate(model, tiny.corpus(), CFG)


def test_windows_without_a_byte_have_no_infinite_bits():
    """Separators are 0 bytes long: nothing is divided by 0, and roles without a byte are left out."""
    corpus = tiny.corpus(annotated=True)
    end = corpus.tokenizer.n_vocab - 1
    val = replace(corpus.val, tokens=(corpus.val.tokens * 0 + end).astype("uint16"))
    found = evaluate(build_model(tiny.gpt()), replace(corpus, val=val), CFG)
    assert math.isfinite(found.bits_per_byte) and math.isfinite(found.floor_bits_per_byte)
    assert found.by_role == {}


def test_the_number_format_of_the_configuration_is_used():
    with pytest.raises(ConfigError, match="dtype=bfloat16 needs device=cuda"):
        evaluate(build_model(tiny.gpt()), tiny.corpus(), replace(CFG, dtype="bfloat16"))


def test_the_caller_is_called_after_every_batch_and_may_leave():
    """Five windows in batches of two: three calls; an exception from the second one ends the evaluation."""
    model, cfg, calls = build_model(tiny.gpt()), replace(CFG, batch_size=2), []
    evaluate(model, tiny.corpus(), cfg, interrupt=lambda: calls.append(torch.is_grad_enabled()))
    assert calls == [False] * 3

    def leave():
        calls.append("left" if len(calls) == 4 else "stayed")
        if calls[-1] == "left":
            raise KeyError

    with pytest.raises(KeyError):
        evaluate(model, tiny.corpus(), cfg, interrupt=leave)
    assert calls[3:] == ["stayed", "left"]
