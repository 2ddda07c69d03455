"""The known wrong answers to Muon, of notebook 07, about what is kept between two steps, and where."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.exercise import mistake


class MuonOfTheFirstStep(MuonByParameter):
    """Muon that keeps some settings of a group as it first met them."""

    kept: tuple[str, ...]

    def change(self, p, buffer, group):
        state = self.state[p]
        first = {name: state.setdefault(name, group[name]) for name in self.kept}
        super().change(p, buffer, group | first)


@mistake(
    "The decay of the first step is kept. A schedule may change the settings of a group between steps.",
    "When does your code read group['weight_decay']: in every step, or once?",
)
class MuonWithTheFirstDecay(MuonOfTheFirstStep):
    kept = ("weight_decay",)


@mistake(
    "The momentum's weight of the first step is kept. A schedule may change the settings of a group between steps.",
    "When does your code read group['momentum']: in every step, or once?",
)
class MuonWithTheFirstMomentum(MuonOfTheFirstStep):
    kept = ("momentum",)


@mistake(
    "`ns_steps` of the first step is kept. A schedule may change the settings of a group between steps.",
    "When does your code read group['ns_steps']: in every step, or once?",
)
class MuonWithTheFirstSteps(MuonOfTheFirstStep):
    kept = ("ns_steps",)


@mistake(
    "Decay and momentum of the first step are kept. A schedule may change the settings of a group between steps.",
    "What does your code read in every step, and what only once?",
)
class MuonWithTheFirstDecayAndMomentum(MuonOfTheFirstStep):
    kept = ("weight_decay", "momentum")


@mistake(
    "All settings of the first step are kept. A schedule may change them between steps.",
    "What does your code read in every step, and what only once?",
)
class MuonWithTheFirstSettings(MuonOfTheFirstStep):
    kept = ("lr", "weight_decay", "momentum", "ns_steps")


@mistake(
    "The parameter gets new memory at every step. Who holds its old memory, a view for instance, sees no change.",
    "Does `p.data = ...` change the numbers of p, or put others in their place? Which methods of a tensor end in _?",
)
class MuonWithNewWeights(MuonByParameter):
    def apply(self, p, update, group):
        p.data = (1 - group["lr"] * group["weight_decay"]) * p.data - group["lr"] * update


@mistake(
    "The momentum is kept in bfloat16, where it loses all but three digits. It should have the format of the gradient.",
    "Which number format has the tensor in self.state[p]?",
)
class MuonWithCoarseMomentum(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        # The buffer holds bfloat16's numbers only, as one of that format would.
        coarse = buffer.bfloat16().lerp_(grad.bfloat16(), 1 - mu)
        buffer.copy_(coarse)
        return grad.lerp(coarse.to(grad.dtype), mu)


@mistake(
    "Nesterov's update is kept as the new momentum. It is for this step alone: the average goes on without it.",
    "After a step, which of the two is in self.state[p]: m or u?",
)
class MuonThatKeepsNesterov(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        update = super().momentum(grad, buffer, mu)
        buffer.copy_(update)
        return update


@mistake(
    "Every update is rescaled to a root mean square of 0.2 as measured. The scale is 0.2·sqrt(max(A, B)), whatever the "
    "orthogonal matrix measures.",
    "Which formula stands above the exercise? What does it divide by?",
)
class MuonOfMeasuredLength(MuonByParameter):
    def orthogonal(self, matrices, group):
        orthogonal = super().orthogonal(matrices, group)
        length = orthogonal.square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-8)
        return orthogonal * (0.2 / length)

    def scale(self, matrices):
        return 1.0


@mistake(
    "The momentum is not in self.state, so state_dict() does not save it: a training that is loaded begins with none.",
    "What does optimizer.state_dict()['state'] hold after a step?",
)
class MuonWithAMemoryOfItsOwn(MuonByParameter):
    def change(self, p, buffer, group):
        kept = self.__dict__.setdefault("kept", {})
        super().change(p, kept.setdefault(p, torch.zeros_like(p)), group)


@mistake(
    "All parameters share one momentum, and it is not in self.state, so that state_dict() does not save it.",
    "How many parameters has a model, and what does optimizer.state_dict()['state'] hold after a step?",
)
class MuonWithOneMemory(MuonByParameter):
    def change(self, p, buffer, group):
        super().change(p, self.__dict__.setdefault("kept", torch.zeros_like(p)), group)


@mistake(
    "Parameters of one shape in a group share one momentum. Every parameter needs its own.",
    "By which key do you look the buffer up, and can two parameters have the same?",
)
class MuonSharingMomentum(MuonByParameter):
    def change(self, p, buffer, group):
        shared = self.state[group["params"][0]].setdefault(str(tuple(p.shape)), buffer)
        super().change(p, shared, group)


@mistake(
    "p.grad is overwritten. Who adds up gradients, or reads their size, finds another one there.",
    "Which of your calls end in _, and which tensor does each of them change?",
)
class MuonOverwritingGradients(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad.lerp_(buffer, mu)


@mistake(
    "The step is recorded for a backward pass, and torch lets nobody change a weight in place there.",
    "Which line stands above `def step` in the stub?",
)
class MuonWithGradientsOn(MuonByParameter):
    def apply(self, p, update, group):
        with torch.enable_grad():
            super().apply(p, update, group)


MUON_MEMORY = (
    MuonWithAMemoryOfItsOwn,
    MuonWithOneMemory,
    MuonSharingMomentum,
    MuonOverwritingGradients,
    MuonWithGradientsOn,
    MuonWithTheFirstDecay,
    MuonWithTheFirstMomentum,
    MuonWithTheFirstSteps,
    MuonWithTheFirstDecayAndMomentum,
    MuonWithTheFirstSettings,
    MuonWithNewWeights,
    MuonWithCoarseMomentum,
    MuonThatKeepsNesterov,
    MuonOfMeasuredLength,
)
