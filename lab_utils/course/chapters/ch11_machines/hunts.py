"""The bug hunts of notebook 11: a test that finds each bug, and the pieces that every answer is tried on."""

import torch

from lab_utils.course.chapters.ch11_machines import bugs
from lab_utils.course.doubles import changing, turn_last_digits, with_more_calls, with_other_last_digits
from lab_utils.course.exercise import Case, give_nothing, plainly_wrong
from lab_utils.course.probes import shifted, wavering, widened
from nanokimi.expert_parallel import experts_of_rank, regroup, send_counts
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch


def test_sound_clipping(clip_over_ranks) -> None:
    """The mean of (3, 0) and (0, 4) is (1.5, 2), of norm 2.5: at a bound of 2.5 nothing is to be clipped."""
    found = clip_over_ranks(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 2.5)
    assert torch.allclose(found, torch.tensor([1.5, 2.0]), atol=1e-4)


def test_sound_exchange(exchange) -> None:
    """Two ranks with two experts each, whose tokens go to all experts: the layer of one process gives the same."""
    bank, generator = ExpertBank(4, 3, 2), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
        x, weights = torch.randn(8, 3, generator=generator), torch.ones(8, 1)
        idx = torch.tensor([[0], [1], [2], [3], [0], [1], [2], [3]])
        assert torch.allclose(exchange(x, idx, weights, bank, 2), dispatch(x, idx, weights, bank), atol=1e-4)


# ---------------------------------------------------------------- clipping


def clip_the_mean(gradients, max_norm):
    """A sound version: the mean first, then its norm."""
    mean = gradients.mean(dim=0)
    return mean * (max_norm / mean.norm().clamp(min=max_norm))


def clip_number_by_number(gradients, max_norm):
    """A sound version in Python's numbers."""
    columns = list(zip(*gradients.double().tolist()))
    mean = [sum(column) / len(column) for column in columns]
    norm = sum(number * number for number in mean) ** 0.5
    factor = max_norm / norm if norm > max_norm else 1.0
    return torch.tensor([factor * number for number in mean], dtype=gradients.dtype)


def clip_the_sum(gradients, max_norm):
    """A sound version: a sum of n ranks may be n times as long as their mean."""
    total = gradients.sum(dim=0)
    bound = len(gradients) * max_norm
    total = total * (bound / total.norm().clamp(min=bound))
    return total / len(gradients)


def _without_clipping(gradients, max_norm):
    return gradients.mean(dim=0)


def _of_the_first_rank(gradients, max_norm):
    return clip_the_mean(gradients[:1], max_norm)


def _the_sum_clipped(gradients, max_norm):
    return clip_the_mean(gradients.sum(dim=0, keepdim=True), max_norm)


def _of_full_length(gradients, max_norm):
    mean = gradients.mean(dim=0)
    return mean * (max_norm / mean.norm().clamp(min=1e-12))


def _number_by_number_clamped(gradients, max_norm):
    return gradients.mean(dim=0).clamp(-max_norm, max_norm)


def _zeros(gradients, max_norm):
    return torch.zeros_like(gradients[0])


