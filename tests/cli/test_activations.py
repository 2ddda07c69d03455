"""What a training step is said to hold is what it holds: counted by torch's own profiler of memory."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from nanokimi.cli import memory
from nanokimi.cli.activations import count_activations
from nanokimi.config import BlockLatentConfig, ConfigError, GPTConfig, KDAConfig, ModelConfig, TrainConfig
from nanokimi.loss import next_token_loss
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.system.replaced import recompute

KIMI, SMOKE, GPT = map(load_model_config, ("kimi-tiny", "kimi-smoke", "gpt-tiny"))
HYBRID = replace(KIMI, attention=("kda", "mla"), kda=KDAConfig())
CLIPPED = replace(load_train_config("train-kimi"), batch_size=4, seq_len=128)
PLAIN = replace(CLIPPED, qk_clip_tau=None)
SHORT = replace(CLIPPED, seq_len=64)
CASES = {
    "kimi-tiny": (KIMI, CLIPPED),
    "kimi-tiny, longer": (KIMI, replace(CLIPPED, batch_size=2, seq_len=256)),
    "kimi-tiny, computed again": (KIMI, replace(CLIPPED, recompute=True)),
    "few words, computed again": (replace(KIMI, vocab_size=100), replace(CLIPPED, recompute=True)),
    "ordinary heads": (replace(KIMI, attention="mha", mla=None), CLIPPED),
    "block latents": (
        replace(KIMI, attention="block_latent", mla=None, block_latent=BlockLatentConfig()),
        replace(PLAIN, seq_len=256),
    ),
    "no experts": (load_model_config("kimi-smoke-dense"), SHORT),
    "a hybrid": (HYBRID, CLIPPED),
    "a hybrid without experts": (replace(HYBRID, moe=None), SHORT),
    "a hybrid, computed again": (HYBRID, replace(CLIPPED, recompute=True)),
    "gpt-tiny": (GPT, PLAIN),
    "gpt-tiny, computed again": (GPT, replace(PLAIN, recompute=True)),
    "many layers": (replace(SMOKE, vocab_size=50, n_layers=6), SHORT),
    "many words": (replace(SMOKE, vocab_size=20_000), SHORT),
    "a loss in parts": (replace(SMOKE, vocab_size=2000), replace(SHORT, batch_size=160)),
}


def measure_peak(cfg: ModelConfig, training: TrainConfig) -> int:
    """The most bytes that a forward and a backward pass hold at once, beside the weights and their gradients."""
    model = build_model(cfg)
    for each in model.parameters():
        each.grad = torch.zeros_like(each)
    inputs = torch.randint(cfg.vocab_size, (training.batch_size, training.seq_len))
    with (
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
        recompute(model.layers if training.recompute else ()),
    ):
        out = model(inputs, with_max_qk_logit=training.qk_clip_tau is not None)
        next_token_loss(out.logits, inputs).backward()
    changes = [each for each in profiler.profiler.kineto_results.events() if each.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda each: each.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("case", CASES)
def test_what_a_step_holds_is_known_within_a_tenth(case: str) -> None:
    assert count_activations(*CASES[case]) == pytest.approx(measure_peak(*CASES[case]), rel=0.1)


@pytest.mark.parametrize("again", [False, True])
def test_a_batch_that_would_not_fit_is_refused_and_what_is_advised_fits(again: bool, monkeypatch) -> None:
    training = replace(CLIPPED, device="cpu", batch_size=64, recompute=again)
    held = count_activations(KIMI, training)
    monkeypatch.setattr(memory, "memory_limit", lambda: held)  # and the weights come on top
    with pytest.raises(ConfigError, match=r"try train\.batch_size=(\d+) with") as refused:
        memory.check_memory(KIMI, training)
    assert ("train.recompute=true" in str(refused.value)) is not again
    batch = int(str(refused.value).split("try train.batch_size=")[1].split()[0])
    memory.check_memory(KIMI, replace(training, batch_size=batch))
    assert 16 < batch < 64


def test_the_number_of_layers_and_tokens_costs_no_time() -> None:
    assert count_activations(GPTConfig(n_layers=1000), replace(PLAIN, batch_size=10**6)) > 10**12
