"""The settings of experts: how many there are and run, and what keeps them evenly used.

`config` gives these names out, so that `from nanokimi.config import MoEConfig` is the one way to them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Strict
from pydantic import model_validator as validator

from nanokimi.system.checked import settings
from nanokimi.system.real_numbers import Positive, PositiveOrZero
from nanokimi.system.refusals import require, require_within
from nanokimi.system.whole_numbers import Size, SizeOrZero, Whole


@settings
class MoEConfig:
    """A mixture of experts: `top_k` of `n_routed_experts` run for a token, the shared ones for every token.

    `routed_scaling_factor=None` derives the factor from E and K (`router.derived_scaling_factor`): 2.446 at
    64/6, 2.828 at 384/8. `n_group` > 1 keeps the experts of the best `topk_group` groups (DeepSeek-V3).
    """

    n_routed_experts: Size = 16
    n_shared_experts: SizeOrZero = 1
    top_k: Whole = 2
    moe_intermediate_size: Size = 128
    scoring: Literal["sigmoid", "softmax"] = "sigmoid"
    norm_topk_prob: Annotated[bool, Strict()] = True
    routed_scaling_factor: Positive | None = None
    n_group: Size = 1
    topk_group: Whole = 1

    @validator(mode="after")
    def _check(self):
        experts, groups = self.n_routed_experts, self.n_group
        require_within(self, "top_k", 1, "n_routed_experts")
        require_within(self, "topk_group", 1, "n_group")
        require(experts % groups == 0, f"n_routed_experts={experts} must be a multiple of n_group={groups}")
        size = experts // groups
        require(groups == 1 or size > 1, f"n_group={groups} leaves one expert per group: each needs two")
        k, best, kept = self.top_k, self.topk_group, size * self.topk_group
        require(k <= kept, f"top_k={k} is more than the {kept} experts of topk_group={best} groups")
        return self


@settings
class BalanceConfig:
    """What keeps the experts evenly used; 0 switches a term off. The usual size is that of the paper.

    method: how biases even the load without a loss. "sign" moves them by bias_update_rate per step, "quantile" to where
        the step's own scores would have been shared evenly, with no rate (`quantile_balance`; Kimi K3).
    """

    switch_coef: PositiveOrZero = 0.0  # load-balance loss on softmax probabilities; 1e-2 in Switch
    sequence_coef: PositiveOrZero = 0.0  # sequence-wise loss; 1e-4 in DeepSeek-V3, 1e-3 in K2
    z_coef: PositiveOrZero = 0.0  # z-loss; 1e-3 in ST-MoE
    method: Literal["sign", "quantile"] = "sign"
    bias_update_rate: PositiveOrZero = 0.0  # bias update without a loss; 1e-3 in DeepSeek-V3

    @validator(mode="after")
    def _check(self):
        rate = self.bias_update_rate
        require(self.method == "sign" or not rate, f"bias_update_rate={rate} is not used by method=quantile")
        return self
