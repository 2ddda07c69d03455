"""Whether a training fits into the memory: refused where it cannot, and explained where the memory runs out.

Linux promises more memory than it has, and ends a program without a word where the promise fails. So what a training
needs at least is worked out before anything is built.
"""

import contextlib
from collections.abc import Iterator

import torch

from nanokimi.cli.activations import count_activations
from nanokimi.cluster.plan import FLOAT32, list_weights
from nanokimi.config import ConfigError, ModelConfig, TrainConfig
from nanokimi.device import choose_device
from nanokimi.system.memory import memory_limit

# How torch and Python say it: on a CPU, on CUDA, and for more bytes than 64 bits count.
SHORTAGE = ("can't allocate memory", "not enough memory", "out of memory", "calculation overflowed")


def check_memory(model: ModelConfig, training: TrainConfig, n_ranks: int = 1) -> None:
    """`ConfigError` where the training needs more memory than the machine has, by a bound that is never too high.

    n_ranks: of so many ranks each builds the whole model once, and then holds its part of every weight.
    """
    device = choose_device(training.device)
    limit = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else memory_limit()
    if limit is None:
        return
    listed = list_weights(model, training.optim)
    parameters = sum(each.size for each in listed)
    # Every weight with its gradient and what its optimizer keeps.
    trained = sum(each.size * (2 + each.n_states) for each in listed) // n_ranks
    weights = FLOAT32 * max(parameters, trained)
    if weights > limit:
        raise ConfigError(
            f"the model has {parameters:,} parameters or more and takes {_gb(weights)} or more to train, "
            f"but this machine has {_gb(limit)}: take a smaller model"
        )
    n_tokens = training.batch_size * training.seq_len
    if device.type == "cpu" and training.compile != "on":
        kept = count_activations(model, training)
    else:
        # A GPU runs out with an error, which `explain_shortage` explains, and nobody has counted a compiled step.
        # Every layer's input is kept at least, and the logits, with their gradient.
        kept = n_tokens * FLOAT32 * (model.n_layers * model.d_model + 2 * model.vocab_size)
    if weights + kept > limit:
        # A fifth is left for Python, and for gaps between freed buffers.
        tokens = max(1, (limit - weights) * n_tokens * 4 // (kept * 5))
        again = "" if training.recompute else ", or train.recompute=true"
        raise ConfigError(
            f"train.batch_size={training.batch_size} and train.seq_len={training.seq_len} take {_gb(weights + kept)} "
            f"or more, but this machine has {_gb(limit)}: {_advise(training, tokens)}{again}"
        )


@contextlib.contextmanager
def explain_shortage(training: TrainConfig) -> Iterator[None]:
    """A block of a training. Where its memory runs out, a `ConfigError` says what would take less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        tokens = training.batch_size * training.seq_len
        again = "" if training.recompute else ", or train.recompute=true"
        raise ConfigError(
            f"out of memory with train.batch_size={training.batch_size} and train.seq_len={training.seq_len}: "
            f"{_advise(training, max(1, tokens // 2))}{again}, or take a smaller model"
        ) from None


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that no memory is left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error).lower() for words in SHORTAGE
    )


def _advise(training: TrainConfig, tokens: int) -> str:
    """The settings that compute `tokens` tokens at a time, with the same gradient where that can be."""
    batch = tokens // training.seq_len
    if batch:
        times = -(-training.batch_size * training.grad_accum // batch)
        return f"try train.batch_size={batch} with train.grad_accum={times}"
    return f"try train.batch_size=1 with train.seq_len={1 << (tokens.bit_length() - 1)}"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"
