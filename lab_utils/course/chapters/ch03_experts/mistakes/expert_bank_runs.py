"""The known wrong answers to ExpertBank, of notebook 03: which rows go to which expert."""

import torch

from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank import Bank
from lab_utils.course.exercise import mistake


@mistake(
    "The rows are cut into equal runs, whatever `counts` says.",
    "How many rows does expert 1 get when counts is [5, 1]?",
)
class BankOfEqualRuns(Bank):
    def forward(self, rows, counts):
        runs = rows.tensor_split(len(counts))
        return torch.cat([self.expert(run, e) for e, run in enumerate(runs)])


@mistake(
    "An expert without rows is not counted, and those after it use matrices of experts before them.",
    "Take counts [2, 0, 3]. Which expert gets the last three rows?",
)
class BankThatSkipsTheIdle(Bank):
    def forward(self, rows, counts):
        busy = [n for n in counts if n]
        return torch.cat([self.expert(run, e) for e, run in enumerate(rows.split(busy))])


@mistake(
    "A run ends at row number `counts[e]`; it should end that many rows after its start.",
    "Write down, for counts [2, 1], at which row each run starts and at which it ends.",
)
class BankWithEndsForLengths(Bank):
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
class BankThatStartsOver(Bank):
    def forward(self, rows, counts):
        return torch.cat([self.expert(rows[:n], e) for e, n in enumerate(counts)])


@mistake(
    "Without any row there is nothing to join, and torch.cat of an empty list is an error.",
    "Which shape should come back for no rows?",
)
class BankThatNeedsRows(Bank):
    def forward(self, rows, counts):
        return torch.cat([result for result in self.results(rows, counts) if len(result)])


@mistake(
    "`counts` is read as a list of places: a run ends at row number counts[e], and the next begins there.",
    "counts [2, 1] are the lengths of two runs. At which row does the second one end?",
)
class BankWithPlacesForLengths(Bank):
    def forward(self, rows, counts):
        runs, start = [], 0
        for e, end in enumerate(counts):
            runs.append(self.expert(rows[start:end], e))
            start = end
        return torch.cat(runs)


@mistake(
    "The loop ends at the first expert without rows: the rows after it stay as they came.",
    "Take counts [2, 0, 3]. Which experts does your loop reach?",
)
class BankThatStopsAtTheIdle(Bank):
    def forward(self, rows, counts):
        out, start = rows.clone(), 0
        for e, n in enumerate(counts):
            if n == 0:
                break
            out[start : start + n] = self.expert(rows[start : start + n], e)
            start += n
        return out


@mistake(
    "The last expert is left out: its rows get no result.",
    "How often does your loop run for three experts?",
)
class BankWithoutTheLast(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts[:-1]):
            out[start : start + n] = self.expert(rows[start : start + n], e)
            start += n
        return out


@mistake(
    "The rows are dealt out one by one, row i to expert i modulo E; they are sorted by expert.",
    "For counts [2, 1]: which expert gets rows 0 and 1?",
)
class BankThatDeals(Bank):
    def forward(self, rows, counts):
        runs = [self.expert(rows[i : i + 1], i % len(counts)) for i in range(len(rows))]
        return torch.cat([rows[:0], *runs])


@mistake(
    "The experts take their runs in the order of their load, the largest first. Rows are sorted by expert number.",
    "The first counts[0] rows belong to expert 0, whatever the others have.",
)
class BankByLoad(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e in sorted(range(len(counts)), key=lambda e: -counts[e]):
            out[start : start + counts[e]] = self.expert(rows[start : start + counts[e]], e)
            start += counts[e]
        return out


@mistake(
    "The experts take their runs in the order of their load, the smallest first. Rows are sorted by expert number.",
    "The first counts[0] rows belong to expert 0, whatever the others have.",
)
class BankByLoadUpwards(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e in sorted(range(len(counts)), key=lambda e: counts[e]):
            out[start : start + counts[e]] = self.expert(rows[start : start + counts[e]], e)
            start += counts[e]
        return out


@mistake(
    "The loop ends at the first expert without rows: the rows after it stay 0.",
    "Take counts [2, 0, 3]. Which experts does your loop reach?",
)
class BankOfZerosAfterTheIdle(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            if n == 0:
                break
            out[start : start + n] = self.expert(rows[start : start + n], e)
            start += n
        return out


@mistake(
    "`start` does not move: every run is read and written at row 0, and the rows behind stay 0.",
    "Which rows does expert 1 get when counts is [2, 1]?",
)
class BankThatWritesAtTheStart(Bank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e, n in enumerate(counts):
            out[:n] = self.expert(rows[:n], e)
        return out


@mistake(
    "Every expert gets one row, the one with its own number; `counts` says how many rows each of them has.",
    "Which rows does expert 1 get when counts is [2, 1]?",
)
class BankOfOneRowEach(Bank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e in range(min(len(counts), len(rows))):
            out[e] = self.expert(rows[e], e)
        return out


@mistake(
    "`chunk` cuts the rows into runs of one length, whatever `counts` says.",
    "How many rows does expert 1 get when counts is [5, 1]?",
)
class BankOfChunks(Bank):
    def forward(self, rows, counts):
        return torch.cat([self.expert(run, e) for e, run in enumerate(rows.chunk(len(counts)))])


@mistake(
    "Only the run of the first expert comes back: perhaps `return` stands in the loop.",
    "How often does your loop run before it returns?",
)
class BankOfTheFirstRun(Bank):
    def forward(self, rows, counts):
        return self.expert(rows[: counts[0]], 0)


@mistake(
    "The experts are counted from 1: the last one does not exist.",
    "Which number has the first expert?",
)
class BankCountedFromOne(Bank):
    def forward(self, rows, counts):
        return torch.cat([self.expert(run, e + 1) for e, run in enumerate(rows.split(list(counts)))])


BANK_RUNS = (
    BankOfEqualRuns,
    BankThatSkipsTheIdle,
    BankWithEndsForLengths,
    BankThatStartsOver,
    BankThatNeedsRows,
    BankWithPlacesForLengths,
    BankThatStopsAtTheIdle,
    BankWithoutTheLast,
    BankThatDeals,
    BankByLoad,
    BankByLoadUpwards,
    BankOfZerosAfterTheIdle,
    BankThatWritesAtTheStart,
    BankOfOneRowEach,
    BankOfChunks,
    BankOfTheFirstRun,
    BankCountedFromOne,
)
