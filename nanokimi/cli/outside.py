"""A training that obeys the file steer.json in its folder: it waits, ends, and changes settings, between two steps."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanokimi.cli.terminal import tell
from nanokimi.config import ConfigError
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.runs.wishes import Wishes, read_wishes
from nanokimi.steering import EndTraining, Intervention

LOOK_EVERY_S = 0.2  # in a pause


class Outside:
    """What is asked of one training from outside of its process."""

    def __init__(self, out: Path, model: Model):
        self.has_stopped = False
        self._out, self._model = out, model
        self._taken: dict[str, Any] = {}  # the last value of each setting that was changed
        self._told = set[str]()

    def see(self, record: StepRecord) -> None:
        """Note what was changed with this step."""
        self._taken |= {each.what: each.value for each in record.interventions}

    def ask(self, step: int, is_ending: Callable[[], bool]) -> tuple[Intervention, ...]:
        """The interventions from `step` on. It waits through a pause unless `is_ending`; a stop is `EndTraining`."""
        while (wishes := self._read()).pause and not wishes.stop and not is_ending():
            time.sleep(LOOK_EVERY_S)
        if wishes.stop:
            self.has_stopped = True
            raise EndTraining
        found = [self._make(step, what, value) for what, value in wishes.settings.items()]
        return tuple(each for each in found if each and self._taken.get(each.what, self) != each.value)

    def _read(self) -> Wishes:
        try:
            return read_wishes(self._out)
        except ValueError as error:
            self._tell(f"{error}; it is left out")
            return Wishes()

    def _make(self, step: int, what: str, value: Any) -> Intervention | None:
        """The intervention; None, with a line about it, for one that this training cannot have."""
        try:
            made = Intervention(step, what, value)
            made.check_fits(self._model)
        except ConfigError as error:
            self._tell(f"{error}; it is left out")
            return None
        return made

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            tell(line)
