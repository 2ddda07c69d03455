"""The known wrong answers to ExpertBank, of notebook 03."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.experts import ExpertBank, swiglu


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
    "A run ends at row number `counts[e]`; it should end that many rows after its start.",
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
    "Every run starts at row 0: your loop does not keep where the last run ended.",
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


EXPERT_BANK = (
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