def clipping_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.clip_of_a_colleague,)),
        Case("a hidden piece with the same fault, in other words", (bugs.clip_by_the_mean_norm,)),
        *with_other_last_digits(
            [
                Case("a sound piece that works on the mean", (clip_the_mean,)),
                Case("a sound piece that goes number by number", (clip_number_by_number,)),
                Case("a sound piece that works on the sum", (clip_the_sum,)),
            ]
        ),
        Case("a piece that never clips", (_without_clipping,), judged=False),
        Case("a piece that looks at the first rank only", (_of_the_first_rank,), judged=False),
        Case("a piece that gives the sum in place of the mean", (_the_sum_clipped,), judged=False),
        Case("a piece that makes short gradients long too", (_of_full_length,), judged=False),
        Case("a piece that clips each number by itself", (_number_by_number_clamped,), judged=False),
        Case("a piece that gives zeros", (_zeros,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
        widened(clip_the_mean),
        wavering(clip_the_mean),
        shifted(clip_the_mean),
        *plainly_wrong(clip_the_mean),
    ]


# ---------------------------------------------------------------- the exchange


def exchange_in_one_place(x, expert_idx, weights, bank, n_ranks):
    """A sound version: what one process does."""
    return dispatch(x, expert_idx, weights, bank)


def exchange_token_by_token(x, expert_idx, weights, bank, n_ranks):
    """A sound version, token by token, each through the bank of the rank that has the expert."""
    parts, share = [experts_of_rank(bank, r, n_ranks) for r in range(n_ranks)], len(bank.down_proj) // n_ranks
    y = []
    for row, chosen, weight in zip(x, expert_idx.tolist(), weights):
        outs = [parts[e // share](row[None], [int(i == e % share) for i in range(share)])[0] for e in chosen]
        y.append((weight[:, None] * torch.stack(outs)).sum(dim=0))
    return torch.stack(y) if y else torch.zeros_like(x)


def exchange_with_the_way_back(x, expert_idx, weights, bank, n_ranks):
    """A sound version: the colleague's, with the rows put back by sender."""
    n_experts, top_k = len(bank.down_proj), expert_idx.shape[1]
    tokens = torch.arange(len(x)).tensor_split(n_ranks)
    orders = [expert_idx[t].flatten().argsort(stable=True) for t in tokens]
    sent = torch.stack([send_counts(expert_idx[t], n_experts, n_ranks) for t in tokens])
    leaving = [x[t][o // top_k].split(c.sum(1).tolist()) for t, o, c in zip(tokens, orders, sent)]
    answers = []
    for rank in range(n_ranks):
        by_expert, by_sender = regroup(sent[:, rank])
        rows = torch.cat([parts[rank] for parts in leaving])[by_expert]
        outs = experts_of_rank(bank, rank, n_ranks)(rows, sent[:, rank].sum(0).tolist())
        answers.append(outs[by_sender].split(sent[:, rank].sum(1).tolist()))
    y = []
    for rank, order in enumerate(orders):
        back = torch.cat([parts[rank] for parts in answers])[order.argsort()]
        y.append((weights[tokens[rank]].flatten()[:, None] * back).unflatten(0, (-1, top_k)).sum(1))
    return torch.cat(y)


def _call_with_no_rows(x, expert_idx, weights, bank, n_ranks):
    bank(x[:0], [0] * len(bank.down_proj))


def _nothing_comes_back(x, expert_idx, weights, bank, n_ranks):
    return torch.zeros_like(x)


def _without_weights(x, expert_idx, weights, bank, n_ranks):
    return dispatch(x, expert_idx, torch.ones_like(weights), bank)


def _first_choice_only(x, expert_idx, weights, bank, n_ranks):
    return dispatch(x, expert_idx[:, :1], weights[:, :1], bank)


def _the_next_expert(x, expert_idx, weights, bank, n_ranks):
    return dispatch(x, (expert_idx + 1) % len(bank.down_proj), weights, bank)


def _back_to_the_next_token(x, expert_idx, weights, bank, n_ranks):
    return dispatch(x, expert_idx, weights, bank).roll(1, 0)


def _nothing_for_the_last_rank(x, expert_idx, weights, bank, n_ranks):
    y = dispatch(x, expert_idx, weights, bank)
    last = torch.arange(len(x)).tensor_split(n_ranks)[-1]
    return y.index_fill(0, last, 0.0)


def exchange_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.exchange_of_a_colleague,)),
        Case("a hidden piece with the same fault, in other words", (bugs.exchange_row_by_row,)),
        *with_more_calls(
            with_other_last_digits(
                [
                    Case("a sound piece without any exchange", (exchange_in_one_place,)),
                    Case("a sound piece that goes token by token", (exchange_token_by_token,)),
                    Case("a sound piece that exchanges rows", (exchange_with_the_way_back,)),
                ],
                changing(lambda y, *given: turn_last_digits(y, salt=given[-1])),  # the number of ranks
            ),
            _call_with_no_rows,
        ),
        Case("a piece that gives zeros", (_nothing_comes_back,), judged=False),
        Case("a piece that leaves the weights out", (_without_weights,), judged=False),
        Case("a piece that runs the first choice only", (_first_choice_only,), judged=False),
        Case("a piece that asks the next expert", (_the_next_expert,), judged=False),
        Case("a piece that answers the next token", (_back_to_the_next_token,), judged=False),
        Case("a piece whose last rank gets nothing back", (_nothing_for_the_last_rank,), judged=False),
        Case("a piece that gives nothing", (give_nothing,), judged=False),
        widened(exchange_in_one_place),
        wavering(exchange_in_one_place),
        shifted(exchange_in_one_place),
        *plainly_wrong(exchange_in_one_place),
    ]
