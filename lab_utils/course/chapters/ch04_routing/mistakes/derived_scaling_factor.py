"""The known wrong answers to derived_scaling_factor, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.factor_draws import (
    DRAWS,
    drawn,
    factors,
    normalise,
    sample_mean,
)
from lab_utils.course.exercise import mistake


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
    "The weights are a softmax, over all experts or over the best K, which comes to the same. The rule is for "
    "sigmoids, divided by their sum.",
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
    "The draws come from a generator with another seed: 1.",
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
    "It is the median of the factors, not their mean.",
    "What does the docstring say that comes back?",
)
def factor_in_the_middle(n_experts, top_k, n_samples=20_000):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)]).median().item()


@mistake(
    "It is one over the length of the mean p; the rule is the mean of one over each p's length.",
    "(0.9, 0.1) and (0.5, 0.5): how long is each, and how long is their mean?",
)
def factor_of_the_mean_p(n_experts, top_k, n_samples=20_000):
    every = torch.cat([normalise(z.sigmoid(), top_k) for z in drawn(n_experts, n_samples)])
    return 1 / every.mean(dim=0).norm().item()


@mistake(
    "It is the median of the factors, the mean of the two in the middle; asked for is the mean of all.",
    "What does the docstring say that comes back?",
)
def factor_in_the_middle_of_two(n_experts, top_k, n_samples=20_000):
    every = torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)]).sort().values
    return every[len(every) // 2 - 1 : len(every) // 2 + 1].mean().item()


@mistake(
    "It is the root of the mean of 1/||p||²; the rule is the mean of 1/||p||. The two differ a little.",
    "1/0.4 and 1/0.6: what is their mean, and what is the root of the mean of their squares?",
)
def factor_as_root_of_the_mean(n_experts, top_k, n_samples=20_000):
    every = torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples)])
    return every.square().mean().sqrt().item()


@mistake(
    "It is one over the largest entry of p; it should be one over the length.",
    "What is the length of (3, 4): 4 or 5?",
)
def factor_of_the_largest(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples, lambda z, k: 1 / normalise(z.sigmoid(), k).amax(dim=-1))


@mistake(
    "Under the root stands the mean of the squares; the length has their sum there.",
    "What is the length of (3, 4)?",
)
def factor_with_a_mean_of_squares(n_experts, top_k, n_samples=20_000):
    return sample_mean(
        n_experts, top_k, n_samples, lambda z, k: 1 / normalise(z.sigmoid(), k).square().mean(dim=-1).sqrt()
    )


DERIVED_SCALING_FACTOR = (
    *DRAWS,
    factor_without_normalising,
    factor_of_logits,
    factor_of_softmax,
    factor_of_the_first,
    factor_upside_down,
    factor_as_square_root,
    factor_of_the_mean_length,
    factor_dividing_by_all_scores,
    factor_as_a_tensor,
    factor_of_the_worst,
    factor_without_the_root,
    factor_of_sums,
    factor_of_another_seed,
    factor_of_many_seeds,
    factor_summed,
    factor_of_the_mean_square,
    factor_of_softmax_of_the_best,
    factor_in_the_middle,
    factor_of_the_mean_p,
    factor_in_the_middle_of_two,
    factor_as_root_of_the_mean,
    factor_of_the_largest,
    factor_with_a_mean_of_squares,
)
