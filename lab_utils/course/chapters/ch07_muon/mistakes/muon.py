"""The known wrong answers to Muon, of notebook 07, about the momentum and the matrices made of it."""

import math

import torch

from lab_utils.course.exercise import mistake
from nanokimi import optim


class MuonByParameter(torch.optim.Optimizer):
    """Muon one parameter at a time, as a learner writes it, with the places where a mistake goes."""

    def __init__(self, groups, lr, weight_decay=0.1, momentum=0.95, ns_steps=5, ns_dtype=torch.bfloat16):
        defaults = dict(lr=lr, weight_decay=weight_decay, momentum=momentum, ns_steps=ns_steps, fused_rows=1)
        super().__init__(groups, defaults)
        self.ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    self.change(p, buffer, group)

    def change(self, p, buffer, group):
        matrices = self.matrices(self.momentum(p.grad, buffer, group["momentum"]), group)
        update = self.orthogonal(matrices, group) * self.scale(matrices)
        self.apply(p, update.reshape(p.shape), group)

    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad.lerp(buffer, mu)

    def matrices(self, update, group):
        return update.unflatten(-2, (group["fused_rows"], -1))

    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, group["ns_steps"], self.ns_dtype).to(matrices.dtype)

    def scale(self, matrices):
        return 0.2 * math.sqrt(max(matrices.shape[-2:]))

    def apply(self, p, update, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(update, alpha=group["lr"])


@mistake(
    "The momentum itself is orthogonalised: Nesterov's look ahead, which mixes the gradient in once more, is missing.",
    "What goes into Newton-Schulz: the buffer, or something between the gradient and the buffer?",
)
class MuonWithoutNesterov(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        return buffer.lerp_(grad, 1 - mu).clone()


@mistake(
    "The two weights of the momentum are exchanged: the buffer forgets 95 % at every step.",
    "With mu = 0.95, which share of the old buffer is left after a step?",
)
class MuonThatForgets(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, mu)
        return grad.lerp(buffer, mu)


@mistake(
    "Earlier gradients play no part: the update is that of the newest gradient alone. The average is not kept from "
    "step to step, or it makes no difference.",
    "After a step, is the new average in self.state[p]? And is it what goes into Newton-Schulz?",
)
class MuonWithoutMemory(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        return grad.lerp(buffer.lerp(grad, 1 - mu), mu)


@mistake(
    "The buffer begins with the first gradient. It should begin with zeros.",
    "What is the momentum before the first step?",
)
class MuonThatBeginsWithTheGradient(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        if not buffer.any():
            buffer.copy_(grad)
        return super().momentum(grad, buffer, mu)


@mistake(
    "The gradient enters the buffer with weight 1-mu, but the update with weight 1: nearly all of the update is then "
    "the newest gradient.",
    "Write both lines as averages. What do the two weights of each sum to?",
)
class MuonWithTheWholeGradient(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad + mu * buffer


@mistake(
    "The gradient is orthogonalised first and the momentum taken afterwards. An average of orthogonal matrices is not "
    "orthogonal.",
    "What are the singular values of the matrix that you subtract, from the second step on?",
)
class MuonWithMomentumLast(MuonByParameter):
    def change(self, p, buffer, group):
        matrices = self.matrices(p.grad, group)
        flat = self.orthogonal(matrices, group).reshape(p.shape)
        self.apply(p, self.momentum(flat, buffer, group["momentum"]) * self.scale(matrices), group)


@mistake(
    "A bank of experts is orthogonalised as one tall matrix. Every expert is a matrix of its own.",
    "For a parameter of three dimensions: how many matrices does your Newton-Schulz get?",
)
class MuonOfTheStack(MuonByParameter):
    def orthogonal(self, matrices, group):
        flat = matrices.transpose(0, -3).reshape(matrices.shape[-3], -1, matrices.shape[-1])
        if matrices.ndim == 3:
            flat = matrices
        out = super().orthogonal(flat, group)
        if matrices.ndim == 3:
            return out
        return out.unflatten(1, (matrices.shape[0], matrices.shape[-2])).transpose(0, 1)


@mistake(
    "Gate and up are orthogonalised together, as one matrix: `fused_rows` makes no difference.",
    "A group says in `fused_rows` how many matrices lie in the rows of its parameters. Do you read it?",
)
class MuonOfFusedMatrices(MuonByParameter):
    def matrices(self, update, group):
        return update


@mistake(
    "`ns_dtype` makes no difference: Newton-Schulz always runs in float32.",
    "In which format does your optimizer run Newton-Schulz if it was made with ns_dtype=torch.float64?",
)
class MuonInSinglePrecision(MuonByParameter):
    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, group["ns_steps"], torch.float32).to(matrices.dtype)


@mistake(
    "Nesterov's two weights are exchanged: the gradient gets mu, and the momentum 1 - mu.",
    "In u = mu·m + (1 - mu)·g, which of the two is the larger part?",
)
class MuonWithNesterovExchanged(MuonByParameter):
    def momentum(self, grad, buffer, mu):
        buffer.lerp_(grad, 1 - mu)
        return grad.lerp(buffer, 1 - mu)


@mistake(
    "Rows are cut apart in the wrong way: `fused_rows` is how many matrices lie one below the other, not how many rows "
    "each of them has.",
    "Six rows and fused_rows = 2: how high is each matrix?",
)
class MuonCutTheWrongWay(MuonByParameter):
    def matrices(self, update, group):
        return update.unflatten(-2, (-1, group["fused_rows"]))


@mistake(
    "`ns_dtype` makes no difference: Newton-Schulz runs in bfloat16, its default.",
    "Which arguments does newton_schulz get in your step?",
)
class MuonInBfloat16(MuonByParameter):
    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, group["ns_steps"]).to(matrices.dtype)


@mistake(
    "`ns_steps` makes no difference: Newton-Schulz always takes five.",
    "Which arguments does newton_schulz get in your step?",
)
class MuonWithFiveSteps(MuonByParameter):
    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, 5, self.ns_dtype).to(matrices.dtype)


@mistake(
    "Nothing is orthogonalised: the scaled momentum itself is the update.",
    "Where does your step call newton_schulz?",
)
class MuonWithoutNewtonSchulz(MuonByParameter):
    def orthogonal(self, matrices, group):
        return matrices


@mistake(
    "`ns_dtype` makes no difference: Newton-Schulz runs in the format of the parameter.",
    "Which arguments does newton_schulz get in your step?",
)
class MuonInTheFormatOfTheParameter(MuonByParameter):
    def orthogonal(self, matrices, group):
        return optim.newton_schulz(matrices, group["ns_steps"], matrices.dtype)


@mistake(
    "Rows are dealt out in turn: the first to one matrix, the second to the next. The rows of a matrix lie together, "
    "one matrix below the other.",
    "Six rows and fused_rows = 2: to which matrix does row 1 belong?",
)
class MuonDealingOutRows(MuonByParameter):
    def change(self, p, buffer, group):
        update = self.momentum(p.grad, buffer, group["momentum"])
        matrices = update.unflatten(-2, (-1, group["fused_rows"])).transpose(-3, -2)
        update = self.orthogonal(matrices, group) * self.scale(matrices)
        self.apply(p, update.transpose(-3, -2).reshape(p.shape), group)


@mistake(
    "Gate and up are orthogonalised together, as one matrix; only the scale is that of a part.",
    "Is it cut apart before newton_schulz, or after it?",
)
class MuonCuttingForTheScaleOnly(MuonByParameter):
    def orthogonal(self, matrices, group):
        return super().orthogonal(matrices.flatten(-3, -2), group).view_as(matrices)


MUON_MOMENTUM = (
    MuonInTheFormatOfTheParameter,
    MuonDealingOutRows,
    MuonCuttingForTheScaleOnly,
    MuonWithoutNesterov,
    MuonThatForgets,
    MuonWithoutMemory,
    MuonThatBeginsWithTheGradient,
    MuonWithTheWholeGradient,
    MuonWithMomentumLast,
    MuonOfTheStack,
    MuonOfFusedMatrices,
    MuonInSinglePrecision,
    MuonWithNesterovExchanged,
    MuonCutTheWrongWay,
    MuonInBfloat16,
    MuonWithFiveSteps,
    MuonWithoutNewtonSchulz,
)
