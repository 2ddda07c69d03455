"""A Kimi of the reader's parts has the numbers of the core's, its parts are really used, and the core stays itself."""

import copy
import sys
from dataclasses import replace
from functools import cache

import pytest
import torch

from lab_utils.bench.plan import make_plan
from lab_utils.course import yours as yours_module
from lab_utils.course.assembly import Assembly, place_of
from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import harsh_
from lab_utils.course.hints import reveal
from lab_utils.course.yours import Yours, continue_with_yours, with_yours, yours
from nanokimi import build_model, checkpoint, generate, train
from nanokimi.config import BlockLatentConfig, ConfigError
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.moe import MoE
from nanokimi.steering import Intervention
from nanokimi.step import TrainingDiverged
from tests import tiny
from tests.course.filled import IN_ANOTHER_STYLE, NOTEBOOKS, TO_BUILD, calls, core_source, counted, fill  # noqa: F401
from tests.training import drop_clock

NO_PART = ["merge_most_frequent", "token_bytes", "derived_scaling_factor", "cache_elements"]
NO_PART += [name for name in TO_BUILD if all_exercises()[name].notebook == "11"]  # of many machines
FEW = {"swiglu": IN_ANOTHER_STYLE["swiglu"], **{name: core_source(name) for name in ("expert_load", "lr_at")}}
CFG = replace(tiny.model_config("kimi-mla"), max_seq_len=40)


def functions_of_the_core() -> dict[tuple[str, str], int]:
    """Every name in every module of the core that is loaded, and in its classes, with what it stands for."""
    modules = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == "nanokimi"]
    owners = [*modules, *(v for m in modules for v in vars(m).values() if isinstance(v, type))]
    return {(repr(owner), name): id(value) for owner in owners for name, value in vars(owner).items()}


