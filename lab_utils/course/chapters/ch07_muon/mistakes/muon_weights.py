"""The known wrong answers to Muon, of notebook 07, about the decay, the rate and the settings of a group."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.exercise import mistake


@mistake(
    "The weight decay is added to the gradient, and Newton-Schulz then removes its size. It must shrink the weights "
    "directly.",
    "What is left of the decay after the orthogonalisation?",
)
class MuonWithDecayInTheGradient(MuonByParameter):
    def change(self, p, buffer, group):
        mixed = p.grad + group["weight_decay"] * p
        matrices = self.matrices(self.momentum(mixed, buffer, group["momentum"]), group)
        update = self.orthogonal(matrices, group) * self.scale(matrices)
        p.sub_(update.reshape(p.shape), alpha=group["lr"])


@mistake(
    "The weights do not decay.",
    "Which entry of the group makes no difference in your function?",
)
class MuonWithoutDecay(MuonByParameter):
    def apply(self, p, update, group):
        p.sub_(update, alpha=group["lr"])


@mistake(
    "The decay comes last and shrinks the new update too. It should act on the weights before the step.",
    "In W ← (1 - ηλ)·W - ..., which W is on the right?",
)
class MuonThatDecaysTheUpdate(MuonByParameter):
    def apply(self, p, update, group):
        p.sub_(update, alpha=group["lr"])
        p.mul_(1 - group["lr"] * group["weight_decay"])


@mistake(
    "The decay is multiplied by the scale of the update too. It should depend on the learning rate alone.",
    "By which factor do the weights shrink in a step whose gradient is zero?",
)
class MuonWithScaledDecay(MuonByParameter):
    def change(self, p, buffer, group):
        matrices = self.matrices(self.momentum(p.grad, buffer, group["momentum"]), group)
        scale = self.scale(matrices)
        p.mul_(1 - group["lr"] * scale * group["weight_decay"])
        p.sub_(self.orthogonal(matrices, group).reshape(p.shape), alpha=group["lr"] * scale)


@mistake(
    "The decay is not multiplied by the learning rate: weights shrink by weight_decay in every step.",
    "With a rate of 0.01 and a decay of 0.1: by which factor should a weight shrink?",
)
class MuonThatDecaysWithoutTheRate(MuonByParameter):
    def apply(self, p, update, group):
        p.mul_(1 - group["weight_decay"])
        p.sub_(update, alpha=group["lr"])


@mistake(
    "The update is not multiplied by the learning rate.",
    "Where does your step use the group's lr?",
)
class MuonWithoutTheRate(MuonByParameter):
    def apply(self, p, update, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(update)


@mistake(
    "The update is added. A step goes against the gradient.",
    "Which sign stands before η in the formula of W?",
)
class MuonThatClimbs(MuonByParameter):
    def apply(self, p, update, group):
        super().apply(p, -update, group)


@mistake(
    "The momentum is 0.95 whatever the group says.",
    "Where does your step use group['momentum']?",
)
class MuonWithAFixedMomentum(MuonByParameter):
    def change(self, p, buffer, group):
        super().change(p, buffer, group | {"momentum": 0.95})


@mistake(
    "A parameter without a gradient is changed too: its decay, or its old momentum, moves it.",
    "What should happen where p.grad is None?",
)
class MuonMovingIdleParameters(MuonByParameter):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        super().step()


@mistake(
    "The orthogonal matrix replaces the weights. It is an update, to be subtracted from them.",
    "What is on the right side of the formula of W?",
)
class MuonReplacingWeights(MuonByParameter):
    def apply(self, p, update, group):
        p.copy_(update)


@mistake(
    "The weights change in a copy, and the parameters stay as they are.",
    "Is it `p` that changes, or a new tensor?",
)
class MuonThatStands(MuonByParameter):
    def apply(self, p, update, group):
        return None


class MuonThatStops(MuonByParameter):
    """Muon that ends a loop at a parameter without a gradient."""

    ends_all: bool

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    if self.ends_all:
                        return
                    break
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                self.change(p, buffer, group)


@mistake(
    "A parameter without a gradient ends the step: those behind it do not move, in other groups neither.",
    "`return`, `break` or `continue`: which of them goes on with the next parameter?",
)
class MuonEndingAtAnIdleParameter(MuonThatStops):
    ends_all = True


@mistake(
    "A parameter without a gradient ends its group: those behind it in the group do not move.",
    "`return`, `break` or `continue`: which of them goes on with the next parameter?",
)
class MuonEndingAGroupAtAnIdleParameter(MuonThatStops):
    ends_all = False


@mistake(
    "Only the first parameter of a group moves.",
    "How many parameters does group['params'] hold?",
)
class MuonOfTheFirstParameter(MuonByParameter):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            p = group["params"][0]
            if p.grad is not None:
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                self.change(p, buffer, group)


MUON_WEIGHTS = (
    MuonEndingAtAnIdleParameter,
    MuonEndingAGroupAtAnIdleParameter,
    MuonOfTheFirstParameter,
    MuonWithDecayInTheGradient,
    MuonWithoutDecay,
    MuonThatDecaysTheUpdate,
    MuonWithScaledDecay,
    MuonThatDecaysWithoutTheRate,
    MuonWithoutTheRate,
    MuonThatClimbs,
    MuonWithAFixedMomentum,
    MuonMovingIdleParameters,
    MuonReplacingWeights,
    MuonThatStands,
)
