"""Wrong answers to the exercises of notebook 03."""

import torch
import torch.nn.functional as F

from lab_utils.exercise import mistake
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


SWIGLU = (
    swiglu_with_gate_and_up_exchanged,
    swiglu_with_silu_of_the_product,
    swiglu_without_silu,
    swiglu_with_sigmoid,
    swiglu_with_gelu,
    swiglu_with_alternating_rows,
    swiglu_with_a_sum,
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


BANK = (
    BankWithOneExpert,
    BankBackwards,
    BankOfEqualRuns,
    BankSortedByLength,
    BankThatSkipsTheIdle,
    BankThatSumsAll,
)

# ---------------------------------------------------------------- test_sound_swiglu


@mistake("The test compares nothing: it lets every function pass.", "Is there an `assert` that can fail?")
def gate_test_that_never_fails(swiglu):
    swiglu(torch.ones(1, 2), torch.ones(4, 2), torch.ones(2, 2))


@mistake("The test fails for every function, the sound one too.", "Run it on the core's swiglu first.")
def gate_test_that_always_fails(swiglu):
    raise AssertionError


@mistake("The test looks at the shape only.", "Which number comes out different in the broken piece?")
def gate_test_of_the_shape(swiglu):
    assert swiglu(torch.ones(5, 2), torch.ones(6, 2), torch.ones(2, 3)).shape == (5, 2)


@mistake(
    "The test uses the same numbers for gate and up, so an exchange of the two changes nothing.",
    "Give the gate's rows other numbers than the up rows.",
)
def gate_test_with_equal_halves(swiglu):
    x = torch.ones(1, 1)
    expected = F.silu(torch.tensor(2.0)) * 2.0
    assert torch.allclose(swiglu(x, torch.full((2, 1), 2.0), torch.ones(1, 1)), expected)


@mistake(
    "The test feeds zeros: whatever the order, zero comes out.",
    "Choose an input for which gate and up are not zero, and not equal.",
)
def gate_test_with_zeros(swiglu):
    assert torch.equal(swiglu(torch.zeros(3, 2), torch.ones(4, 2), torch.ones(2, 2)), torch.zeros(3, 2))


GATE_TESTS = (
    gate_test_that_never_fails,
    gate_test_that_always_fails,
    gate_test_of_the_shape,
    gate_test_with_equal_halves,
    gate_test_with_zeros,
)

# ---------------------------------------------------------------- test_sound_dispatch


def _layer():
    bank = ExpertBank(4, 2, 3)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    return x, torch.tensor([[0], [2]]), torch.ones(2, 1), bank


@mistake("The test compares nothing: it lets every function pass.", "Is there an `assert` that can fail?")
def chosen_test_that_never_fails(dispatch):
    dispatch(*_layer())


@mistake("The test fails for every function, the sound one too.", "Run it on the core's dispatch first.")
def chosen_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(
    "The test compares the numbers. They are right: the experts that should not run are multiplied by 0.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_the_numbers(dispatch):
    x, idx, weights, bank = _layer()
    expected = torch.stack(
        [swiglu(x[t], bank.gate_up_proj[idx[t, 0]], bank.down_proj[idx[t, 0]]) for t in range(2)]
    )
    assert torch.allclose(dispatch(x, idx, weights, bank), expected, atol=1e-5)


@mistake(
    "The test looks at the shape only.",
    "The defect is work that nobody needs. What can be counted?",
)
def chosen_test_of_the_shape(dispatch):
    x, idx, weights, bank = _layer()
    assert dispatch(x, idx, weights, bank).shape == x.shape


@mistake(
    "The test looks at the gradients. Those of an idle expert are 0 in both: it was multiplied by 0.",
    "Count the operations, or the rows that the bank is given.",
)
def chosen_test_of_the_gradients(dispatch):
    x, idx, weights, bank = _layer()
    dispatch(x, idx, weights, bank).sum().backward()
    assert bank.down_proj.grad[1].abs().max() == 0
    assert bank.down_proj.grad[0].abs().max() > 0


CHOSEN_TESTS = (
    chosen_test_that_never_fails,
    chosen_test_that_always_fails,
    chosen_test_of_the_numbers,
    chosen_test_of_the_shape,
    chosen_test_of_the_gradients,
)
