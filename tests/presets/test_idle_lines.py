"""The lines about settings that train nothing: the setting, the reason, the cure; none for any preset."""

from dataclasses import replace

import pytest
import torch

from lab_utils.bench.plan import make_plan
from nanokimi.config import BalanceConfig, BlockLatentConfig, DataConfig, TrainConfig
from nanokimi.model import build_model
from nanokimi.presets.idle import Clips, describe_standstill, idle_settings
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from tests import tiny
from tests.presets.test_idle import ADAMW, MOE

MLA = tiny.kimi()


@pytest.mark.parametrize(
    ("model", "cfg", "line"),
    [
        (
            tiny.kimi(moe=replace(MOE, top_k=1)),
            ADAMW,
            "model.moe.top_k=1 with norm_topk_prob=true: the one expert of a token has weight 1 whatever the router "
            "says, so the text teaches the router nothing; set model.moe.norm_topk_prob=false",
        ),
        (
            MLA,
            replace(ADAMW, eval_every=9),
            "train.eval_every=9 is above train.steps=5: the run is measured and saved once, at its end",
        ),
        (
            tiny.gpt(),
            ADAMW,
            "model.max_seq_len=16 is above train.seq_len=8: a GPT's positions from 8 on are never trained; set both to "
            "the same length",
        ),
        (
            tiny.kimi("block_latent", block_latent=BlockLatentConfig(n_latents=2, block_len=8)),
            ADAMW,
            "model.block_latent.block_len=8 with train.seq_len=8: no window is longer than a block, so no token sees a "
            "latent and none is trained; lower block_len",
        ),
        (
            tiny.kimi(moe=None),
            replace(ADAMW, balance=BalanceConfig(z_coef=0.1)),
            "train.balance.z_coef=0.1 does nothing: no layer of the model has experts",
        ),
        (
            tiny.kimi(first_k_dense_replace=2),
            ADAMW,
            "model.moe does nothing: first_k_dense_replace = n_layers makes every layer dense",
        ),
        (
            tiny.kimi(moe=replace(MOE, top_k=4)),
            ADAMW,
            "model.moe.top_k=4 chooses all n_routed_experts=4: every token goes to every expert, and the router only "
            "weighs what they give",
        ),
    ],
)
def test_the_line_names_the_setting_the_reason_and_the_cure(model, cfg, line):
    assert idle_settings(DataConfig(), model, cfg) == [line]


def test_what_balances_is_idle_where_every_expert_is_chosen():
    cfg = replace(ADAMW, balance=BalanceConfig(bias_update_rate=0.1))
    assert idle_settings(DataConfig(), tiny.kimi(moe=replace(MOE, top_k=4)), cfg)[0] == (
        "train.balance.bias_update_rate=0.1 does nothing: with top_k = n_routed_experts every token goes to every "
        "expert, and the load is always even"
    )


def test_one_expert_with_its_own_score_as_weight_learns():
    """Switch Transformer's rule: no line, and the router gets a gradient; with a weight of 1 it gets none."""
    for norm, has_gradient in ((True, False), (False, True)):
        cfg = tiny.kimi(moe=replace(MOE, top_k=1, norm_topk_prob=norm))
        model = tiny.harsh_(build_model(cfg))
        model(torch.tensor([[1, 2, 3, 4]])).logits.square().sum().backward()
        gate = model.layers[1].mlp.gate.grad
        assert (gate is not None and gate.abs().max() > 1e-6) == has_gradient
        assert (idle_settings(DataConfig(), cfg, ADAMW) == []) == has_gradient


def test_windows_that_the_text_does_not_have():
    model = tiny.gpt(max_seq_len=8)
    assert idle_settings(DataConfig(), model, ADAMW, val_tokens=33) == []
    assert idle_settings(DataConfig(), model, ADAMW, val_tokens=32) == [
        "train.eval_windows=4 is more than the validation text has: all 3 windows are measured"
    ]
    assert idle_settings(DataConfig(), model, ADAMW, val_tokens=10) == [
        "train.eval_windows=4 is more than the validation text has: its only window is measured"
    ]


def test_clips_are_judged_when_the_run_is_over():
    def judge(cfg: TrainConfig, *norms: float, logits: tuple[float, ...] = ()) -> list[str]:
        clips = Clips(cfg)
        for i, norm in enumerate(norms):
            clips.see(norm, [[-1.0, logits[i]], [0.0, 0.0]] if logits else None)
        return clips.list_idle()

    assert judge(ADAMW, 0.3) == []  # nobody asked for the default
    both = replace(ADAMW, grad_clip=5.0, qk_clip_tau=100.0)
    assert judge(both, 1.0, 5.1, 2.0, logits=(100.1, 3.0, 4.0)) == []
    assert judge(both, 1.0, 2.0, logits=(12.345, 3.0)) == [
        "train.grad_clip=5 never acted: the largest gradient had a norm of 2",
        "train.qk_clip_tau=100 never acted: the largest attention logit was 12.3",
    ]


def test_no_preset_and_no_arm_has_an_idle_setting():
    for profile in ("smoke", "cpu", "gpu"):
        plan = make_plan(profile, "ladder")
        assert [idle_settings(plan.data, arm.model, arm.train) for arm in plan.arms] == [[]] * len(plan.arms)
    for size in ("smoke", "tiny", "small", "shakespeare"):
        for kind in ("gpt", "kimi"):
            model, cfg = load_model_config(f"{kind}-{size}"), load_train_config(f"train-{size}")
            assert idle_settings(DataConfig(), model, cfg) == []


def test_a_loss_that_never_moves_is_told():
    assert (
        describe_standstill([])
        == describe_standstill([3.5])
        == describe_standstill([3.5, 3.5, 3.5000001])
        == ""
    )
    assert describe_standstill([3.5, 3.5]).startswith("the validation loss was 3.5000 at every measurement")
