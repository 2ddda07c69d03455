"""The known wrong answers to MultiHeadLatentAttention, of notebook 05, about what the heads share."""

import torch

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from lab_utils.course.exercise import mistake


@mistake(
    "Every head uses the rope query of head 0. The rope key is shared; the queries are not.",
    "How many rope queries does a token have, and how many rope keys?",
)
class MLAWithTheRopeQueryOfHead0(LatentLayer):
    def turn_query(self, q, rotation):
        q, nope = super().turn_query(q, rotation), self.cfg.qk_nope_head_dim
        return torch.cat([q[..., :nope], q[:, :1, :, nope:].expand(-1, self.n_heads, -1, -1)], dim=-1)


MLA_HEADS = (MLAWithTheRopeQueryOfHead0,)
