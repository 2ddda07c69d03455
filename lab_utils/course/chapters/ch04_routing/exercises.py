"""The exercises of notebook 04: who gets which token, and how the load stays even."""

from lab_utils.course.chapters.ch04_routing import balance_cases, cases, hunts, mistakes, pieces
from lab_utils.course.exercise import Exercise, Property, run_test
from nanokimi.moe import dispatch
from nanokimi.router import (
    derived_scaling_factor,
    expert_load,
    load_balance_loss,
    max_violation,
    sequence_balance_loss,
    topk_route,
    update_expert_bias_,
)

FROM_LOAD = Property(
    "the counts sum to tokens · K", lambda parts, idx, n: int(parts["result"].sum()) == idx.numel()
)
EVEN = Property("an even router gives exactly 1", balance_cases.one_when_even)
FLOWS = Property("a gradient reaches the logits", balance_cases.gradient_flows)

EXERCISES = (
    Exercise(
        name="topk_route",
        notebook="04",
        core=topk_route,
        cases=cases.route_cases,
        observe=cases.observe_route,
        mistakes=mistakes.TOPK_ROUTE,
        properties=(
            Property("the weights of a token sum to the scaling factor", cases.weights_sum_to_the_factor),
        ),
        hints=(
            "Five lines: float32, scores, choose by scores + bias, weights from the scores, normalise and scale.",
            "The biased scores are used for .topk(...).indices alone; where do the weights come from?",
            "scores.gather(-1, expert_idx) gives the weights; divide by their sum, times scaling_factor(cfg).",
        ),
        moral="The bias decides who is chosen; the score decides the weight. Mixing the two distorts every output.",
    ),
    Exercise(
        name="derived_scaling_factor",
        notebook="04",
        core=derived_scaling_factor,
        cases=cases.factor_cases,
        observe=cases.observe_factor,
        mistakes=mistakes.DERIVED_SCALING_FACTOR,
        tolerance=1e-6,
        hints=(
            "Draw Gaussian logits, take sigmoids, keep the best K, normalise: that is a vector p. What is 1/||p||?",
            "Draw (1000, n_experts) in float64 at a time, as often as it takes, from one generator with seed 0.",
            "p = s.topk(top_k).values; p = p / p.sum(-1, keepdim=True); the mean of 1 / p.norm(dim=-1).",
        ),
        moral="K independent vectors with weights p add up to a length of ||p||; the factor undoes that.",
    ),
    Exercise(
        name="expert_load",
        notebook="04",
        core=expert_load,
        cases=balance_cases.load_cases,
        observe=balance_cases.counts_of,
        mistakes=mistakes.EXPERT_LOAD,
        properties=(FROM_LOAD,),
        hints=(
            "How often does each number from 0 to n_experts - 1 occur in expert_idx?",
            "torch.bincount counts whole numbers in a flat tensor.",
            "minlength makes room for experts that nobody chose.",
        ),
        moral="Experts that nobody chose are part of the load; a count that drops them makes the worst case look good.",
    ),
    Exercise(
        name="max_violation",
        notebook="04",
        core=max_violation,
        cases=balance_cases.violation_cases,
        mistakes=mistakes.MAX_VIOLATION,
        hints=(
            "The busiest expert, in fair shares.",
            "A fair share is the mean load. An even load should give 0.",
            "max/mean - 1, as a Python number: .item().",
        ),
        moral="0 is even; E/K - 1 when the same K experts take every token.",
    ),
    Exercise(
        name="load_balance_loss",
        notebook="04",
        core=load_balance_loss,
        cases=balance_cases.loss_cases,
        observe=balance_cases.loss_and_gradient,
        mistakes=mistakes.LOAD_BALANCE_LOSS,
        properties=(EVEN, FLOWS),
        hints=(
            "Two vectors of n_experts numbers with the sum 1: the shares of the choices, and the mean probabilities.",
            "f: expert_load over the number of choices. P: stats.logits.softmax(-1), mean over all tokens.",
            "n_experts * (f * P).sum(); f comes from whole numbers and has no gradient; P must have one.",
        ),
        moral="The counts say which experts are too busy; the gradient changes the probabilities.",
    ),
    Exercise(
        name="sequence_balance_loss",
        notebook="04",
        core=sequence_balance_loss,
        cases=balance_cases.loss_cases,
        observe=balance_cases.loss_and_gradient,
        mistakes=mistakes.SEQUENCE_BALANCE_LOSS,
        properties=(EVEN, FLOWS),
        hints=(
            "The same product as before, for each sequence by itself, with the router's own scores.",
            "Counts: scores.topk(K) without any bias, scattered as ones and summed over the sequence.",
            "f = counts · E / (K · T), P = mean over T of scores / scores.sum(-1); sum over E, mean over the batch.",
        ),
        moral="A batch can be even while every sequence is uneven; this loss looks at each sequence.",
    ),
    Exercise(
        name="update_expert_bias_",
        notebook="04",
        core=update_expert_bias_,
        cases=balance_cases.bias_cases,
        observe=balance_cases.bias_after,
        writes_into_arguments=True,
        mistakes=mistakes.UPDATE_EXPERT_BIAS,
        properties=(
            Property("the bias of the busiest expert does not rise", balance_cases.busiest_does_not_rise),
            Property("the mean of the biases stays where it was", balance_cases.mean_stays),
        ),
        hints=(
            "A fixed small step for every expert: up if it had less than the mean, down if it had more.",
            "delta = rate * (mean - load).sign(); then subtract the mean of delta.",
            "In place and outside autograd: @torch.no_grad() and expert_bias += ...",
        ),
        moral="Only the sign of the difference counts: the steps stay small, however uneven the load.",
    ),
    Exercise(
        name="dispatch",
        notebook="04",
        core=dispatch,
        cases=cases.dispatch_cases,
        observe=cases.observe_dispatch,
        mistakes=mistakes.DISPATCH,
        tolerance=1e-4,
        hints=(
            "Write down the expert of every (token, choice) pair, sort the pairs by expert, remember where each went.",
            "order = expert_idx.flatten().argsort(stable=True): pair order[i] belongs to token order[i] // K.",
            "rows = bank(x[order // K], counts); the inverse of `order` brings them back; then weights and the sum.",
        ),
        moral="The core sorts: many small products become one large one per expert, and no token is dropped.",
    ),
    Exercise(
        name="test_sound_router",
        notebook="04",
        core=hunts.test_sound_router,
        cases=pieces.router_cases,
        observe=run_test,
        mistakes=mistakes.ROUTER_TESTS,
        hints=(
            "What may the bias change, and what must it leave alone?",
            "Compare the router's weights with a bias and without one. When is the *choice* the same in both?",
            "With K = E every expert is chosen, whatever the bias: then the weights must be equal.",
        ),
        moral="K = E is the case in which the bias must not show at all.",
    ),
    Exercise(
        name="test_sound_loss",
        notebook="04",
        core=hunts.test_sound_loss,
        cases=pieces.loss_cases,
        observe=run_test,
        mistakes=mistakes.LOSS_TESTS,
        hints=(
            "For which router do you know the loss without computing it?",
            "All logits 0, so that every probability is 1/E, and an expert_idx that names all experts in turn.",
            "Then E · sum f_i · 1/E is exactly 1, while P over the chosen only is smaller by the factor K/E.",
        ),
        moral="With P over the chosen only the minimum is elsewhere: that loss rewards unsure choices.",
    ),
    Exercise(
        name="test_sound_capacity",
        notebook="04",
        core=hunts.test_sound_capacity,
        cases=pieces.capacity_cases,
        observe=run_test,
        mistakes=mistakes.CAPACITY_TESTS,
        hints=(
            "For which load would a buffer of a fixed size be too small?",
            "Send every token to the same expert and look at the last one.",
            "A token's result must be the same alone and among many.",
        ),
        moral="Dropped tokens raise no error: their experts' output is 0, and the residual stream hides it.",
    ),
)
