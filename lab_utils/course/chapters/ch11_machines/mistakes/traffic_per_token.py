"""The known wrong answers to traffic_per_token, of notebook 11."""

from lab_utils.course.exercise import mistake
from nanokimi.cluster.traffic import traffic_per_token as core_traffic


def with_experts(cfg):
    return cfg.n_layers - cfg.first_k_dense_replace


def rows(cfg, n_ranks, times, n_layers=None):
    """Rows per token, each moved so many `times`."""
    n_layers = with_experts(cfg) if n_layers is None else n_layers
    return 0.0 if cfg.moe is None else times * n_layers * cfg.moe.top_k * (n_ranks - 1) / n_ranks


@mistake(
    "The backward pass is left out: the gradients of the rows travel as well.",
    "A row goes out and comes back. What travels when the loss is differentiated?",
)
def traffic_forward_only(cfg, n_ranks, bytes_per_number):
    return core_traffic(cfg, n_ranks, bytes_per_number) / 2


@mistake(
    "Only the way to the experts is counted: rows come back, and gradients travel both ways too.",
    "How many times does a row, or its gradient, travel in one training step?",
)
def traffic_one_way(cfg, n_ranks, bytes_per_number):
    return core_traffic(cfg, n_ranks, bytes_per_number) / 4


@mistake(
    "All rows are counted, those too whose expert is on their own rank.",
    "On one rank, how much travels?",
)
def traffic_of_all_rows(cfg, n_ranks, bytes_per_number):
    return (
        rows(cfg, n_ranks, 4) * cfg.d_model * bytes_per_number * n_ranks / (n_ranks - 1)
        if n_ranks > 1
        else (
            0.0
            if cfg.moe is None
            else 4.0 * with_experts(cfg) * cfg.moe.top_k * cfg.d_model * bytes_per_number
        )
    )


@mistake(
    "The dense layers are counted too. They have no experts, so nothing travels for them.",
    "Which layers of the model have experts? What does `first_k_dense_replace` say?",
)
def traffic_of_all_layers(cfg, n_ranks, bytes_per_number):
    return rows(cfg, n_ranks, 4, cfg.n_layers) * cfg.d_model * bytes_per_number


@mistake(
    "One row per token and layer is counted. A token has K experts.",
    "How many rows does a token send for K = 8?",
)
def traffic_of_one_choice(cfg, n_ranks, bytes_per_number):
    return core_traffic(cfg, n_ranks, bytes_per_number) / (1 if cfg.moe is None else cfg.moe.top_k)


@mistake(
    "It counts numbers, not bytes.",
    "Which argument does the result not depend on?",
)
def traffic_in_numbers(cfg, n_ranks, bytes_per_number):
    return core_traffic(cfg, n_ranks, 1)


@mistake(
    "Only the first layer with experts is counted.",
    "The rows travel for each layer with experts.",
)
def traffic_of_one_layer(cfg, n_ranks, bytes_per_number):
    return rows(cfg, n_ranks, 4, min(1, with_experts(cfg))) * cfg.d_model * bytes_per_number


@mistake(
    "The width of the experts is taken for the width of a row. What travels is a token's vector, and what an expert "
    "makes of it.",
    "How many numbers does a token's vector have?",
)
def traffic_of_the_experts_width(cfg, n_ranks, bytes_per_number):
    return (
        0.0 if cfg.moe is None else rows(cfg, n_ranks, 4) * cfg.moe.moe_intermediate_size * bytes_per_number
    )


@mistake(
    "The share is the other one: it counts the rows that stay on their rank.",
    "With many ranks, do most rows stay or leave?",
)
def traffic_of_rows_that_stay(cfg, n_ranks, bytes_per_number):
    stay = 0.0 if cfg.moe is None else 4 * with_experts(cfg) * cfg.moe.top_k / n_ranks
    return stay * cfg.d_model * bytes_per_number


@mistake(
    "All experts are counted, not the K that a token chose.",
    "How many rows does a token send for K = 8 of 384?",
)
def traffic_to_all_experts(cfg, n_ranks, bytes_per_number):
    k = 1 if cfg.moe is None else cfg.moe.top_k
    n_experts = 0 if cfg.moe is None else cfg.moe.n_routed_experts
    return core_traffic(cfg, n_ranks, bytes_per_number) / k * n_experts


@mistake(
    "It is the traffic of all ranks together, not of one token.",
    "Twice as many ranks: does a token's row travel twice as often?",
)
def traffic_of_all_ranks(cfg, n_ranks, bytes_per_number):
    return n_ranks * core_traffic(cfg, n_ranks, bytes_per_number)


ROUNDED_DOWN = (
    "A division is rounded down, as `//` does it. What travels per token is a mean, and need not be a whole number.",
    "Two rows, and three ranks: how many rows leave their rank on average?",
)


@mistake(*ROUNDED_DOWN)
def traffic_in_whole_bytes(cfg, n_ranks, bytes_per_number):
    return float(int(core_traffic(cfg, n_ranks, bytes_per_number)))


@mistake(*ROUNDED_DOWN)
def traffic_in_whole_rows(cfg, n_ranks, bytes_per_number):
    return float(int(rows(cfg, n_ranks, 4)) * cfg.d_model * bytes_per_number)


TRAFFIC_PER_TOKEN = (
    traffic_in_whole_bytes,
    traffic_in_whole_rows,
    traffic_forward_only,
    traffic_one_way,
    traffic_of_all_rows,
    traffic_of_all_layers,
    traffic_of_one_choice,
    traffic_in_numbers,
    traffic_of_one_layer,
    traffic_of_the_experts_width,
    traffic_of_rows_that_stay,
    traffic_to_all_experts,
    traffic_of_all_ranks,
)
