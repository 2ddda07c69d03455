"""The known wrong answers to nodes_visited, of notebook 11."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.cluster.traffic import nodes_visited as core_visited


def count(node):
    """How many different numbers each row has."""
    return torch.tensor([len(set(row)) for row in node.tolist()], dtype=torch.long)


def count_one_hot(node, n_nodes):
    """The same, and an error for a number that no node has."""
    return F.one_hot(node, n_nodes).amax(dim=1).sum(dim=1)


def count_scattered(node, n_nodes):
    """The same, and another error."""
    return torch.zeros(len(node), n_nodes, dtype=torch.long).scatter(1, node, 1).sum(dim=1)


def count_compared(node, n_nodes):
    """The same, where a number that no node has counts nothing."""
    return (node[..., None] == torch.arange(n_nodes)).any(dim=1).sum(dim=1)


BY_NODES = mistake(
    "The expert is divided by the number of nodes, not by the number of experts on a node.",
    "Eight experts on two nodes: on which node is expert 5?",
)
BY_PLACES = mistake(
    "What is counted are the places that the experts have on their nodes, the rests of the division, not the nodes.",
    "Four experts on two nodes: on which node is expert 2, and on which expert 3?",
)


@mistake(
    "Every choice counts, two on the same node twice. A token travels to a node once.",
    "If experts 2 and 3 are on one node, how often does the token travel?",
)
def visits_of_every_choice(expert_idx, n_experts, n_nodes):
    return torch.full((len(expert_idx),), expert_idx.shape[1])


@mistake(
    "The experts are dealt in turns, as cards are; here each node holds neighbours.",
    "Four experts on two nodes: which two are on node 0?",
)
def visits_in_turns(expert_idx, n_experts, n_nodes):
    return count(expert_idx % n_nodes)


@BY_NODES
def visits_divided_by_nodes(expert_idx, n_experts, n_nodes):
    return count(expert_idx // n_nodes)


@BY_NODES
def visits_divided_by_nodes_one_hot(expert_idx, n_experts, n_nodes):
    return count_one_hot(expert_idx // n_nodes, n_nodes)


@BY_NODES
def visits_divided_by_nodes_scattered(expert_idx, n_experts, n_nodes):
    return count_scattered(expert_idx // n_nodes, n_nodes)


@BY_NODES
def visits_divided_by_nodes_compared(expert_idx, n_experts, n_nodes):
    return count_compared(expert_idx // n_nodes, n_nodes)


@BY_PLACES
def visits_of_places(expert_idx, n_experts, n_nodes):
    return count(expert_idx % (n_experts // n_nodes))


@BY_PLACES
def visits_of_places_one_hot(expert_idx, n_experts, n_nodes):
    return count_one_hot(expert_idx % (n_experts // n_nodes), n_nodes)


@BY_PLACES
def visits_of_places_scattered(expert_idx, n_experts, n_nodes):
    return count_scattered(expert_idx % (n_experts // n_nodes), n_nodes)


@BY_PLACES
def visits_of_places_compared(expert_idx, n_experts, n_nodes):
    return count_compared(expert_idx % (n_experts // n_nodes), n_nodes)


@mistake(
    "The first node does not count: a node with the number 0 is a node too.",
    "If all experts of a token are on node 0, how many nodes is that?",
)
def visits_without_node_0(expert_idx, n_experts, n_nodes):
    node = expert_idx // (n_experts // n_nodes)
    return torch.tensor([len({i for i in row if i}) for row in node.tolist()], dtype=torch.long)


@mistake(
    "It is one node too few, as where the changes from one node to the next are counted.",
    "If all experts of a token are on one node, how many nodes is that?",
)
def visits_as_changes(expert_idx, n_experts, n_nodes):
    return core_visited(expert_idx, n_experts, n_nodes) - 1


@mistake(
    "It counts for each node how many tokens come; asked for is, for each token, how many nodes it goes to.",
    "How many numbers should come back for one token?",
)
def visits_by_node(expert_idx, n_experts, n_nodes):
    node = expert_idx // (n_experts // n_nodes)
    return torch.tensor([int((node == i).any(dim=1).sum()) for i in range(n_nodes)])


@mistake(
    "It is the distance between the first and the last node, not how many there are.",
    "A token has experts on the first and on the last of six nodes. How many nodes is that?",
)
def visits_from_first_to_last(expert_idx, n_experts, n_nodes):
    node = expert_idx // (n_experts // n_nodes)
    return node.amax(dim=1) - node.amin(dim=1) + 1


@mistake(
    "It is the number of different nodes of all tokens together.",
    "How many numbers should come back for three tokens?",
)
def visits_of_all_tokens(expert_idx, n_experts, n_nodes):
    node = expert_idx // (n_experts // n_nodes)
    return torch.full((len(expert_idx),), len(node.unique()))


@mistake(
    "Changes from one choice to the next are counted, in their order: a node that comes again counts again.",
    "If a token has experts on nodes 0, 1 and 0, how many nodes is that?",
)
def visits_in_the_order_of_choices(expert_idx, n_experts, n_nodes):
    node = expert_idx // (n_experts // n_nodes)
    return 1 + (node[:, 1:] != node[:, :-1]).sum(dim=1)


@mistake(
    "It says on which node the first expert is.",
    "How many nodes are there in the row?",
)
def visits_as_a_number_of_a_node(expert_idx, n_experts, n_nodes):
    return expert_idx[:, 0] // (n_experts // n_nodes)


NODES_VISITED = (
    visits_of_every_choice,
    visits_in_turns,
    visits_divided_by_nodes,
    visits_divided_by_nodes_one_hot,
    visits_divided_by_nodes_scattered,
    visits_divided_by_nodes_compared,
    visits_of_places,
    visits_of_places_one_hot,
    visits_of_places_scattered,
    visits_of_places_compared,
    visits_without_node_0,
    visits_as_changes,
    visits_by_node,
    visits_from_first_to_last,
    visits_of_all_tokens,
    visits_in_the_order_of_choices,
    visits_as_a_number_of_a_node,
)
