"""The known wrong answers to RMSNorm, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.norm import RMSNorm as CoreNorm


class Norm(CoreNorm):
    """The core's weights; each mistake has another forward."""

    def full(self, x):
        return x if x.dtype in (torch.float32, torch.float64) else x.float()


@mistake(
    "The mean is subtracted first: that is LayerNorm.", "What does RMS stand for? Is there a mean in it?"
)
class NormSubtractingTheMean(Norm):
    def forward(self, x):
        h = self.full(x)
        h = h - h.mean(dim=-1, keepdim=True)
        return (self.weight * h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("It is divided by the mean square, not by its root.", "Double x. Should the output change?")
class NormWithoutRoot(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


@mistake(
    "It is divided by the length (a sum), not by the root of the *mean* square.",
    "How large are the numbers afterwards?",
)
class NormByLength(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().sum(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "The mean runs over the wrong axis: over tokens, not over channels.",
    "May a token's norm depend on its neighbours?",
)
class NormOverTokens(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(0, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("The gain is not applied.", "Which of the module's weights makes no difference in your forward?")
class NormWithoutGain(Norm):
    def forward(self, x):
        h = self.full(x)
        return (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake("eps is added to the root, not under it.", "For x = 0 and for tiny x: what should come out?")
class NormWithEpsOutside(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.square().mean(-1, keepdim=True).sqrt() + self.eps)).to(x.dtype)


@mistake(
    "It is squared after the mean is taken. The norm needs the mean of the squares, not the square of the mean.",
    "Read RMS backwards: which comes first?",
)
class NormSquaringAfterTheMean(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.mean(-1, keepdim=True).square() + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "One mean is taken over all tokens together; every token has a size of its own.",
    "May a token's norm depend on its neighbours?",
)
class NormOverEverything(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean() + self.eps).rsqrt()).to(x.dtype)


@mistake("eps is missing.", "What does a token of zeros become?")
class NormWithoutEps(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * h.square().mean(-1, keepdim=True).rsqrt()).to(x.dtype)


@mistake(
    "The mean has lost its axis: its shape is (tokens,), so the division runs along the channels.",
    "Which argument of mean keeps the last axis, with length 1?",
)
class NormWithoutKeepdim(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.square().mean(-1) + self.eps).sqrt()).to(x.dtype)


@mistake(
    "The mean runs over axis 1, whatever that is; in (batch, seq, width) it is the sequence.",
    "Which number of `dim` means the last axis, however many there are?",
)
class NormOverTheSecondAxis(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "It is divided by the standard deviation: the mean is subtracted before the numbers are squared.",
    "The mean of (3, 4) is 3.5. Is it anywhere in the formula?",
)
class NormByDeviation(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.var(-1, keepdim=True, correction=0) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "The gain is 1 + weight. Some models store it so; here the weight itself is the gain, and it starts at 1.",
    "With a weight of 1, should the output be as large as x/rms or twice as large?",
)
class NormWithOneTooMany(Norm):
    def forward(self, x):
        h = self.full(x)
        return ((1 + self.weight) * h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "eps is written down as 1e-6: `self.eps` makes no difference.",
    "Which attribute of the module makes no difference in your forward?",
)
class NormWithAnEpsOfItsOwn(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)


@mistake(
    "It is multiplied by the root of the mean square instead of divided.",
    "Double x. Should the output be larger?",
)
class NormMultiplying(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(-1, keepdim=True) + self.eps).sqrt()).to(x.dtype)


@mistake(
    "It is divided by the mean of the absolute values, not by the root of the mean square.",
    "Read RMS backwards: square, mean, root.",
)
class NormOfAbsoluteValues(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.abs().mean(-1, keepdim=True) + self.eps)).to(x.dtype)


@mistake(
    "It is divided by the largest number of the token.",
    "Read RMS backwards: square, mean, root.",
)
class NormByTheLargest(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.abs().amax(-1, keepdim=True) + self.eps)).to(x.dtype)


@mistake(
    "The size carries no gradient: x is divided by a number that counts as fixed.",
    "Is there a `no_grad`, a `detach` or an `item` around the root?",
)
class NormWithAFixedSize(Norm):
    def forward(self, x):
        h = self.full(x)
        size = (h.detach().square().mean(-1, keepdim=True) + self.eps).sqrt()
        return (self.weight * h / size).to(x.dtype)


@mistake(
    "The gain is added instead of multiplied.",
    "In y = g ⊙ x/rms, what does ⊙ do?",
)
class NormAddingTheGain(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight + h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "The gain is multiplied in before the size is measured, so it changes the size too.",
    "Of which numbers is the mean square taken: of x, or of weight · x?",
)
class NormAfterTheGain(Norm):
    def forward(self, x):
        h = self.weight * self.full(x)
        return (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


NORM_SIZES = (
    NormSubtractingTheMean,
    NormWithoutRoot,
    NormByLength,
    NormOverTokens,
    NormWithoutGain,
    NormWithEpsOutside,
    NormSquaringAfterTheMean,
    NormOverEverything,
    NormWithoutEps,
    NormWithoutKeepdim,
    NormOverTheSecondAxis,
    NormByDeviation,
    NormWithOneTooMany,
    NormWithAnEpsOfItsOwn,
    NormMultiplying,
    NormOfAbsoluteValues,
    NormByTheLargest,
    NormWithAFixedSize,
    NormAddingTheGain,
    NormAfterTheGain,
)
