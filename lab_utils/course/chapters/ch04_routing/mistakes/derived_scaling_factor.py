"""The known wrong answers to derived_scaling_factor, of notebook 04."""

import torch

from lab_utils.course.exercise import mistake


def sample_mean(n_experts, top_k, n_samples, of):
    """The mean of `of(p)` over the same draws as the core's."""
    generator, total, rounds = torch.Generator().manual_seed(0), 0.0, -(-n_samples // 1000)
    for _ in range(rounds):
        z = torch.randn(1000, n_experts, generator=generator, dtype=torch.float64)
        total += of(z, top_k).mean().item()
    return total / rounds


def normalise(scores, top_k):
    p = scores.topk(top_k, dim=-1).values
    return p / p.sum(dim=-1, keepdim=True)


@mistake(
    "The best scores are not normalised to sum to 1 before their length is taken.",
    "What are the weights that the router really uses?",
)
def factor_without_normalising(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts, top_k, n_samples, lambda z, k: 1 / z.sigmoid().topk(k, dim=-1).values.norm(dim=-1)
    )


@mistake(
    "The logits go in without the sigmoid.",
    "The router scores with sigmoids: of which numbers are the best K taken?",
)
def factor_of_logits(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples, lambda z, k: 1 / normalise(z, k).norm(dim=-1))


@mistake(
    "The scores are a softmax over all experts; the rule is for sigmoids.",
    "Which of the two does Moonlight's router use?",
)
def factor_of_softmax(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts, top_k, n_samples, lambda z, k: 1 / normalise(z.softmax(dim=-1), k).norm(dim=-1)
    )


@mistake(
    "The first K scores are taken, not the best K.",
    "Which experts does a token go to?",
)
def factor_of_the_first(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts, top_k, n_samples, lambda z, k: 1 / normalise(z.sigmoid()[:, :k], k).norm(dim=-1)
    )


@mistake(
    "It returns the mean length, not the mean of its inverse: it shrinks what should grow.",
    "For K = 4 equal weights the length is 1/2. Which factor makes the sum as long as one expert?",
)
def factor_upside_down(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples, lambda z, k: normalise(z.sigmoid(), k).norm(dim=-1))


@mistake(
    "It is sqrt(K), which holds for K equal weights only. The best scores are not equal.",
    "Draw scores, and compute ||p|| for some of them.",
)
def factor_as_square_root(n_experts, top_k, n_samples=20_000):
    return top_k**0.5


@mistake(
    "It is one over the mean length; the rule is the mean of one over the length. The two differ a little.",
    "Lengths 0.4 and 0.6: what is 1 over their mean, and what is the mean of 1/0.4 and 1/0.6?",
)
def factor_of_the_mean_length(n_experts, top_k, n_samples=20_000):
    return 1 / sample_mean(n_experts, top_k, n_samples, lambda z, k: normalise(z.sigmoid(), k).norm(dim=-1))


@mistake(
    "Exactly `n_samples` rows are drawn, at once. They should be drawn 1,000 at a time, and every drawn row counts.",
    "For n_samples = 2500, how many draws of 1,000 does it take, and how many rows are that?",
)
def factor_of_exactly_so_many(n_experts, top_k, n_samples=20_000):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n_samples, n_experts, generator=generator, dtype=torch.float64)
    return (1 / normalise(z.sigmoid(), top_k).norm(dim=-1)).mean().item()


@mistake(
    "The last thousand is missing where `n_samples` is no multiple of 1,000: at least that many are needed.",
    "What does your number of rounds become for n_samples = 2500?",
)
def factor_rounding_down(n_experts, top_k, n_samples=20_000):
    whole = n_samples // 1000 * 1000
    return sample_mean(n_experts, top_k, whole, lambda z, k: 1 / normalise(z.sigmoid(), k).norm(dim=-1))


DERIVED_SCALING_FACTOR = (
    factor_without_normalising,
    factor_of_logits,
    factor_of_softmax,
    factor_of_the_first,
    factor_upside_down,
    factor_as_square_root,
    factor_of_the_mean_length,
    factor_of_exactly_so_many,
    factor_rounding_down,
)
