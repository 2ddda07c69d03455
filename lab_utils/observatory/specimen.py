"""The model under the observatory: one that comes with the lab, that of a checkpoint, or one trained here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from lab_utils.bench.plan import Arm, make_plan
from lab_utils.bench.results import output_folder, run_folder
from lab_utils.observatory.look import check_model
from lab_utils.observatory.word_classes import Lexicon, read_storyworld_lexicon
from lab_utils.show.note import write_step
from lab_utils.show.words import plural
from nanokimi import checkpoint, pretrained
from nanokimi.config import TrainConfig
from nanokimi.kimi import Kimi
from nanokimi.model import build_model
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.text.corpus import Corpus, load_corpus, windows
from nanokimi.train import train

ARM = "kimi"


@dataclass(frozen=True, kw_only=True)
class ObservatorySize:
    """How much the notebook looks at. Without `n_layers` the model keeps its own depth."""

    train_steps: int
    n_layers: int | None = None
    windows: int  # of validation text, for the counts
    lesion_windows: int  # the same for a lesion; there is one evaluation per expert
    new_tokens: int  # of a continuation
    cache_tokens: int
    clinic_steps: int
    clinic_every: int


_SIZES = {
    # The smoke preset has one layer of experts; paths need two.
    "smoke": ObservatorySize(
        train_steps=20,
        n_layers=3,
        windows=8,
        lesion_windows=2,
        new_tokens=12,
        cache_tokens=48,
        clinic_steps=20,
        clinic_every=4,
    ),
    "cpu": ObservatorySize(
        train_steps=120,
        windows=32,
        lesion_windows=8,
        new_tokens=48,
        cache_tokens=128,
        clinic_steps=240,
        clinic_every=6,
    ),
}


@checked
def choose_size(profile: str) -> ObservatorySize:
    """The sizes of a profile. A GPU profile has those of `cpu`: its model is larger, not the observation."""
    return _SIZES.get(profile, _SIZES["cpu"])


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """A trained Kimi with experts, the text it was trained on, and where it comes from, in a sentence."""

    model: Kimi
    corpus: Corpus
    train: TrainConfig
    lexicon: Lexicon
    origin: str

    def start(self) -> Kimi:
        """The same model before its first step, made again from its seed."""
        return build_model(self.model.cfg, self.train.seed).to(self.model.lm_head.weight.device)

    def text(self, n_windows: int) -> tuple[Int[Tensor, "n seq"], Int[Tensor, "n seq"]]:
        """The first windows of the validation text, and each token's place in the split."""
        inputs, _, index = windows(self.corpus.val, n_windows, self.train.seq_len)
        return inputs, index - 1


@checked
def find_specimen(
    profile: str,
    path: str | Path = "",
    out_dir: str | Path = "",
    say: Callable[[str], None] = lambda text: None,
) -> Specimen:
    """The model that `path` names; else of notebook 08's run; else a Kimi that is trained now, and kept.

    path: the folder of a checkpoint, or the name of a model that comes with the lab. Where it cannot be used (a GPT, a
    dense Kimi, another text, a damaged file), `say` gets a sentence that says why, and the search goes on. `say` is
    also told how far the training is.
    """
    if str(path) in pretrained.names() and not Path(path).exists():
        try:
            return _take_from_the_lab(str(path))
        except ValueError as error:
            say(f"{error}. The observatory goes on with a model of its own.")
            path = ""
    size = choose_size(profile)
    plan = make_plan(profile, ARM)
    corpus = load_corpus(plan.data, seq_len=plan.arms[0].train.seq_len)
    lexicon = read_storyworld_lexicon(plan.data)
    arm = plan.with_vocabulary_of(corpus).arm(ARM)
    own = replace(
        arm,
        model=replace(arm.model, n_layers=size.n_layers or arm.model.n_layers),
        train=replace(arm.train, steps=size.train_steps, eval_every=size.train_steps),
    )
    root = output_folder(out_dir)
    kept = run_folder(root, f"observatory-{profile}", 0)
    if path:
        try:
            if not Path(path).exists():
                raise ValueError(
                    f"no folder {quote(str(path))}; with the lab come {', '.join(pretrained.names())}"
                )
            return _read(Path(path), corpus, lexicon)
        except ValueError as error:
            say(f"{error}. The observatory goes on with a model of its own.")
    for folder, expected in ((run_folder(root, ARM, 0), arm), (kept, own)):
        if checkpoint.has_checkpoint(folder):
            found = checkpoint.load_checkpoint(folder)
            whole = found.state.step == found.train.steps
            if (
                whole
                and found.model.cfg == expected.model
                and found.state.corpus_fingerprint == corpus.fingerprint
            ):
                return _read(folder, corpus, lexicon)
    _train(own, corpus, kept, say)
    return _read(kept, corpus, lexicon)


def _take_from_the_lab(name: str) -> Specimen:
    found = pretrained.load_pretrained(name)
    model = check_model(found.model)
    if found.data is None:
        raise ValueError(f"the lab does not have the text of {name}")
    return Specimen(
        model=model,
        corpus=load_corpus(found.data),
        train=found.train,
        lexicon=read_storyworld_lexicon(found.data),
        origin=_say_origin(name, found.steps, found.train),
    )


def _read(path: Path, corpus: Corpus, lexicon: Lexicon) -> Specimen:
    found = checkpoint.load_checkpoint(path)
    model = check_model(found.model)
    if found.state.corpus_fingerprint != corpus.fingerprint:
        raise ValueError(f"checkpoint {path} was trained on another text than this profile's {corpus.name}")
    return Specimen(
        model=model,
        corpus=corpus,
        train=found.train,
        lexicon=lexicon,
        origin=_say_origin(found.path.parent.name, found.state.step, found.train),
    )


def _say_origin(name: str, steps: int, train: TrainConfig) -> str:
    return f"{name}, {plural(steps, 'step')} of {train.batch_size * train.seq_len:,} tokens"


def _train(arm: Arm, corpus: Corpus, folder: Path, say: Callable[[str], None]) -> None:
    model = build_model(arm.model, arm.train.seed)
    for record in train(model, corpus, arm.train, folder):
        if record.step % 10 == 0 or record.step == record.n_steps:
            say(f"training a Kimi to look at: {write_step(record)}")
