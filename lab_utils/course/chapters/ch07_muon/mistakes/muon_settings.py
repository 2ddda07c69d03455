"""The known wrong answers to Muon, of notebook 07, in which settings of the group at hand are not the ones used."""

import itertools

from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.exercise import Mistake, mistake

IN_WORDS = {"lr": "rate", "weight_decay": "decay", "momentum": "momentum", "ns_steps": "number of steps"}


class MuonOfItsOwnSettings(MuonByParameter):
    """Muon that uses what it was made with, whatever some settings of a group are."""

    fixed: tuple[str, ...]

    def change(self, p, buffer, group):
        super().change(p, buffer, group | {name: self.defaults[name] for name in self.fixed})


def _with_fixed(*fixed: str) -> Mistake:
    words = [IN_WORDS[each] for each in fixed]
    listed = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    is_, them = ("is", "it") if len(fixed) == 1 else ("are", "them")
    kind = type(
        f"MuonWithFixed_{'_'.join(fixed)}",
        (MuonOfItsOwnSettings,),
        {"fixed": fixed, "__module__": __name__},
    )
    return mistake(
        f"The {listed} {is_} what Muon was made with, as in self.defaults. A group may have its own, and a schedule "
        f"changes {them} there.",
        "Where does your step find the settings of the group at hand?",
    )(kind)


MUON_SETTINGS = tuple(
    _with_fixed(*fixed) for n in range(1, 5) for fixed in itertools.combinations(IN_WORDS, n)
)
