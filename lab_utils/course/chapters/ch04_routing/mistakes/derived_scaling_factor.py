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


def drawn(n_experts, n_samples, generator=None):
    """The draws of the core, in thousands."""
    generator = generator or torch.Generator().manual_seed(0)
    rounds = -(-n_samples // 1000)
    return [torch.randn(1000, n_experts, generator=generator, dtype=torch.float64) for _ in range(rounds)]


def factors(z, top_k):
    return 1 / normalise(z.sigmoid(), top_k).norm(dim=-1)


@mistake(
    "The scores are divided by the sum over all experts; p are the best K, divided by the sum of these K.",
    "What should the entries of p sum to?",
)
def factor_dividing_by_all_scores(n_experts, top_k, n_samples=20_000):
    def of(z, k):
        s = z.sigmoid()
        return 1 / (s / s.sum(dim=-1, keepdim=True)).topk(k, dim=-1).values.norm(dim=-1)

    return sample_mean(n_experts, top_k, n_samples, of)


@mistake(
    "A tensor comes back; asked for is a Python number.",
    "Which method of a tensor with one entry gives the number?",
)
def factor_as_a_tensor(n_experts, top_k, n_samples=20_000):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)]).mean()


@mistake(
    "The K smallest scores are taken, not the best K.",
    "Which experts does a token go to?",
)
def factor_of_the_worst(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts,
        top_k,
        n_samples,
        lambda z, k: 1 / normalise(-(-z.sigmoid()).topk(k).values, k).norm(dim=-1),
    )


@mistake(
    "The result is that of the first thousand rows, whatever `n_samples` says: either no more are drawn, or the "
    "generator begins anew in every round.",
    "How many draws of 1,000 does it take for n_samples = 2000? Where is the generator made?",
)
def factor_of_one_thousand(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, 1000, factors)


@mistake(
    "Twenty thousand rows are drawn, whatever `n_samples` says.",
    "Which argument does your function never read?",
)
def factor_of_twenty_thousand(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, 20_000, factors)


@mistake(
    "Rows beyond `n_samples` are thrown away; all rows that were drawn count.",
    "For n_samples = 2500, how many rows are drawn in thousands?",
)
def factor_without_the_rest(n_experts, top_k, n_samples=20_000):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)])[:n_samples].mean().item()


@mistake(
    "The logits are drawn from torch.rand, evenly from 0 to 1; the rule is for Gaussian ones.",
    "Which function of torch draws Gaussian numbers?",
)
def factor_of_even_draws(n_experts, top_k, n_samples=20_000):
    generator, rounds = torch.Generator().manual_seed(0), -(-n_samples // 1000)
    every = [torch.rand(1000, n_experts, generator=generator, dtype=torch.float64) for _ in range(rounds)]
    return torch.cat([factors(z, top_k) for z in every]).mean().item()


@mistake(
    "The draws are in float32: they are other numbers than those in float64, and the result differs a little.",
    "Which dtype does the text above ask for?",
)
def factor_of_float32(n_experts, top_k, n_samples=20_000):
    generator, rounds = torch.Generator().manual_seed(0), -(-n_samples // 1000)
    every = [torch.randn(1000, n_experts, generator=generator) for _ in range(rounds)]
    return torch.cat([factors(z, top_k) for z in every]).mean().item()


@mistake(
    "The root is missing: the length of p is the root of the sum of its squares.",
    "What is the length of (3, 4)?",
)
def factor_without_the_root(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples, lambda z, k: factors(z, k).square())


@mistake(
    "The length is the sum of the entries (norm with p=1), which is 1 for weights that sum to 1.",
    "What is the length of (3, 4): 5 or 7?",
)
def factor_of_sums(n_experts, top_k, n_samples=20_000):
    return 1.0


@mistake(
    "The draws come from another seed, or from torch's own generator.",
    "From which generator, with which seed, does the text above ask you to draw?",
)
def factor_of_another_seed(n_experts, top_k, n_samples=20_000):
    every = drawn(n_experts, n_samples, torch.Generator().manual_seed(1))
    return torch.cat([factors(z, top_k) for z in every]).mean().item()


@mistake(
    "Every round has a generator of its own, with its number for a seed. All rounds draw from one generator.",
    "Where is the generator made: before the loop, or inside?",
)
def factor_of_many_seeds(n_experts, top_k, n_samples=20_000):
    rounds = -(-n_samples // 1000)
    every = [drawn(n_experts, 1000, torch.Generator().manual_seed(i))[0] for i in range(rounds)]
    return torch.cat([factors(z, top_k) for z in every]).mean().item()


@mistake(
    "The sum of the factors comes back, not their mean.",
    "With twice as many draws, should the result double?",
)
def factor_summed(n_experts, top_k, n_samples=20_000):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)]).sum().item()


@mistake(
    "It is one over the root of the mean square length; the rule is the mean of one over the length.",
    "Lengths 0.4 and 0.6: what is the mean of 1/0.4 and 1/0.6?",
)
def factor_of_the_mean_square(n_experts, top_k, n_samples=20_000):
    every = torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)])
    return every.pow(-2).mean().pow(-0.5).item()


@mistake(
    "The best scores go through a softmax; they should be divided by their sum.",
    "Two scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def factor_of_softmax_of_the_best(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts, top_k, n_samples, lambda z, k: 1 / z.sigmoid().topk(k).values.softmax(-1).norm(dim=-1)
    )


@mistake(
    "A thousand rows more are drawn than are needed.",
    "For n_samples = 2000, how many draws of 1,000 does it take?",
)
def factor_with_a_round_too_many(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples + 1000, factors)


@mistake(
    "It is the median of the factors, not their mean.",
    "What does the docstring say that comes back?",
)
def factor_in_the_middle(n_experts, top_k, n_samples=20_000):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)]).median().item()


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
    factor_dividing_by_all_scores,
    factor_as_a_tensor,
    factor_of_the_worst,
    factor_of_one_thousand,
    factor_of_twenty_thousand,
    factor_without_the_rest,
    factor_of_even_draws,
    factor_of_float32,
    factor_without_the_root,
    factor_of_sums,
    factor_of_another_seed,
    factor_of_many_seeds,
    factor_summed,
    factor_of_the_mean_square,
    factor_of_softmax_of_the_best,
    factor_with_a_round_too_many,
    factor_in_the_middle,
)
