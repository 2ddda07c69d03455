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
    "Which entry of the group do you never read?",
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
    "The learning rate is always the first one. A schedule writes a new one into the group before every step.",
    "Where is the rate that a schedule changes?",
)
class MuonWithAFixedRate(MuonByParameter):
    def apply(self, p, update, group):
        super().apply(p, update, group | {"lr": self.defaults["lr"]})


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
    "The settings are read from self.defaults. A group may have its own.",
    "Where are the settings of the group at hand?",
)
class MuonWithTheDefaults(MuonByParameter):
    def change(self, p, buffer, group):
        super().change(p, buffer, self.defaults)


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


MUON_WEIGHTS = (
    MuonWithDecayInTheGradient,
    MuonWithoutDecay,
    MuonThatDecaysTheUpdate,
    MuonWithScaledDecay,
    MuonWithAFixedRate,
    MuonThatDecaysWithoutTheRate,
    MuonWithoutTheRate,
    MuonThatClimbs,
    MuonWithTheDefaults,
    MuonWithAFixedMomentum,
    MuonMovingIdleParameters,
    MuonReplacingWeights,
    MuonThatStands,
)
