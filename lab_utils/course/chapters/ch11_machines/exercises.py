"""The exercises of notebook 11: gradients, weights and experts on several ranks, and who waits for whom."""

from lab_utils.course.chapters.ch11_machines import cases, hunts, mistakes
from lab_utils.course.exercise import Exercise, Property, run_test
from nanokimi.cluster.gradients import micro_batches_of, whole_gradient
from nanokimi.cluster.memory import bytes_held
from nanokimi.cluster.traffic import nodes_visited, traffic_per_token, waiting_seconds
from nanokimi.expert_parallel import regroup, send_counts

EXERCISES = (
    Exercise(
        name="micro_batches_of",
        notebook="11",
        core=micro_batches_of,
        cases=cases.batch_cases,
        observe=cases.observe_batches,
        mistakes=mistakes.MICRO_BATCHES_OF,
        hints=(
            "A step has grad_accum neighbours of the numbers 0, 1, 2, ...: which are those of this step?",
            "The rank takes one of them, leaves out n_ranks - 1, takes the next: a range with a step.",
            "range(first, end, n_ranks): first is the step's first number plus rank, end is the next step's first.",
        ),
        moral="Which text is read in which step does not depend on how many ranks read it.",
    ),
    Exercise(
        name="whole_gradient",
        notebook="11",
        core=whole_gradient,
        cases=cases.gradient_cases,
        mistakes=mistakes.WHOLE_GRADIENT,
        hints=(
            "The mean over all tokens is a mean of means in which each rank counts as much as it has tokens.",
            "The share of a rank is its tokens over all tokens; the shares sum to 1.",
            "Multiply each row of gradients by the share of its rank, and add the rows up.",
        ),
        moral="A plain mean over ranks is right only where all have as many tokens.",
    ),
    Exercise(
        name="test_sound_clipping",
        notebook="11",
        core=hunts.test_sound_clipping,
        cases=hunts.clipping_cases,
        observe=run_test,
        mistakes=mistakes.CLIPPING_TESTS,
        hints=(
            "A bound on the norm of the step's gradient: of what does the piece above take the norm?",
            "Choose two ranks whose gradients point in different directions: their mean is shorter than each of them.",
            "The mean of (3, 0) and (0, 4) is (1.5, 2), of norm 2.5. What must come back for max_norm = 2.5?",
        ),
        moral="The norm of a mean is not the mean of norms: first exchange, then clip.",
    ),
    Exercise(
        name="bytes_held",
        notebook="11",
        core=bytes_held,
        cases=cases.bytes_cases,
        mistakes=mistakes.BYTES_HELD,
        hints=(
            "One tensor at a time: how many of its rows does the rank have, and how many numbers has a row?",
            "Each rank has ceil(R / n_ranks) rows until none is left; the last ones have fewer, perhaps none.",
            "max(0, min(block, R - rank * block)) rows, times the product of the other axes, times the bytes.",
        ),
        moral="Dealt by rows, a tensor leaves the last ranks with less, and none of them with more than a block.",
    ),
    Exercise(
        name="send_counts",
        notebook="11",
        core=send_counts,
        cases=cases.send_cases,
        observe=cases.counts_of,
        mistakes=mistakes.SEND_COUNTS,
        properties=(
            Property(
                "the counts sum to tokens · K",
                lambda parts, idx, *_: int(parts["result"].sum()) == idx.numel(),
            ),
        ),
        hints=(
            "First the load of all experts, as in notebook 04; then the experts of a rank together.",
            "expert_load(expert_idx, n_experts) counts; the experts of rank r are neighbours in it.",
            "Give the load the shape (n_ranks, n_experts // n_ranks) with view.",
        ),
        moral="Every rank must know what comes before it comes: the counts travel before the rows.",
    ),
    Exercise(
        name="regroup",
        notebook="11",
        core=regroup,
        cases=cases.regroup_cases,
        observe=cases.observe_orders,
        mistakes=mistakes.REGROUP,
        hints=(
            "Write down the expert of every row in the order in which the rows arrive. Then sort.",
            "repeat_interleave makes the list of experts from the counts; a stable argsort is the first order.",
            "torch.arange(n_experts).repeat(n_ranks).repeat_interleave(received.flatten()); order.argsort() undoes it.",
        ),
        moral="argsort of an order undoes it: whatever is sorted for the work must be put back for the way home.",
    ),
    Exercise(
        name="test_sound_exchange",
        notebook="11",
        core=hunts.test_sound_exchange,
        cases=hunts.exchange_cases,
        observe=run_test,
        mistakes=mistakes.EXCHANGE_TESTS,
        hints=(
            "A right exchange gives what dispatch gives with the same tokens and the same bank.",
            "In which order do the outs of a rank lie, and in which order are they split among the senders?",
            "Two ranks, four experts, eight tokens that choose the experts 0, 1, 2, 3, 0, 1, 2, 3.",
        ),
        moral="Rows that come home to the wrong token have the right shape and the right sum: only values tell.",
    ),
    Exercise(
        name="waiting_seconds",
        notebook="11",
        core=waiting_seconds,
        cases=cases.waiting_cases,
        mistakes=mistakes.WAITING_SECONDS,
        hints=(
            "How long does each rank compute? Then: who is the last, and how long does each wait for it?",
            "The rows of a rank are the sum over its experts, which are neighbours in `load`.",
            "busy = seconds_per_row * load.view(n_ranks, -1).sum(1); the wait is busy.max() - busy.",
        ),
        moral="The slowest rank sets the pace: the mean wait is MaxVio of the ranks, in seconds.",
    ),
    Exercise(
        name="nodes_visited",
        notebook="11",
        core=nodes_visited,
        cases=cases.visit_cases,
        observe=cases.counts_of,
        mistakes=mistakes.NODES_VISITED,
        hints=(
            "On which node is each chosen expert? Then count the different ones of each token.",
            "A whole division of the expert's number by the number of experts per node gives the node.",
            "F.one_hot(node, n_nodes) marks them: amax over the choices, then the sum over the nodes.",
        ),
        moral="Two experts on one node cost one journey: that is why a router may be told to stay on few nodes.",
    ),
    Exercise(
        name="traffic_per_token",
        notebook="11",
        core=traffic_per_token,
        cases=cases.traffic_cases,
        mistakes=mistakes.TRAFFIC_PER_TOKEN,
        tolerance=1e-9,
        hints=(
            "How many rows travel for one token and one layer, and how often does each of them, or its gradient?",
            "K rows; out and back; forward and backward. The layers are those with experts.",
            "4 · (n_layers - first_k_dense_replace) · top_k · d_model · bytes, and of these (n_ranks - 1)/n_ranks.",
        ),
        moral="The traffic grows with K and the width, hardly with the number of ranks.",
    ),
)
