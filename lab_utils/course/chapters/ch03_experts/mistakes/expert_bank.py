"""The known wrong answers to ExpertBank, of notebook 03: what an expert does, and what comes back."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.experts import ExpertBank, swiglu


class Bank(ExpertBank):
    def expert(self, rows, e):
        return swiglu(rows, self.gate_up_proj[e], self.down_proj[e])

    def results(self, rows, counts):
        return [self.expert(run, e) for e, run in enumerate(rows.split(list(counts)))]


class GatedBank(Bank):
    """A bank that is right but for its activation."""

    act: Callable = F.silu

    def expert(self, rows, e):
        gate, up = F.linear(rows, self.gate_up_proj[e]).chunk(2, dim=-1)
        return F.linear(type(self).act(gate) * up, self.down_proj[e])

    def forward(self, rows, counts):
        return torch.cat(self.results(rows, counts))


@mistake(
    "Every row goes through expert 0.",
    "Which of the bank's matrices does your loop read in its second round?",
)
class BankWithOneExpert(Bank):
    def forward(self, rows, counts):
        return self.expert(rows, 0)


@mistake(
    "The runs are given to the experts in the opposite order.",
    "The first counts[0] rows belong to expert 0.",
)
class BankBackwards(Bank):
    def forward(self, rows, counts):
        last = len(counts) - 1
        return torch.cat([self.expert(run, last - e) for e, run in enumerate(rows.split(list(counts)))])


@mistake(
    "The results are not in the order of the rows: the longest run comes first.",
    "Row i of the result must belong to row i of the input.",
)
class BankSortedByLength(Bank):
    def forward(self, rows, counts):
        return torch.cat(sorted(self.results(rows, counts), key=len, reverse=True))


@mistake(
    "The results of the experts take the place of what they are computed from.",
    "Which tensor do you assign to? Make one for the results.",
)
class BankThatWritesIntoRows(Bank):
    def forward(self, rows, counts):
        start = 0
        for e, n in enumerate(counts):
            rows[start : start + n] = self.expert(rows[start : start + n], e)
            start += n
        return rows


@mistake(
    "Gate and up are exchanged in every expert: the activation goes over the up-projection.",
    "Which rows come first in `gate_up_proj[e]`?",
)
class BankWithGateAndUpExchanged(Bank):
    def forward(self, rows, counts):
        exchanged = self.gate_up_proj.roll(self.gate_up_proj.shape[1] // 2, dims=1)
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, exchanged[e], self.down_proj[e]) for e, run in runs])


@mistake("Every run goes to the next expert.", "The first counts[0] rows belong to expert 0.")
class BankOfTheNextExpert(Bank):
    def forward(self, rows, counts):
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([self.expert(run, (e + 1) % len(counts)) for e, run in runs])


@mistake(
    "The results of the experts come back as a list; they belong together in one tensor.",
    "What joins tensors along their first axis?",
)
class BankOfAList(Bank):
    def forward(self, rows, counts):
        return self.results(rows, counts)


@mistake(
    "The rows are added to the results. The residual is the block's task, not the expert's.",
    "What should come back for a row of zeros, and what for an expert of zeros?",
)
class BankWithAResidual(Bank):
    def forward(self, rows, counts):
        return rows + torch.cat(self.results(rows, counts))


@mistake(
    "No gradient reaches the matrices of the experts: they would never learn.",
    "Is there a `.data`, a `detach` or a `no_grad` where you take the matrices?",
)
class BankWithoutGradient(Bank):
    def forward(self, rows, counts):
        gate_up, down = self.gate_up_proj.detach(), self.down_proj.detach()
        return torch.cat([swiglu(run, gate_up[e], down[e]) for e, run in enumerate(rows.split(list(counts)))])


@mistake(
    "The results are not in the order of the rows: those of the last expert come first.",
    "Row i of the result must belong to row i of the input.",
)
class BankInReverse(Bank):
    def forward(self, rows, counts):
        return torch.cat(self.results(rows, counts)[::-1])


@mistake(
    "Only the run of the last expert comes back.",
    "What happens to the result of expert 0 in the second round of your loop?",
)
class BankOfTheLastRun(Bank):
    def forward(self, rows, counts):
        return self.results(rows, counts)[-1]


@mistake(
    "The rows meet no activation: the gate multiplies as it is.",
    "What happens to the gate in swiglu before the product?",
)
class BankWithoutSilu(GatedBank):
    act = staticmethod(lambda gate: gate)


@mistake(
    "The gate goes through GELU in every expert: close to silu, but another function.",
    "Compare your activation with z · sigmoid(z) at z = -1.",
)
class BankWithGelu(GatedBank):
    act = staticmethod(F.gelu)


@mistake(
    "The gate goes through a sigmoid in every expert; silu(z) is z · sigmoid(z).",
    "What is silu(10), and what is sigmoid(10)?",
)
class BankWithSigmoid(GatedBank):
    act = staticmethod(torch.sigmoid)


@mistake(
    "The gate goes through ReLU in every expert; silu is smooth, and a little below zero for negative numbers.",
    "What is silu(-1), and what does your activation give there?",
)
class BankWithRelu(GatedBank):
    act = staticmethod(F.relu)


@mistake(
    "The activation goes over the product; it belongs on the gate alone, before the product.",
    "In down(silu(gate·x) * (up·x)), where does the bracket of silu close?",
)
class BankWithSiluOfTheProduct(Bank):
    def forward(self, rows, counts):
        out = []
        for e, run in enumerate(rows.split(list(counts))):
            gate, up = F.linear(run, self.gate_up_proj[e]).chunk(2, dim=-1)
            out.append(F.linear(F.silu(gate * up), self.down_proj[e]))
        return torch.cat(out)


@mistake(
    "Each run meets the gate and up of its own expert, and the `down` of the next one.",
    "With which number do you index `down_proj`, and with which `gate_up_proj`?",
)
class BankWithTheNextDown(Bank):
    def forward(self, rows, counts):
        down = self.down_proj.roll(-1, dims=0)
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, self.gate_up_proj[e], down[e]) for e, run in runs])


@mistake(
    "The results come in float32, whatever the dtype of `rows`: perhaps from a `torch.zeros` without one.",
    "Which dtype does `rows` have, and which does the tensor that you fill?",
)
class BankInFloat32(Bank):
    def forward(self, rows, counts):
        return torch.cat(self.results(rows, counts)).float()


@mistake(
    "No gradient goes back to `rows`: what comes before would never learn.",
    "Is there a `.data`, a `detach` or a `no_grad` where you take the rows?",
)
class BankOfDetachedRows(Bank):
    def forward(self, rows, counts):
        return torch.cat(self.results(rows.detach(), counts))


@mistake(
    "Each run meets the `down` of its own expert, and the gate and up of another.",
    "With which number do you index `gate_up_proj`, and with which `down_proj`?",
)
class BankWithTheGateBefore(Bank):
    def forward(self, rows, counts):
        gate_up = self.gate_up_proj.roll(1, dims=0)
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, gate_up[e], self.down_proj[e]) for e, run in runs])


@mistake(
    "The results of the experts are stacked; they have different lengths, and belong one after the other.",
    "What joins tensors along their first axis?",
)
class BankOfAStack(Bank):
    def forward(self, rows, counts):
        return torch.stack(self.results(rows, counts))


@mistake(
    "Each run meets the gate and up of its own expert, and the `down` of the one before.",
    "With which number do you index `down_proj`, and with which `gate_up_proj`?",
)
class BankWithTheDownBefore(Bank):
    def forward(self, rows, counts):
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, self.gate_up_proj[e], self.down_proj[e - 1]) for e, run in runs])


@mistake(
    "Each run meets the gate and up of its own expert, and the `down` of expert 0.",
    "With which number do you index `down_proj`, and with which `gate_up_proj`?",
)
class BankWithTheFirstDown(Bank):
    def forward(self, rows, counts):
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, self.gate_up_proj[e], self.down_proj[0]) for e, run in runs])


@mistake(
    "Each run meets the `down` of its own expert, and the gate and up of expert 0.",
    "With which number do you index `gate_up_proj`, and with which `down_proj`?",
)
class BankWithTheFirstGate(Bank):
    def forward(self, rows, counts):
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, self.gate_up_proj[0], self.down_proj[e]) for e, run in runs])


BANK_RESULTS = (
    BankWithOneExpert,
    BankBackwards,
    BankSortedByLength,
    BankThatWritesIntoRows,
    BankWithGateAndUpExchanged,
    BankOfTheNextExpert,
    BankOfAList,
    BankWithAResidual,
    BankWithoutGradient,
    BankInReverse,
    BankOfTheLastRun,
    BankWithoutSilu,
    BankWithGelu,
    BankWithSigmoid,
    BankWithRelu,
    BankWithSiluOfTheProduct,
    BankWithTheNextDown,
    BankInFloat32,
    BankOfDetachedRows,
    BankWithTheGateBefore,
    BankOfAStack,
    BankWithTheDownBefore,
    BankWithTheFirstDown,
    BankWithTheFirstGate,
)
