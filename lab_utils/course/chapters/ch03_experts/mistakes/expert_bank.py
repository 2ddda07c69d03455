"""The known wrong answers to ExpertBank, of notebook 03."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.experts import ExpertBank, swiglu


class _Bank(ExpertBank):
    def expert(self, rows, e):
        return swiglu(rows, self.gate_up_proj[e], self.down_proj[e])

    def results(self, rows, counts):
        return [self.expert(run, e) for e, run in enumerate(rows.split(list(counts)))]


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
        return torch.cat(sorted(self.results(rows, counts), key=len, reverse=True))


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


@mistake(
    "Without any row there is nothing to join, and torch.cat of an empty list is an error.",
    "Which shape should come back for no rows?",
)
class BankThatNeedsRows(_Bank):
    def forward(self, rows, counts):
        return torch.cat([result for result in self.results(rows, counts) if len(result)])


@mistake(
    "`counts` is read as a list of places: a run ends at row number counts[e], and the next begins there.",
    "counts [2, 1] are the lengths of two runs. At which row does the second one end?",
)
class BankWithPlacesForLengths(_Bank):
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
class BankThatStopsAtTheIdle(_Bank):
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
class BankWithoutTheLast(_Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts[:-1]):
            out[start : start + n] = self.expert(rows[start : start + n], e)
            start += n
        return out


@mistake(
    "The result is written into `rows`, which belongs to the caller.",
    "Which tensor do you assign to? Make one for the results.",
)
class BankThatWritesIntoRows(_Bank):
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
class BankWithGateAndUpExchanged(_Bank):
    def forward(self, rows, counts):
        exchanged = self.gate_up_proj.roll(self.gate_up_proj.shape[1] // 2, dims=1)
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([swiglu(run, exchanged[e], self.down_proj[e]) for e, run in runs])


@mistake("Every run goes to the next expert.", "The first counts[0] rows belong to expert 0.")
class BankOfTheNextExpert(_Bank):
    def forward(self, rows, counts):
        runs = enumerate(rows.split(list(counts)))
        return torch.cat([self.expert(run, (e + 1) % len(counts)) for e, run in runs])


@mistake(
    "The results of the experts come back as a list; they belong together in one tensor.",
    "What joins tensors along their first axis?",
)
class BankOfAList(_Bank):
    def forward(self, rows, counts):
        return self.results(rows, counts)


@mistake(
    "The rows are added to the results. The residual is the block's task, not the expert's.",
    "What should come back for a row of zeros, and what for an expert of zeros?",
)
class BankWithAResidual(_Bank):
    def forward(self, rows, counts):
        return rows + torch.cat(self.results(rows, counts))


@mistake(
    "The result is right, but no gradient reaches the matrices of the experts: they would never learn.",
    "Is there a `.data`, a `detach` or a `no_grad` where you take the matrices?",
)
class BankWithoutGradient(_Bank):
    def forward(self, rows, counts):
        gate_up, down = self.gate_up_proj.detach(), self.down_proj.detach()
        return torch.cat([swiglu(run, gate_up[e], down[e]) for e, run in enumerate(rows.split(list(counts)))])


@mistake(
    "The results are not in the order of the rows: those of the last expert come first.",
    "Row i of the result must belong to row i of the input.",
)
class BankInReverse(_Bank):
    def forward(self, rows, counts):
        return torch.cat(self.results(rows, counts)[::-1])


@mistake(
    "The rows are dealt out one by one, row i to expert i modulo E; they are sorted by expert.",
    "Rows 0 and 1 for counts [2, 1]: which expert gets them?",
)
class BankThatDeals(_Bank):
    def forward(self, rows, counts):
        runs = [self.expert(rows[i : i + 1], i % len(counts)) for i in range(len(rows))]
        return torch.cat([rows[:0], *runs])


@mistake(
    "Only the run of the last expert comes back.",
    "What happens to the result of expert 0 in the second round of your loop?",
)
class BankOfTheLastRun(_Bank):
    def forward(self, rows, counts):
        return self.results(rows, counts)[-1]


@mistake("The mean of all experts comes back for every row.", "How many experts should a row meet here?")
class BankThatAverages(_Bank):
    def forward(self, rows, counts):
        return sum(self.expert(rows, e) for e in range(len(counts))) / len(counts)


@mistake(
    "A run starts after the rows of one expert, the one before it. The rows of all experts before it count.",
    "Write down, for counts [1, 2, 1], at which row each run starts.",
)
class BankThatStartsAfterOneCount(_Bank):
    def forward(self, rows, counts):
        runs = zip([0, *counts[:-1]], counts)
        return torch.cat([self.expert(rows[start : start + n], e) for e, (start, n) in enumerate(runs)])


@mistake(
    "A run is read and written after the rows of one expert, the one before it. The rows of all before it count.",
    "Write down, for counts [1, 2, 1], at which row each run starts.",
)
class BankThatWritesAfterOneCount(_Bank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e, (start, n) in enumerate(zip([0, *counts[:-1]], counts)):
            out[start : start + n] = self.expert(rows[start : start + n], e)
        return out


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
    BankThatNeedsRows,
    BankWithPlacesForLengths,
    BankThatStopsAtTheIdle,
    BankWithoutTheLast,
    BankThatWritesIntoRows,
    BankWithGateAndUpExchanged,
    BankOfTheNextExpert,
    BankOfAList,
    BankWithAResidual,
    BankWithoutGradient,
    BankInReverse,
    BankThatDeals,
    BankOfTheLastRun,
    BankThatAverages,
    BankThatStartsAfterOneCount,
    BankThatWritesAfterOneCount,
)
