"""The known wrong answers to Muon, of notebook 07, about the length of the update."""

import math

from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.exercise import mistake


@mistake(
    "The scale is taken from the whole parameter. It belongs to the matrix that was orthogonalised, "
    "of which the parameter may hold several.",
    "Gate and up in one parameter: how high is the matrix that Newton-Schulz got?",
)
class MuonScaledByTheParameter(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(max(matrices.shape[-3] * matrices.shape[-2], matrices.shape[-1]))


@mistake(
    "The scale takes the shorter side. The root mean square of an orthogonal matrix falls with the longer one.",
    "Measure the root mean square of an orthogonal matrix of 4 x 100.",
)
class MuonScaledByTheShorterSide(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(min(matrices.shape[-2:]))


@mistake(
    "The update is not scaled: 0.2·sqrt(max(rows, cols)) is missing.",
    "What is the root mean square of the update of a large matrix, and what would AdamW's be?",
)
class MuonWithoutScale(MuonByParameter):
    def scale(self, matrices):
        return 1.0


@mistake(
    "The scale is a bare 0.2: the root of the longer side is missing.",
    "What is the root mean square of the update of a large matrix, and what would AdamW's be?",
)
class MuonScaledByAConstant(MuonByParameter):
    def scale(self, matrices):
        return 0.2


@mistake(
    "The scale lacks 0.2: it is the root of the longer side alone.",
    "Which root mean square should the update have?",
)
class MuonScaledByTheRootAlone(MuonByParameter):
    def scale(self, matrices):
        return math.sqrt(max(matrices.shape[-2:]))


@mistake(
    "The scale lacks the root: 0.2 is multiplied by the longer side itself.",
    "Which root mean square should the update have?",
)
class MuonScaledWithoutRoot(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * max(matrices.shape[-2:])


@mistake(
    "The scale is sqrt(max(1, rows/cols)), that of the first Muon. The formula asked for is Moonlight's.",
    "Which formula stands above the exercise?",
)
class MuonScaledAsTheFirst(MuonByParameter):
    def scale(self, matrices):
        return max(1.0, matrices.shape[-2] / matrices.shape[-1]) ** 0.5


@mistake(
    "The scale takes the number of rows, whichever side is longer.",
    "What is `max` for in the formula?",
)
class MuonScaledByTheRows(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(matrices.shape[-2])


@mistake(
    "The scale takes the number of columns, whichever side is longer.",
    "What is `max` for in the formula?",
)
class MuonScaledByTheColumns(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(matrices.shape[-1])


@mistake(
    "The scale takes the longest of all dimensions, the number of experts too. Only the sides of a matrix count.",
    "A bank of five small matrices: which numbers go into max?",
)
class MuonScaledByTheExperts(MuonByParameter):
    def change(self, p, buffer, group):
        matrices = self.matrices(self.momentum(p.grad, buffer, group["momentum"]), group)
        update = self.orthogonal(matrices, group) * 0.2 * math.sqrt(max(p.shape))
        self.apply(p, update.reshape(p.shape), group)


@mistake(
    "The scale counts the rows of all matrices of the parameter together. Only the sides of one matrix count.",
    "A bank of five small matrices: which numbers go into max?",
)
class MuonScaledByAllRows(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(max(matrices.flatten(0, -2).shape))


@mistake(
    "The scale divides by the root of the longer side. It should make up for it: a long matrix gets a larger factor.",
    "Does the root mean square of an orthogonal matrix grow or fall with its longer side?",
)
class MuonDividedByTheRoot(MuonByParameter):
    def scale(self, matrices):
        return 0.2 / math.sqrt(max(matrices.shape[-2:]))


@mistake(
    "The scale takes the product of both sides. Only the longer one counts.",
    "Measure the root mean square of an orthogonal matrix of 4 x 100.",
)
class MuonScaledByTheProduct(MuonByParameter):
    def scale(self, matrices):
        return 0.2 * math.sqrt(matrices.shape[-2] * matrices.shape[-1])


@mistake(
    "Two things are those of the first Muon: the scale is sqrt(max(1, rows/cols)), and the decay comes last.",
    "Which formula stands above the exercise? Which W is on its right side?",
)
class MuonAsTheFirst(MuonByParameter):
    def scale(self, matrices):
        return max(1.0, matrices.shape[-2] / matrices.shape[-1]) ** 0.5

    def apply(self, p, update, group):
        p.sub_(update, alpha=group["lr"])
        p.mul_(1 - group["lr"] * group["weight_decay"])


MUON_SCALE = (
    MuonScaledByAllRows,
    MuonDividedByTheRoot,
    MuonScaledByTheProduct,
    MuonAsTheFirst,
    MuonScaledByTheParameter,
    MuonScaledByTheShorterSide,
    MuonWithoutScale,
    MuonScaledByAConstant,
    MuonScaledByTheRootAlone,
    MuonScaledWithoutRoot,
    MuonScaledAsTheFirst,
    MuonScaledByTheRows,
    MuonScaledByTheColumns,
    MuonScaledByTheExperts,
)