def changed_since(before: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    now = functions_of_the_core()
    return [key for key, value in before.items() if now.get(key) != value]


def tokens(n: int = 24) -> torch.Tensor:
    return torch.arange(2 * n).reshape(2, n) ** 2 % CFG.vocab_size


@pytest.fixture(scope="module")
def few(tmp_path_factory, calls) -> Yours:  # noqa: F811
    """Three parts, which count their calls."""
    folder, before = tmp_path_factory.mktemp("few"), functions_of_the_core()
    mine = yours(fill(folder, {name: counted(name, source) for name, source in FEW.items()}), seconds=60.0)
    assert changed_since(before) == []
    return mine


def test_without_any_work_there_are_no_parts_and_the_core_stays_itself(monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    before = functions_of_the_core()
    mine = yours()
    assert mine.parts == () and mine.refused == {}
    assert repr(mine).startswith(
        f"your parts: 0 of {len(TO_BUILD)}, in the notebooks as they are saved\nOnly what"
    )
    assert mine.compare(Kimi(CFG), tokens()).startswith(
        f"{mine!r}\nFrom what you have solved this cell builds"
    )
    assert changed_since(before) == []


def test_a_folder_without_the_course_and_a_damaged_notebook_are_told(tmp_path):
    assert repr(yours(tmp_path)).startswith(
        'No notebook of the course is in this folder; name theirs: yours("not'
    )
    fill(tmp_path, {})
    (tmp_path / "04_topk_routing.ipynb").write_text("{")
    assert "\nnot read: 04_topk_routing.ipynb: file " in repr(yours(tmp_path))


def test_what_was_read_before_it_was_written_is_told(tmp_path):
    answer = reveal("expert_load").source
    mine = yours(fill(tmp_path, {"expert_load": answer, "lr_at": core_source("lr_at")}))
    assert mine.parts == ("expert_load", "lr_at")
    assert "\nof all these, written after reveal() had shown the answer: expert_load\n" in repr(mine)


def test_without_the_name_in_its_arms_a_plan_is_the_same_and_nothing_is_read(monkeypatch):
    monkeypatch.setattr(yours_module, "read_work", None)
    plan = make_plan("smoke")
    assert with_yours(plan) is plan


def test_an_arm_of_nothing_is_refused_in_a_line(monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    with pytest.raises(
        ConfigError, match=r"^arms: yours needs a solved exercise, and your parts are 0 of \d+\. Only"
    ):
        with_yours(make_plan("smoke", "gpt,kimi,yours"))


def test_the_arm_has_the_settings_of_kimi_and_the_reader_as_its_maker(few, monkeypatch, capsys):
    monkeypatch.setattr(yours_module, "yours", lambda: few)
    plan = with_yours(make_plan("smoke", "gpt,yours,kimi"))
    gpt, mine, kimi = plan.arms
    assert replace(mine, name="kimi", maker=kimi.maker) == kimi and gpt.maker is kimi.maker
    assert mine.maker is few and mine.with_seed(3).maker is few
    assert capsys.readouterr().out == f"yours: 3 parts of {len(TO_BUILD)}\n"
    assert [arm.name for arm in make_plan("smoke", "ladder").arms].count("yours") == 0


def test_a_few_parts_are_used_and_the_core_stays_itself(few, calls):  # noqa: F811
    before = functions_of_the_core()
    core = harsh_(Kimi(CFG))
    mine = few.like(core)
    calls.clear()
    difference = (mine(tokens()).logits - core(tokens()).logits).abs().max()
    assert difference < 2e-5 * core(tokens()).logits.abs().max()
    assert calls["swiglu"] > 0 and calls["expert_load"] > 0
    calls.clear()
    core(tokens())
    build_model(tiny.model_config("gpt"))(tokens(12))
    assert not calls and changed_since(before) == []
    assert repr(few).splitlines()[:2] == [
        f"your parts: 3 of {len(TO_BUILD)}, in the notebooks as they are saved",
        "in your Kimi, its training and its decoding: swiglu, expert_load, lr_at",
    ]


def test_it_passes_for_a_kimi_and_can_be_copied(few):
    mine = few.build_model(CFG, seed=3)
    assert (
        isinstance(mine, Kimi)
        and isinstance(mine.layers[1], KimiBlock)
        and isinstance(mine.layers[1].mlp, MoE)
    )
    assert type(mine) is not Kimi and not isinstance(Kimi(CFG), type(mine))
    twin = copy.deepcopy(mine)
    assert type(twin) is type(mine) and torch.equal(twin(tokens()).logits, mine(tokens()).logits)
    assert torch.allclose(mine(tokens()).logits, Kimi(CFG, seed=3)(tokens()).logits, atol=2e-5)
    assert list(generate(mine, [1, 2], 5)) == list(few.generate(mine, [1, 2], 5))


def test_a_print_that_was_left_in_an_answer_is_not_shown_in_every_step(tmp_path, capsys):
    talkative = core_source("expert_load").replace("    return", "    print('here')\n    return")
    mine = yours(fill(tmp_path, {"expert_load": talkative}))
    mine.build_model(CFG)(tokens())
    assert mine.parts == ("expert_load",) and capsys.readouterr() == ("", "")


def test_a_training_can_be_steered_and_what_diverges_is_told_as_ever(few, calls):  # noqa: F811
    steer = lambda step: [Intervention(step, "frozen_experts", ((1, 2),))] if step == 2 else []
    cfg = tiny.muon_clip(steps=3)
    core, mine = Kimi(CFG), few.build_model(CFG)
    mine.load_state_dict(core.state_dict())
    calls.clear()
    # Nothing is compiled: a graph would be made of the core's losses.
    found = drop_clock(few.train(mine, tiny.corpus(), replace(cfg, compile="on"), steer=steer))
    assert calls["lr_at"] == 3 and calls["expert_load"] and calls["swiglu"]
    for ours, theirs in zip(found, drop_clock(train(core, tiny.corpus(), cfg, steer=steer)), strict=True):
        assert ours["interventions"] == theirs["interventions"]
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    with torch.no_grad():
        mine.lm_head.weight.fill_(torch.inf)
    with pytest.raises(TrainingDiverged):
        next(few.train(mine, tiny.corpus(), cfg))


def test_its_checkpoint_is_one_of_the_core_and_writes_in_notebook_10(few, tmp_path, monkeypatch):
    out = tmp_path / "out"
    encoding = tiny.corpus().tokenizer
    beginning = encoding.decode([1, 2])
    assert continue_with_yours(out, beginning, 5).startswith("A Kimi of your own parts writes here once")
    mine = few.build_model(CFG)
    list(few.train(mine, tiny.corpus(), tiny.muon_clip(steps=2, warmup_steps=1), out / "runs" / "yours-s0"))
    found = checkpoint.load_checkpoint(out / "runs" / "yours-s0").model
    assert type(found) is Kimi and torch.allclose(found(tokens()).logits, mine(tokens()).logits, atol=2e-5)
    monkeypatch.setattr(yours_module, "yours", lambda: few)
    line = continue_with_yours(out, beginning, 5, temperature=0.0)
    written = list(generate(found, [1, 2], 5, temperature=0.0, stop_id=encoding.eot_token))
    assert line == f"[yours, 3 of {len(TO_BUILD)} parts] {beginning} | {encoding.decode(written)}"
    other = tmp_path / "other"
    list(train(build_model(tiny.gpt()), tiny.corpus(), tiny.train_config(), other / "runs" / "yours-s0"))
    assert continue_with_yours(other, beginning, 5).startswith("Your Kimi cannot be asked")


def test_every_exercise_has_a_place_in_a_model_or_is_known_to_have_none():
    assert [name for name in TO_BUILD if not place_of(all_exercises()[name])] == NO_PART


def test_without_answers_the_copies_compute_what_the_core_does_to_the_last_bit():
    mine = Assembly([]).module("nanokimi.kimi").Kimi(CFG, 0)
    assert torch.equal(mine(tokens()).logits, Kimi(CFG, 0)(tokens()).logits)


def test_a_part_that_passes_its_check_and_does_not_fit_is_left_out(tmp_path):
    narrow = core_source("swiglu").replace(
        "    gate, up", "    x = x if x.shape[-1] != 16 else 0 * x\n    gate, up", 1
    )
    small = "    assert n_experts != 4 or expert_idx.numel() < 60\n    return"
    loud = core_source("expert_load").replace("    return", small)
    answers = {"swiglu": narrow, "expert_load": loud, "lr_at": core_source("lr_at")}
    mine = yours(fill(tmp_path, answers))
    assert mine.parts == ("lr_at",)
    assert (
        mine.refused["swiglu"]
        == "it passes its check, but in a whole Kimi its logits are not those of the lab's"
    )
    assert mine.refused["expert_load"].startswith(
        "it passes its check, but in a whole Kimi it raises AssertionError"
    )
    assert torch.equal(mine.build_model(CFG)(tokens()).logits, Kimi(CFG)(tokens()).logits)


# ---------------------------------------------------------------- everything solved


@cache
def answers(style: str) -> dict[str, str]:
    own = {name: core_source(name) for name in TO_BUILD}
    chosen = own | IN_ANOTHER_STYLE
    if style == "half":
        chosen = {name: chosen[name] for name in TO_BUILD[::2]} | {
            "attend": "def attend(q, k, v, scale): return v"
        }
    return {name: counted(name, source) for name, source in chosen.items()}


@pytest.fixture(scope="module", params=["all", "half"])
def solved(request, tmp_path_factory, calls) -> Yours:  # noqa: F811
    """Yours with every exercise solved, some of them in another style than the core's; or with every other one."""
    mine = yours(fill(tmp_path_factory.mktemp(request.param), answers(request.param)), seconds=60.0)
    mine.style = request.param
    return mine


def test_all_that_is_solved_counts(solved):
    right = [name for name in answers(solved.style) if solved.style == "all" or name != "attend"]
    assert sorted(solved.parts) == sorted(right)
    assert list(solved.refused) == ([] if solved.style == "all" else ["attend"])
    assert repr(solved).startswith(f"your parts: {len(right)} of {len(TO_BUILD)}, in")


@pytest.mark.parametrize("kind", ["mla", "block latents"])
def test_the_logits_and_gradients_are_those_of_the_core(solved, kind):
    cfg = CFG
    if kind == "block latents":
        cfg = replace(
            CFG, attention="block_latent", mla=None, block_latent=BlockLatentConfig(n_latents=2, block_len=6)
        )
    core = harsh_(Kimi(cfg))
    mine = solved.like(core)
    found, right = mine(tokens()), core(tokens())
    size = right.logits.abs().max().item()
    assert torch.allclose(found.logits, right.logits, rtol=0, atol=2e-5 * size)
    cache = mine.new_cache()
    with torch.no_grad():
        pieces = [mine(piece, cache).logits for piece in tokens().split([7, 1, 1, 15], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), right.logits, rtol=0, atol=4e-5 * size)
    for out in (found, right):
        out.logits.square().mean().backward()
    theirs = dict(core.named_parameters())
    for name, p in mine.named_parameters():
        assert torch.allclose(p.grad, theirs[name].grad, rtol=0, atol=1e-4 * theirs[name].grad.abs().max()), (
            name
        )


def test_a_training_has_the_losses_of_the_core_and_uses_every_part(solved, calls):  # noqa: F811
    blocks = replace(
        CFG, attention="block_latent", mla=None, block_latent=BlockLatentConfig(n_latents=2, block_len=6)
    )
    recipe = replace(tiny.muon_clip(steps=4, eval_every=2), qk_clip_tau=0.01)
    recipe = replace(recipe, balance=replace(recipe.balance, switch_coef=0.01, sequence_coef=0.01))
    calls.clear()
    for cfg in (CFG, blocks):
        core, mine = Kimi(cfg), solved.build_model(cfg)
        mine.load_state_dict(core.state_dict())
        ours = [r.loss for r in solved.train(mine, tiny.corpus(), recipe)]
        assert ours == pytest.approx([r.loss for r in train(core, tiny.corpus(), recipe)], abs=1e-4)
        settings = dict(temperature=0.8, top_k=9, top_p=0.9, seed=1)
        written = list(solved.generate(mine.eval(), [3, 1, 4], 30, **settings))
        assert written == list(generate(mine, [3, 1, 4], 30, **settings))
        cache = mine.new_cache()
        with torch.no_grad():
            for piece in tokens().split([7, 17], dim=1):  # several new tokens behind a cache: who sees whom?
                mine(piece, cache)
    own_mask = ["causal_mask"] if solved.style == "all" else []  # `attend` in that style makes its own
    assert {name for name in solved.parts if not calls[name]} == {*NO_PART, *own_mask} & {*solved.parts}
