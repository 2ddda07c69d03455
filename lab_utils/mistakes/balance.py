"""Wrong answers to the exercises of notebook 04: measuring the load, and keeping it even."""

import torch

from lab_utils.exercise import mistake
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.router import RouterStats
from nanokimi.router import expert_load as core_load
from nanokimi.router import sequence_balance_loss as core_sequence_loss

# ---------------------------------------------------------------- expert_load


@mistake(
    "Experts that nobody chose are missing: the result is too short, or it moves up.",
    "With four experts and only expert 1 chosen: how many numbers should come back?",
)
def load_of_the_busy_only(expert_idx, n_experts):
    return torch.bincount(expert_idx.flatten())


@mistake(
    "Only the first choice of every token is counted.",
    "The counts should sum to tokens · K.",
)
def load_of_first_choices(expert_idx, n_experts):
    return torch.bincount(expert_idx[..., 0].flatten(), minlength=n_experts)


@mistake(
    "It is a share that comes back; the docstring asks for counts.",
    "What should the result sum to?",
)
def load_as_share(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) / expert_idx.numel()


@mistake(
    "It says whether an expert was chosen, not how often.",
    "Three tokens choose expert 0. What is its load?",
)
def load_as_yes_or_no(expert_idx, n_experts):
    return (core_load(expert_idx, n_experts) > 0).long()


@mistake(
    "Each token is counted once an expert list, then divided by K: tokens, not choices.",
    "The counts should sum to tokens · K.",
)
def load_divided_by_k(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) // expert_idx.shape[-1]


EXPERT_LOAD = (
    load_of_the_busy_only,
    load_of_first_choices,
    load_as_share,
    load_as_yes_or_no,
    load_divided_by_k,
)

# ---------------------------------------------------------------- max_violation


@mistake("The 1 is not subtracted: an even load should give 0.", "What is max/mean when all loads are equal?")
def violation_without_minus_one(load):
    return (load.max() / load.mean()).item()


@mistake(
    "The largest load is divided by the sum, not by the mean.",
    "What is a fair share of 40 tokens for 4 experts?",
)
def violation_by_the_sum(load):
    return (load.max() / load.sum() - 1).item()


@mistake(
    "It compares the busiest with the idlest expert; MaxVio compares with the mean.",
    "What should come out when one expert has no token at all?",
)
def violation_by_the_least(load):
    return (load.max() / load.min().clamp(min=1) - 1).item()


@mistake(
    "It is the spread (standard deviation) of the loads.", "Which single expert does the word *max* speak of?"
)
def violation_as_spread(load):
    return (load.std(correction=0) / load.mean()).item()


@mistake(
    "It measures the idlest expert, not the busiest.", "Which single expert does the word *max* speak of?"
)
def violation_of_the_idlest(load):
    return (1 - load.min() / load.mean()).item()


MAX_VIOLATION = (
    violation_without_minus_one,
    violation_by_the_sum,
    violation_by_the_least,
    violation_as_spread,
    violation_of_the_idlest,
)

# ---------------------------------------------------------------- load_balance_loss


def balance_loss(stats, share=None, probability=None, factor=None):
    """E · sum f_i P_i, with the places where a mistake goes."""
    n_experts = stats.logits.shape[-1]
    if share is None:
        share = core_load(stats.expert_idx, n_experts) / stats.expert_idx.numel()
    if probability is None:
        probability = stats.logits.softmax(dim=-1)
    product = (share * probability.flatten(0, -2).mean(dim=0)).sum()
    return (n_experts if factor is None else factor) * product


@mistake(
    "The factor E is missing: an even router should give 1.",
    "Put all logits to 0 and compute your loss by hand.",
)
def loss_without_factor(stats):
    return balance_loss(stats, factor=1)


@mistake(
    "The counts are divided by the tokens, not by tokens · K: the loss is too large by the factor K.",
    "What do the shares f_i sum to?",
)
def loss_too_large_by_k(stats):
    return stats.expert_idx.shape[-1] * balance_loss(stats)


