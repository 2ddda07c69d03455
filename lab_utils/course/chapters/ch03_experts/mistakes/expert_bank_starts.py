"""The known wrong answers to ExpertBank, of notebook 03: where each run starts and ends."""

import torch

from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank import Bank
from lab_utils.course.exercise import mistake


@mistake(
    "A run starts after the rows of one expert, the one before it. The rows of all experts before it count.",
    "Write down, for counts [1, 2, 1], at which row each run starts.",
)
class BankThatStartsAfterOneCount(Bank):
    def forward(self, rows, counts):
        runs = zip([0, *counts[:-1]], counts)
        return torch.cat([self.expert(rows[start : start + n], e) for e, (start, n) in enumerate(runs)])


@mistake(
    "A run is read and written after the rows of one expert, the one before it. The rows of all before it count.",
    "Write down, for counts [1, 2, 1], at which row each run starts.",
)
class BankThatWritesAfterOneCount(Bank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e, (start, n) in enumerate(zip([0, *counts[:-1]], counts)):
            out[start : start + n] = self.expert(rows[start : start + n], e)
        return out


@mistake(
    "A run is read and written after the rows of the last expert that had any. The rows of all before it count.",
    "Write down, for counts [1, 2, 1], at which row each run starts.",
)
class BankThatWritesAfterOneFilledCount(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            out[start : start + n] = self.expert(rows[start : start + n], e)
            start = n or start
        return out


@mistake(
    "`counts` is read as a list of places: rows are cut and written from counts[e - 1] to counts[e].",
    "counts [2, 1] are the lengths of two runs. At which row does the second one end?",
)
class BankThatWritesBetweenPlaces(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, end in enumerate(counts):
            if end > start:
                out[start:end] = self.expert(rows[start:end], e)
            start = end
        return out


@mistake(
    "`start` grows before the run is cut: expert 0 begins after its own rows, and gets those of expert 1.",
    "Write down, for counts [2, 1], at which row each run starts.",
)
class BankThatStartsLate(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            start += n
            run = rows[start : start + n]
            out[start : start + n] = self.expert(run, e)
        return out


@mistake(
    "The runs that you cut begin too late, after the rows of their own expert, and their results are joined.",
    "Write down, for counts [2, 1], at which row each run starts.",
)
class BankThatCutsLate(Bank):
    def forward(self, rows, counts):
        out, start = [], 0
        for e, n in enumerate(counts):
            start += n
            out.append(self.expert(rows[start : start + n], e))
        return torch.cat(out)


@mistake(
    "`counts` is read as a list of places: the run of an expert goes from row counts[e] to row counts[e + 1].",
    "Write down, for counts [2, 1], at which row each run starts and at which it ends.",
)
class BankThatWritesToTheNextPlace(Bank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e, (start, end) in enumerate(zip(counts, [*counts[1:], len(rows)])):
            if end > start:
                out[start:end] = self.expert(rows[start:end], e)
        return out


@mistake(
    "Between two runs a row is left out: a slice ends before its second number, so the next run starts right there.",
    "Does rows[0:2] hold row 2? At which row does the next run start?",
)
class BankThatLeavesARowOut(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            run = rows[start : start + n]
            out[start : start + n] = self.expert(run, e)
            start += n + 1
        return out


@mistake(
    "Between two runs a row is left out, and the results are joined: a slice ends before its second number, so the "
    "next run starts right there.",
    "Does rows[0:2] hold row 2? At which row does the next run start?",
)
class BankThatCutsARowOut(Bank):
    def forward(self, rows, counts):
        out, start = [], 0
        for e, n in enumerate(counts):
            out.append(self.expert(rows[start : start + n], e))
            start += n + 1
        return torch.cat(out)


@mistake(
    "The last row of every run is left out: a slice ends before its second number already.",
    "Does rows[0:2] hold row 2? How many rows does it have?",
)
class BankWithoutTheLastOfEachRun(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            end = max(start, start + n - 1)
            out[start:end] = self.expert(rows[start:end], e)
            start += n
        return out


BANK_STARTS = (
    BankThatStartsAfterOneCount,
    BankThatWritesAfterOneCount,
    BankThatWritesAfterOneFilledCount,
    BankThatWritesBetweenPlaces,
    BankThatStartsLate,
    BankThatCutsLate,
    BankThatWritesToTheNextPlace,
    BankThatLeavesARowOut,
    BankThatCutsARowOut,
    BankWithoutTheLastOfEachRun,
)
