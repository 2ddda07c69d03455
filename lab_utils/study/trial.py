"""One training of a study as a job, and what it knows afterwards.

The training is the benchmark's: begun again after a kill, it goes on from its checkpoint. What was measured is kept
beside it in outcome.json, so that a study that is begun again does nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.bench.plan import Arm
from lab_utils.bench.results import Run, run_folder
from lab_utils.bench.unattended import Training
from lab_utils.study.kept import find_once
from lab_utils.study.plan import Cell
from nanokimi import checkpoint
from nanokimi.abilities.knowledge import Knowledge, measure_knowledge
from nanokimi.count import count_parameters
from nanokimi.text.corpus import load_corpus
from nanokimi.text.storyworld.almanac import Almanac

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one training gave. `seen` and `held_out`: asked in phrasings that the text has, and in those held out.

    Both are None where the training diverged.
    """

    arm: str
    n_characters: int
    n_exposures: int
    lr: float
    seed: int
    body_active: int  # parameters, without embeddings and head
    body_total: int
    run: Run
    seen: Knowledge | None
    held_out: Knowledge | None

    @property
    def place(self) -> tuple[int, int, str]:
        """Characters, exposures and arm: what the outcomes with other rates and seeds have in common."""
        return self.n_characters, self.n_exposures, self.arm


@dataclass(frozen=True)
class FactsTrial:
    """A call trains one cell of a study in the folder `out` and asks the model for every fact."""

    cell: Cell
    arm: Arm  # the cell's, on its text
    out: Path

    def __call__(self) -> Outcome:
        file = run_folder(self.out, self.arm.name, self.arm.train.seed) / OUTCOME
        return find_once(file, Outcome, self._find)

    def _find(self) -> Outcome:
        run = Training(self.cell.data, self.arm, self.out)()
        seen, held_out = (None, None) if run.diverged_at is not None else self._ask()
        count = count_parameters(self.arm.model)
        return Outcome(
            arm=self.cell.arm,
            n_characters=self.cell.data.n_characters,
            n_exposures=self.cell.data.n_exposures,
            lr=self.cell.lr,
            seed=run.seed,
            body_active=count.body_active,
            body_total=count.body_total,
            run=run,
            seen=seen,
            held_out=held_out,
        )

    def _ask(self) -> tuple[Knowledge, Knowledge]:
        """What the last checkpoint knows, asked in phrasings that were seen, and in those that were held out."""
        cfg, data = self.arm.train, self.cell.data
        model = checkpoint.load_checkpoint(run_folder(self.out, self.arm.name, cfg.seed)).model.eval()
        corpus, book = load_corpus(data, seq_len=cfg.seq_len), Almanac(data.seed, data.n_characters)
        seen, held_out = (measure_knowledge(model, corpus, book, cfg, each) for each in (False, True))
        return seen, held_out

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues where SLURM takes the machine away, or the time is over: the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def best_of_rates(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Of every arm on every text with every seed the training with the lowest validation loss; none that diverged."""
    best: dict[tuple, Outcome] = {}
    for each in outcomes:
        place = (*each.place, each.seed)
        if each.seen is not None and (place not in best or each.run.final.loss < best[place].run.final.loss):
            best[place] = each
    return list(best.values())


def by_place(outcomes: Sequence[Outcome]) -> dict[tuple[int, int, str], list[Outcome]]:
    """The best rate of every arm on every text: an outcome per seed."""
    places: dict[tuple[int, int, str], list[Outcome]] = {}
    for each in best_of_rates(outcomes):
        places.setdefault(each.place, []).append(each)
    return places