@mistake(
    "P is taken over the chosen experts only. It is the mean over all tokens and all experts.",
    "What do the P_i sum to?",
)
def loss_over_the_chosen(stats):
    chosen = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1.0)
    return balance_loss(stats, probability=stats.logits.softmax(dim=-1) * chosen)


@mistake(
    "P is detached: the loss is reported and teaches nothing, for the counts carry no gradient either.",
    "Which of the two factors is a smooth function of the logits?",
)
def loss_without_gradient(stats):
    return balance_loss(stats, probability=stats.logits.softmax(dim=-1).detach())


@mistake(
    "P is computed from the sigmoid scores. This loss is defined on softmax probabilities.",
    "What do the P_i sum to?",
)
def loss_of_sigmoids(stats):
    return balance_loss(stats, probability=stats.logits.sigmoid())


@mistake(
    "The mean probability stands in both places: P² instead of f · P. It looks at what the router would like, "
    "not at what it does.",
    "Where does your loss use `expert_idx`?",
)
def loss_of_squares(stats):
    mean = stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)
    return balance_loss(stats, share=mean)


@mistake(
    "The loss sums over tokens where it should take their mean: it grows with the batch.",
    "Give it the same token twice. Should the loss double?",
)
def loss_summed_over_tokens(stats):
    return balance_loss(stats) * stats.logits.flatten(0, -2).shape[0]


LOAD_BALANCE_LOSS = (
    loss_without_factor,
    loss_too_large_by_k,
    loss_over_the_chosen,
    loss_without_gradient,
    loss_of_sigmoids,
    loss_of_squares,
    loss_summed_over_tokens,
)

# ---------------------------------------------------------------- sequence_balance_loss


def sequence_loss(stats, chosen=None, probability=None, over=-2):
    """mean over the batch of sum f_i P_i, with the places where a mistake goes."""
    seq_len, n_experts = stats.scores.shape[-2:]
    top_k = stats.expert_idx.shape[-1]
    chosen = stats.scores.topk(top_k, dim=-1).indices if chosen is None else chosen
    counts = torch.zeros_like(stats.scores).scatter(-1, chosen, 1.0).sum(dim=over, keepdim=True)
    if probability is None:
        probability = stats.scores / stats.scores.sum(dim=-1, keepdim=True)
    tokens = seq_len * (len(stats.scores) if over != -2 else 1)
    mean = probability.mean(dim=over, keepdim=True)
    return (counts * n_experts / (top_k * tokens) * mean).sum(dim=-1).mean()


@mistake(
    "The whole batch is measured as one. The loss is for each sequence by itself, and then the mean.",
    "One sequence uses expert 0 only, the other expert 1 only. Is that even?",
)
def sequence_loss_over_the_batch(stats):
    return sequence_loss(stats, over=(0, 1))


@mistake(
    "The counts are those of the biased choice. They are to be counted from the scores alone.",
    "Which field of the stats knows the bias, and which does not?",
)
def sequence_loss_with_the_bias(stats):
    return sequence_loss(stats, chosen=stats.expert_idx)


@mistake(
    "The scores are not normalised over the experts: sigmoids do not sum to 1.",
    "What do the P_i of one sequence sum to?",
)
def sequence_loss_without_normalising(stats):
    return sequence_loss(stats, probability=stats.scores)


@mistake(
    "P is detached: the loss teaches nothing.",
    "Which of the two factors is a smooth function of the logits?",
)
def sequence_loss_without_gradient(stats):
    return core_sequence_loss(stats._replace(scores=stats.scores.detach())) + 0 * stats.scores.sum()


@mistake(
    "The factor K is missing: an even router should give 1.",
    "Put all scores to the same value and compute your loss by hand for K = 2.",
)
def sequence_loss_without_k(stats):
    return core_sequence_loss(stats) * stats.expert_idx.shape[-1]


