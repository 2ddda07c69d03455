"""For the exercises of notebook 10."""

from nanokimi.cache import SequenceCache
from nanokimi.generate import generate as core_generate
from tests.course.equivalents import name_mutants


class EntriesWithoutTheNewest(SequenceCache):
    def entries(self):
        return tuple(t[..., : max(1, self.length - 1), :] for t in super().entries())


class BytesOfTheBatchOnce(SequenceCache):
    @property
    def nbytes(self):
        return sum(t[0].numel() * t.element_size() for t in self.entries())


def reading_the_prompt_backwards(model, prompt, max_new_tokens, **settings):
    return core_generate(model, prompt[::-1], max_new_tokens, **settings)


def with_another_seed(model, prompt, max_new_tokens, *, seed=0, **settings):
    return core_generate(model, prompt, max_new_tokens, seed=seed + 1, **settings)


ONE_DIMENSION = "logits have one dimension"
EQUIVALENT = {
    "next_token_probs": name_mutants(
        "return torch.zeros_like(logits).scatter(0, logits.argmax(dim=-1, keepdim=True), 1.0)",
        ("dim=-1, ", "", ONE_DIMENSION),
        ("dim=-1", "dim=-0", ONE_DIMENSION),
        (", keepdim=True", "", "a single index scatters alike"),
        ("keepdim=True", "keepdim=False", "a single index scatters alike"),
    )
    | name_mutants(
        "ordered, ids = scaled.sort(descending=True, stable=True)",
        (", stable=True", "", "a CPU sorts stably anyway; a GPU need not"),
        ("stable=True", "stable=False", "a CPU sorts stably anyway; a GPU need not"),
    )
    | name_mutants("probs = ordered.softmax(dim=-1)", ("dim=-1", "dim=-0", ONE_DIMENSION))
    | name_mutants(
        "probs[1:][(probs.cumsum(dim=-1) - probs >= top_p)[1:]] = 0.0",
        ("dim=-1", "dim=-0", ONE_DIMENSION),
    )
    | name_mutants(
        "if top_k is not None and top_k < len(ordered):",
        ("top_k < ", "top_k <= ", "behind the last token is nothing to take away"),
    )
    | name_mutants(
        "if top_p is not None and top_p < 1:",
        ("< 1", "< 2", "top_p is at most 1"),
    ),
    "SequenceCache": name_mutants(
        "if not self._room or end > self._room[0].shape[-2]:",
        ("end >", "end >=", "how much room is kept in reserve is free"),
    )
    | name_mutants(
        "for room, tensor in zip(self._room, new, strict=True):",
        (", strict=True", "", "as many tensors are appended every time"),
        ("strict=True", "strict=False", "as many tensors are appended every time"),
    )
    | name_mutants(
        "room = tensor.new_empty(*tensor.shape[:-2], 2 * end, tensor.shape[-1])",
        ("2 * end", "3 * end", "how much room is kept in reserve is free"),
        ("2 * end", "1 * end", "how much room is kept in reserve is free"),
    ),
    "generate": name_mutants(
        "if cache[0].length + len(new) > context:",
        ("cache[0]", "cache[1]", "all layers hold as many tokens"),
    )
    | name_mutants(
        "cache, new = (step.new_cache(), tokens[-max(1, context // 2):])",
        ("max(1, context // 2)", "max(context // 2, 1)", "the larger of two has no order"),
    )
    | name_mutants(
        "logits = step(torch.tensor([new], device=device), cache).logits[:, -1]",
        (", device=device", "", "the check runs on the CPU"),
    )
    | name_mutants(
        "yield from _generate_batch(model, step, prompt, max_new_tokens, seed, stop_id, sampling)",
        ("(model, step", "(step, model", "the exercise asks for one prompt"),
    )
    | name_mutants(
        "token, = _draw(model, logits.cpu(), [generator], sampling)",
        ("logits.cpu()", "_unchanged(logits)", "the check runs on the CPU"),
    ),
}
EXTRA = {
    "SequenceCache": (EntriesWithoutTheNewest, BytesOfTheBatchOnce),
    "generate": (reading_the_prompt_backwards, with_another_seed),
}
