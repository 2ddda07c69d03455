"""How long a step takes on paper: the operations and bytes of `plan`, at the speeds that makers of cards state."""

from dataclasses import dataclass
from typing import NamedTuple

from nanokimi.cluster.plan import Asked


@dataclass(frozen=True, kw_only=True)
class Cards:
    """What a card and its wires do in a second. The defaults are an H100 SXM in nodes of eight, each with an adapter.

    operations_per_s: of products in bfloat16, without sparsity (data sheet).
    used: the part of it that a step gets. Assumed: what trainings of large models report is near 0.4.
    bytes_per_s_in_node: NVLink in one direction; the data sheet's 900 GB/s are both.
    bytes_per_s_between_nodes: 400 Gb/s for every card, as K2's report has them.
    seconds_per_exchange: of a collective operation, however little it sends. Assumed.
    """

    operations_per_s: float = 989e12
    used: float = 0.4
    ranks_per_node: int = 8
    bytes_per_s_in_node: float = 450e9
    bytes_per_s_between_nodes: float = 50e9
    seconds_per_exchange: float = 30e-6


H100 = Cards()


class StepTime(NamedTuple):
    """Seconds of one step."""

    computing: float
    sending: float

    @property
    def total(self) -> float:
        """The sum, as if nothing travelled while a rank computes.

        So it is where gradients, and matrices for Muon, travel after the last product. Where all of it overlaps, the
        step takes the larger of the two: half of the sum or more.
        """
        return self.computing + self.sending


def estimate_time(asked: Asked, n_ranks: int, cards: Cards = H100) -> StepTime:
    """The time of a step that asks this of each of `n_ranks`, which all have as much to do.

    Beyond one node every byte counts as one between nodes: a ring is as fast as its slowest wire. Left out is what it
    takes to start operations, and what a pipeline waits at its ends.
    """
    is_one_node = n_ranks <= cards.ranks_per_node
    bytes_per_s = cards.bytes_per_s_in_node if is_one_node else cards.bytes_per_s_between_nodes
    return StepTime(
        computing=asked.operations / (cards.operations_per_s * cards.used),
        sending=asked.sent / bytes_per_s + asked.exchanges * cards.seconds_per_exchange,
    )
