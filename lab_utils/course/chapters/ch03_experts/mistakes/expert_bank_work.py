"""The known wrong answers to ExpertBank, of notebook 03: experts that run on rows that are not theirs."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank import Bank
from lab_utils.course.exercise import mistake


@mistake(
    "Every row gets the sum of all experts: the whole bank runs for every token.",
    "How many experts should a row meet here?",
)
class BankThatSumsAll(Bank):
    def forward(self, rows, counts):
        return sum(self.expert(rows, e) for e in range(len(counts)))


@mistake(
    "Every expert runs on every row, and the right result is picked out: E times the work that is needed.",
    "How many rows does each expert's product have in your function, and how many should it have?",
)
class BankThatPicksAfterwards(Bank):
    def forward(self, rows, counts):
        every = torch.stack([self.expert(rows, e) for e in range(len(counts))])
        expert_of_row = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return every[expert_of_row, torch.arange(len(rows))]


@mistake("The mean of all experts comes back for every row.", "How many experts should a row meet here?")
class BankThatAverages(Bank):
    def forward(self, rows, counts):
        return sum(self.expert(rows, e) for e in range(len(counts))) / len(counts)


@mistake(
    "All runs are filled up to the length of the longest one: products are computed for rows that are not there.",
    "How many rows does each expert's product have in your function, and how many should it have?",
)
class BankThatPads(Bank):
    def forward(self, rows, counts):
        runs = rows.split(list(counts))
        padded = torch.stack([F.pad(run, (0, 0, 0, max(counts) - len(run))) for run in runs])
        return torch.cat([self.expert(padded[e], e)[:n] for e, n in enumerate(counts)])


@mistake(
    "An expert runs on all rows up to the end of its run, and its own are cut out of the result.",
    "How many rows does each expert's product have in your function, and how many should it have?",
)
class BankOfAllRowsSoFar(Bank):
    def forward(self, rows, counts):
        out, end = [rows[:0]], 0
        for e, n in enumerate(counts):
            end += n
            if n:
                out.append(self.expert(rows[:end], e)[end - n :])
        return torch.cat(out)


@mistake(
    "An expert without rows runs on a row all the same, and the result is thrown away.",
    "How many rows should the product of an expert have that nobody chose?",
)
class BankOfOneRowAtLeast(Bank):
    def forward(self, rows, counts):
        out, start = [], 0
        for e, n in enumerate(counts):
            out.append(self.expert(rows[start : start + max(n, 1)], e)[:n])
            start += n
        return torch.cat(out)


@mistake(
    "Every expert runs on every row, and a product with 0 and 1 picks the right results: E times the work needed.",
    "How many rows does each expert's product have in your function, and how many should it have?",
)
class BankThatPicksByAProduct(Bank):
    def forward(self, rows, counts):
        expert_of_row = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        every = torch.stack([self.expert(rows, e) for e in range(len(counts))])
        chosen = F.one_hot(expert_of_row, len(counts)).to(rows.dtype)
        return torch.einsum("end,ne->nd", every, chosen)


BANK_WORK = (
    BankThatSumsAll,
    BankThatPicksAfterwards,
    BankThatAverages,
    BankThatPads,
    BankOfAllRowsSoFar,
    BankOfOneRowAtLeast,
    BankThatPicksByAProduct,
)