@mistake(
    "P comes from a softmax of the logits; here it is the scores, divided by their sum.",
    "Which scores does the router use?",
)
def sequence_loss_of_softmax(stats):
    return sequence_loss(stats, probability=stats.logits.softmax(dim=-1))


SEQUENCE_BALANCE_LOSS = (
    sequence_loss_over_the_batch,
    sequence_loss_with_the_bias,
    sequence_loss_without_normalising,
    sequence_loss_without_gradient,
    sequence_loss_without_k,
    sequence_loss_of_softmax,
)

# ---------------------------------------------------------------- update_expert_bias_


def step(load, rate):
    load = load.to(torch.float32)
    return rate * (load.mean() - load).sign()


@mistake(
    "The sign is the wrong way round: busy experts get more, and the router collapses faster.",
    "An expert has too many tokens. Should its bias rise or fall?",
)
def bias_up_for_the_busy(expert_bias, load, rate):
    delta = -step(load, rate)
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the step is not taken off: all biases drift together.",
    "Add up the steps of all experts when three are idle and one is busy.",
)
def bias_that_drifts(expert_bias, load, rate):
    expert_bias += step(load, rate)


@mistake(
    "The step is as large as the difference of the loads. Only its sign counts.",
    "A load is off by 1 token, another by 1,000. How far does each bias move?",
)
def bias_in_proportion(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = rate * (load.mean() - load)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias is set to the step instead of moved by it: it forgets every step before.",
    "What is the bias after two equal steps?",
)
def bias_set_anew(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias.copy_(delta - delta.mean())


@mistake(
    "The rate is not used.",
    "Which of the arguments does your function never read?",
)
def bias_without_rate(expert_bias, load, rate):
    delta = step(load, 1.0)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias itself is not changed: a new tensor was made, and the layer still has the old one.",
    "The name ends with an underscore. What does that say in torch?",
)
def bias_changed_in_a_copy(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias = expert_bias + delta - delta.mean()


UPDATE_EXPERT_BIAS = (
    bias_up_for_the_busy,
    bias_that_drifts,
    bias_in_proportion,
    bias_set_anew,
    bias_without_rate,
    bias_changed_in_a_copy,
)

# ---------------------------------------------------------------- find the bug

ALWAYS_PASSES = (
    "The test compares nothing: it lets every function pass.",
    "Is there an `assert` that can fail?",
)
ALWAYS_FAILS = (
    "The test fails for every function, the sound one too.",
    "Run it on the core's function first.",
)
SHAPE_ONLY = (
    "The test looks at the shape only. The broken piece gives the right one.",
    "Which number is wrong?",
)

CFG = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
LOGITS = torch.tensor([[[2.0, 1.0, 0.0, -1.0], [0.0, 1.0, -1.0, 2.0]]])


@mistake(*ALWAYS_PASSES)
def router_test_that_never_fails(topk_route):
    topk_route(LOGITS, torch.zeros(4), CFG)


@mistake(*ALWAYS_FAILS)
def router_test_that_always_fails(topk_route):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def router_test_of_the_shape(topk_route):
    assert topk_route(LOGITS, torch.ones(4), CFG).weights.shape == (1, 2, 2)


@mistake(
    "The test uses a bias of zeros. There the piece is right.",
    "Which argument must be something else for the defect to show?",
)
def router_test_without_bias(topk_route):
    found = topk_route(LOGITS, torch.zeros(4), CFG).weights.sort(dim=-1).values
    scores = LOGITS.sigmoid().topk(2, dim=-1).values
    right = (scores / scores.sum(-1, keepdim=True)).sort(dim=-1).values
    assert torch.allclose(found, right, atol=1e-5)


@mistake(
    "The test asks whether the weights sum to the scaling factor. Those of the broken piece do.",
    "Each single weight should be its expert's score, divided by the sum of the chosen scores.",
)
def router_test_of_the_sum(topk_route):
    bias = torch.tensor([0.0, 0.5, 0.0, -0.5])
    assert torch.allclose(topk_route(LOGITS, bias, CFG).weights.sum(-1), torch.ones(1, 2), atol=1e-5)


ROUTER_TESTS = (
    router_test_that_never_fails,
    router_test_that_always_fails,
    router_test_of_the_shape,
    router_test_without_bias,
    router_test_of_the_sum,
)


def stats_of(logits, top_k=1):
    scores = logits.sigmoid()
    idx = scores.topk(top_k, dim=-1).indices
    return RouterStats(logits, scores, idx, scores.gather(-1, idx))


@mistake(*ALWAYS_PASSES)
def loss_test_that_never_fails(load_balance_loss):
    load_balance_loss(stats_of(LOGITS))


@mistake(*ALWAYS_FAILS)
def loss_test_that_always_fails(load_balance_loss):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def loss_test_of_the_shape(load_balance_loss):
    assert load_balance_loss(stats_of(LOGITS)).shape == ()


@mistake(
    "The test looks at a collapsed router only. There the chosen expert has all the probability, and both agree.",
    "At which router should the loss be exactly 1?",
)
def loss_test_of_collapse(load_balance_loss):
    collapsed = torch.tensor([[[30.0, 0.0, 0.0, 0.0]] * 3])
    assert abs(load_balance_loss(stats_of(collapsed)).item() - 4) < 1e-3


@mistake(
    "The test asks whether a gradient comes back. It does, in the broken piece too.",
    "Compare with a value that you know: what is the loss of an even router?",
)
def loss_test_of_the_gradient(load_balance_loss):
    logits = LOGITS.clone().requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert logits.grad.abs().sum() > 0


LOSS_TESTS = (
    loss_test_that_never_fails,
    loss_test_that_always_fails,
    loss_test_of_the_shape,
    loss_test_of_collapse,
    loss_test_of_the_gradient,
)


def small_bank():
    bank = ExpertBank(4, 2, 3)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    return bank


def by_hand(x, idx, bank):
    rows = [swiglu(x[t], bank.gate_up_proj[e], bank.down_proj[e]) for t, e in enumerate(idx[:, 0].tolist())]
    return torch.stack(rows)


@mistake(*ALWAYS_PASSES)
def capacity_test_that_never_fails(dispatch):
    dispatch(torch.ones(4, 2), torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1), small_bank())


