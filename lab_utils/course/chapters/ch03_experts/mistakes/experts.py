"""Wrong answers to the exercises of notebook 03."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.experts import ExpertBank, swiglu

# ---------------------------------------------------------------- swiglu


def halves(x, gate_up):
    return F.linear(x, gate_up).chunk(2, dim=-1)


@mistake(
    "Gate and up are exchanged: the activation goes over the up-projection.",
    "Which rows come first in `gate_up`, and which half goes through silu?",
)
def swiglu_with_gate_and_up_exchanged(x, gate_up, down):
    up, gate = halves(x, gate_up)
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "The activation goes over the product; it belongs on the gate alone, before the product.",
    "In down(silu(gate·x) * (up·x)), where does the bracket of silu close?",
)
def swiglu_with_silu_of_the_product(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate * up), down)


@mistake(
    "There is no activation: the gate multiplies as it is.",
    "Compute it for a gate of -10 by hand. Should such a gate let much through?",
)
def swiglu_without_silu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate * up, down)


@mistake(
    "The gate goes through a sigmoid. That is GLU (Dauphin et al. 2017); silu(z) is z · sigmoid(z).",
    "What is silu(10), and what is sigmoid(10)?",
)
def swiglu_with_sigmoid(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate.sigmoid() * up, down)


@mistake(
    "The gate goes through GELU. That is GEGLU; close, and not the same function.",
    "Compare your activation with z · sigmoid(z) at z = -1.",
)
def swiglu_with_gelu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.gelu(gate) * up, down)


@mistake(
    "Gate and up are taken as every other row. The matrix has all gate rows first, then all up rows.",
    "Print the first column of `gate_up` and mark which rows you use for the gate.",
)
def swiglu_with_alternating_rows(x, gate_up, down):
    gate, up = F.linear(x, gate_up[0::2]), F.linear(x, gate_up[1::2])
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "Gate and up are added instead of multiplied.",
    "If the gate is closed (0), how much of the up-projection should come through?",
)
def swiglu_with_a_sum(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate) + up, down)


@mistake(
    "silu is written as z / (1 + exp(-z)). Right on paper; at z = -100 exp(100) is infinite in float32, and where the "
    "value is still 0 the gradient is nan. One such token ends a training.",
    "torch has z · sigmoid(z) in a form that cannot overflow. What is it called?",
)
def swiglu_that_overflows(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate / (1 + (-gate).exp()) * up, down)


SWIGLU = (
    swiglu_with_gate_and_up_exchanged,
    swiglu_with_silu_of_the_product,
    swiglu_without_silu,
    swiglu_with_sigmoid,
    swiglu_with_gelu,
    swiglu_with_alternating_rows,
    swiglu_with_a_sum,
    swiglu_that_overflows,
)

# ---------------------------------------------------------------- ExpertBank


class _Bank(ExpertBank):
    def expert(self, rows, e):
        return swiglu(rows, self.gate_up_proj[e], self.down_proj[e])


@mistake(
    "Every row goes through expert 0.",
    "Which of the bank's matrices does your loop read in its second round?",
)
class BankWithOneExpert(_Bank):
    def forward(self, rows, counts):
        return self.expert(rows, 0)


@mistake(
    "The runs are given to the experts in the opposite order.",
    "The first counts[0] rows belong to expert 0.",
)
class BankBackwards(_Bank):
    def forward(self, rows, counts):
        last = len(counts) - 1
        return torch.cat([self.expert(run, last - e) for e, run in enumerate(rows.split(list(counts)))])


@mistake(
    "The rows are cut into equal runs, whatever `counts` says.",
    "How many rows does expert 1 get when counts is [5, 1]?",
)
class BankOfEqualRuns(_Bank):
    def forward(self, rows, counts):
        runs = rows.tensor_split(len(counts))
        return torch.cat([self.expert(run, e) for e, run in enumerate(runs)])


@mistake(
    "The results are not in the order of the rows: the longest run comes first.",
    "Row i of the result must belong to row i of the input.",
)
class BankSortedByLength(_Bank):
    def forward(self, rows, counts):
        runs = list(enumerate(rows.split(list(counts))))
        runs.sort(key=lambda pair: -len(pair[1]))
        return torch.cat([self.expert(run, e) for e, run in runs])


@mistake(
    "An expert without rows is skipped together with its matrices: those after it use the weights of the one before.",
    "Take counts [2, 0, 3]. Which expert gets the last three rows?",
)
class BankThatSkipsTheIdle(_Bank):
    def forward(self, rows, counts):
        busy = [n for n in counts if n]
        return torch.cat([self.expert(run, e) for e, run in enumerate(rows.split(busy))])


@mistake(
    "Every row gets the sum of all experts: the whole bank runs for every token.",
    "How many experts should a row meet here?",
)
class BankThatSumsAll(_Bank):
    def forward(self, rows, counts):
        return sum(self.expert(rows, e) for e in range(len(counts)))


@mistake(
    "A run ends at the row number `counts[e]`; it ends so many rows after its start.",
    "Write down, for counts [2, 1], at which row each run starts and at which it ends.",
)
class BankWithEndsForLengths(_Bank):
    def forward(self, rows, counts):
        runs, start = [], 0
        for e, n in enumerate(counts):
            runs.append(self.expert(rows[start:n], e))
            start += n
        return torch.cat(runs)


@mistake(
    "Every run starts at row 0: the place where the last one ended is not carried on.",
    "Which rows does expert 1 get when counts is [2, 1]?",
)
class BankThatStartsOver(_Bank):
    def forward(self, rows, counts):
        return torch.cat([self.expert(rows[:n], e) for e, n in enumerate(counts)])


@mistake(
    "Every expert runs on every row, and the right result is picked out: E times the work that is needed.",
    "How many rows does each expert's product have in your function, and how many should it have?",
)
class BankThatPicksAfterwards(_Bank):
    def forward(self, rows, counts):
        every = torch.stack([self.expert(rows, e) for e in range(len(counts))])
        expert_of_row = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return every[expert_of_row, torch.arange(len(rows))]


BANK = (
    BankWithOneExpert,
    BankBackwards,
    BankOfEqualRuns,
    BankSortedByLength,
    BankThatSkipsTheIdle,
    BankThatSumsAll,
    BankWithEndsForLengths,
    BankThatStartsOver,
    BankThatPicksAfterwards,
)
