"""The known wrong answers to RMSNorm, of notebook 02: where eps goes, and what learns."""

import torch.nn.functional as F

from lab_utils.course.chapters.ch02_attention.mistakes.rms_norm import Norm
from lab_utils.course.exercise import mistake


@mistake(
    "eps is a floor below the mean square; it should be added, also where the mean square is larger.",
    "A mean square of 1 and an eps of 4: under which number is the root?",
)
class NormWithAFloor(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * h.square().mean(-1, keepdim=True).clamp(min=self.eps).rsqrt()).to(x.dtype)


@mistake(
    "eps is added to the sum of the squares, before it is divided by the width: it counts too little.",
    "In sqrt(mean(x²) + eps), what is eps added to?",
)
class NormWithEpsInTheSum(Norm):
    def forward(self, x):
        h = self.full(x)
        mean = (h.square().sum(-1, keepdim=True) + self.eps) / x.shape[-1]
        return (self.weight * h * mean.rsqrt()).to(x.dtype)


@mistake(
    "eps is squared before it is added.",
    "In sqrt(mean(x²) + eps), which of the two is squared?",
)
class NormWithEpsSquared(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.square().mean(-1, keepdim=True) + self.eps**2).rsqrt()).to(x.dtype)


@mistake(
    "`self.eps` makes no difference: a function of torch takes a tiny number of its own.",
    "Which attribute of the module makes no difference in your forward?",
)
class NormWithTorchsEps(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * F.rms_norm(h, x.shape[-1:])).to(x.dtype)


@mistake(
    "`self.eps` makes no difference: `normalize` divides by the length, and keeps only 0 / 0 away.",
    "Which attribute of the module makes no difference in your forward?",
)
class NormByNormalize(Norm):
    def forward(self, x):
        return (self.weight * F.normalize(self.full(x), dim=-1) * x.shape[-1] ** 0.5).to(x.dtype)


@mistake(
    "It is divided by the length over the width, and eps comes after the root. The mean square is length² over width.",
    "mean(x²) is sum(x²)/width. What is its root?",
)
class NormByTheLengthOverWidth(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.norm(dim=-1, keepdim=True) / x.shape[-1] + self.eps)).to(x.dtype)


@mistake(
    "No gradient reaches the gain: it would stay 1.",
    "Is there a `.data` or a `detach` where you take the weight?",
)
class NormWithAFixedGain(Norm):
    def forward(self, x):
        h = self.full(x)
        inverse = (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return (self.weight.detach() * h * inverse).to(x.dtype)


@mistake(
    "No gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a `.data` where you take x?",
)
class NormOfADetachedInput(Norm):
    def forward(self, x):
        return super().forward(x.detach())


@mistake(
    "It is divided by the length over the width. The mean square is length² over width.",
    "mean(x²) is sum(x²)/width. What is its root?",
)
class NormByTheLengthOverWidthUnderTheRoot(Norm):
    def forward(self, x):
        h = self.full(x)
        mean = h.square().sum(-1, keepdim=True) / x.shape[-1] ** 2
        return (self.weight * h * (mean + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "It is divided by the standard deviation, with n - 1 below: the mean is subtracted before the numbers are squared, "
    "and a single channel gives 0 / 0, which is nan.",
    "The mean of (3, 4) is 3.5. Is it anywhere in the formula?",
)
class NormByTorchsVariance(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h * (h.var(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "It is divided by the standard deviation, with n - 1 below, and eps: the mean is subtracted before the numbers are "
    "squared, eps comes after the root, and a single channel gives 0 / 0, which is nan.",
    "The mean of (3, 4) is 3.5. Is it anywhere in the formula?",
)
class NormByTorchsDeviation(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.std(-1, keepdim=True) + self.eps)).to(x.dtype)


@mistake(
    "It is divided by the standard deviation and eps: the mean is subtracted before the numbers are squared, and eps "
    "comes after the root.",
    "The mean of (3, 4) is 3.5. Is it anywhere in the formula?",
)
class NormByDeviationAndEps(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.std(-1, keepdim=True, correction=0) + self.eps)).to(x.dtype)


@mistake(
    "It is divided by the length (a sum), not by the root of the *mean* square, and eps comes after the root.",
    "How large are the numbers afterwards?",
)
class NormByTheLengthAndEps(Norm):
    def forward(self, x):
        h = self.full(x)
        return (self.weight * h / (h.norm(dim=-1, keepdim=True) + self.eps)).to(x.dtype)


NORM_EPS = (
    NormWithAFloor,
    NormWithEpsInTheSum,
    NormWithEpsSquared,
    NormWithTorchsEps,
    NormByNormalize,
    NormByTheLengthOverWidth,
    NormByTheLengthOverWidthUnderTheRoot,
    NormWithAFixedGain,
    NormOfADetachedInput,
    NormByTorchsVariance,
    NormByTorchsDeviation,
    NormByDeviationAndEps,
    NormByTheLengthAndEps,
)
