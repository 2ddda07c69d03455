"""`nanokimi train --log`: every record to a tracker, and at each evaluation what the model writes by then."""

from pathlib import Path
from typing import Any

from nanokimi import ranks
from nanokimi.cli.terminal import tell
from nanokimi.generate import generate
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.text.corpus import Corpus
from nanokimi.tracking.tracker import Tracker, track

PROMPT_TOKENS, SAMPLE_TOKENS = 12, 60


class Tracked:
    """One training as it is tracked, with `tool`, or not at all."""

    def __init__(self, tool: str | None, out: Path, model: Model, corpus: Corpus):
        self._tool, self._out, self._model, self._corpus = tool, out, model, corpus
        self._tracker: Tracker | None = None

    def begin(self, settings: dict[str, Any], done: int) -> None:
        """Begin the tracked run, or go on with it after step `done`."""
        if self._tool is not None:
            self._tracker = track(self._tool, self._out, settings, done)

    def see(self, record: StepRecord) -> None:
        """Write a record. A tool that fails is told once and left: the training is worth more."""
        if self._tracker is None:
            return
        sample = None if record.evaluation is None else self._write_sample()
        try:
            self._tracker.log(record, sample)
        except Exception as error:  # of a package whose errors nobody lists
            tell(f"{self._tool} fails at step {record.step}: {error}; the training goes on without it")
            self._tracker = None

    def end(self) -> None:
        """Wait until all is written."""
        if self._tracker is not None:
            self._tracker.__exit__()

    def _write_sample(self) -> tuple[str, str] | None:
        """The beginning of the validation text, and how the model goes on; None where each rank has a part of it."""
        if ranks.is_part(next(self._model.parameters())):
            return None
        encoding = self._corpus.tokenizer
        prompt = self._corpus.val.tokens[:PROMPT_TOKENS].tolist()[: self._model.cfg.max_seq_len]
        written = generate(
            self._model, prompt, SAMPLE_TOKENS, temperature=0.8, top_k=50, stop_id=encoding.eot_token
        )
        known = [token for token in written if token < encoding.n_vocab]  # a model may have rows to spare
        return encoding.decode(prompt), encoding.decode(known)
