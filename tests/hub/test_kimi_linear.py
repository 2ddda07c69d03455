"""Kimi Linear as transformers computes it: logits, gradients, decoding with a cache; and its folders both ways."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import DynamicCache, KimiLinearForCausalLM

from nanokimi import hub
from nanokimi.config import KDAConfig, KimiConfig, MLAConfig, MoEConfig, RopeConfig
from nanokimi.generate import generate
from nanokimi.kimi import Kimi
from tests.hub.hub_models import load_in_transformers, make_config, make_encoding
from tests.tiny import harsh_

# torch's word for the shared experts' matrices of width 0.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")

HYBRID = ("kda", "kda", "kda", "mla")
NOPE = MLAConfig(kv_lora_rank=20, qk_nope_head_dim=10, qk_rope_head_dim=8, v_head_dim=6, use_nope=True)
MOE = MoEConfig(n_routed_experts=8, top_k=3, moe_intermediate_size=14, routed_scaling_factor=1.5)
BASE = make_config(
    max_seq_len=128,
    n_layers=4,
    rope=RopeConfig(),
    attention=HYBRID,
    mla=NOPE,
    kda=KDAConfig(head_dim=12),
    moe=MOE,
)
CONFIGS = {
    "hybrid": BASE,
    "seven layers": replace(BASE, n_layers=7),
    "the last one is latent": replace(BASE, n_layers=5),
    "kda and mla in turn": replace(BASE, attention=("kda", "mla")),
    "mla first": replace(BASE, attention=("mla", "kda"), n_layers=3),
    "kda alone": replace(BASE, attention="kda", mla=None, n_layers=2),
    "mla alone": replace(BASE, attention="mla", kda=None, n_layers=2),
    "low-rank query": replace(BASE, mla=replace(NOPE, q_lora_rank=12)),
    "one tap": replace(BASE, kda=KDAConfig(head_dim=12, conv_size=1)),
    "two taps": replace(BASE, kda=KDAConfig(head_dim=5, conv_size=2)),
    "three heads": replace(BASE, n_heads=3, kda=KDAConfig(head_dim=7)),
    "groups of experts": replace(BASE, moe=replace(MOE, n_group=4, topk_group=2)),
    "weights as they are": replace(BASE, moe=replace(MOE, norm_topk_prob=False, n_shared_experts=2)),
    "no shared experts": replace(BASE, moe=replace(MOE, n_shared_experts=0)),
    "none dense": replace(BASE, first_k_dense_replace=0, norm_eps=1e-2),
    "all dense": replace(BASE, moe=None),
}
PIECES = [[70], [1] * 9 + [61], [40, 1, 1, 28], [65, 1, 1, 1, 1, 1]]


def make(name: str) -> Kimi:
    # Weights at which a mistake moves the logits by units.
    return harsh_(Kimi(CONFIGS[name]), std=0.15)


def make_tokens(cfg: KimiConfig, seq: int = 70) -> torch.Tensor:
    """Two rows, longer than a chunk of theirs (64) and than several of ours (16)."""
    return torch.randint(cfg.vocab_size, (2, seq), generator=torch.Generator().manual_seed(3))


def gradients(model: Kimi) -> dict[str, torch.Tensor]:
    """Ours under the names that transformers has in memory."""
    words = {
        ".conv_weight": ".conv1d.weight",
        ".kv_a_proj.weight": ".kv_a_proj_with_mqa.weight",
        ".mlp.gate": ".mlp.gate.weight",
        **{
            f".{part}": f".forget_gate.{part}"
            for part in ("f_a_proj.weight", "f_b_proj.weight", "dt_bias", "A_log")
        },
    }
    found = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        path = name if name.startswith("lm_head") else f"model.{name}"
        for ours, theirs in words.items():
            if path.endswith(ours):
                path = path.removesuffix(ours) + theirs
                break
        stem, _, last = path.rpartition(".")
        if ".experts." in path or last not in ("gate_up_proj", "down_proj"):
            found[path] = parameter.grad
        elif last == "down_proj":
            found[f"{path}.weight"] = parameter.grad
        else:
            gate, up = parameter.grad.chunk(2)
            found |= {f"{stem}.gate_proj.weight": gate, f"{stem}.up_proj.weight": up}
    return found


def assert_near(ours: torch.Tensor, theirs: torch.Tensor, what: str = "") -> None:
    """Equal as far as float32 allows, against the largest number."""
    largest = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, atol=2e-5 * largest, rtol=0, msg=lambda told: f"{what}: {told}")


class Doubled:
    """torch, whose float32 is float64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def in_float64(monkeypatch):
    """transformers' model in float64 where it asks for float32 itself, so that rounding hides no mistake."""
    monkeypatch.setattr("transformers.models.kimi_linear.modeling_kimi_linear.torch", Doubled())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Every model as we export it."""
    path, encoding = tmp_path_factory.mktemp("kimi-linear"), make_encoding()
    for name in CONFIGS:
        hub.save_pretrained(make(name), encoding, path / name)
    return path


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(name, folders):
    ours, theirs = make(name), load_in_transformers(folders / name)
    assert isinstance(theirs, KimiLinearForCausalLM)
    tokens = make_tokens(ours.cfg)
    found, wanted = ours(tokens).logits, theirs(tokens, use_cache=False).logits
    assert wanted.std() > 0.5
    assert_near(found, wanted, "logits")
    for n in (1, 2, 17):  # what stands later changes nothing
        assert_near(ours(tokens[:, :n]).logits, wanted[:, :n], f"the first {n}")


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_those_of_transformers(name, folders, in_float64):
    ours, theirs = make(name).double(), load_in_transformers(folders / name).double()
    tokens = make_tokens(ours.cfg)
    found, wanted = ours(tokens).logits, theirs(tokens, use_cache=False).logits
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    ours_by_name = gradients(ours)
    for path, parameter in theirs.named_parameters():
        if parameter.numel():
            near = 1e-9 * parameter.grad.abs().max().item()
            grad = ours_by_name.pop(path).view(parameter.shape)
            torch.testing.assert_close(
                grad, parameter.grad, atol=near, rtol=0, msg=lambda t, at=path: f"{at}: {t}"
            )
    assert not ours_by_name


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [each for each in CONFIGS if each != "kda alone"]
)  # theirs needs another layer
def test_decoding_keeps_the_state_that_transformers_keeps(name, folders):
    ours, theirs = make(name), load_in_transformers(folders / name)
    tokens = make_tokens(ours.cfg)
    wanted = theirs(tokens, use_cache=False).logits
    for pieces in PIECES:
        cache, kept, found, told = ours.new_cache(), DynamicCache(config=theirs.config), [], []
        for piece in tokens.split(pieces, dim=1):
            found.append(ours(piece, cache).logits)
            told.append(theirs(piece, past_key_values=kept, use_cache=True).logits)
        assert_near(torch.cat(found, dim=1), wanted, f"{pieces}")
        assert_near(torch.cat(told, dim=1), wanted, f"theirs, {pieces}")
        for layer, entry in enumerate(cache):
            if ours.cfg.attention_of(layer) != "kda":
                continue
            state = kept.layers[layer]
            assert_near(entry.state, state.recurrent_states[0], "state")
            if (earlier := ours.cfg.kda.conv_size - 1) > 0:
                assert_near(entry.inputs, state.conv_states[0].mT[:, -earlier:], "inputs of the convolution")


def test_export_continues_with_the_same_tokens(folders):
    ours, theirs = make("hybrid"), load_in_transformers(folders / "hybrid")
    prompt = make_tokens(ours.cfg)[0, :9].tolist()
    reference = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=-1, pad_token_id=0
    )
    found = list(generate(ours, prompt, 30, temperature=0.0))
    assert len(set(found)) > 5 and found == reference[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", CONFIGS)
def test_both_kinds_of_folders_are_read_back_whole(name, folders, tmp_path):
    """Ours, and what transformers saves, which has the dense layers too under the name of a mixture."""
    ours, state = make(name), make(name).state_dict()
    load_in_transformers(folders / name).save_pretrained(tmp_path / "theirs")
    for folder in (folders / name, tmp_path / "theirs"):
        again = hub.from_pretrained(folder)
        assert all(torch.equal(t, state[n]) for n, t in again.state_dict().items())
        assert again.state_dict().keys() == state.keys()
        # A model without experts is one of dense first layers.
        assert again.cfg == (
            ours.cfg if ours.cfg.moe else replace(ours.cfg, first_k_dense_replace=ours.cfg.n_layers)
        )
    written, saved = (
        {
            path.replace(".mlp.", ".block_sparse_moe."): t
            for path, t in load_file(folder / "model.safetensors").items()
        }
        for folder in (folders / name, tmp_path / "theirs")
    )
    assert saved.keys() == written.keys()
    assert all(torch.equal(t, written[path]) for path, t in saved.items())
