"""The known wrong answers to derived_scaling_factor, of notebook 04, whose draws are wrong; and how the core draws."""

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


def drawn(n_experts, n_samples, generator=None):
    """The draws of the core, in thousands."""
    generator = generator or torch.Generator().manual_seed(0)
    rounds = -(-n_samples // 1000)
    return [torch.randn(1000, n_experts, generator=generator, dtype=torch.float64) for _ in range(rounds)]


def factors(z, top_k):
    return 1 / normalise(z.sigmoid(), top_k).norm(dim=-1)


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


@mistake(
    "The result is that of the first thousand rows, whatever `n_samples` says: either no more are drawn, or the "
    "generator begins anew in every round.",
    "How many draws of 1,000 does it take for n_samples = 2000? Where is the generator made?",
)
def factor_of_one_thousand(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, 1000, factors)


@mistake(
    "Twenty thousand rows are drawn, whatever `n_samples` says.",
    "Which argument makes no difference in your function?",
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
    "A thousand rows more are drawn than are needed.",
    "For n_samples = 2000, how many draws of 1,000 does it take?",
)
def factor_with_a_round_too_many(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples + 1000, factors)


@mistake(
    "Where `n_samples` is a multiple of 1,000 a thousand rows too many are drawn.",
    "After 2,000 rows of n_samples = 2000: does your loop go on?",
)
def factor_going_on_at_the_end(n_experts, top_k, n_samples=20_000):
    return sample_mean(n_experts, top_k, n_samples // 1000 * 1000 + 1000, factors)


@mistake(
    "The sum over all drawn rows is divided by `n_samples`. Where that is no multiple of 1,000, more rows are drawn.",
    "For n_samples = 2500, how many rows are in your sum?",
)
def factor_divided_by_n_samples(n_experts, top_k, n_samples=20_000):
    return sum(factors(z, top_k).sum().item() for z in drawn(n_experts, n_samples)) / n_samples


def mean_factor(n_experts, top_k, n_samples, generator):
    return torch.cat([factors(z, top_k) for z in drawn(n_experts, n_samples, generator)]).mean().item()


@mistake(
    "The generator has no seed of yours: it begins with torch's own number. The text asks for seed 0.",
    "Which method of a torch.Generator sets the seed?",
)
def factor_without_a_seed(n_experts, top_k, n_samples=20_000):
    return mean_factor(n_experts, top_k, n_samples, torch.Generator())


@mistake(
    "The draws come from a generator with another seed: 42.",
    "From which generator, with which seed, does the text above ask you to draw?",
)
def factor_of_seed_42(n_experts, top_k, n_samples=20_000):
    return mean_factor(n_experts, top_k, n_samples, torch.Generator().manual_seed(42))


@mistake(
    "torch's own generator got another seed: whatever draws from it later is changed.",
    "Make a generator of your own with torch.Generator(). Where does it go in torch.randn?",
)
def factor_from_torchs_own_generator(n_experts, top_k, n_samples=20_000):
    torch.manual_seed(0)
    return mean_factor(n_experts, top_k, n_samples, torch.default_generator)


@mistake(
    "The draws come from torch's own generator, as it is; the result is another one in each call.",
    "From which generator, with which seed, does the text above ask you to draw?",
)
def factor_of_torchs_own_draws(n_experts, top_k, n_samples=20_000):
    return mean_factor(n_experts, top_k, n_samples, torch.default_generator)


DRAWS = (
    factor_of_torchs_own_draws,
    factor_without_a_seed,
    factor_of_seed_42,
    factor_from_torchs_own_generator,
    factor_of_exactly_so_many,
    factor_rounding_down,
    factor_divided_by_n_samples,
    factor_of_one_thousand,
    factor_of_twenty_thousand,
    factor_without_the_rest,
    factor_of_even_draws,
    factor_of_float32,
    factor_with_a_round_too_many,
    factor_going_on_at_the_end,
)
