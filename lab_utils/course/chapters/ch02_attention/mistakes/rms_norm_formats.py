"""The known wrong answers to RMSNorm that are about number formats, of notebook 02."""

from lab_utils.course.chapters.ch02_attention.mistakes.rms_norm import Norm
from lab_utils.course.exercise import mistake


@mistake(
    "A step before the last is done in bfloat16, or rounded to it: the mean of the squares, its root, or a product "
    "with it. There only 8 significant bits are kept.",
    "In which precision is each of these steps computed, and where does it go back to bfloat16?",
)
class NormInBfloat16(Norm):
    def forward(self, x):
        return (self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "It goes back to bfloat16 before the gain is applied: one rounding too many.",
    "Where is `.to(x.dtype)`: before the last product, or after it?",
)
class NormRoundingBeforeTheGain(Norm):
    def forward(self, x):
        h = self.full(x)
        h = (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)
        return (self.weight * h).to(x.dtype)


@mistake(
    "The result stays in float32. It must come back in the dtype of x.",
    "Which dtype does x have, and which your result?",
)
class NormThatStaysFloat32(Norm):
    def forward(self, x):
        h = self.full(x)
        return self.weight * h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()


@mistake(
    "`x` is overwritten by its float32 version, so that `.to(x.dtype)` at the end leads to float32.",
    "Which dtype does `x` have in your last line?",
)
class NormForgettingTheDtype(Norm):
    def forward(self, x):
        x = x.float()
        return (self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "Precision is forgotten: what has bfloat16 is squared in bfloat16, and the float32 gain makes the result float32.",
    "Where does bfloat16 become float32, and where does it come back?",
)
class NormWithoutCareForTheDtype(Norm):
    def forward(self, x):
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


@mistake(
    "Steps before the last are done in bfloat16, and the gain is brought to it too. There only 8 significant bits are "
    "kept.",
    "In which precision is each step computed, and where does it go back to bfloat16?",
)
class NormWithItsGainInBfloat16(Norm):
    def forward(self, x):
        return self.weight.to(x.dtype) * x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()


@mistake(
    "Precision is forgotten: what has bfloat16 is squared in bfloat16, and the float32 gain makes the result float32.",
    "Where does bfloat16 become float32, and where does it come back?",
)
class NormWithoutCareForTheDtypeByRsqrt(Norm):
    def forward(self, x):
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()


@mistake(
    "It goes back to bfloat16 before the gain is applied, and the float32 gain makes the result "
    "float32 again.",
    "Where is `.to(x.dtype)`: before the last product, or after it?",
)
class NormReturningTooEarly(Norm):
    def forward(self, x):
        h = self.full(x)
        return self.weight * (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)


@mistake(
    "The gain is brought to bfloat16, and so is x/rms before the gain is applied: roundings too many.",
    "Where is `.to(x.dtype)`: before the last product, or after it?",
)
class NormWithARoundedGain(Norm):
    def forward(self, x):
        h = self.full(x)
        h = (h * (h.square().mean(-1, keepdim=True) + self.eps).rsqrt()).to(x.dtype)
        return self.weight.to(x.dtype) * h


@mistake(
    "The mean of the squares is taken in bfloat16, and brought to float32 only then. What was lost does not come back.",
    "Where does x become float32: before it is squared, or after the mean?",
)
class NormOfAMeanInBfloat16(Norm):
    def forward(self, x):
        size = x.square().mean(-1, keepdim=True).to(self.full(x).dtype) + self.eps
        return (self.weight * self.full(x) * size.rsqrt()).to(x.dtype)


@mistake(
    "1/rms is rounded to bfloat16, and its product with x once more, before the gain is applied: roundings too many.",
    "Which steps lie before `.to(x.dtype)`, and which after it?",
)
class NormOfARoundedFactor(Norm):
    def forward(self, x):
        factor = (self.full(x).square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return (self.weight * (x * factor.to(x.dtype))).to(x.dtype)


NORM_FORMATS = (
    NormInBfloat16,
    NormRoundingBeforeTheGain,
    NormThatStaysFloat32,
    NormForgettingTheDtype,
    NormWithoutCareForTheDtype,
    NormWithoutCareForTheDtypeByRsqrt,
    NormReturningTooEarly,
    NormWithItsGainInBfloat16,
    NormWithARoundedGain,
    NormOfAMeanInBfloat16,
    NormOfARoundedFactor,
)