@mistake(*ALWAYS_FAILS)
def capacity_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def capacity_test_of_the_shape(dispatch):
    idx = torch.zeros(8, 1, dtype=torch.long)
    assert dispatch(torch.ones(8, 2), idx, torch.ones(8, 1), small_bank()).shape == (8, 2)


@mistake(
    "The test spreads the tokens evenly. There every expert has room enough.",
    "For which choice of experts would the room run out?",
)
def capacity_test_of_an_even_load(dispatch):
    x, idx, bank = torch.arange(16.0).view(8, 2), (torch.arange(8) % 4)[:, None], small_bank()
    assert torch.allclose(dispatch(x, idx, torch.ones(8, 1), bank), by_hand(x, idx, bank), atol=1e-4)


@mistake(
    "The test looks at the first token only. It is the last ones that are turned away.",
    "Which tokens lose their place when an expert is full?",
)
def capacity_test_of_the_first_token(dispatch):
    x, idx, bank = torch.ones(8, 2), torch.zeros(8, 1, dtype=torch.long), small_bank()
    assert torch.allclose(dispatch(x, idx, torch.ones(8, 1), bank)[0], by_hand(x, idx, bank)[0], atol=1e-5)


CAPACITY_TESTS = (
    capacity_test_that_never_fails,
    capacity_test_that_always_fails,
    capacity_test_of_the_shape,
    capacity_test_of_an_even_load,
    capacity_test_of_the_first_token,
)
