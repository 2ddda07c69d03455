"""The known wrong answers to the exercises of notebook 11: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch11_machines.mistakes.bytes_held import BYTES_HELD
from lab_utils.course.chapters.ch11_machines.mistakes.micro_batches_of import MICRO_BATCHES_OF
from lab_utils.course.chapters.ch11_machines.mistakes.nodes_visited import NODES_VISITED
from lab_utils.course.chapters.ch11_machines.mistakes.regroup import REGROUP
from lab_utils.course.chapters.ch11_machines.mistakes.send_counts import SEND_COUNTS
from lab_utils.course.chapters.ch11_machines.mistakes.traffic_per_token import TRAFFIC_PER_TOKEN
from lab_utils.course.chapters.ch11_machines.mistakes.waiting_seconds import WAITING_SECONDS
from lab_utils.course.chapters.ch11_machines.mistakes.weak_clipping import CLIPPING_TESTS
from lab_utils.course.chapters.ch11_machines.mistakes.weak_exchange import EXCHANGE_TESTS
from lab_utils.course.chapters.ch11_machines.mistakes.whole_gradient import WHOLE_GRADIENT

__all__ = [
    "BYTES_HELD",
    "CLIPPING_TESTS",
    "EXCHANGE_TESTS",
    "MICRO_BATCHES_OF",
    "NODES_VISITED",
    "REGROUP",
    "SEND_COUNTS",
    "TRAFFIC_PER_TOKEN",
    "WAITING_SECONDS",
    "WHOLE_GRADIENT",
]
