"""The speed of a large matrix product: the ceiling that a training step's speed is a share of."""

from collections.abc import Callable

import torch

# So wide that a product keeps the whole device busy: on two cores for 0.2 seconds, on a large GPU for milliseconds.
WIDTH = {"cpu": 2048, "cuda": 8192}
TIMES = {"cpu": 1, "cuda": 10}  # products in a row, so that the start and the end of one weigh little


def product_operations(device: torch.device) -> float:
    """Floating-point operations of one call of what `make_product` returns; a multiply-add counts as two."""
    return TIMES[device.type] * 2.0 * WIDTH[device.type] ** 3


def make_product(device: torch.device, dtype: torch.dtype) -> Callable[[], None]:
    """A function that multiplies two large square matrices in this format.

    Their numbers are drawn: a GPU multiplies zeros with less power, and so faster, than a model's numbers.
    """
    n, times = WIDTH[device.type], TIMES[device.type]
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, n, generator=generator).to(device, dtype) for _ in range(2))
    out = torch.empty_like(a)

    def run() -> None:
        for _ in range(times):
            torch.mm(a, b, out=out)

    return run
