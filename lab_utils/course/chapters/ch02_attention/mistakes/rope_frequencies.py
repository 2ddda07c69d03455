"""The known wrong answers to rope_frequencies, of notebook 02."""

import math

import torch

from lab_utils.course.exercise import mistake


def frequencies(rope_dim, cfg, exponent=None, pairs=None, base=None):
    pair = torch.arange(rope_dim // 2 if pairs is None else pairs, dtype=torch.float64)
    base = cfg.base if base is None else base
    return (base ** (-2 * pair / rope_dim if exponent is None else exponent(pair))).float()


@mistake("The exponent lacks its factor 2.", "Pair i has the channels 2i and 2i+1: theta_i = base^(-2i/r).")
def theta_without_two(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -i / rope_dim)


@mistake(
    "The factor 2 is in the exponent twice: perhaps `i` counts channels (0, 2, 4 ...) and is doubled again, or 2i is "
    "divided by the number of pairs.",
    "theta_i = base^(-2i/r): i counts pairs, and r counts channels. What do yours count?",
)
def theta_with_two_twice(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -4 * i / rope_dim)


@mistake(
    "The sign of the exponent is missing: the pairs turn faster and faster.",
    "How far does pair 0 turn, and the last?",
)
def theta_growing(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: 2 * i / rope_dim)


@mistake(
    "There is a frequency for every channel; each pair of channels has one.",
    "How many pairs do r channels make?",
)
def theta_for_every_channel(rope_dim, cfg):
    return frequencies(rope_dim, cfg, pairs=rope_dim)


@mistake(
    "It is e to the power, not the base: `cfg.base` makes no difference.",
    "Which field of the configuration do you read?",
)
def theta_of_e(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * i / rope_dim / torch.log(torch.tensor(cfg.base)))


@mistake(
    "The base is written down as 10,000: `cfg.base` makes no difference.",
    "Which field of the configuration do you read?",
)
def theta_of_ten_thousand(rope_dim, cfg):
    return frequencies(rope_dim, cfg, base=10_000.0)


@mistake(
    "There is a factor 2π too many: the unit is radians per token, not turns.",
    "How far does the first pair turn from one token to the next?",
)
def theta_in_turns(rope_dim, cfg):
    return 2 * torch.pi * frequencies(rope_dim, cfg)


@mistake(
    "The last pair is at 1/base exactly. That is theta at i = r/2, and the last i is one less.",
    "theta_i = base^(-2i/r): what is r, and which is the last i?",
)
def theta_down_to_the_base(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * i / max(rope_dim - 2, 1))


@mistake("Counting begins with pair 1, so the fastest pair is missing.", "What is theta of the first pair?")
def theta_from_one(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * (i + 1) / rope_dim)


@mistake(
    "The frequencies fall in equal steps; they should fall by equal factors.",
    "Divide each by the one before it.",
)
def theta_linear(rope_dim, cfg):
    pair = torch.arange(rope_dim // 2, dtype=torch.float64)
    return (1 - 2 * pair / rope_dim * (1 - 1 / cfg.base)).float()


@mistake(
    "The frequencies are in float64; asked for is float32.",
    "Compute as precisely as you like. What do you do at the very end?",
)
def theta_in_float64(rope_dim, cfg):
    return cfg.base ** (-2 * torch.arange(rope_dim // 2, dtype=torch.float64) / rope_dim)


@mistake(
    "The frequencies come back as a list of Python numbers; asked for is a tensor.",
    "What makes a tensor of a list of numbers?",
)
def theta_as_a_list(rope_dim, cfg):
    return frequencies(rope_dim, cfg).tolist()


@mistake(
    "Every frequency is there twice, as libraries need it that turn halves. Here each pair has one.",
    "How many pairs do r channels make?",
)
def theta_twice(rope_dim, cfg):
    return frequencies(rope_dim, cfg).repeat(2)


@mistake(
    "Every frequency is there twice, once for each channel of its pair. Here each pair has one.",
    "How many pairs do r channels make?",
)
def theta_for_both_channels(rope_dim, cfg):
    return frequencies(rope_dim, cfg).repeat_interleave(2)


@mistake(
    "The order is the opposite one: the slowest pair comes first.",
    "What is theta of pair 0?",
)
def theta_backwards(rope_dim, cfg):
    return frequencies(rope_dim, cfg).flip(0)


@mistake(
    "It returns after how many tokens a pair has made a full turn; asked for is the angle per token.",
    "In which unit is theta?",
)
def theta_as_periods(rope_dim, cfg):
    return 2 * torch.pi / frequencies(rope_dim, cfg)


@mistake(
    "The exponent is divided without its fraction (`//`): most pairs get the same frequency.",
    "What is 2 // 8, and what is 2 / 8?",
)
def theta_of_whole_exponents(rope_dim, cfg):
    return torch.tensor([float(cfg.base) ** -(2 * i // rope_dim) for i in range(rope_dim // 2)])


@mistake(
    "The frequencies fall in equal steps from 1 to 1/base; they should fall by equal factors.",
    "Divide each by the one before it.",
)
def theta_in_equal_steps(rope_dim, cfg):
    return torch.linspace(1, 1 / cfg.base, rope_dim // 2)


@mistake(
    "The exponents are returned; the base is missing.",
    "theta_i = base^(-2i/r): where is the power?",
)
def theta_of_exponents(rope_dim, cfg):
    return -2 * torch.arange(rope_dim // 2) / rope_dim


@mistake(
    "The power ends too early: base^-2 is multiplied by i/r. The whole of -2i/r is the exponent.",
    "Where are the brackets around the exponent?",
)
def theta_without_brackets(rope_dim, cfg):
    return (cfg.base**-2 * torch.arange(rope_dim // 2) / rope_dim).float()


@mistake(
    "The last pair is missing.",
    "How many pairs do r channels make?",
)
def theta_without_the_last(rope_dim, cfg):
    return frequencies(rope_dim, cfg, pairs=rope_dim // 2 - 1)


@mistake(
    "The angles are in degrees; asked for are radians.",
    "How far does the first pair turn from one token to the next?",
)
def theta_in_degrees(rope_dim, cfg):
    return torch.rad2deg(frequencies(rope_dim, cfg))


@mistake(
    "The exponent loses its fraction: `-2 * i // rope_dim` is -1 for every pair but the first.",
    "What is -2 // 8, and what is -2 / 8?",
)
def theta_of_floored_exponents(rope_dim, cfg):
    return torch.tensor([float(cfg.base) ** (-2 * i // rope_dim) for i in range(rope_dim // 2)])


@mistake(
    "The logarithm has base 10, and `exp` undoes the natural one.",
    "exp(x · log(base)) is base^x for which logarithm?",
)
def theta_of_log10(rope_dim, cfg):
    return frequencies(rope_dim, cfg, base=math.exp(math.log10(cfg.base)))


@mistake(
    "The logarithm has base 2, and `exp` undoes the natural one.",
    "exp(x · log(base)) is base^x for which logarithm?",
)
def theta_of_log2(rope_dim, cfg):
    return frequencies(rope_dim, cfg, base=math.exp(math.log2(cfg.base)))


@mistake(
    "Pairs are missing at the end: i runs to r/4. It should run to r/2, the number of pairs.",
    "How many pairs do r channels make?",
)
def theta_of_a_quarter(rope_dim, cfg):
    return frequencies(rope_dim, cfg, pairs=rope_dim // 4)


@mistake(
    "The unit is turns per token; asked for are radians.",
    "How far does the first pair turn from one token to the next?",
)
def theta_in_whole_turns(rope_dim, cfg):
    return frequencies(rope_dim, cfg) / (2 * torch.pi)


@mistake(
    "The sign of the exponent is missing, and the order is turned over: the slowest pair turns by more than 1 radian.",
    "How far does pair 0 turn, and how far the last?",
)
def theta_growing_backwards(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: 2 * i / rope_dim).flip(0)


@mistake(
    "The exponents are rounded to bfloat16, which keeps 8 significant bits.",
    "Which dtype do your pairs have when the power is taken?",
)
def theta_in_bfloat16(rope_dim, cfg):
    return (cfg.base ** (-torch.arange(0, rope_dim, 2).bfloat16() / rope_dim)).float()


@mistake(
    "i counts the channels one by one, without its factor 2: there are twice as many frequencies as pairs.",
    "How many pairs do r channels make? theta_i = base^(-2i/r).",
)
def theta_of_every_channel_by_itself(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -i / rope_dim, pairs=rope_dim)


ROPE_FREQUENCIES = (
    theta_without_two,
    theta_with_two_twice,
    theta_growing,
    theta_for_every_channel,
    theta_of_e,
    theta_of_ten_thousand,
    theta_in_turns,
    theta_down_to_the_base,
    theta_from_one,
    theta_linear,
    theta_in_float64,
    theta_as_a_list,
    theta_twice,
    theta_for_both_channels,
    theta_backwards,
    theta_as_periods,
    theta_of_whole_exponents,
    theta_in_equal_steps,
    theta_of_exponents,
    theta_without_brackets,
    theta_without_the_last,
    theta_in_degrees,
    theta_of_floored_exponents,
    theta_of_log10,
    theta_of_log2,
    theta_of_a_quarter,
    theta_in_whole_turns,
    theta_growing_backwards,
    theta_in_bfloat16,
    theta_of_every_channel_by_itself,
)
