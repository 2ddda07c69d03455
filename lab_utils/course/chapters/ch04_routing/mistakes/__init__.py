"""The known wrong answers to the exercises of notebook 04: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch04_routing.mistakes.capacity_tests import CAPACITY_TESTS
from lab_utils.course.chapters.ch04_routing.mistakes.derived_scaling_factor import DERIVED_SCALING_FACTOR
from lab_utils.course.chapters.ch04_routing.mistakes.dispatch import DISPATCH
from lab_utils.course.chapters.ch04_routing.mistakes.expert_load import EXPERT_LOAD
from lab_utils.course.chapters.ch04_routing.mistakes.load_balance_loss import LOAD_BALANCE_LOSS
from lab_utils.course.chapters.ch04_routing.mistakes.loss_tests import LOSS_TESTS
from lab_utils.course.chapters.ch04_routing.mistakes.max_violation import MAX_VIOLATION
from lab_utils.course.chapters.ch04_routing.mistakes.router_tests import ROUTER_TESTS
from lab_utils.course.chapters.ch04_routing.mistakes.sequence_balance_loss import SEQUENCE_BALANCE_LOSS
from lab_utils.course.chapters.ch04_routing.mistakes.topk_route import TOPK_ROUTE
from lab_utils.course.chapters.ch04_routing.mistakes.update_expert_bias import UPDATE_EXPERT_BIAS

__all__ = [
    "CAPACITY_TESTS",
    "DERIVED_SCALING_FACTOR",
    "DISPATCH",
    "EXPERT_LOAD",
    "LOAD_BALANCE_LOSS",
    "LOSS_TESTS",
    "MAX_VIOLATION",
    "ROUTER_TESTS",
    "SEQUENCE_BALANCE_LOSS",
    "TOPK_ROUTE",
    "UPDATE_EXPERT_BIAS",
]
